"""Reviews as bags of words: which of the commonest 10,000 words are in each."""

import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from adam_optax.lab.errors import DataError, needs_lab_extra
from adam_optax.lab.problem import Data
from adam_optax.lab.sources import needed, read_bytes

WORDS = 10_000
_MOST = 1 << 30
_FILES = (
    "the folder aclImdb (train/pos, train/neg, test/pos, test/neg), or a CSV file with the columns "
    "text and label (of several sources, those rows whose source is imdb)"
)
_TEST = 5  # of a table, every fifth review

Reviews = list[tuple[str, str]]
"""Texts and their labels."""


def load(data_dir: Path | None) -> Data:
    """Reads the reviews: uint8 (n, 10000), 1 where a word is in a review, and 0 or 1.

    Words are counted in the training set. Of a table, reviews that are there twice are taken once.

    Raises:
      DataError: If there are no reviews of two labels.
    """
    place = needed(data_dir, "imdb", _FILES)
    if (place / "train").is_dir():
        return bags(_folder(place / "train"), _folder(place / "test"), place)
    table = place if place.is_file() else _only_csv(place)
    reviews = list(dict.fromkeys(_rows(table)))
    order = np.random.default_rng(0).permutation(len(reviews))
    parts: tuple[Reviews, Reviews] = ([], [])
    for place_in_order, i in enumerate(order):
        parts[place_in_order % _TEST == 0].append(reviews[i])
    return bags(*parts, table)


def bags(train: Reviews, test: Reviews, place: Path) -> Data:
    """The data of reviews; the place is for the message.

    Raises:
      DataError: If there are not two labels.
    """
    names = sorted({label for _, label in train})
    if len(names) != 2 or {label for _, label in test} - set(names) or not test:
        raise DataError(f"{place}: expected reviews of two labels, got {names or 'none'}; {_FILES}")
    with needs_lab_extra("the imdb problem"):
        from sklearn.feature_extraction.text import CountVectorizer
    words = CountVectorizer(max_features=WORDS, binary=True, dtype=np.uint8)
    words.fit([text for text, _ in train])
    x = [words.transform([text for text, _ in part]).toarray() for part in (train, test)]
    y = [np.array([names.index(label) for _, label in p], np.int32) for p in (train, test)]
    return Data(x[0], y[0], x[1], y[1])


def _folder(folder: Path) -> Reviews:
    return [
        (_text(path), label)
        for label in ("neg", "pos")
        for path in sorted((folder / label).glob("*.txt"))
    ]


def _text(path: Path) -> str:
    return read_bytes(path, _MOST).decode("utf-8", errors="replace")


def _only_csv(folder: Path) -> Path:
    tables = sorted([*folder.glob("*.csv"), *folder.glob("*.csv.gz")])
    if len(tables) != 1:
        raise DataError(f"{folder}: {len(tables)} CSV files in it; expected {_FILES}")
    return tables[0]


def _rows(table: Path) -> Iterator[tuple[str, str]]:
    csv.field_size_limit(sys.maxsize)
    rows = csv.DictReader(io.StringIO(_text(table), newline=""))
    missing = {"text", "label"} - set(rows.fieldnames or ())
    if missing:
        raise DataError(f"{table}: no column {' or '.join(sorted(missing))}; expected {_FILES}")
    for row in rows:
        if row.get("source", "imdb") == "imdb" and row["text"] and row["label"]:
            yield row["text"], row["label"]
