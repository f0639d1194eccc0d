"""Define the experiments behind the paper's figures: problems, contenders and sizes."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from numpy.typing import NDArray

from adam_optax.lab._problems.builtin import problems
from adam_optax.lab._problems.models import CNN, MLP, VAE, Logistic
from adam_optax.lab._problems.problem import Data, Problem
from adam_optax.lab.paper import contenders as c

_BATCH = 128


@dataclass(frozen=True)
class Size:
    """Describe the size of an experiment, in relation to the paper's.

    Attributes:
        epochs: Passes over the examples.
        examples: Number of examples, the first of the training set; `None`: all.
        share: Divisor of the widths of the paper's hidden layers.
        pixels: Divisor of the sides of the images.
        per_decade: Number of learning rates in a decade.
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
    """Describe one panel of a figure: a problem, and the optimisers compared on it.

    Attributes:
        name: Name in the results.
        title: Title in the figure.
        data: Name of the built-in problem whose data is taken.
        model: Builds the module from the divisor of the hidden layers' widths.
        contenders: The optimisers and their learning rates.
        paper: The paper's size.
        small: A size that two CPU cores train in minutes.
        grid: Values of other hyper-parameters, which are tried with every learning rate.
        bound: Whether the model returns losses and not logits.
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
        """Build the problem at a size."""
        own = problems[self.data]
        name = f"{self.name}-{size.examples or 'all'}-{size.share}-{size.pixels}"
        found = replace(
            own,
            name=name,
            load=lambda place: _reduce(own.load(place), size),
            model=partial(self.model, size.share),
            batch_size=_BATCH,
            epochs=size.epochs,
        )
        if self.bound:
            return replace(found, losses=_outputs_as_losses, right=_no_accuracy)
        return found

    def runs(self, size: Size) -> int:
        """Return the number of runs of the panel at a size, with one seed at all rates."""
        others = math.prod(map(len, self.grid.values()))
        return others * sum(len(one.rates(size.per_decade)) for one in self.contenders)

    @property
    def chosen(self) -> int:
        """Return the most settings that are trained with more seeds, at the chosen rates."""
        others = math.prod(map(len, self.grid.values()))
        # With a grid, the rates of the first contender are of interest for the others, too.
        return others * (2 * len(self.contenders) - 1 if self.grid else len(self.contenders))


def _reduce(data: Data, size: Size) -> Data:
    """Reduce a data set to its first examples and to smaller images."""
    x, y = data.train_x[: size.examples], data.train_y[: size.examples]
    smaller = partial(_downscale, side=size.pixels)
    return replace(data, train_x=smaller(x), train_y=y, test_x=smaller(data.test_x))


def _downscale(images: NDArray[Any], side: int) -> NDArray[Any]:
    """Replace each square of `side` by `side` pixels by the mean of its pixels."""
    if side == 1:
        return images
    n, height, width, colours = images.shape
    squares = images.reshape(n, height // side, side, width // side, side, colours)
    means: NDArray[Any] = squares.mean(axis=(2, 4)).astype(images.dtype)
    return means


def _outputs_as_losses(losses: jax.Array, labels: jax.Array) -> jax.Array:
    return losses


def _no_accuracy(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """Return NaN for each label, because a reconstruction is neither right nor wrong."""
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
"""The panels of each figure, by the figure's name."""
