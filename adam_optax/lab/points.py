"""What a sweep found: run by run, and setting by setting."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adam_optax.lab.errors import LabError
from adam_optax.lab.problem import Problem


@dataclass(frozen=True, eq=False)
class Point:
    """One run of a sweep.

    Attributes:
      optimizer: Its name.
      numbers: Hyper-parameters by name, among them `learning_rate`.
      seed: Seed of the initial parameters and of the order of the batches.
      losses: Mean cross-entropy of the batch at every step, in nats.
      train_loss: Mean cross-entropy of the whole training set after every epoch.
      test_accuracy: Fraction of the test set that is right after the last epoch.
    """

    optimizer: str
    numbers: dict[str, float]
    seed: int
    losses: NDArray[np.float32]
    train_loss: NDArray[np.float32]
    test_accuracy: float

    @property
    def final_loss(self) -> float:
        """Training loss at the end; infinite if a loss before was not finite."""
        sound = np.isfinite(self.losses).all() and np.isfinite(self.train_loss[-1])
        return float(self.train_loss[-1]) if sound else math.inf

    def row(self) -> dict[str, Any]:
        """The run as a row of a tidy table."""
        measured = {"final_loss": self.final_loss, "test_accuracy": self.test_accuracy}
        diverged = not math.isfinite(self.final_loss)
        first = {"optimizer": self.optimizer, **self.numbers, "seed": self.seed}
        return {**first, **measured, "diverged": diverged}


@dataclass(frozen=True)
class Setting:
    """All runs of one setting of one optimiser.

    Attributes:
      optimizer: Its name.
      numbers: Hyper-parameters by name.
      losses: Training loss at the end, by seed; infinite for a run that diverged.
      accuracies: Test accuracy, by seed.
    """

    optimizer: str
    numbers: dict[str, float]
    losses: tuple[float, ...]
    accuracies: tuple[float, ...]

    @property
    def loss(self) -> float:
        """The mean over seeds, infinite if one diverged."""
        return sum(self.losses) / len(self.losses)

    @property
    def spread(self) -> float:
        """The standard deviation over seeds: 0 for one, not a number if one diverged."""
        finite = math.isfinite(self.loss)
        return float(np.std(self.losses, ddof=int(len(self.losses) > 1))) if finite else math.nan


@dataclass(frozen=True, eq=False)
class Sweep:
    """The runs of a sweep.

    Attributes:
      problem: What was trained.
      points: The finished runs.
      planned: How many there were to be.
    """

    problem: Problem
    points: tuple[Point, ...]
    planned: int

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it before all were finished."""
        return len(self.points) < self.planned

    def rows(self) -> list[dict[str, Any]]:
        """A tidy table, a row for each run."""
        return [point.row() for point in self.points]

    @cached_property
    def settings(self) -> list[Setting]:
        """The runs by setting, in the order in which they were run."""
        groups: dict[Any, list[Point]] = {}
        for point in self.points:
            groups.setdefault((point.optimizer, *point.numbers.items()), []).append(point)
        return [
            Setting(
                points[0].optimizer,
                points[0].numbers,
                tuple(point.final_loss for point in points),
                tuple(point.test_accuracy for point in points),
            )
            for points in groups.values()
        ]

    def best(self, optimizer: str | None = None) -> Setting:
        """The setting with the lowest mean training loss, of one optimiser if it is named.

        Raises:
          LabError: If all diverged, or nothing was run.
        """
        settings = [s for s in self.settings if optimizer in (None, s.optimizer)]
        found = min(settings, key=lambda setting: setting.loss, default=None)
        if found is None or not math.isfinite(found.loss):
            who = optimizer or "the sweep"
            raise LabError(f"{who}: every run diverged; try lower learning rates")
        return found
