"""Record a training run, and read its loss curve."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from adam_optax.lab.shown import Shown

if TYPE_CHECKING:
    from adam_optax.lab.reports.tables import Table

OnStage = Callable[[str, str], object]
"""Called when a stage begins, with its kind, "compiling", "tuning" or "training", and what of."""
WINDOW = 20
"""Steps over which the batch loss is averaged, for the target and for the figure; in a shorter run,
all of its steps."""


@dataclass(frozen=True, eq=False, repr=False)
class Run(Shown):
    """Record the training of one optimiser with one seed; `to_pandas` has a row for each epoch.

    Attributes:
        optimizer: Name of the optimiser.
        seed: Seed of the initial parameters and of the order of the batches.
        learning_rate: Learning rate of the run.
        losses: Mean loss of the batch at every step, in nats.
        train_loss: Mean loss over the whole training set after every epoch, in nats.
        test_accuracy: Fraction of the test set that is classified right after the last epoch.
        steps_to_target: First step (from 1) at which the mean of the last `WINDOW` losses is at
            most the problem's target; `None` if there is no such step. No run gets there before
            `WINDOW` losses are there to be averaged.
        seconds_per_step: Seconds of a gradient and an update, without compilation: the median over
            epochs.
        state_bytes_per_parameter: Bytes of the optimiser's state per model parameter.
        diverged: Whether a loss was not finite; the run ended with that epoch.
        test_accuracies: Fraction of the test set that is classified right after every epoch; empty
            where that was not recorded.
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
    test_accuracies: tuple[float, ...] = ()

    def table(self) -> "Table":
        """Return the table of the run: what it ended with."""
        from adam_optax.lab.reports.comparison import run_table

        return run_table(self)

    def _columns_and_rows(self) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        from adam_optax.lab.reports.comparison import EPOCH_COLUMNS, epoch_rows

        return EPOCH_COLUMNS[1:], epoch_rows(self)


@dataclass(frozen=True)
class Epoch:
    """Record the state of a run after one epoch.

    Attributes:
        optimizer: Name of the optimiser.
        seed: Seed of the run.
        epoch: Number of the epoch, from 1.
        epochs: Number of epochs of the run.
        losses: Mean loss of the batch at every step of the epoch, in nats.
        seconds_per_step: Seconds of a gradient and an update.
        train_loss: Mean loss over the whole training set, in nats.
        test_accuracy: Fraction of the test set that is classified right.
    """

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
        """Return whether a loss of this epoch is not finite."""
        return not (math.isfinite(self.train_loss) and np.isfinite(self.losses).all())


def ignore_stage(kind: str, what: str) -> None:
    """Take the beginning of a stage, an `OnStage`, where nobody asked to hear of it."""


def smooth(losses: NDArray[np.float32]) -> NDArray[np.float64]:
    """Average the last `WINDOW` losses at every step from step `WINDOW` on.

    A mean of fewer losses at the start would be noisier, and would bend where the window is full:
    a kink that is no property of the training.

    Returns:
        The means, `first_smooth_step(losses) - 1` fewer than the losses.
    """
    # A difference of cumulative sums would be cheaper, and drown the losses that follow a spike.
    window = first_smooth_step(losses)
    return np.convolve(losses.astype(np.float64), np.ones(window), "valid") / window


def first_smooth_step(losses: NDArray[np.float32]) -> int:
    """Return the step, from 1, at which enough losses are there to be averaged."""
    return min(WINDOW, len(losses))


def steps_to(target: float, losses: NDArray[np.float32]) -> int | None:
    """Return the first step, from 1, whose smoothed loss is at most the target."""
    reached = np.flatnonzero(smooth(losses) <= target)
    return int(reached[0]) + first_smooth_step(losses) if len(reached) else None
