"""Define a problem: data, model, loss, budget and target."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from numpy.typing import NDArray
from optax.losses import softmax_cross_entropy_with_integer_labels

Measure = Callable[[jax.Array, jax.Array], jax.Array]
"""Maps the model's outputs and the labels to a number for each label."""


def hits(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return 1 where the likeliest class is the label, and 0 elsewhere."""
    return (logits.argmax(-1) == labels).astype(jnp.float32)


@dataclass(frozen=True, eq=False)
class Data:
    """Hold a data set of examples and their classes.

    Attributes:
        train_x: Features to train on, in whatever form the model takes.
        train_y: Labels to train on, int32: one for each example or, if the example is a sequence,
            one for each place of the sequence.
        test_x: Features of the held-out examples.
        test_y: Labels of the held-out examples.
    """

    train_x: NDArray[Any]
    train_y: NDArray[Any]
    test_x: NDArray[Any]
    test_y: NDArray[Any]


@dataclass(frozen=True)
class Problem:
    """Describe a problem to train on.

    Attributes:
        name: Name on the command line and in file names.
        description: One line for the help text.
        load: Reads the data from the directory of its files, or from `None`.
        model: Builds the Flax module, which maps a batch of features to outputs. In training the
            module is given a random key named `dropout`, in evaluation none.
        batch_size: Examples per step.
        epochs: Passes over the training set.
        target_loss: Mean training loss to be reached, in nats.
        learning_rate: Adam's learning rate on this problem.
        losses: Maps outputs and labels to losses; by default the cross-entropy of logits, in nats.
        right: Maps outputs and labels to numbers whose mean is the accuracy.
    """

    name: str
    description: str
    load: Callable[[Path | None], Data]
    model: Callable[[], nn.Module]
    batch_size: int
    epochs: int
    target_loss: float
    learning_rate: float
    losses: Measure = softmax_cross_entropy_with_integer_labels
    right: Measure = hits
