"""Halve settings: train many of them shortly, and the best of them longer and with more seeds."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adam_optax.lab._problems.problem import Problem
from adam_optax.lab.errors import LabError
from adam_optax.lab.grid import Job
from adam_optax.lab.results import Point, Sweep
from adam_optax.lab.shown import counted

Train = Callable[[Sequence[Job], int, Callable[[int], object]], Sequence[Point]]
"""Trains jobs for so many epochs, and calls back after some of them with how many are done."""


@dataclass(frozen=True)
class Rung:
    """Describe a round of successive halving.

    Attributes:
        epochs: Epochs of each run.
        seeds: Number of seeds of each setting.
        share: One in so many settings goes on to the next round.
    """

    epochs: int
    seeds: int
    share: int


def rungs(epochs: int) -> tuple[Rung, ...]:
    """Return the rounds: a quarter of the epochs, half of them, and all.

    Shortly trained, a learning rate that is too high for the full length looks best: the best third
    of the settings goes on, and the last word is that of whole runs.

    Args:
        epochs: Epochs of a whole run.
    """
    quarter, half = (math.ceil(epochs / divisor) for divisor in (4, 2))
    return Rung(quarter, 1, 3), Rung(half, 2, 2), Rung(epochs, SEEDS, 1)


SEEDS = 6
"""Number of seeds of the last round, for choosing."""


def entrants(count: int, rounds: Sequence[Rung]) -> list[int]:
    """Return how many of `count` settings enter each round, at least one."""
    shares = [rung.share for rung in rounds[:-1]]
    return list(itertools.accumulate(shares, lambda n, share: max(1, n // share), initial=count))


@dataclass(frozen=True)
class Expense:
    """Describe runs that are planned.

    Attributes:
        what: What they are for.
        settings: Number of settings.
        seeds: Number of seeds of each setting.
        epochs: Epochs of each run.
    """

    what: str
    settings: int
    seeds: int
    epochs: int

    @property
    def total(self) -> int:
        """Return the epochs of all runs together."""
        return self.settings * self.seeds * self.epochs


@dataclass(frozen=True)
class Budget:
    """List the runs that a search makes, at most.

    Attributes:
        expenses: The runs, in order.
        whole: Epochs of a whole run.
    """

    expenses: tuple[Expense, ...]
    whole: int

    @property
    def epochs(self) -> int:
        """Return the epochs of all runs together."""
        return sum(expense.total for expense in self.expenses)

    def lines(self) -> list[str]:
        """Return the total, and a line for each purpose, such as a table's caption and rows."""
        return [
            f"budget: at most {self._size(self.epochs)}",
            *(
                f"  {what}: "
                + ", then ".join(
                    f"{counted(e.settings, 'setting')} x {counted(e.seeds, 'seed')} x "
                    f"{counted(e.epochs, 'epoch')}"
                    for e in expenses
                )
                for what, expenses in itertools.groupby(self.expenses, lambda e: e.what)
            ),
        ]

    def left(self, epochs: int) -> str:
        """Say that so many epochs are left, at most."""
        return f"at most {self._size(epochs)} left"

    def _size(self, epochs: int) -> str:
        return f"{epochs:,} epochs, as much as {epochs / self.whole:.3g} whole runs"


def expenses(what: str, tries: int, rounds: Sequence[Rung], kept_is_new: bool) -> list[Expense]:
    """List the runs that `halve` makes of so many settings.

    Args:
        what: What they are for.
        tries: Number of settings.
        rounds: The rounds.
        kept_is_new: Whether the setting that goes through all rounds is not trained yet.
    """
    return [
        Expense(what, count + kept_is_new, rung.seeds, rung.epochs)
        for rung, count in zip(rounds, entrants(tries, rounds), strict=True)
    ]


class Runs:
    """Train each run once, however often it is asked for, and count the epochs.

    Args:
        problem: The problem that is trained on.
        train: Trains jobs.
        planned: Number of epochs of all runs that are planned, at most.
        on_progress: Called after every run with the number of epochs done and planned.
        on_round: Called before runs are trained with what they are for.

    Attributes:
        planned: Number of epochs that are done or planned; less, once some are not needed.
        epochs: Number of epochs that are done.
    """

    def __init__(
        self,
        problem: Problem,
        train: Train,
        planned: int,
        on_progress: Callable[[int, int], object] | None = None,
        on_round: Callable[[str], object] | None = None,
    ) -> None:
        self._problem, self._train, self.planned = problem, train, planned
        self._report, self._begin = on_progress, on_round or (lambda _: None)
        self._points: dict[tuple[Job, int], Point] = {}
        self.epochs = 0

    def sweep(
        self, settings: Sequence[Mapping[str, float]], seeds: Sequence[int], epochs: int, what: str
    ) -> Sweep:
        """Train every setting with every seed.

        Args:
            settings: The settings.
            seeds: The seeds.
            epochs: Epochs of each run.
            what: What the runs are for.

        Raises:
            KeyboardInterrupt: If Ctrl-C ended the training.
        """
        todo = [Job(0, tuple(setting.items()), seed) for setting in settings for seed in seeds]
        missing = [job for job in todo if (job, epochs) not in self._points]
        if missing:
            before = self.epochs
            self._begin(what)
            found = self._train(missing, epochs, lambda done: self.count(before + done * epochs))
            if len(found) < len(missing):
                raise KeyboardInterrupt
            self._points |= {(j, epochs): p for j, p in zip(missing, found, strict=True)}
            self.count(before + len(missing) * epochs)
        points = tuple(self._points[job, epochs] for job in todo)
        return Sweep(self._problem, points, len(points))

    def plan(self, left: int) -> None:
        """Note that so many epochs are still planned, at most."""
        self.planned = self.epochs + left

    def count(self, epochs: int) -> None:
        """Note that so many epochs are done, and report it."""
        if epochs > self.epochs:
            self.epochs = epochs
            if self._report is not None:
                self._report(epochs, self.planned)


def late_losses(sweep: Sweep) -> list[float]:
    """Return for each setting the mean loss of the last quarter of the steps, over seeds.

    It says more of a setting than the loss at the end: a spike shows after the loss has recovered.
    It is infinite if a run diverged.
    """
    late = [
        float(np.mean(point.losses[-math.ceil(len(point.losses) / 4) :], dtype=np.float64))
        if math.isfinite(point.final_loss)
        else math.inf
        for point in sweep.points
    ]
    return [sum(seeds) / len(seeds) for seeds in np.split(np.array(late), len(sweep.settings))]


def halve(
    runs: Runs,
    tries: Sequence[Mapping[str, float]],
    kept: Mapping[str, float],
    seeds: Sequence[int],
    rounds: Sequence[Rung],
    what: str,
) -> tuple[Sweep, ...]:
    """Train settings in rounds, from each of which those with the lowest `late_losses` go on.

    Args:
        runs: Trains the runs.
        tries: The settings.
        kept: A setting that goes through all rounds beside the others.
        seeds: Seeds, of which each round takes the first ones.
        rounds: The rounds.
        what: What is in question.

    Returns:
        The runs of each round, those of `kept` first.

    Raises:
        LabError: If every run of the last round diverged.
        KeyboardInterrupt: If Ctrl-C ended the training.
    """
    found, going = [], list(tries)
    counts = entrants(len(tries), rounds)
    for number, (rung, count) in enumerate(zip(rounds, counts, strict=True), start=1):
        said = f"{what}, round {number} of {len(rounds)}"
        sweep = runs.sweep([kept, *going[:count]], seeds[: rung.seeds], rung.epochs, said)
        found.append(sweep)
        order = np.argsort(late_losses(sweep)[1:], kind="stable")
        going = [sweep.settings[1 + place].numbers for place in order]
    if not math.isfinite(min(setting.loss for setting in found[-1].settings)):
        raise LabError(
            f"every run of {rounds[-1].epochs} epochs diverged; give a problem with a lower "
            "learning rate"
        )
    return tuple(found)
