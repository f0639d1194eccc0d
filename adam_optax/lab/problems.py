"""The built-in problems, and those of the user's own."""

import importlib
import sys
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adam_optax.lab import cifar, imdb, shakespeare
from adam_optax.lab.errors import DataError, LabError, needs_lab_extra
from adam_optax.lab.idx import read_idx
from adam_optax.lab.models import CNN, MLP, Logistic, Transformer
from adam_optax.lab.problem import Data, Problem

MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_DIGITS_TRAIN = 1500


def get(problem: str | Problem) -> Problem:
    """Finds a problem by name; a `Problem` of the caller's own passes through.

    Args:
      problem: One of `problems`, or `module:function`, a function of the caller's own without
        arguments that returns a `Problem`. The module is also looked for where the program runs.

    Raises:
      LabError: If there is no such problem, or the function did not return one.
    """
    if isinstance(problem, Problem):
        return problem
    if problem in problems:
        return problems[problem]
    if ":" not in problem:
        known = ", ".join(problems)
        raise LabError(f"unknown problem {problem!r}; known: {known}, and module:function")
    return _own(problem)


def _own(name: str) -> Problem:
    module, _, function = name.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), function)()
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise LabError(f"problem {name!r} cannot be made: {reason}") from error
    finally:
        sys.path.remove(here)
    if not isinstance(found, Problem):
        raise LabError(f"{name!r} returned no lab.Problem but {type(found).__name__}")
    return found


def _load_digits(data_dir: Path | None) -> Data:
    if data_dir is not None:
        raise DataError("digits comes with scikit-learn: leave the data directory out")
    with needs_lab_extra("the digits problem"):
        from sklearn.datasets import load_digits
    x, y = load_digits(return_X_y=True)
    # The file is ordered by writer; without shuffling the test set has other hands.
    order = np.random.default_rng(0).permutation(len(x))
    x, y = (x[order] / 16).astype(np.float32), y[order].astype(np.int32)
    n = _DIGITS_TRAIN
    return Data(x[:n], y[:n], x[n:], y[n:])


def _load_mnist(data_dir: Path | None) -> Data:
    if data_dir is None:
        raise DataError(f"mnist needs a data directory (--data-dir) with {_mnist_names()}")
    images, labels, test_images, test_labels = (_find(data_dir, name) for name in MNIST_FILES)
    return Data(*_read_pair(images, labels), *_read_pair(test_images, test_labels))


def _mnist_names() -> str:
    return ", ".join(MNIST_FILES) + " (each plain or .gz)"


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(f"{folder / name}: no such file, plain or .gz; expected {_mnist_names()}")


def _read_pair(images: Path, labels: Path) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    x, y = read_idx(images), read_idx(labels)
    if x.dtype != np.uint8 or x.shape[1:] != (28, 28) or not len(x):
        raise DataError(f"{images}: expected uint8 images (n, 28, 28), got {x.dtype} {x.shape}")
    if y.dtype != np.uint8 or y.shape != x.shape[:1]:
        raise DataError(f"{labels}: expected {len(x)} uint8 labels, got {y.dtype} {y.shape}")
    if y.max() > 9:
        raise DataError(f"{labels}: expected labels 0 to 9, got {y.max()}")
    return x.reshape(len(x), -1).astype(np.float32) / np.float32(255), y.astype(np.int32)


problems: dict[str, Problem] = {
    problem.name: problem
    for problem in (
        Problem(
            name="digits",
            description="1,797 handwritten digits of 8x8 pixels, embedded; MLP 64-64-10",
            load=_load_digits,
            model=partial(MLP, (64,), 10),
            batch_size=50,
            epochs=30,
            target_loss=0.1,
            learning_rate=1e-2,
        ),
        Problem(
            name="mnist",
            description="70,000 handwritten digits of 28x28 pixels; MLP 784-128-128-10",
            load=_load_mnist,
            model=partial(MLP, (128, 128), 10),
            batch_size=128,
            epochs=3,
            target_loss=0.1,
            learning_rate=1e-3,
        ),
        Problem(
            name="imdb",
            description="reviews as bags of 10,000 words; logistic regression with 50 % dropout",
            load=imdb.load,
            model=partial(Logistic, 2, 0.5),
            batch_size=128,
            epochs=5,
            target_loss=0.3,
            learning_rate=1e-3,
        ),
        Problem(
            name="cifar10",
            description="photographs of 32x32 pixels; the Adam paper's CNN, c64-c64-c128-1000",
            load=cifar.load,
            model=CNN,
            batch_size=128,
            epochs=3,
            target_loss=1.0,
            learning_rate=1e-3,
        ),
        Problem(
            name="shakespeare",
            description="text, byte by byte; transformer of two layers, 64 wide, on 64 bytes",
            load=shakespeare.load,
            model=Transformer,
            batch_size=32,
            epochs=1,
            target_loss=2.0,
            learning_rate=3e-3,
        ),
    )
}
"""Every problem by name."""
