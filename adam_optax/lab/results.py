"""Hold the results of a sweep: run by run, and setting by setting."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adam_optax.lab._problems.problem import Problem
from adam_optax.lab.errors import LabError
from adam_optax.lab.shown import Shown

if TYPE_CHECKING:
    from adam_optax.lab.reports.tables import Table


@dataclass(frozen=True, eq=False)
class Point:
    """Record one run of a sweep.

    Attributes:
        optimizer: Name of the optimiser.
        numbers: Hyper-parameters by name, among them `learning_rate`.
        seed: Seed of the initial parameters and of the order of the batches.
        losses: Mean loss of the batch at every step, in nats.
        train_loss: Mean loss over the whole training set after every epoch, in nats.
        test_accuracy: Fraction of the test set that is classified right after the last epoch.
    """

    optimizer: str
    numbers: dict[str, float]
    seed: int
    losses: NDArray[np.float32] = field(repr=False)
    train_loss: NDArray[np.float32] = field(repr=False)
    test_accuracy: float

    @property
    def final_loss(self) -> float:
        """Return the training loss at the end; infinite if an earlier loss was not finite."""
        sound = np.isfinite(self.losses).all() and np.isfinite(self.train_loss[-1])
        return float(self.train_loss[-1]) if sound else math.inf

    def row(self) -> dict[str, Any]:
        """Return the run as a row of a tidy table."""
        measured = {"final_loss": self.final_loss, "test_accuracy": self.test_accuracy}
        diverged = not math.isfinite(self.final_loss)
        first = {"optimizer": self.optimizer, **self.numbers, "seed": self.seed}
        return {**first, **measured, "diverged": diverged}


@dataclass(frozen=True)
class Setting:
    """Summarise all runs of one setting of one optimiser.

    Attributes:
        optimizer: Name of the optimiser.
        numbers: Hyper-parameters by name.
        losses: Training loss at the end, by seed, in nats; infinite for a run that diverged.
        accuracies: Test accuracy, by seed.
    """

    optimizer: str
    numbers: dict[str, float]
    losses: tuple[float, ...]
    accuracies: tuple[float, ...]

    @property
    def loss(self) -> float:
        """Return the mean training loss over seeds: infinite if a run diverged."""
        return sum(self.losses) / len(self.losses)

    @property
    def spread(self) -> float:
        """Return the losses' standard deviation: 0 for one seed, NaN if a run diverged."""
        finite = math.isfinite(self.loss)
        return float(np.std(self.losses, ddof=int(len(self.losses) > 1))) if finite else math.nan


@dataclass(frozen=True, eq=False, repr=False)
class Sweep(Shown):
    """Hold the runs of a sweep; at the prompt and in notebooks they are a table.

    Attributes:
        problem: The problem that was trained on.
        points: The finished runs.
        planned: Number of runs that were planned.
    """

    problem: Problem
    points: tuple[Point, ...]
    planned: int

    @property
    def interrupted(self) -> bool:
        """Return whether Ctrl-C ended the sweep before all runs were finished."""
        return len(self.points) < self.planned

    def rows(self) -> list[dict[str, Any]]:
        """Return a tidy table with a row for each run."""
        return [point.row() for point in self.points]

    @cached_property
    def settings(self) -> list[Setting]:
        """Return the runs grouped by setting, in the order of training."""
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

    def table(self) -> "Table | None":
        """Return the table of the sweep: each setting's mean over seeds, the best first."""
        from adam_optax.lab.reports.studies import sweep_table

        return sweep_table(self) if self.points else None

    def _columns_and_rows(self) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        rows = self.rows()
        return list(rows[0]) if rows else [], [list(row.values()) for row in rows]

    def best(self, optimizer: str | None = None) -> Setting:
        """Return the setting with the lowest mean training loss.

        Args:
            optimizer: Name of the optimiser whose settings count; `None`: those of all optimisers.

        Raises:
            LabError: If every run diverged, or none was finished.
        """
        settings = [s for s in self.settings if optimizer in (None, s.optimizer)]
        found = min(settings, key=lambda setting: setting.loss, default=None)
        if found is None or not math.isfinite(found.loss):
            who = optimizer or "the sweep"
            raise LabError(f"{who}: every run diverged; try lower learning rates")
        return found
