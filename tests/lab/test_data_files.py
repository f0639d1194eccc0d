"""Check the data of imdb, cifar10, shakespeare and the user's own problems, and their errors."""

import csv
import gzip
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from adam_optax.lab import CNN, DataError, Logistic, Problem, Transformer, problems
from adam_optax.lab._problems import imdb, shakespeare
from adam_optax.lab.task import Task
from tests.lab.idx_files import write_mnist
from tests.support.budgets import memory_below, within


def records(count: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).integers(0, 256, (count, 3073), np.uint8)
    found[:, 0] %= 10
    return found


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    (tmp_path / "data_batch_1.bin").write_bytes(records(5).tobytes())
    (tmp_path / "data_batch_3.bin.gz").write_bytes(gzip.compress(records(2, 1).tobytes()))
    (tmp_path / "test_batch.bin").write_bytes(records(3, 2).tobytes())
    return tmp_path


@pytest.mark.quick
def test_cifar_is_read_plain_and_packed(cifar: Path) -> None:
    data = problems["cifar10"].load(cifar)
    assert (data.train_x.shape, data.test_x.shape) == ((7, 32, 32, 3), (3, 32, 32, 3))
    first = records(5)
    np.testing.assert_array_equal(data.train_y[:5], first[:, 0])
    # The planes of the file, red first, are the last axis here.
    np.testing.assert_array_equal(data.train_x[4, ..., 2].ravel(), first[4, 1 + 2048 :])
    np.testing.assert_array_equal(data.train_y[5:], records(2, 1)[:, 0])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test_batch.bin", b"x" * 3072, "3072 bytes are no whole number of records of 3073"),
        ("test_batch.bin", b"", "0 bytes are no whole number"),
        ("test_batch.bin", b"\xff" * 3073, "expected labels 0 to 9, got 255; is it CIFAR-100"),
        ("data_batch_3.bin.gz", b"\x1f\x8b\x08", "data_batch_3.bin.gz: damaged gzip data"),
        ("test_batch.bin", None, "test_batch.bin: no such file, plain or .gz; expected data_batch"),
    ],
)
def test_other_files_are_no_cifar(
    cifar: Path, name: str, content: bytes | None, message: str
) -> None:
    (cifar / name).unlink()
    if content is not None:
        (cifar / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        problems["cifar10"].load(cifar)


def test_text_is_cut_into_windows(tmp_path: Path) -> None:
    text = bytes(itertools.islice(itertools.cycle(b"To be, or not to be. "), 64 * 20 + 5))
    (tmp_path / "b.txt").write_bytes(text[700:])
    (tmp_path / "a.txt").write_bytes(text[:700])
    data = problems["shakespeare"].load(tmp_path)
    assert (data.train_x.shape, data.test_x.shape) == ((18, 64), (2, 64))
    np.testing.assert_array_equal(data.train_x[0], list(text[:64]))
    np.testing.assert_array_equal(data.train_y[0], list(text[1:65]))
    np.testing.assert_array_equal(data.test_x[0], list(text[9 * 64 : 10 * 64]))


def test_too_little_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.txt file in it; expected a text file"):
        problems["shakespeare"].load(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"short")
    with pytest.raises(DataError, match="5 bytes of text; expected at least 641"):
        problems["shakespeare"].load(tmp_path / "a.txt")


REVIEWS = [("good fine film", "pos"), ("bad dull film", "neg")]


def write_table(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


def test_reviews_are_bags_of_words(tmp_path: Path) -> None:
    rows = [
        {"text": f"{text} {i}th", "label": label, "source": source}
        for source in ("imdb", "other")
        for i in range(10, 20)
        for text, label in REVIEWS
    ]
    write_table(tmp_path / "reviews.csv", rows + rows[:3])  # three are there twice
    data = problems["imdb"].load(tmp_path)
    assert len(data.train_x) + len(data.test_x) == 20
    assert len(data.test_x) == 4
    assert data.train_x.dtype == np.uint8
    assert data.train_x.max() == 1
    # film, good, fine, bad, dull are there, and each review has four words it shares with others
    assert (data.train_x.sum(1) == 4).all()
    assert set(data.train_y) == {0, 1}


def test_the_folder_of_reviews_keeps_its_own_split(tmp_path: Path) -> None:
    for part, (text, label) in itertools.product(("train", "test"), REVIEWS):
        folder = tmp_path / "aclImdb" / part / label
        folder.mkdir(parents=True)
        for i in range(2 if part == "train" else 1):
            (folder / f"{i}_7.txt").write_text(f"{text} {part}")
    data = problems["imdb"].load(tmp_path / "aclImdb")
    assert (len(data.train_x), len(data.test_x)) == (4, 2)
    assert data.train_y.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"review": "x", "label": "pos"}], "no column text; expected the folder aclImdb"),
        ([{"text": f"x{i}", "label": "pos"} for i in range(9)], r"two labels, got \['pos'\]"),
        ([{"text": "x", "label": "pos", "source": "other"}], "two labels, got none"),
    ],
)
def test_other_tables_are_no_reviews(
    tmp_path: Path, rows: list[dict[str, str]], message: str
) -> None:
    table = write_table(tmp_path / "reviews.csv", rows)
    with pytest.raises(DataError, match=message):
        problems["imdb"].load(table)


def test_more_reviews_than_fit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the count: a review of three bytes becomes 10,000, so that 163 KB filled the memory."""
    monkeypatch.setattr(imdb, "MAX_REVIEWS", 3)
    rows = [{"text": f"x{i}", "label": "pos"} for i in range(5)]
    table = write_table(tmp_path / "reviews.csv", rows)
    with pytest.raises(DataError, match="more than 3 reviews"):
        problems["imdb"].load(table)
    folder = tmp_path / "train" / "pos"
    folder.mkdir(parents=True)
    for i in range(4):
        (folder / f"{i}.txt").touch()
    with pytest.raises(DataError, match="more than 3 reviews"):
        problems["imdb"].load(tmp_path)


def test_reviews_without_a_word_and_fields_without_an_end_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "reviews.csv"
    write_table(table, [{"text": f"{i}", "label": "ab"[i % 2]} for i in range(9)])
    with pytest.raises(DataError, match=r"reviews\.csv: empty vocabulary"):
        problems["imdb"].load(table)
    table.write_text('text,label\n"' + "x" * 200_000)
    with pytest.raises(DataError, match=r"reviews\.csv: line \d is no CSV: field larger"):
        problems["imdb"].load(table)


def test_one_table_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 CSV files in it; expected the folder aclImdb"):
        problems["imdb"].load(tmp_path)


def test_a_packed_text_takes_no_more_than_its_budget(tmp_path: Path) -> None:
    """Check the memory: 260 KB of zeros, packed, took 3.4 GB."""
    (tmp_path / "a.txt").write_bytes(gzip.compress(bytes(1 << 26), compresslevel=1))
    # What is read, and once more while it is put together.
    with memory_below(3 * shakespeare.MAX_BYTES), pytest.raises(DataError, match="with this file"):
        problems["shakespeare"].load(tmp_path)


def test_the_budget_is_of_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        (tmp_path / f"{name}.txt").write_bytes(bytes(700))
    problems["shakespeare"].load(tmp_path)
    monkeypatch.setattr(shakespeare, "MAX_BYTES", 1399)
    with pytest.raises(DataError, match=r"b\.txt: with this .* than 1399 bytes"):
        problems["shakespeare"].load(tmp_path)


DEVICES = {
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("make", DEVICES.values(), ids=DEVICES)
@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("shakespeare", "all.txt", "cannot be read"),
        ("cifar10", "data_batch_1.bin", "cannot be read"),
        ("imdb", "reviews.csv", "cannot be read"),
        ("mnist", "train-images-idx3-ubyte", "no such file"),
    ],
)
def test_only_files_are_read(
    tmp_path: Path, name: str, file: str, message: str, make: Callable[[Path], None]
) -> None:
    """Check that nothing waits for a pipe, as was done for ever, or reads a device to its end."""
    write_mnist(tmp_path)
    for path in tmp_path.glob(f"{file}*"):
        path.unlink()
    (tmp_path / "test_batch.bin").write_bytes(records(1).tobytes())
    make(tmp_path / file)
    with within(10), pytest.raises(DataError, match=f"{file}: {message}"):
        problems[name].load(tmp_path)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("imdb", "with .* at https://ai.stanford.edu/"),
        ("cifar10", "with .* at https://www.cs.toronto.edu/"),
        ("mnist", "with .* from https://yann.lecun.com/"),
        ("shakespeare", "with a text file"),
    ],
)
def test_the_place_of_the_data_is_asked_for(name: str, source: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{name} needs a data directory .*{source}"):
        problems[name].load(None)
    with pytest.raises(DataError, match=r"nowhere.*: no such file.*; expected"):
        problems[name].load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("model", "x", "shape"),
    [
        (Logistic(2, 0.5), np.ones((3, 20), np.uint8), (3, 2)),
        pytest.param(
            *(CNN((2, 2, 3), 5, dropout=0.5), np.ones((3, 32, 32, 3), np.uint8), (3, 10)),
            marks=pytest.mark.heavy,
        ),
        pytest.param(
            *(Transformer(length=8, width=8), np.ones((3, 8), np.int32), (3, 8, 256)),
            marks=pytest.mark.heavy,
        ),
    ],
)
def test_models_give_logits_and_noise_only_with_a_key(model: Any, x: Any, shape: Any) -> None:
    params = model.init(jax.random.key(0), x)
    params = jax.tree.map(lambda p: p + 0.1, params)  # logistic regression starts at zero
    assert model.apply(params, x).shape == shape
    noisy = [model.apply(params, x, rngs={"dropout": jax.random.key(i)}) for i in (1, 2)]
    same = bool((noisy[0] == noisy[1]).all())
    assert same == isinstance(model, Transformer)


@pytest.mark.heavy
def test_a_transformer_does_not_look_ahead() -> None:
    model, x = Transformer(length=8, width=8), np.arange(8)[None]
    params = model.init(jax.random.key(0), x)
    other = x.copy()
    other[0, 5:] = 0
    one, two = (np.asarray(model.apply(params, tokens)) for tokens in (x, other))
    np.testing.assert_allclose(one[0, :5], two[0, :5], atol=1e-5)  # float32
    assert np.abs(one[0, 5:] - two[0, 5:]).max() > 1e-3


@pytest.mark.heavy
def test_all_of_a_large_set_is_evaluated(tiny: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Task(tiny)
    expected = whole.evaluate(whole.params(0))
    monkeypatch.setattr("adam_optax.lab.task._CHUNK", 16)  # 70 are four parts and a rest
    in_parts = Task(tiny)
    np.testing.assert_allclose(in_parts.evaluate(in_parts.params(0)), expected, rtol=1e-5)
