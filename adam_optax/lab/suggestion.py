"""Suggest a learning rate, betas and an epsilon for a problem, with the evidence."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from adam_optax.lab._problems.problem import Problem
from adam_optax.lab.grid import LEARNING_RATE, Job
from adam_optax.lab.observation import Observation, observe
from adam_optax.lab.optimizers import Optimizer, resolve
from adam_optax.lab.results import Setting, Sweep
from adam_optax.lab.shown import Shown
from adam_optax.lab.sweeper import Sweeper
from adam_optax.lab.task import Task
from adam_optax.lab.trainer import check_epochs, check_seeds
from adam_optax.lab.tuning import learning_rates

if TYPE_CHECKING:
    from adam_optax.lab.reports.tables import Table

BETAS = {"b1": (0.5, 0.8, 0.9, 0.95), "b2": (0.9, 0.99, 0.999, 0.9999)}
"""Values that are tried, every `b1` with every `b2`."""
EPS = (1e-12, 1e-8, 1e-6, 1e-4, 1e-2)
"""Values of epsilon that are tried."""
AROUND = (1 / 2, 1 / 1.4, 1.0, 1.4, 2.0)
"""Factors of the learning rate that are tried once betas and epsilon are chosen."""

_START = {"b1": 0.9, "b2": 0.999, "eps": 1e-8}


@dataclass(frozen=True, eq=False)
class Stage:
    """Hold one stage of the search: the hyper-parameters in question, and the sweep over them.

    Attributes:
        asks: Names of the hyper-parameters in question.
        sweep: The settings that were tried.
        kept: The setting before the stage, which stays unless another setting is clearly better.
        chosen: The setting after the stage.
        reason: The reason for the choice, in a sentence with the numbers.
    """

    asks: tuple[str, ...]
    sweep: Sweep
    kept: Setting
    chosen: Setting
    reason: str


@dataclass(frozen=True, eq=False, repr=False)
class Suggestion(Shown):
    """Hold the suggested hyper-parameters, and the evidence for them; shown, it is a table.

    Attributes:
        problem: The problem that was trained on.
        optimizer: Name of the optimiser.
        numbers: The suggested hyper-parameters by name.
        stages: The stages of the search, in order.
        observation: A watched run with the suggested hyper-parameters.
        epochs: Number of epochs of each run of the stages.
    """

    problem: Problem
    optimizer: str
    numbers: Mapping[str, float]
    stages: tuple[Stage, ...]
    observation: Observation
    epochs: int

    def evidence(self) -> list[str]:
        """Return the reasons, a sentence for each."""
        return [stage.reason for stage in self.stages] + _watched_evidence(self)

    def table(self) -> "Table":
        """Return the table of the suggestion: each hyper-parameter, beside its default."""
        from adam_optax.lab.reports.studies import suggestion_table

        return suggestion_table(self)

    def _columns_and_rows(self) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        from adam_optax.lab.reports.studies import tried_rows

        rows = tried_rows(self)
        return list(rows[0]), [list(row.values()) for row in rows]


def suggest(
    problem: str | Problem,
    optimizer: str | Optimizer = "adam",
    seeds: Sequence[int] = range(2),
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    data_dir: Path | str | None = None,
    parts: Path | str | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> Suggestion:
    """Find a learning rate, then betas, then epsilon, then the rate again, in short runs.

    A default stays unless another value is better by more than two standard errors of the mean
    over seeds: among many noisy values, the best one is often merely lucky.

    Args:
        problem: A name (see `problems`) or a `Problem`.
        optimizer: An optimiser that has `b1`, `b2` and `eps`.
        seeds: Seeds of the runs.
        epochs: Epochs of each run; by default a fifth of the problem's, and at least one.
        batch_size: Examples per step; by default the problem's.
        data_dir: The directory of the data files, for problems that are not embedded.
        parts: A directory for finished runs, from which a killed search goes on.
        on_progress: Called after every run with the number of runs done and planned.

    Returns:
        The suggested hyper-parameters, and the evidence for them.

    Raises:
        DataError: If the data is missing or damaged.
        LabError: If a name is unknown, the optimiser has no such hyper-parameters, every run
            diverged.
        KeyboardInterrupt: If Ctrl-C ended the search; the finished runs are in `parts`.
    """
    found, task = resolve(optimizer), Task(problem, batch_size, data_dir)
    check_seeds(seeds)
    epochs = check_epochs(task.problem, epochs or max(1, task.problem.epochs // 5))
    start = {LEARNING_RATE: found.rate * task.problem.learning_rate, **_START}
    search = _Search(Sweeper(task, [found], 1, epochs, parts), seeds, on_progress)
    stages = search.run(start, learning_rates(task.problem, found))
    numbers = stages[-1].chosen.numbers
    others = {name: value for name, value in numbers.items() if name != LEARNING_RATE}
    seen = observe(
        task.problem,
        found,
        seeds[0],
        learning_rate=numbers[LEARNING_RATE],
        epochs=epochs,
        batch_size=batch_size,
        data_dir=data_dir,
        parts=parts,
        on_epoch=None,
        on_stage=None,
        **others,
    )
    return Suggestion(task.problem, found.name, numbers, tuple(stages), seen, epochs)


class _Search:
    """Run the stages of a search by one compiled program."""

    def __init__(
        self,
        sweeper: Sweeper,
        seeds: Sequence[int],
        on_progress: Callable[[int, int], object] | None,
    ) -> None:
        self._sweeper, self._seeds, self._report = sweeper, seeds, on_progress
        self._done = 0

    def run(self, start: dict[str, float], grid: Sequence[float]) -> list[Stage]:
        betas = [dict(zip(BETAS, pair, strict=True)) for pair in itertools.product(*BETAS.values())]
        runs = len(grid) + len(betas) + len(EPS) + len(AROUND)
        self._planned = runs * len(self._seeds)
        rates = [{LEARNING_RATE: rate} for rate in grid]
        first = self._stage((LEARNING_RATE,), start, rates, always=True)
        second = self._stage(("b1", "b2"), first.chosen.numbers, betas)
        third = self._stage(("eps",), second.chosen.numbers, [{"eps": eps} for eps in EPS])
        rate = third.chosen.numbers[LEARNING_RATE]
        around = [{LEARNING_RATE: float(f"{factor * rate:.3g}")} for factor in AROUND]
        return [first, second, third, self._stage((LEARNING_RATE,), third.chosen.numbers, around)]

    def _stage(
        self,
        asks: tuple[str, ...],
        base: dict[str, float],
        tries: Sequence[dict[str, float]],
        always: bool = False,
    ) -> Stage:
        """Try changes of a setting, and choose the best if it is clearly better, or `always`."""
        points = [tuple((base | change).items()) for change in tries]
        todo = [Job(0, point, seed) for point in points for seed in self._seeds]
        sweep = self._sweeper.run(todo, self._progress)
        if sweep.interrupted:
            raise KeyboardInterrupt
        self._done += len(todo)
        best = sweep.best()
        same = (setting for setting in sweep.settings if setting.numbers == base)
        kept = next(same, best)
        chosen = best if always or _is_clearly_better(best, kept) else kept
        return Stage(asks, sweep, kept, chosen, _reason(asks, sweep, kept, best, chosen))

    def _progress(self, done: int, _: int) -> None:
        if self._report is not None:
            self._report(self._done + done, self._planned)


def _is_clearly_better(best: Setting, kept: Setting) -> bool:
    """Return whether the best is better by more than two standard errors of the difference."""
    if not math.isfinite(kept.loss):
        return True
    error = math.hypot(best.spread, kept.spread) / math.sqrt(len(best.losses))
    return kept.loss - best.loss > 2 * error


def _reason(
    asks: tuple[str, ...], sweep: Sweep, kept: Setting, best: Setting, chosen: Setting
) -> str:
    said = f"{_named(asks, chosen)}: training loss {_loss(chosen)}"
    if chosen is not best:
        said += f"; {_named(asks, best)} with {_loss(best)} is not clearly better"
    elif kept is not best:
        said += f", against {_loss(kept)} with {_named(asks, kept)}"
    else:
        second = min((s for s in sweep.settings if s is not best), key=lambda s: s.loss)
        said += f", the best of {len(sweep.settings)}; next {_loss(second)} with "
        said += _named(asks, second)
    if asks == (LEARNING_RATE,):
        said += _limits(sweep, chosen)
    return said


def _limits(sweep: Sweep, chosen: Setting) -> str:
    grid = [setting.numbers[LEARNING_RATE] for setting in sweep.settings]
    lost = [s.numbers[LEARNING_RATE] for s in sweep.settings if not math.isfinite(s.loss)]
    said = f"; tried from {min(grid):.3g} to {max(grid):.3g}"
    if chosen.numbers[LEARNING_RATE] in (min(grid), max(grid)):
        said += ", at whose edge it is: a better one may lie beyond"
    return said + (f"; diverges from {min(lost):.3g} on" if lost else "")


def _named(asks: tuple[str, ...], setting: Setting) -> str:
    return ", ".join(f"{name} {setting.numbers[name]:.4g}" for name in asks)


def _loss(setting: Setting) -> str:
    return f"{setting.loss:.4g} ± {setting.spread:.2g}"


def _watched_evidence(suggestion: Suggestion) -> list[str]:
    """Describe epsilon, noise and step size at the end of the watched run."""
    layers = suggestion.observation.reading.values()
    last = lambda name: np.array([layer[name][-1] for layer in layers])  # noqa: E731
    roots, eps = last("root_nu"), suggestion.numbers["eps"]
    low, median = np.nanmin(roots[:, 0]), np.nanmedian(roots[:, 2])
    ruled, signal, ratio = last("eps_share"), last("signal_to_noise"), last("update_ratio")
    return [
        f"watched, at the end: the root of nu is {median:.2g} for half of the weights and "
        f"{low:.2g} at the lowest 5 % of a layer; eps {eps:.2g} rules "
        f"{np.nanmax(ruled):.0%} of the weights of the layer where it rules most",
        f"watched, at the end: gradients' signal to noise is {np.nanmin(signal):.2g} to "
        f"{np.nanmax(signal):.2g} by layer, and a step moves a layer by {np.nanmin(ratio):.2g} to "
        f"{np.nanmax(ratio):.2g} of its size",
    ]
