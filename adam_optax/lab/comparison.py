"""Compare several optimisers on one problem with the same seeds, and summarise their runs."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from adam_optax.lab._problems.problem import Problem
from adam_optax.lab.errors import Interrupted, LabError
from adam_optax.lab.grid import LEARNING_RATE, check_runs_planned
from adam_optax.lab.optimizers import DEFAULT_OPTIMIZERS, Optimizer, build, resolve_all
from adam_optax.lab.pool import RETRIES, Pool
from adam_optax.lab.results import Sweep
from adam_optax.lab.run import Epoch, OnStage, Run, ignore_stage
from adam_optax.lab.shown import Shown
from adam_optax.lab.task import Task
from adam_optax.lab.trainer import Trained, Trainer, check_epochs, check_seeds
from adam_optax.lab.tuning import best_rate, fresh_seeds
from adam_optax.lab.tuning import tune as tune_rate

if TYPE_CHECKING:
    from adam_optax.lab.reports.tables import Table


@dataclass(frozen=True)
class Spread:
    """Hold a mean over seeds and its spread.

    Attributes:
        mean: The mean.
        std: The sample standard deviation; `None` for a single seed.
    """

    mean: float
    std: float | None


@dataclass(frozen=True)
class Row:
    """Summarise the runs of one optimiser.

    Losses, accuracy and steps are means over the runs that did not diverge, and `None` if every
    run diverged.

    Attributes:
        optimizer: Name of the optimiser.
        learning_rate: Learning rate of the runs.
        seeds: Number of finished runs.
        diverged: Number of finished runs that met a loss that is not finite.
        final_loss: Training loss after the last epoch, in nats.
        best_loss: Lowest training loss after any epoch, in nats.
        test_accuracy: Fraction of the test set that is classified right.
        reached: Number of runs that reached the target loss.
        steps_to_target: Steps to the target loss; `None` unless every run reached the target.
        seconds_per_step: Seconds of a step: the median over the runs.
        state_bytes_per_parameter: Bytes of optimiser state per model parameter.
    """

    optimizer: str
    learning_rate: float
    seeds: int
    diverged: int
    final_loss: Spread | None
    best_loss: Spread | None
    test_accuracy: Spread | None
    reached: int
    steps_to_target: Spread | None
    seconds_per_step: float
    state_bytes_per_parameter: float


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Shown):
    """Hold the runs of a comparison; at the prompt and in notebooks they are a table.

    Attributes:
        problem: The problem that was trained on.
        runs: The finished runs, optimiser by optimiser, seed by seed.
        planned: Number of runs that were planned.
        interrupted: Whether Ctrl-C ended the comparison before all runs were finished.
        tuning: By optimiser, the sweep from which its learning rate was chosen; empty if no rate
            was tuned.
        unfinished: The run that Ctrl-C ended, up to its last finished epoch; `None` if there is
            none. It is no part of the rows.
    """

    problem: Problem
    runs: tuple[Run, ...]
    planned: int
    interrupted: bool
    tuning: Mapping[str, Sweep] = field(default_factory=dict)
    unfinished: Run | None = None

    def by_optimizer(self) -> dict[str, list[Run]]:
        """Group the finished runs by optimiser, in the order of training."""
        groups: dict[str, list[Run]] = {}
        for run in self.runs:
            groups.setdefault(run.optimizer, []).append(run)
        return groups

    def rows(self) -> list[Row]:
        """Summarise each optimiser that has a finished run."""
        return [_summarize(runs) for runs in self.by_optimizer().values()]

    def table(self) -> "Table | None":
        """Return the table of the comparison: each optimiser's means over seeds."""
        from adam_optax.lab.reports.comparison import table

        return table(self) if self.runs else None

    def _columns_and_rows(self) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        from adam_optax.lab.reports.comparison import RUN_COLUMNS, run_rows

        return RUN_COLUMNS, run_rows(self)


def compare(
    problem: str | Problem,
    optimizers: Sequence[str | Optimizer] = DEFAULT_OPTIMIZERS,
    seeds: Sequence[int] = range(3),
    *,
    learning_rate: float | Mapping[str, float] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    data_dir: Path | str | None = None,
    tune: bool | Sequence[float] = False,
    parts: Path | str | None = None,
    executor: Executor | None = None,
    retries: int = RETRIES,
    on_progress: Callable[[float, Epoch], object] | None = None,
    on_run: Callable[[Run], object] | None = None,
    on_tuning: Callable[[str, int, int], object] | None = None,
    on_stage: OnStage | None = None,
) -> Comparison:
    """Train every optimiser with every seed; with equal seeds the batches are equal.

    Args:
        problem: A name (see `problems`) or a `Problem`.
        optimizers: Names such as `adam` or `optax.sgd`, or `Optimizer` records.
        seeds: Seeds of the initial parameters and of the order of the batches.
        learning_rate: One rate for all, or a rate by optimiser name. An optimiser without a rate
            is given the problem's rate times the optimiser's factor.
        epochs: Passes over the training set; by default the problem's.
        batch_size: Examples per step; by default the problem's.
        data_dir: The directory of the data files, for problems that are not embedded.
        tune: Whether each optimiser is compared at its own best learning rate: the rate of a grid
            with the lowest mean training loss over two seeds that are not among `seeds`. The grid
            is `tuning.FACTORS` times the optimiser's default rate, or the rates given here.
        parts: A directory for finished epochs and runs, from which a killed comparison goes on, to
            the same numbers; remove it when the results are kept elsewhere.
        executor: Does the runs, to the same numbers but for the times: any of `concurrent.futures`
            whose processes are not forks, or one of `open_executor`. By default this process does
            them in turn.
        retries: Times that a run is begun again whose worker died.
        on_progress: Called after every epoch with the fraction done of the whole comparison and
            the record of the epoch; with an executor, after the last epoch of every run.
        on_run: Called with every finished run.
        on_tuning: Called after every run of the tuning with the optimiser's name, the number of
            runs done in its sweep, and the number of runs planned.
        on_stage: Called when a compilation begins, when a run of the tuning or of the comparison
            does; with an executor, after each of those runs.

    Returns:
        The runs; after Ctrl-C the finished ones, with `interrupted` set.

    Raises:
        DataError: If the data is missing or damaged.
        LabError: If a name is unknown, a number is out of range, an optimiser refuses a rate, or
            the executor cannot do a run.
    """
    if tune is not False and learning_rate is not None:
        raise LabError("give a learning rate or tune it, not both")
    found = resolve_all(optimizers)
    rates = _rates(found, learning_rate)
    for optimizer in found:
        if optimizer.name in rates:
            build(optimizer, {LEARNING_RATE: rates[optimizer.name]})
    task = Task(problem, batch_size, data_dir)
    epochs = check_epochs(task.problem, epochs)
    check_seeds(seeds)
    check_runs_planned(len(found), 1, len(seeds))
    pool = None if executor is None else Pool(executor, retries, task, problem, data_dir)
    planned = len(found) * len(seeds)
    runs: dict[tuple[str, int], Run] = {}
    tuning: dict[str, Sweep] = {}

    def progress(epoch: Epoch) -> None:
        if on_progress is not None:
            running = (epoch.optimizer, epoch.seed) not in runs
            share = epoch.epoch / epoch.epochs if running else 0.0
            on_progress((len(runs) + share) / planned, epoch)

    def stage(kind: str, what: str) -> None:
        if on_stage is not None:
            on_stage("tuning" if kind == "training" else kind, what)

    def add(run: Run) -> None:
        runs[run.optimizer, run.seed] = run
        if on_run is not None:
            on_run(run)

    trainers: list[Trainer] = []
    unfinished = None
    try:
        for optimizer in found:
            if tune is not False:
                grid = None if tune is True else tune
                report = None if on_tuning is None else partial(on_tuning, optimizer.name)
                how = task, optimizer, grid, fresh_seeds(seeds), epochs, report, parts, stage
                swept = tune_rate(*how, pool)
                if swept.interrupted:  # its best rate would be a guess
                    raise KeyboardInterrupt
                tuning[optimizer.name] = swept
                rates = {**rates, optimizer.name: best_rate(swept)}
            rate = rates.get(optimizer.name)
            trainer = Trainer(task, optimizer, rate, parts, on_stage=on_stage)
            if pool is not None:
                trainers.append(trainer)
                continue
            for seed in seeds:
                add(trainer.run(seed, epochs, progress))
        if pool is not None:
            todo = [(trainer, seed) for trainer in trainers for seed in seeds]
            _run_elsewhere(pool, todo, epochs, add, progress, on_stage)
    except Interrupted as stopped:
        unfinished = stopped.partial
    except KeyboardInterrupt:
        pass
    order = [(optimizer.name, seed) for optimizer in found for seed in seeds]
    done = tuple(runs[each] for each in order if each in runs)
    return Comparison(task.problem, done, planned, len(done) < planned, tuning, unfinished)


def _run_elsewhere(
    pool: Pool,
    todo: Sequence[tuple[Trainer, int]],
    epochs: int,
    add: Callable[[Run], None],
    progress: Callable[[Epoch], None],
    on_stage: OnStage | None,
) -> None:
    """Train runs on a pool, but for those that are kept whole.

    Args:
        pool: The pool.
        todo: The runs: trainers and seeds.
        epochs: Epochs of each run.
        add: Called with each run.
        progress: Called with the last epoch of each run.
        on_stage: As in `compare`.
    """
    latest: list[Epoch] = []
    left = []
    for trainer, seed in todo:
        run = trainer.kept(seed, epochs)
        if run is None:
            left.append((trainer, seed))
        else:
            add(run)

    def keep(place: int, trained: Trained) -> None:
        trainer, seed = left[place]
        latest[:] = trained[0][-1:]
        add(trainer.keep(seed, epochs, trained))

    parts = [trainer.described(pool.source, seed, epochs) for trainer, seed in left]
    pool.run(parts, keep, lambda: progress(latest[-1]), on_stage or ignore_stage)


def _rates(
    optimizers: list[Optimizer], learning_rate: float | Mapping[str, float] | None
) -> Mapping[str, float]:
    names = [optimizer.name for optimizer in optimizers]
    if learning_rate is None:
        return {}
    if not isinstance(learning_rate, Mapping):
        return dict.fromkeys(names, learning_rate)
    strange = [name for name in learning_rate if name not in names]
    if strange:
        raise LabError(f"learning rate for {strange[0]!r}, which is not compared")
    return learning_rate


def _summarize(runs: list[Run]) -> Row:
    sound = [run for run in runs if not run.diverged]
    steps = [run.steps_to_target for run in sound if run.steps_to_target is not None]
    return Row(
        optimizer=runs[0].optimizer,
        learning_rate=runs[0].learning_rate,
        seeds=len(runs),
        diverged=len(runs) - len(sound),
        final_loss=_spread([run.train_loss[-1] for run in sound]),
        best_loss=_spread([min(run.train_loss) for run in sound]),
        test_accuracy=_spread([run.test_accuracy for run in sound]),
        reached=len(steps),
        steps_to_target=_spread(steps) if len(steps) == len(runs) else None,
        seconds_per_step=statistics.median(run.seconds_per_step for run in runs),
        state_bytes_per_parameter=runs[0].state_bytes_per_parameter,
    )


def _spread(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    std = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), std)
