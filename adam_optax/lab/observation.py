"""Train a watched optimiser, and hold the records of the watched run."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optax
from numpy.typing import NDArray

from adam_optax._watch import watch
from adam_optax.lab._problems.problem import Problem
from adam_optax.lab.errors import Interrupted
from adam_optax.lab.optimizers import Optimizer, resolve
from adam_optax.lab.run import Epoch, OnStage, Run
from adam_optax.lab.shown import Shown
from adam_optax.lab.task import Task
from adam_optax.lab.trainer import Trainer, check_epochs

if TYPE_CHECKING:
    from adam_optax.lab.reports.tables import Table

RECORDS = 128
"""Number of records that are made of a run, at most."""


@dataclass(frozen=True, eq=False, repr=False)
class Observation(Shown):
    """Hold what `adam_optax.watch` recorded of an optimiser in a run; shown, it is a table.

    Attributes:
        problem: The problem that was trained on.
        run: The record of the run.
        reading: The records as `adam_optax.watch.read` returns them: arrays by quantity, by layer.
        rows: The same records as rows `(step, layer, quantity, value)`.
    """

    problem: Problem
    run: Run
    reading: dict[str, dict[str, NDArray[Any]]]
    rows: tuple[tuple[int, str, str, float], ...]

    def table(self) -> "Table":
        """Return the table of the observation: each layer at the last record."""
        from adam_optax.lab.reports.studies import watch_table

        return watch_table(self)

    def _columns_and_rows(self) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        return ("step", "layer", "quantity", "value"), self.rows


def observe(
    problem: str | Problem,
    optimizer: str | Optimizer = "adam",
    seed: int = 0,
    *,
    learning_rate: float | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    data_dir: Path | str | None = None,
    parts: Path | str | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
    on_stage: OnStage | None = None,
    **numbers: float,
) -> Observation:
    """Train an optimiser inside `adam_optax.watch`, which records what a step does to each layer.

    Args:
        problem: A name (see `problems`) or a `Problem`.
        optimizer: A name such as `adam` or `optax.adam`, or an `Optimizer`.
        seed: Seed of the initial parameters and of the order of the batches.
        learning_rate: By default the problem's rate times the optimiser's factor.
        epochs: Passes over the training set; by default the problem's.
        batch_size: Examples per step; by default the problem's.
        data_dir: The directory of the data files, for problems that are not embedded.
        parts: A directory for the finished epochs, from which a killed run goes on, to the same
            numbers; remove it when the results are kept elsewhere.
        on_epoch: Called after every epoch with its record.
        on_stage: Called when the compilation begins, and when the run does.
        **numbers: Other hyper-parameters of the optimiser, `eps=1e-6` say.

    Returns:
        The run and its records, at most `RECORDS` of them.

    Raises:
        DataError: If the data is missing or damaged.
        LabError: If a name is unknown or a number is out of range.
        KeyboardInterrupt: If Ctrl-C was pressed. Once an epoch is finished, the exception has an
            attribute `partial`: the observation up to then.
    """
    found, task = resolve(optimizer), Task(problem, batch_size, data_dir)
    epochs = check_epochs(task.problem, epochs)
    every = -(-epochs * task.steps_per_epoch // RECORDS)

    def build(rate: float) -> optax.GradientTransformation:
        return watch(found.build(rate, **numbers), every=every, keep=RECORDS)

    def seen(run: Run) -> Observation:
        _, state = trainer.latest
        return Observation(task.problem, run, watch.read(state), tuple(watch.rows(state)))

    watched = dataclasses.replace(found, build=build)
    facts = [every, sorted(numbers.items())]
    trainer = Trainer(task, watched, learning_rate, parts, facts, on_stage)
    try:
        return seen(trainer.run(seed, epochs, on_epoch))
    except Interrupted as stopped:
        raise Interrupted(seen(stopped.partial)) from stopped
