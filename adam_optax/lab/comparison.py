"""Compare several optimisers on one problem with the same seeds, and summarise their runs."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from adam_optax.lab._problems.problem import Problem
from adam_optax.lab.errors import Interrupted, LabError
from adam_optax.lab.grid import LEARNING_RATE, check_runs_planned
from adam_optax.lab.optimizers import DEFAULT_OPTIMIZERS, Optimizer, build, resolve_all
from adam_optax.lab.results import Sweep
from adam_optax.lab.run import Epoch, OnStage, Run
from adam_optax.lab.task import Task
from adam_optax.lab.trainer import Trainer, check_epochs, check_seeds
from adam_optax.lab.tuning import best_rate, fresh_seeds
from adam_optax.lab.tuning import tune as tune_rate


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


@dataclass(frozen=True, eq=False)
class Comparison:
    """Hold the runs of a comparison.

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
        on_progress: Called after every epoch with the fraction done of the whole comparison and
            the record of the epoch.
        on_run: Called with every finished run.
        on_tuning: Called after every run of the tuning with the optimiser's name, the number of
            runs done in its sweep, and the number of runs planned.
        on_stage: Called when a compilation begins, when a run of the tuning or of the comparison
            does.

    Returns:
        The runs; after Ctrl-C the finished ones, with `interrupted` set.

    Raises:
        DataError: If the data is missing or damaged.
        LabError: If a name is unknown, a number is out of range, or an optimiser refuses a rate.
    """
    found = resolve_all(optimizers)
    rates = _rates(found, learning_rate)
    for optimizer in found:
        if optimizer.name in rates:
            build(optimizer, {LEARNING_RATE: rates[optimizer.name]})
    task = Task(problem, batch_size, data_dir)
    epochs = check_epochs(task.problem, epochs)
    check_seeds(seeds)
    check_runs_planned(len(found), 1, len(seeds))
    planned = len(found) * len(seeds)
    runs: list[Run] = []
    tuning: dict[str, Sweep] = {}
    if tune is not False and learning_rate is not None:
        raise LabError("give a learning rate or tune it, not both")

    def progress(epoch: Epoch) -> None:
        if on_progress is not None:
            on_progress((len(runs) + epoch.epoch / epoch.epochs) / planned, epoch)

    def stage(kind: str, what: str) -> None:
        if on_stage is not None:
            on_stage("tuning" if kind == "training" else kind, what)

    unfinished = None
    try:
        for optimizer in found:
            if tune is not False:
                grid = None if tune is True else tune
                report = None if on_tuning is None else partial(on_tuning, optimizer.name)
                how = task, optimizer, grid, fresh_seeds(seeds), epochs, report, parts, stage
                swept = tune_rate(*how)
                if swept.interrupted:  # its best rate would be a guess
                    raise KeyboardInterrupt
                tuning[optimizer.name] = swept
                rates = {**rates, optimizer.name: best_rate(swept)}
            rate = rates.get(optimizer.name)
            trainer = Trainer(task, optimizer, rate, parts, on_stage=on_stage)
            for seed in seeds:
                runs.append(trainer.run(seed, epochs, progress))
                if on_run is not None:
                    on_run(runs[-1])
    except Interrupted as stopped:
        unfinished = stopped.partial
    except KeyboardInterrupt:
        pass
    return Comparison(task.problem, tuple(runs), planned, len(runs) < planned, tuning, unfinished)


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
