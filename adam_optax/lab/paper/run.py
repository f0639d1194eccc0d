"""Train the runs of a figure: every contender at every learning rate, from the same start."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adam_optax.lab.grid import LEARNING_RATE, jobs
from adam_optax.lab.paper.contenders import Contender
from adam_optax.lab.paper.figures import FIGURES, Panel, Size
from adam_optax.lab.results import Point
from adam_optax.lab.run import OnStage
from adam_optax.lab.sweeper import OnProgress, Sweeper
from adam_optax.lab.task import Task


@dataclass(frozen=True)
class Curve:
    """Record the cost of one run of a panel, epoch by epoch.

    Attributes:
        panel: Name of the panel.
        optimizer: Name of the optimiser.
        numbers: Hyper-parameters by name, among them `learning_rate`.
        costs: Mean loss of the batches of each epoch, noise of the model included, in nats.
        seed: Seed of the initial parameters and of the order of the batches.
    """

    panel: str
    optimizer: str
    numbers: dict[str, float]
    costs: tuple[float, ...]
    seed: int = 0

    @property
    def rate(self) -> float:
        """Return the learning rate."""
        return self.numbers[LEARNING_RATE]

    @property
    def cost(self) -> float:
        """Return the cost of the last epoch; infinite if the cost of any epoch is not finite."""
        return self.costs[-1] if all(map(math.isfinite, self.costs)) else math.inf


@dataclass(frozen=True)
class Trial:
    """Hold the runs of one optimiser with one setting, one for each seed.

    Attributes:
        curves: The runs, in the order of their seeds.
    """

    curves: tuple[Curve, ...]

    @property
    def panel(self) -> str:
        """Return the name of the panel."""
        return self.curves[0].panel

    @property
    def optimizer(self) -> str:
        """Return the name of the optimiser."""
        return self.curves[0].optimizer

    @property
    def numbers(self) -> dict[str, float]:
        """Return the hyper-parameters by name."""
        return self.curves[0].numbers

    @property
    def rate(self) -> float:
        """Return the learning rate."""
        return self.curves[0].rate

    @property
    def seeds(self) -> list[int]:
        """Return the seeds."""
        return [curve.seed for curve in self.curves]

    @property
    def cost(self) -> float:
        """Return the mean cost of the last epoch; infinite if a run diverged."""
        return sum(curve.cost for curve in self.curves) / len(self.curves)

    @property
    def costs(self) -> NDArray[np.float64]:
        """Return the mean cost of each epoch."""
        means: NDArray[np.float64] = np.mean([curve.costs for curve in self.curves], axis=0)
        return means

    def seed_costs(self, epoch: int | None = None) -> tuple[float, ...]:
        """Return the cost of each seed.

        Args:
            epoch: After which epoch, from 1; after the last, if there are fewer, or if it is
                `None`: the cost is then infinite for a run that diverged.
        """
        if epoch is None:
            return tuple(curve.cost for curve in self.curves)
        return tuple(curve.costs[min(epoch, len(curve.costs)) - 1] for curve in self.curves)


class Reproduction:
    """Train the runs of a figure, and keep finished parts on disk meanwhile.

    Args:
        figure: Name of the figure, `figure1` to `figure4`.
        full: Whether to train at the paper's size.
        data_dir: Directory of the data files.
        parts: Directory for finished parts; `None`: nothing is kept.

    Attributes:
        figure: Name of the figure.
        full: Whether to train at the paper's size.
    """

    def __init__(self, figure: str, full: bool, data_dir: Path | None, parts: Path | None) -> None:
        self.figure, self.full = figure, full
        self._data_dir, self._parts = data_dir, parts

    def contenders(self) -> list[Contender]:
        """List the contenders of all panels, each of which is compiled once."""
        return [contender for panel in FIGURES[self.figure] for contender in panel.contenders]

    def run(
        self,
        seeds: Sequence[int] = (0,),
        on_progress: OnProgress | None = None,
        on_stage: OnStage | None = None,
    ) -> list[Curve]:
        """Train all runs; a reproduction that was killed resumes from its finished parts.

        Args:
            seeds: Seeds of the initial parameters and of the order of the batches. Three at least
                give intervals by which claims can be judged.
            on_progress: Called after every run with the number of runs done and planned.
            on_stage: Called when a compilation begins, and when a run does.

        Raises:
            DataError: If data is missing or damaged.
            LabError: If a part cannot be written.
            KeyboardInterrupt: If Ctrl-C was pressed.
        """
        panels = FIGURES[self.figure]
        planned = len(seeds) * sum(panel.runs(self.size(panel)) for panel in panels)
        curves: list[Curve] = []
        # All data is read before anything is trained.
        tasks = [Task(p.problem(self.size(p)), None, self._place(p)) for p in panels]
        for panel, task in zip(panels, tasks, strict=True):
            for contender in panel.contenders:
                before = len(curves)

                def show(done: int, _: int, before: int = before) -> None:
                    if on_progress is not None:
                        on_progress(before + done, planned)

                curves += self._trained(panel, task, contender, seeds, show, on_stage)
        return curves

    def size(self, panel: Panel) -> Size:
        """Return the size at which a panel is trained."""
        return panel.paper if self.full else panel.small

    def _place(self, panel: Panel) -> Path | None:
        """Return the place of a panel's data: a folder of that name, or the directory itself."""
        if self._data_dir is None:
            return None
        own = self._data_dir / panel.data
        return own if own.exists() else self._data_dir

    def _trained(
        self,
        panel: Panel,
        task: Task,
        contender: Contender,
        seeds: Sequence[int],
        show: OnProgress,
        on_stage: OnStage | None,
    ) -> list[Curve]:
        size = self.size(panel)
        sweeper = Sweeper(
            task, [contender.optimizer], 1, size.epochs, self._parts, every_epoch=False
        )
        grid = {LEARNING_RATE: contender.rates(size.per_decade), **panel.grid}
        todo = jobs(task.problem, [contender.optimizer], grid, seeds)
        swept = sweeper.run(todo, show, on_stage)
        if swept.interrupted:
            raise KeyboardInterrupt
        return [_curve(panel, point, size.epochs) for point in swept.points]


def _curve(panel: Panel, point: Point, epochs: int) -> Curve:
    costs = point.losses.reshape(epochs, -1).mean(axis=1, dtype=np.float64)
    return Curve(panel.name, point.optimizer, point.numbers, tuple(map(float, costs)), point.seed)


def trials(curves: Sequence[Curve]) -> list[Trial]:
    """Group runs that differ by their seeds alone."""
    found: dict[object, list[Curve]] = {}
    for curve in curves:
        key = curve.panel, curve.optimizer, *curve.numbers.items()
        found.setdefault(key, []).append(curve)
    return [Trial(tuple(sorted(runs, key=lambda c: c.seed))) for runs in found.values()]


def leaders(curves: Sequence[Curve]) -> list[Trial]:
    """Return the trials at the best learning rate, with the lowest mean cost in the last epoch.

    There is one trial for each panel, optimiser and setting of the other hyper-parameters. Where
    every one has a run that diverged, it is that of the lowest rate, and its cost is infinite.
    """
    found: dict[object, Trial] = {}
    for trial in trials(curves):
        kept = found.setdefault(_group(trial), trial)
        found[_group(trial)] = min(kept, trial, key=lambda t: (t.cost, t.rate))
    return list(found.values())


def diverged(curves: Sequence[Curve]) -> bool:
    """Return whether a run of every trial diverged."""
    return not any(math.isfinite(trial.cost) for trial in leaders(curves))


def best(curves: Sequence[Curve], panel: str) -> dict[str, Trial]:
    """Return the leaders of a panel without a grid, by optimiser."""
    return {t.optimizer: t for t in leaders(curves) if t.panel == panel}


def at_the_edge(curves: Sequence[Curve]) -> list[Trial]:
    """Return the leaders at an edge of the rates tried, which a rate beyond might beat."""
    tried: dict[object, list[float]] = {}
    for trial in trials(curves):
        tried.setdefault(_group(trial), []).append(trial.rate)
    sound = (trial for trial in leaders(curves) if math.isfinite(trial.cost))
    return [t for t in sound if t.rate in _ends(tried[_group(t)])]


def _ends(rates: Sequence[float]) -> tuple[float, float]:
    return min(rates), max(rates)


def _group(trial: Trial) -> object:
    others = [number for number in trial.numbers.items() if number[0] != LEARNING_RATE]
    return trial.panel, trial.optimizer, *others
