"""Train the runs of a figure: every contender at every learning rate, from the same start."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from adam_optax.lab.grid import LEARNING_RATE, Settings, jobs
from adam_optax.lab.paper.contenders import Contender
from adam_optax.lab.paper.figures import FIGURES, Panel, Size
from adam_optax.lab.paper.trials import Curve, Trial, group_of, trials
from adam_optax.lab.results import Point
from adam_optax.lab.run import OnStage
from adam_optax.lab.sweeper import OnProgress, Sweeper, default_width
from adam_optax.lab.task import Task


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
            seeds: Seeds of the initial parameters and of the order of the batches. The first one
                is trained at all rates, and chooses each optimiser's; the others are trained at the
                chosen rates alone. Three others give intervals by which claims can be judged: they
                had no part in the choice, so that no rate looks good by chance.
            on_progress: Called after every run with the number of runs done and planned.
            on_stage: Called when a compilation begins, and when a run does.

        Raises:
            DataError: If data is missing or damaged.
            LabError: If a part cannot be written.
            KeyboardInterrupt: If Ctrl-C was pressed.
        """
        panels = FIGURES[self.figure]
        planned = self.planned(len(seeds) - 1)
        curves: list[Curve] = []
        # All data is read before anything is trained.
        tasks = [Task(p.problem(self.size(p)), None, self._place(p)) for p in panels]
        for panel, task in zip(panels, tasks, strict=True):
            for contender in panel.contenders:

                def show(done: int, before: int) -> None:
                    if on_progress is not None:
                        on_progress(before + done, planned)

                trainer = _Contest(self, panel, task, contender, on_stage, self._parts)
                curves += trainer.run(seeds, curves, show)
        return curves

    def planned(self, judging: int) -> int:
        """Return how many runs are planned, or one more for each setting of other numbers.

        Args:
            judging: Number of seeds at the chosen rates.
        """
        return sum(
            panel.runs(self.size(panel)) + judging * panel.chosen for panel in FIGURES[self.figure]
        )

    def size(self, panel: Panel) -> Size:
        """Return the size at which a panel is trained."""
        return panel.paper if self.full else panel.small

    def _place(self, panel: Panel) -> Path | None:
        """Return the place of a panel's data: a folder of that name, or the directory itself."""
        if self._data_dir is None:
            return None
        own = self._data_dir / panel.data
        return own if own.exists() else self._data_dir


class _Contest:
    """Train one contender of a panel: all rates with one seed, the chosen ones with others."""

    def __init__(
        self,
        reproduction: Reproduction,
        panel: Panel,
        task: Task,
        contender: Contender,
        on_stage: OnStage | None,
        parts: Path | None,
    ) -> None:
        self._panel, self._task, self._contender = panel, task, contender
        self._size, self._on_stage, self._parts = reproduction.size(panel), on_stage, parts
        self._sweepers: dict[int, Sweeper] = {}

    def run(
        self, seeds: Sequence[int], others: Sequence[Curve], show: Callable[[int, int], None]
    ) -> list[Curve]:
        """Return the runs of the contender.

        Args:
            seeds: The seed that chooses, and those that judge.
            others: The runs of the contenders before.
            show: Called with the number of runs done, and of those before.
        """
        grid = {LEARNING_RATE: self._contender.rates(self._size.per_decade), **self._panel.grid}
        curves = self._trained(grid, seeds[:1], lambda done: show(done, len(others)))
        if len(seeds) > 1:
            before = len(others) + len(curves)
            chosen = self._chosen([*others, *curves])
            curves += self._trained(chosen, seeds[1:], lambda done: show(done, before))
        return curves

    def _chosen(self, curves: Sequence[Curve]) -> list[dict[str, float]]:
        """Return the settings that are trained with more seeds.

        They are the contender's best for each setting of the other numbers; and what was best for
        the panel's first contender, where the paper compares two contenders at one rate.
        """
        names = {self._contender.optimizer.name}
        if self._panel.grid:
            names.add(self._panel.contenders[0].optimizer.name)
        best: dict[object, Trial] = {}
        for trial in trials([c for c in curves if c.panel == self._panel.name]):
            if trial.optimizer in names:
                kept = best.setdefault(group_of(trial), trial)
                best[group_of(trial)] = min(kept, trial, key=lambda t: t.curves[0].cost)
        found = [trial.numbers for trial in best.values()]
        return [numbers for i, numbers in enumerate(found) if numbers not in found[:i]]

    def _trained(
        self, settings: Settings, seeds: Sequence[int], show: Callable[[int], None]
    ) -> list[Curve]:
        optimizer, epochs = self._contender.optimizer, self._size.epochs
        todo = jobs(self._task.problem, [optimizer], settings, seeds)
        width = default_width(self._task, epochs, len(todo))
        if width not in self._sweepers:
            self._sweepers[width] = Sweeper(
                self._task, [optimizer], width, epochs, self._parts, every_epoch=False
            )
        swept = self._sweepers[width].run(todo, lambda done, _: show(done), self._on_stage)
        if swept.interrupted:
            raise KeyboardInterrupt
        return [_curve(self._panel, point, epochs) for point in swept.points]


def _curve(panel: Panel, point: Point, epochs: int) -> Curve:
    costs = point.losses.reshape(epochs, -1).mean(axis=1, dtype=np.float64)
    return Curve(panel.name, point.optimizer, point.numbers, tuple(map(float, costs)), point.seed)
