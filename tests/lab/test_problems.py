"""Check that data has the promised form, or that the message names the wrong file."""

from pathlib import Path

import numpy as np
import pytest

from adam_optax.lab import DataError, LabError, problems
from adam_optax.lab._problems.builtin import find_problem
from adam_optax.lab._problems.mnist import MNIST_FILES
from tests.lab.idx_files import mnist_arrays, write_mnist

BLANK = np.zeros((256, 28, 28), np.uint8)


@pytest.mark.quick
def test_digits_are_whole_and_in_range() -> None:
    data = problems["digits"].load(None)
    assert data.train_x.shape == (1500, 64)
    assert data.test_x.shape == (297, 64)
    x, y = np.concatenate([data.train_x, data.test_x]), np.concatenate([data.train_y, data.test_y])
    assert x.dtype == np.float32
    assert y.dtype == np.int32
    assert (x.min(), x.max()) == (0, 1)
    np.testing.assert_array_equal(
        np.bincount(y), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    )


def test_the_digits_split_is_fixed_and_shuffled() -> None:
    first, second = (problems["digits"].load(None) for _ in range(2))
    np.testing.assert_array_equal(first.train_x, second.train_x)
    # In the order of the file the labels begin 0, 1, 2, ..., 9.
    assert first.train_y[:10].tolist() == [6, 6, 6, 2, 5, 6, 6, 2, 2, 1]


def test_mnist_is_read_plain_and_packed(tmp_path: Path) -> None:
    data, arrays = problems["mnist"].load(write_mnist(tmp_path)), mnist_arrays()
    assert data.train_x.dtype == np.float32
    assert data.train_y.dtype == np.int32
    assert data.test_x.shape == (64, 784)
    images = arrays["train-images-idx3-ubyte"].reshape(256, 784)
    np.testing.assert_allclose(data.train_x * 255, images, rtol=1e-6)
    np.testing.assert_array_equal(data.test_y, arrays["t10k-labels-idx1-ubyte"])


@pytest.mark.parametrize("name", MNIST_FILES)
def test_a_missing_file_is_named_with_the_four(tmp_path: Path, name: str) -> None:
    write_mnist(tmp_path)
    for path in tmp_path.glob(f"{name}*"):
        path.unlink()
    with pytest.raises(DataError, match=f"{name}: no such file.*{', '.join(MNIST_FILES)}"):
        problems["mnist"].load(tmp_path)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (
            "train_images_idx3_ubyte",
            BLANK[:, :8],
            r"expected uint8 images.*got uint8 \(256, 8, 28\)",
        ),
        ("train_images_idx3_ubyte", BLANK.astype(np.float32), "expected uint8 images.*got float32"),
        ("train_images_idx3_ubyte", BLANK[:0], "expected uint8 images"),
        ("train_images_idx3_ubyte", BLANK[:9], "train-labels.*expected 9 uint8 labels"),
        ("train_labels_idx1_ubyte", BLANK[:, 0], r"expected 256 uint8 labels, got .*\(256, 28\)"),
        ("t10k_labels_idx1_ubyte", np.full(64, 10, np.uint8), "expected labels 0 to 9, got 10"),
    ],
)
def test_files_of_another_data_set_are_refused(
    tmp_path: Path, name: str, array: np.ndarray, message: str
) -> None:
    write_mnist(tmp_path, **{name: array})
    with pytest.raises(DataError, match=message):
        problems["mnist"].load(tmp_path)


def test_the_directory_is_required_where_it_is_used_and_refused_where_not(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="mnist needs a data directory"):
        problems["mnist"].load(None)
    with pytest.raises(DataError, match="leave the data directory out"):
        problems["digits"].load(tmp_path)


def test_an_unknown_problem_lists_the_known() -> None:
    assert find_problem("digits") is problems["digits"]
    with pytest.raises(LabError, match="unknown problem 'cifar'; known: digits, mnist"):
        find_problem("cifar")
