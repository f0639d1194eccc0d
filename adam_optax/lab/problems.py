"""The problems that optimisers are compared on: data, model, budget and target."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
from numpy.typing import NDArray

from adam_optax.lab.errors import DataError, LabError, needs_lab_extra
from adam_optax.lab.idx import read_idx

MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_DIGITS_TRAIN = 1500


@dataclass(frozen=True, eq=False)
class Data:
    """A classification data set: features float32 in [0, 1], labels int32."""

    train_x: NDArray[np.float32]
    train_y: NDArray[np.int32]
    test_x: NDArray[np.float32]
    test_y: NDArray[np.int32]


class MLP(nn.Module):
    """A multilayer perceptron with ReLU between the layers; returns logits."""

    hidden: tuple[int, ...]
    classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps features, shape (..., features), to logits, shape (..., classes)."""
        for width in self.hidden:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.classes)(x)


@dataclass(frozen=True)
class Problem:
    """A task to train on.

    Attributes:
      name: What the command line and the file names call it.
      description: One line for the help text.
      load: Reads the data; the argument is the directory of its files, or `None`.
      model: Makes the Flax module, which maps a batch of features to logits.
      batch_size: Examples per step.
      epochs: Passes over the training set.
      target_loss: Mean training cross-entropy, in nats, to be reached.
      learning_rate: Adam's learning rate on this problem.
    """

    name: str
    description: str
    load: Callable[[Path | None], Data]
    model: Callable[[], nn.Module]
    batch_size: int
    epochs: int
    target_loss: float
    learning_rate: float


def get(problem: str | Problem) -> Problem:
    """Finds a problem by name; a `Problem` of the caller's own passes through.

    Raises:
      LabError: If no problem has that name.
    """
    if isinstance(problem, Problem):
        return problem
    if problem not in problems:
        raise LabError(f"unknown problem {problem!r}; known: {', '.join(problems)}")
    return problems[problem]


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
    )
}
"""Every problem by name."""
