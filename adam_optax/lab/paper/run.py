"""Trains the runs of a figure: every contender at every learning rate, from the same start."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adam_optax.lab.errors import LabError
from adam_optax.lab.paper.contenders import Contender
from adam_optax.lab.paper.figures import FIGURES, Panel, Size
from adam_optax.lab.points import Point
from adam_optax.lab.settings import RATE, Job, jobs
from adam_optax.lab.sweep import OnProgress, Sweeper
from adam_optax.lab.task import Task


@dataclass(frozen=True)
class Curve:
    """A run.

    Attributes:
      panel: Its name.
      optimizer: Its name.
      numbers: Hyper-parameters by name, among them `learning_rate`.
      costs: The mean loss of the batches of each epoch, noise of the model included, in nats.
    """

    panel: str
    optimizer: str
    numbers: dict[str, float]
    costs: tuple[float, ...]

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.numbers[RATE]

    @property
    def cost(self) -> float:
        """In the last epoch; infinite if one is not finite."""
        return self.costs[-1] if all(map(math.isfinite, self.costs)) else math.inf


class Reproduction:
    """The runs of a figure, and where their finished parts are kept meanwhile.

    Attributes:
      figure: Its name.
      full: Whether at the paper's size.
    """

    def __init__(self, figure: str, full: bool, data_dir: Path | None, parts: Path | None) -> None:
        self.figure, self.full = figure, full
        self._data_dir, self._parts = data_dir, parts
        self._done: list[tuple[Sweeper, list[Job]]] = []

    def run(self, seed: int = 0, on_progress: OnProgress | None = None) -> list[Curve]:
        """Trains all; one that was killed goes on from its parts.

        Raises:
          DataError: If data is missing or damaged.
          LabError: If a part cannot be kept.
          KeyboardInterrupt: With Ctrl-C.
        """
        panels = FIGURES[self.figure]
        planned = sum(panel.runs(self.size(panel)) for panel in panels)
        curves: list[Curve] = []
        # All data is read before anything is trained.
        tasks = [Task(p.problem(self.size(p)), None, self._place(p)) for p in panels]
        for panel, task in zip(panels, tasks, strict=True):
            for contender in panel.contenders:
                before = len(curves)

                def show(done: int, _: int, before: int = before) -> None:
                    if on_progress is not None:
                        on_progress(before + done, planned)

                curves += self._trained(panel, task, contender, seed, show)
        return curves

    def clear(self) -> None:
        """Removes the parts, once the results are written."""
        for sweeper, todo in self._done:
            sweeper.clear(todo)

    def size(self, panel: Panel) -> Size:
        """How much of a panel is trained."""
        return panel.paper if self.full else panel.small

    def _place(self, panel: Panel) -> Path | None:
        """Where its data is: a folder of that name, or the directory itself."""
        if self._data_dir is None:
            return None
        own = self._data_dir / panel.data
        return own if own.exists() else self._data_dir

    def _trained(
        self, panel: Panel, task: Task, contender: Contender, seed: int, show: OnProgress
    ) -> list[Curve]:
        size = self.size(panel)
        sweeper = Sweeper(
            task, [contender.optimizer], 1, size.epochs, self._parts, every_epoch=False
        )
        grid = {RATE: contender.rates(size.per_decade), **panel.grid}
        todo = jobs(task.problem, [contender.optimizer], grid, [seed])
        swept = sweeper.run(todo, show)
        if swept.interrupted:
            raise KeyboardInterrupt
        self._done.append((sweeper, todo))
        return [_curve(panel, point, size.epochs) for point in swept.points]


def _curve(panel: Panel, point: Point, epochs: int) -> Curve:
    costs = point.losses.reshape(epochs, -1).mean(axis=1, dtype=np.float64)
    return Curve(panel.name, point.optimizer, point.numbers, tuple(map(float, costs)))


def leaders(curves: Sequence[Curve]) -> list[Curve]:
    """Of each panel, optimiser and setting of other numbers, the run at the best learning rate.

    That is the one with the lowest cost in the last epoch.

    Raises:
      LabError: If all runs of one diverged.
    """
    found: dict[object, Curve] = {}
    for curve in curves:
        kept = found.setdefault(_group(curve), curve)
        found[_group(curve)] = min(kept, curve, key=lambda c: c.cost)
    for curve in found.values():
        if not math.isfinite(curve.cost):
            raise LabError(f"{curve.panel}: every run of {curve.optimizer} diverged")
    return list(found.values())


def best(curves: Sequence[Curve], panel: str) -> dict[str, Curve]:
    """The leaders of a panel without a grid, by optimiser."""
    return {c.optimizer: c for c in leaders(curves) if c.panel == panel}


def at_the_edge(curves: Sequence[Curve]) -> list[Curve]:
    """The leaders that a rate beyond those tried might beat."""
    tried: dict[object, list[float]] = {}
    for curve in curves:
        tried.setdefault(_group(curve), []).append(curve.rate)
    return [c for c in leaders(curves) if c.rate in _ends(tried[_group(c)])]


def _ends(rates: Sequence[float]) -> tuple[float, float]:
    return min(rates), max(rates)


def _group(curve: Curve) -> object:
    others = [number for number in curve.numbers.items() if number[0] != RATE]
    return curve.panel, curve.optimizer, *others
