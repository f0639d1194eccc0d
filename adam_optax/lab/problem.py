"""What a problem is: data, model, loss, budget and target."""

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
"""From outputs of the model and labels to a number for each label."""


def hits(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """1 where the likeliest class is the label, else 0."""
    return (logits.argmax(-1) == labels).astype(jnp.float32)


@dataclass(frozen=True, eq=False)
class Data:
    """A data set of examples and their classes.

    Features are whatever the model takes; labels are int32, one for each example or, of a
    sequence, one for each place of it.
    """

    train_x: NDArray[Any]
    train_y: NDArray[Any]
    test_x: NDArray[Any]
    test_y: NDArray[Any]


@dataclass(frozen=True)
class Problem:
    """A task to train on.

    Attributes:
      name: What the command line and the file names call it.
      description: One line for the help text.
      load: Reads the data; the argument is the directory of its files, or `None`.
      model: Makes the Flax module, which maps a batch of features to outputs. In training it is
        given a random key named `dropout`, in evaluation none.
      batch_size: Examples per step.
      epochs: Passes over the training set.
      target_loss: Mean training loss, in nats, to be reached.
      learning_rate: Adam's learning rate on this problem.
      losses: Of outputs and labels: by default the cross-entropy of logits, in nats.
      right: Whether an output is right, as a number whose mean is the accuracy.
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
