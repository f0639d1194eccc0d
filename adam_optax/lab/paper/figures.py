"""The figures of the paper's experiments: what is trained, on what, for how long."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from numpy.typing import NDArray

from adam_optax.lab.models import CNN, MLP, VAE, Logistic
from adam_optax.lab.paper import contenders as c
from adam_optax.lab.problem import Data, Problem
from adam_optax.lab.problems import problems

_BATCH = 128


@dataclass(frozen=True)
class Size:
    """How much is trained.

    Attributes:
      epochs: Passes over the examples.
      examples: The first so many of the training set; None: all.
      share: Of the paper's widths of the hidden layers, one in so many.
      pixels: Of the sides of the images, one in so many.
      per_decade: Learning rates in a decade.
    """

    epochs: int
    examples: int | None = None
    share: int = 1
    pixels: int = 1
    per_decade: int = 4

    def __str__(self) -> str:
        parts = [f"{self.epochs} epochs"]
        parts += [] if self.examples is None else [f"{self.examples:,} examples"]
        parts += [] if self.share == 1 else [f"layers of 1/{self.share} the width"]
        parts += [] if self.pixels == 1 else [f"images of 1/{self.pixels} the size"]
        return ", ".join(parts)


@dataclass(frozen=True)
class Panel:
    """One problem, and who is compared on it.

    Attributes:
      name: In the results.
      title: In the figure.
      data: The built-in problem whose data is taken.
      model: From a share of the widths to the module.
      contenders: Who, and at which learning rates.
      paper: The paper's size.
      small: What two cores carry in minutes.
      grid: What else is varied, with every learning rate.
      bound: Whether the model returns losses, not logits.
    """

    name: str
    title: str
    data: str
    model: Callable[[int], nn.Module]
    contenders: Sequence[c.Contender]
    paper: Size
    small: Size
    grid: Mapping[str, Sequence[float]] = field(default_factory=dict)
    bound: bool = False

    def problem(self, size: Size) -> Problem:
        """The problem at a size."""
        own = problems[self.data]
        name = f"{self.name}-{size.examples or 'all'}-{size.share}-{size.pixels}"
        found = replace(
            own,
            name=name,
            load=lambda place: _cut(own.load(place), size),
            model=partial(self.model, size.share),
            batch_size=_BATCH,
            epochs=size.epochs,
        )
        return replace(found, losses=_itself, right=_never) if self.bound else found

    def runs(self, size: Size) -> int:
        """How many there are."""
        others = math.prod(map(len, self.grid.values()))
        return others * sum(len(one.rates(size.per_decade)) for one in self.contenders)


def _cut(data: Data, size: Size) -> Data:
    """The first examples, of smaller images."""
    x, y = data.train_x[: size.examples], data.train_y[: size.examples]
    smaller = partial(_smaller, side=size.pixels)
    return replace(data, train_x=smaller(x), train_y=y, test_x=smaller(data.test_x))


def _smaller(images: NDArray[Any], side: int) -> NDArray[Any]:
    """Each square of so many pixels becomes their mean."""
    if side == 1:
        return images
    n, height, width, colours = images.shape
    squares = images.reshape(n, height // side, side, width // side, side, colours)
    means: NDArray[Any] = squares.mean(axis=(2, 4)).astype(images.dtype)
    return means


def _itself(losses: jax.Array, labels: jax.Array) -> jax.Array:
    return losses


def _never(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """There is no right or wrong in what was given back."""
    return jnp.full(labels.shape, jnp.nan)


def _cnn(dropout: float, share: int) -> nn.Module:
    return CNN(tuple(n // share for n in (64, 64, 128)), 1000 // share, 10, dropout)


_CNN = Panel(
    "plain",
    "CIFAR-10, convolutional network",
    "cifar10",
    partial(_cnn, 0.0),
    (c.ADAM, c.ADAGRAD, c.NESTEROV),
    Size(45),
    Size(5, 10_000, 4, 2, 2),
)

FIGURES: dict[str, tuple[Panel, ...]] = {
    "figure1": (
        Panel(
            "mnist",
            "MNIST, logistic regression",
            "mnist",
            lambda share: Logistic(10),
            (
                c.decayed(c.ADAM, -3, 0),
                c.decayed(c.NESTEROV, -1, 2),
                c.decayed(c.ADAGRAD, -2, 1),
                c.ADAGRAD_CONSTANT.over(-3, 0),
            ),
            Size(45),
            Size(45),
        ),
        Panel(
            "imdb",
            "IMDB words with dropout, logistic regression",
            "imdb",
            lambda share: Logistic(2, 0.5),
            (
                c.decayed(c.ADAM, -3, 0),
                c.decayed(c.NESTEROV, -1, 2),
                c.decayed(c.ADAGRAD, -2, 1),
                c.decayed(c.RMSPROP, -3, 0),
                c.ADAGRAD_CONSTANT.over(-3, 0),
            ),
            Size(160),
            Size(6, per_decade=2),
        ),
    ),
    "figure2": (
        Panel(
            "mlp",
            "MNIST, multi-layer network with dropout",
            "mnist",
            lambda share: MLP((1000 // share, 1000 // share), 10, 0.5),
            (c.ADAM, c.NESTEROV, c.ADAGRAD, c.RMSPROP, c.ADADELTA),
            Size(200),
            Size(10, 20_000, per_decade=2),
        ),
    ),
    "figure3": (
        _CNN,
        replace(_CNN, name="dropout", title=f"{_CNN.title} with dropout", model=partial(_cnn, 0.5)),
    ),
    "figure4": (
        Panel(
            "vae",
            "MNIST, variational auto-encoder",
            "mnist",
            lambda share: VAE(500 // share, 50),
            (c.ADAM.over(-5, -1), c.UNCORRECTED.over(-5, -1)),
            Size(100),
            Size(10, 6_000, per_decade=2),
            grid={"b1": (0.0, 0.9), "b2": (0.99, 0.999, 0.9999)},
            bound=True,
        ),
    ),
}
"""By name, the panels of each."""
