"""Each optimiser at its own best learning rate: the grid, and the sweep that finds it."""

from collections.abc import Sequence

from adam_optax.lab.errors import LabError
from adam_optax.lab.optimizers import Optimizer
from adam_optax.lab.points import Sweep
from adam_optax.lab.problem import Problem
from adam_optax.lab.settings import RATE, jobs
from adam_optax.lab.sweep import OnProgress, Sweeper
from adam_optax.lab.task import Task

FACTORS = tuple(10 ** (k / 4) for k in range(-6, 7))
"""Of the default rate: four a decade, three decades."""


def rates(
    problem: Problem, optimizer: Optimizer, factors: Sequence[float] = FACTORS
) -> list[float]:
    """Learning rates around an optimiser's default, to three digits."""
    default = optimizer.rate * problem.learning_rate
    return [float(f"{default * factor:.3g}") for factor in factors]


def tune(
    task: Task,
    optimizer: Optimizer,
    chosen: Sequence[float] | None,
    seeds: Sequence[int],
    epochs: int,
    on_progress: OnProgress | None = None,
) -> Sweep:
    """Trains an optimiser with every learning rate of a grid."""
    grid = rates(task.problem, optimizer) if chosen is None else list(chosen)
    todo = jobs(task.problem, [optimizer], {RATE: grid}, seeds)
    return Sweeper(task, [optimizer], 1, epochs).run(todo, on_progress)


def best_rate(sweep: Sweep) -> float:
    """The learning rate with the lowest mean training loss."""
    return sweep.best().numbers[RATE]


def at_the_edge(sweep: Sweep) -> bool:
    """Whether a better rate may lie beyond the grid."""
    grid = [setting.numbers[RATE] for setting in sweep.settings]
    return best_rate(sweep) in (min(grid), max(grid))


def fresh_seeds(seeds: Sequence[int], count: int = 2) -> range:
    """Seeds that are not among these, for choosing what these then compare.

    Raises:
      LabError: If there are none left.
    """
    begin = max(seeds) + 1
    if begin + count > 2**31:
        raise LabError(f"no seeds above {max(seeds)} are left to tune with; use lower ones")
    return range(begin, begin + count)
