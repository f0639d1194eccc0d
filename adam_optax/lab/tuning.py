"""Tune the learning rate of each optimiser: the grid, and the sweep over the grid."""

from collections.abc import Sequence
from pathlib import Path

from adam_optax.lab._problems.problem import Problem
from adam_optax.lab.errors import LabError
from adam_optax.lab.grid import LEARNING_RATE, jobs
from adam_optax.lab.optimizers import Optimizer
from adam_optax.lab.pool import Pool
from adam_optax.lab.results import Sweep
from adam_optax.lab.run import OnStage
from adam_optax.lab.sweeper import OnProgress, Sweeper
from adam_optax.lab.task import Task

FACTORS = tuple(10 ** (k / 4) for k in range(-6, 7))
"""Factors of the default rate that are tried: four a decade, three decades."""
TUNING_SEEDS = 2
"""Seeds with which each rate is tried."""


def learning_rates(
    problem: Problem, optimizer: Optimizer, factors: Sequence[float] = FACTORS
) -> list[float]:
    """Return learning rates around an optimiser's default: it, and others of three digits."""
    default = optimizer.rate * problem.learning_rate
    return [default if factor == 1 else float(f"{default * factor:.3g}") for factor in factors]


def tune(
    task: Task,
    optimizer: Optimizer,
    chosen: Sequence[float] | None,
    seeds: Sequence[int],
    epochs: int,
    on_progress: OnProgress | None = None,
    parts: Path | str | None = None,
    on_stage: OnStage | None = None,
    pool: Pool | None = None,
) -> Sweep:
    """Train an optimiser with every learning rate of a grid.

    Args:
        task: The task to train on.
        optimizer: The optimiser.
        chosen: The learning rates; `None`: those of `learning_rates`.
        seeds: Seeds of the runs.
        epochs: Epochs of each run.
        on_progress: Called after every run with the number of runs done and planned.
        parts: A directory for finished runs; `None`: nothing is kept.
        on_stage: Called when the compilation begins, and when a run does.
        pool: Does the runs elsewhere; `None`: they are done here, in turn.
    """
    grid = learning_rates(task.problem, optimizer) if chosen is None else list(chosen)
    todo = jobs(task.problem, [optimizer], {LEARNING_RATE: grid}, seeds)
    sweeper = Sweeper(task, [optimizer], 1, epochs, parts, pool=pool)
    return sweeper.run(todo, on_progress, on_stage)


def best_rate(sweep: Sweep) -> float:
    """Return the learning rate with the lowest mean training loss.

    If every run diverged, it is the lowest rate: what it does is a result, too.
    """
    found = min(sweep.settings, key=lambda s: (s.loss, s.numbers[LEARNING_RATE]))
    return found.numbers[LEARNING_RATE]


def is_at_edge(sweep: Sweep) -> bool:
    """Return whether the best rate is at an edge of the grid, beyond which a better may lie."""
    grid = [setting.numbers[LEARNING_RATE] for setting in sweep.settings]
    return best_rate(sweep) in (min(grid), max(grid))


def fresh_seeds(seeds: Sequence[int], count: int = TUNING_SEEDS) -> range:
    """Return seeds for tuning that are not among the seeds of the comparison.

    Raises:
        LabError: If no seeds above those of the comparison are left.
    """
    begin = max(seeds) + 1
    if begin + count > 2**31:
        raise LabError(f"no seeds above {max(seeds)} are left to tune with; use lower ones")
    return range(begin, begin + count)
