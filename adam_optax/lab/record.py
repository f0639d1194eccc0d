"""What is recorded of a training run, and how its loss curve is read."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WINDOW = 20
"""Steps over which the batch loss is averaged, for the target and for the figure."""


@dataclass(frozen=True, eq=False)
class Run:
    """What one optimiser did with one seed.

    Attributes:
      optimizer: Its name.
      seed: Seed of the initial parameters and of the order of the batches.
      learning_rate: The rate that was used.
      losses: Mean cross-entropy of the batch at every step, in nats.
      train_loss: Mean cross-entropy of the whole training set after every epoch.
      test_accuracy: Fraction of the test set that is right after the last epoch.
      steps_to_target: First step (from 1) at which the mean of the last `WINDOW` losses
        is at most the problem's target; `None` if there is none.
      seconds_per_step: Gradient and update, without compilation; median over epochs.
      state_bytes_per_parameter: Bytes of the optimiser's state per model parameter.
      diverged: Whether a loss was not finite; the run then ended with that epoch.
    """

    optimizer: str
    seed: int
    learning_rate: float
    losses: NDArray[np.float32]
    train_loss: tuple[float, ...]
    test_accuracy: float
    steps_to_target: int | None
    seconds_per_step: float
    state_bytes_per_parameter: float
    diverged: bool


@dataclass(frozen=True)
class Epoch:
    """Where a run stands after an epoch, counted from 1."""

    optimizer: str
    seed: int
    epoch: int
    epochs: int
    losses: NDArray[np.float32]
    seconds_per_step: float
    train_loss: float
    test_accuracy: float

    @property
    def diverged(self) -> bool:
        """Whether a loss of this epoch is not finite."""
        return not (math.isfinite(self.train_loss) and np.isfinite(self.losses).all())


def smooth(losses: NDArray[np.float32]) -> NDArray[np.float64]:
    """Averages the last `WINDOW` losses at every step, fewer at the start."""
    # A difference of cumulative sums would be cheaper, and drown what follows a spike.
    total = np.convolve(losses.astype(np.float64), np.ones(WINDOW))[: len(losses)]
    return total / np.minimum(np.arange(1, len(losses) + 1), WINDOW)


def steps_to(target: float, losses: NDArray[np.float32]) -> int | None:
    """Returns the first step, from 1, whose smoothed loss is at most the target."""
    reached = np.flatnonzero(smooth(losses) <= target)
    return int(reached[0]) + 1 if len(reached) else None
