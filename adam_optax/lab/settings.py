"""What a sweep goes through: settings of hyper-parameters, with each of several seeds."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adam_optax.lab.errors import LabError
from adam_optax.lab.optimizers import Optimizer
from adam_optax.lab.problem import Problem

RATE = "learning_rate"

Settings = Mapping[str, Sequence[float]] | Sequence[Mapping[str, float]]
"""A grid, every value of one name with every value of the others; or the settings one by one."""


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
      optimizer: The place of its optimiser among those of the sweep.
      numbers: Hyper-parameters by name, among them `learning_rate`.
      seed: Seed of the initial parameters and of the order of the batches.
    """

    optimizer: int
    numbers: tuple[tuple[str, float], ...]
    seed: int


def jobs(
    problem: Problem, optimizers: Sequence[Optimizer], settings: Settings, seeds: Sequence[int]
) -> list[Job]:
    """Lists the runs, optimiser by optimiser, setting by setting, seed by seed.

    Raises:
      LabError: If there is nothing to run, or what is to be run is not a set of numbers by name.
    """
    points = _points(settings)
    names = {frozenset(point) for point in points}
    if len(names) != 1 or not all(names):
        raise LabError("every setting must give the same hyper-parameters, and there must be one")
    rates = [optimizer.rate * problem.learning_rate for optimizer in optimizers]
    return [
        Job(place, tuple(({RATE: rates[place]} | point).items()), seed)
        for place in range(len(optimizers))
        for point in points
        for seed in seeds
    ]


def _points(settings: Settings) -> list[dict[str, float]]:
    if not isinstance(settings, Mapping):
        return [_checked(point) for point in settings]
    for name, values in settings.items():
        if not isinstance(values, list | tuple) or not values:
            raise LabError(f"{name} must be a list of numbers, not {values!r}")
    grid = itertools.product(*settings.values())
    return [_checked(dict(zip(settings, point, strict=True))) for point in grid]


def _checked(point: Mapping[str, Any]) -> dict[str, float]:
    for name, value in point.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value):
            raise LabError(f"{name} must be a finite number, not {value!r}")
        if name == RATE and value <= 0:
            raise LabError(f"{name} must be positive, not {value!r}")
    return {name: float(value) for name, value in point.items()}
