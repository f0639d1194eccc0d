"""Build the tasks on which storage formats are trained: small models, data from disk."""

import csv
import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from adam_optax.lab import read_idx


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """Describe what is trained.

    Attributes:
        init: Maps a random key to parameters.
        loss: Maps parameters and a batch to the loss.
        batch: Maps a random key to a batch.
        steps: Number of steps.
        rate: Peak learning rate, which a cosine decays to zero.
    """

    init: Callable[[Any], Any]
    loss: Callable[[Any, Any], Any]
    batch: Callable[[Any], Any]
    steps: int
    rate: float


def _dense(key: Any, *shape: int) -> Any:
    return jax.random.normal(key, shape) * (1 / np.sqrt(np.prod(shape[:-1])))


def _drawn(x: Any, y: Any, size: int) -> Callable[[Any], Any]:
    """Return a function that draws batches of examples and labels with replacement."""
    x, y = jnp.asarray(x), jnp.asarray(y)

    def batch(key: Any) -> Any:
        places = jax.random.randint(key, (size,), 0, len(x))
        return x[places].astype(jnp.float32), y[places]

    return batch


def _crossentropy(logits: Any, labels: Any) -> Any:
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def mlp(folder: pathlib.Path) -> Task:
    """Build an MLP with 256 hidden units on MNIST."""

    def init(key: Any) -> Any:
        one, two = jax.random.split(key)
        return {"w": _dense(one, 784, 256), "b": jnp.zeros(256), "v": _dense(two, 256, 10)}

    def loss(p: Any, batch: Any) -> Any:
        hidden = jax.nn.relu(batch[0] @ p["w"] + p["b"][None])
        return _crossentropy(hidden @ p["v"], batch[1])

    x, y = _mnist(folder)
    return Task(init, loss, _drawn(x.reshape(len(x), -1), y, 128), 1000, 1e-3)


def cnn(folder: pathlib.Path) -> Task:
    """Build two strided convolutions and a linear layer on MNIST."""

    def init(key: Any) -> Any:
        one, two, three = jax.random.split(key, 3)
        return {
            "one": _dense(one, 3, 3, 1, 16),
            "two": _dense(two, 3, 3, 16, 32),
            "out": _dense(three, 7 * 7 * 32, 10),
        }

    def loss(p: Any, batch: Any) -> Any:
        x = batch[0][..., None]
        for name in ("one", "two"):
            shape = ("NHWC", "HWIO", "NHWC")
            x = jax.nn.relu(
                jax.lax.conv_general_dilated(x, p[name], (2, 2), "SAME", dimension_numbers=shape)
            )
        return _crossentropy(x.reshape(len(x), -1) @ p["out"], batch[1])

    return Task(init, loss, _drawn(*_mnist(folder), 64), 200, 2e-3)


def _mnist(folder: pathlib.Path) -> tuple[Any, Any]:
    images, labels = (
        read_idx(next(folder.glob(f"{name}*")))
        for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    )
    return images.astype(np.float32) / 255, labels.astype(np.int32)


def imdb(table: pathlib.Path) -> Task:
    """Build logistic regression on the 10,000 commonest words of IMDB: sparse gradients."""
    from sklearn.feature_extraction.text import CountVectorizer

    with table.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["source"] == "imdb"]
    words = CountVectorizer(max_features=10_000, binary=True)
    x = words.fit_transform([row["text"] for row in rows]).toarray().astype(np.int8)
    names = sorted({row["label"] for row in rows})
    y = np.array([names.index(row["label"]) for row in rows], np.int32)

    def init(key: Any) -> Any:
        del key
        return {"w": jnp.zeros((10_000,)), "b": jnp.zeros(())}

    def loss(p: Any, batch: Any) -> Any:
        logits = batch[0] @ p["w"] + p["b"]
        return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, batch[1].astype(jnp.float32)))

    return Task(init, loss, _drawn(x, y, 128), 1000, 1e-2)


def shakespeare(folder: pathlib.Path) -> Task:
    """Build a character transformer of two layers, 64 wide, on 64 characters of Shakespeare."""
    text = b"".join(path.read_bytes() for path in sorted(folder.glob("*_gut.txt")))
    values, codes = np.unique(np.frombuffer(text, np.uint8), return_inverse=True)
    corpus, size, wide, length = jnp.asarray(codes, jnp.int32), len(values), 64, 64

    def init(key: Any) -> Any:
        keys = iter(jax.random.split(key, 12))
        layer = lambda: {  # noqa: E731
            "qkv": _dense(next(keys), wide, 3 * wide),
            "out": _dense(next(keys), wide, wide),
            "up": _dense(next(keys), wide, 4 * wide),
            "down": _dense(next(keys), 4 * wide, wide),
        }
        tables = {n: 0.1 * _dense(next(keys), k, wide) for n, k in (("e", size), ("p", length))}
        return {**tables, "layers": [layer(), layer()], "head": _dense(next(keys), wide, size)}

    def batch(key: Any) -> Any:
        starts = jax.random.randint(key, (16, 1), 0, len(corpus) - length - 1)
        span = corpus[starts + jnp.arange(length + 1)[None]]
        return span[:, :-1], span[:, 1:]

    return Task(init, _transformer, batch, 300, 3e-3)


def _transformer(p: Any, batch: Any) -> Any:
    x = p["e"][batch[0]] + p["p"][None]
    for layer in p["layers"]:
        q, k, v = (
            a.reshape(*a.shape[:2], 4, 16) for a in jnp.split(_norm(x) @ layer["qkv"], 3, -1)
        )
        mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        x = x + mixed.reshape(x.shape) @ layer["out"]
        x = x + jax.nn.gelu(_norm(x) @ layer["up"]) @ layer["down"]
    return _crossentropy(_norm(x) @ p["head"], batch[1])


def _norm(x: Any) -> Any:
    x = x - jnp.mean(x, -1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6)


TASKS: dict[str, Callable[[pathlib.Path], Task]] = {
    "mlp": mlp,
    "cnn": cnn,
    "imdb": imdb,
    "shakespeare": shakespeare,
}
"""Functions that build a task from the path of its data, by name."""
