"""Suggest a learning rate, betas and an epsilon for a problem, or to keep the defaults."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adam_optax.lab._problems.problem import Problem
from adam_optax.lab.errors import LabError
from adam_optax.lab.grid import LEARNING_RATE, Job
from adam_optax.lab.halving import Budget, rungs
from adam_optax.lab.observation import Observation, observe
from adam_optax.lab.optimizers import Optimizer, resolve
from adam_optax.lab.paired import FEWEST_SEEDS
from adam_optax.lab.pool import RETRIES, Pool
from adam_optax.lab.results import Point, Setting
from adam_optax.lab.run import OnStage, ignore_stage
from adam_optax.lab.search import Confirmation, Search, Stage, named
from adam_optax.lab.shown import Shown, counted
from adam_optax.lab.sweeper import Sweeper
from adam_optax.lab.task import Task
from adam_optax.lab.trainer import check_epochs, check_seeds

if TYPE_CHECKING:
    from adam_optax.lab.reports.tables import Table


@dataclass(frozen=True, eq=False, repr=False)
class Suggestion(Shown):
    """Hold the suggested hyper-parameters, and the evidence for them; shown, it is a table.

    Attributes:
        problem: The problem that was trained on.
        optimizer: Name of the optimiser.
        default: The default hyper-parameters by name.
        numbers: The suggested hyper-parameters by name: the default, unless a change was confirmed.
        stages: The stages of the search, in order.
        confirmation: The choice and the default in whole runs with seeds that had no part in the
            choice; `None` if the default was the best of the settings that were tried.
        observation: A watched run with the suggested hyper-parameters.
        epochs: Number of epochs of a whole run.
        budget: The runs that were planned.
        epochs_trained: Number of epochs of all runs together.
    """

    problem: Problem
    optimizer: str
    default: Mapping[str, float]
    numbers: Mapping[str, float]
    stages: tuple[Stage, ...]
    confirmation: Confirmation | None
    observation: Observation
    epochs: int
    budget: Budget
    epochs_trained: int

    @property
    def keeps_default(self) -> bool:
        """Return whether the suggestion is to keep the default."""
        return self.numbers == self.default

    def answer(self) -> str:
        """Return the suggestion in a sentence."""
        if self.keeps_default:
            return f"keep the default: {named(tuple(self.default), self.default)}"
        changed = tuple(n for n, value in self.numbers.items() if value != self.default[n])
        return f"change {named(changed, self.numbers)} (default: {named(changed, self.default)})"

    def rows(self) -> list[dict[str, Any]]:
        """Return a tidy table with a row for each run: its stage, its epochs, and its results."""
        sweeps = [
            (", ".join(stage.asks), rung.epochs, sweep)
            for stage in self.stages
            for rung, sweep in zip(rungs(self.epochs), stage.rounds, strict=True)
        ]
        if self.confirmation is not None:
            sweeps.append(("confirmation", self.epochs, self.confirmation.sweep))
        return [
            {"stage": stage, "epochs": epochs, **row}
            for stage, epochs, sweep in sweeps
            for row in sweep.rows()
        ]

    def evidence(self) -> list[str]:
        """Return the suggestion and the reasons, a sentence for each."""
        own = self.problem.epochs
        length = "" if own == self.epochs else f", which says nothing of the problem's own {own}"
        return [
            f"{self.answer()}, for runs of {self.epochs} epochs{length}",
            *_confirmed(self.confirmation, self.stages[-1].chosen, self.epochs),
            *(stage.reason for stage in self.stages),
            *_watched(self.observation, self.numbers),
        ]

    def table(self) -> "Table":
        """Return the table of the suggestion: each hyper-parameter, beside its default."""
        from adam_optax.lab.reports.studies import suggestion_table

        return suggestion_table(self)

    def _columns_and_rows(self) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        rows = self.rows()
        return list(rows[0]), [list(row.values()) for row in rows]


def suggest(
    problem: str | Problem,
    optimizer: str | Optimizer = "adam",
    seeds: Sequence[int] = range(10),
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    data_dir: Path | str | None = None,
    parts: Path | str | None = None,
    executor: Executor | None = None,
    retries: int = RETRIES,
    on_progress: Callable[[int, int], object] | None = None,
    on_stage: OnStage | None = None,
    on_note: Callable[[str], object] | None = None,
) -> Suggestion:
    """Choose a learning rate, then betas, then epsilon, and confirm the choice on fresh seeds.

    Each choice is made by successive halving: all values in runs of a quarter of the epochs, the
    best third of them in runs of half the length, the best half of those in whole runs with six
    seeds, in all of which the default takes part. What counts is the loss over the last quarter of
    the steps, in which an unstable setting shows. Betas and epsilon change only if `Paired` finds
    the change better.

    What was chosen is then trained beside the default in whole runs with other seeds, on which the
    choice does not depend, and suggested only if `Paired` finds it better: the usual run ends with
    a lower training loss, by intervals of 95 % that exclude no gain; the mean loss is lower, too;
    and the test accuracy is not. Otherwise the suggestion is to keep the default, and says what it
    would cost to know more.

    Args:
        problem: A name (see `problems`) or a `Problem`.
        optimizer: An optimiser. Of `b1`, `b2` and `eps`, those are tried that it has.
        seeds: Seeds of the confirmation, at least six; the choice is made with six others.
        epochs: Epochs of a whole run, for which the suggestion holds; by default the problem's.
        batch_size: Examples per step; by default the problem's.
        data_dir: The directory of the data files, for problems that are not embedded.
        parts: A directory for finished runs, from which a killed search goes on, to the same
            numbers; remove it when the results are kept elsewhere.
        executor: Does the runs of each round, to the same numbers: any of `concurrent.futures`
            whose processes are not forks, or one of `open_executor`. By default this process does
            them in turn, and it does the watched run in any case.
        retries: Times that a run is begun again whose worker died.
        on_progress: Called after every run with the number of epochs done and planned: fewer than
            the budget, once some of it is not needed.
        on_stage: Called when a compilation begins, with the length of the runs, and when a run
            does, with the round of the search, the confirmation or the watched run it is for; with
            an executor, after every run.
        on_note: Called before the training with the budget, and before each further stage with
            what was chosen and what of the budget is left, in sentences.

    Returns:
        The suggested hyper-parameters, and the evidence for them.

    Raises:
        DataError: If the data is missing or damaged.
        KeyboardInterrupt: If Ctrl-C ended the search; the finished runs are in `parts`.
        LabError: If a name is unknown, there are too few seeds, every run diverged, or the
            executor cannot do a run.
    """
    check_confirmation_seeds(seeds)
    found, task = resolve(optimizer), Task(problem, batch_size, data_dir)
    epochs = check_epochs(task.problem, epochs)
    pool = None if executor is None else Pool(executor, retries, task, problem, data_dir)
    trainer = _Trainer(task, found, parts, on_stage or ignore_stage, pool)
    search = Search(
        task.problem, found, seeds, epochs, trainer.train, on_progress, on_note, trainer.begin
    )
    stages, confirmation = search.run()
    confirmed = confirmation is not None and confirmation.paired.is_better
    numbers = stages[-1].chosen.numbers if confirmed else search.default
    others = {name: value for name, value in numbers.items() if name != LEARNING_RATE}
    trained = search.runs.epochs
    trainer.begin("the watched run")
    seen = observe(
        task.problem,
        found,
        seeds[0],
        learning_rate=numbers[LEARNING_RATE],
        epochs=epochs,
        batch_size=batch_size,
        data_dir=data_dir,
        parts=parts,
        on_stage=trainer.watching,
        on_epoch=lambda epoch: search.runs.count(trained + epoch.epoch),
        **others,
    )
    return Suggestion(
        problem=task.problem,
        optimizer=found.name,
        default=search.default,
        numbers=numbers,
        stages=tuple(stages),
        confirmation=confirmation,
        observation=seen,
        epochs=epochs,
        budget=search.budget,
        epochs_trained=trained + epochs,
    )


def check_confirmation_seeds(seeds: Sequence[int]) -> None:
    """Refuse seeds that are too few to tell a gain from luck, and bad ones.

    Raises:
        LabError: If there are fewer than `FEWEST_SEEDS`, or `check_seeds` refuses them.
    """
    check_seeds(seeds)
    if len(seeds) < FEWEST_SEEDS:
        raise LabError(
            f"a suggestion needs at least {FEWEST_SEEDS} seeds, got {len(seeds)}: with fewer, no "
            "gain can be told from luck"
        )


class _Trainer:
    """Train jobs by one compiled program for each number of epochs.

    Args:
        task: The task to train on.
        optimizer: The optimiser.
        parts: A directory for finished runs; `None`: nothing is kept.
        on_stage: As in `suggest`.
        pool: Does the runs elsewhere; `None`: they are done here, in turn.
    """

    def __init__(
        self,
        task: Task,
        optimizer: Optimizer,
        parts: Path | str | None,
        on_stage: OnStage,
        pool: Pool | None,
    ) -> None:
        self._task, self._optimizer, self._parts = task, optimizer, parts
        self._on_stage, self._what, self._pool = on_stage, "", pool
        self._sweepers: dict[int, Sweeper] = {}

    def begin(self, what: str) -> None:
        """Note what the runs that follow are for."""
        self._what = what

    def watching(self, kind: str, _: str) -> None:
        """Report a stage of a watched run."""
        self._on_stage(kind, self._what)

    def train(
        self, todo: Sequence[Job], epochs: int, on_run: Callable[[int], object]
    ) -> Sequence[Point]:
        """Train jobs for so many epochs."""
        if epochs not in self._sweepers:
            arguments = self._task, [self._optimizer], 1, epochs, self._parts
            self._sweepers[epochs] = Sweeper(*arguments, every_epoch=False, pool=self._pool)

        def stage(kind: str, what: str) -> None:
            length = f"runs of {counted(epochs, 'epoch')}"
            now = self._what if self._pool is None else f"{self._what}, {what}"
            self._on_stage(kind, length if kind == "compiling" else now)

        return self._sweepers[epochs].run(todo, lambda done, _: on_run(done), stage).points


def _confirmed(confirmation: Confirmation | None, chosen: Setting, epochs: int) -> list[str]:
    """Say what the confirmation showed, and what it would cost to know more."""
    if confirmation is None:
        return ["no change was chosen: of what was tried in whole runs, the default was the best"]
    paired, numbers = confirmation.paired, chosen.numbers
    names = [n for n, value in numbers.items() if value != paired.default.numbers[n]]
    said = f"{named(names, numbers)}, in whole runs with seeds that had no part in the choice: "
    said += paired.verdict()
    return [said, *([] if paired.is_better else [paired.cost_to_know(epochs)])]


def _watched(observation: Observation, numbers: Mapping[str, float]) -> list[str]:
    """Describe noise, step size and epsilon at the end of the watched run, where they are known."""

    def last(name: str, place: int = 0) -> NDArray[np.float32]:
        """Return a quantity of the last record by layer, or one of its quantiles."""
        reading = observation.reading.values()
        values = np.array([np.ravel(x[name][-1])[place] for x in reading], np.float32)
        return np.extract(np.isfinite(values), values)

    signal, ratio, middle = last("signal_to_noise"), last("update_ratio"), last("root_nu", 2)
    said = []
    if len(signal):
        said.append(
            f"gradients' signal to noise is {signal.min():.2g} to {signal.max():.2g} by layer"
        )
    if len(ratio):
        said.append(f"a step moves a layer by {ratio.min():.2g} to {ratio.max():.2g} of its size")
    if len(middle) and len(ruled := last("eps_share")):
        said.append(
            f"the root of nu is {np.median(middle):.2g} for half of the weights and "
            f"{last('root_nu').min():.2g} at the lowest 5 % of a layer; eps {numbers['eps']:.2g} "
            f"rules {ruled.max():.0%} of the weights of the layer where it rules most"
        )
    return [f"watched, at the end: {sentence}" for sentence in said]
