"""Read IMDB's reviews as bags of words: which of the commonest 10,000 words each contains."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from adam_optax.lab._problems.data_files import read_bytes, read_files, require_path
from adam_optax.lab._problems.problem import Data
from adam_optax.lab.errors import DataError, needs_lab_extra

WORDS = 10_000
"""Number of words that are counted."""
MAX_BYTES, MAX_REVIEWS = 1 << 28, 100_000
"""Bytes and reviews, at most; IMDB has 66 MB of 50,000. A review takes 10 kB as a bag."""
_FILES = (
    "the folder aclImdb (train/pos, train/neg, test/pos, test/neg), or a CSV file with the columns "
    "text and label (of several sources, those rows whose source is imdb); the folder is at "
    "https://ai.stanford.edu/~amaas/data/sentiment/"
)
_TEST_EVERY = 5
"""Every fifth review of a table is held out."""

Reviews = list[tuple[str, str]]
"""Pairs of a text and its label."""


def load(data_dir: Path | None) -> Data:
    """Read the reviews: uint8 (n, 10000), 1 where a review contains a word; labels are 0 or 1.

    The words are the commonest ones of the training set. A review that a table contains twice is
    taken once.

    Raises:
        DataError: If there are no reviews of two labels.
    """
    place = require_path(data_dir, "imdb", _FILES)
    if (place / "train").is_dir():
        return bags(_folder(place / "train"), _folder(place / "test"), place)
    table = place if place.is_file() else _only_csv(place)
    reviews = list(dict.fromkeys(_rows(table)))
    order = np.random.default_rng(0).permutation(len(reviews))
    train_and_test: tuple[Reviews, Reviews] = ([], [])
    for place_in_order, i in enumerate(order):
        train_and_test[place_in_order % _TEST_EVERY == 0].append(reviews[i])
    return bags(*train_and_test, table)


def bags(train: Reviews, test: Reviews, place: Path) -> Data:
    """Count the words of reviews.

    Args:
        train: The reviews to train on, whose commonest words are counted.
        test: The held-out reviews.
        place: Where the reviews are from, for the error message.

    Raises:
        DataError: If there are not two labels.
    """
    names = sorted({label for _, label in train})
    if len(names) != 2 or {label for _, label in test} - set(names) or not test:
        raise DataError(f"{place}: expected reviews of two labels, got {names or 'none'}; {_FILES}")
    with needs_lab_extra("the imdb problem"):
        from sklearn.feature_extraction.text import CountVectorizer
    words = CountVectorizer(max_features=WORDS, binary=True, dtype=np.uint8)
    try:
        words.fit([text for text, _ in train])
    except ValueError as error:  # of texts without a word
        raise DataError(f"{place}: {error}") from error
    x = [words.transform([text for text, _ in part]).toarray() for part in (train, test)]
    y = [np.array([names.index(label) for _, label in p], np.int32) for p in (train, test)]
    return Data(x[0], y[0], x[1], y[1])


def _folder(folder: Path) -> Reviews:
    places = [
        (path, label) for label in ("neg", "pos") for path in sorted((folder / label).glob("*.txt"))
    ]
    _check_count(folder, len(places))
    texts = read_files((path for path, _ in places), MAX_BYTES)
    return [
        (text.decode("utf-8", errors="replace"), label)
        for text, (_, label) in zip(texts, places, strict=True)
    ]


def _check_count(place: Path, count: int) -> None:
    if count > MAX_REVIEWS:
        raise DataError(f"{place}: more than {MAX_REVIEWS} reviews; expected {_FILES}")


def _only_csv(folder: Path) -> Path:
    tables = sorted([*folder.glob("*.csv"), *folder.glob("*.csv.gz")])
    if len(tables) != 1:
        raise DataError(f"{folder}: {len(tables)} CSV files in it; expected {_FILES}")
    return tables[0]


def _rows(table: Path) -> Iterator[tuple[str, str]]:
    # Line by line: a text of the whole table would take four times its bytes.
    content = io.BytesIO(read_bytes(table, MAX_BYTES))
    rows = csv.DictReader(io.TextIOWrapper(content, "utf-8", errors="replace", newline=""))
    try:
        missing = {"text", "label"} - set(rows.fieldnames or ())
        if missing:
            raise DataError(f"{table}: no column {' or '.join(sorted(missing))}; expected {_FILES}")
        for count, row in enumerate(rows):
            _check_count(table, count)
            if row.get("source", "imdb") == "imdb" and row["text"] and row["label"]:
                yield row["text"], row["label"]
    except csv.Error as error:
        raise DataError(f"{table}: line {rows.line_num} is no CSV: {error}") from error
