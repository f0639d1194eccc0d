"""List the jobs of a sweep: every setting of the hyper-parameters with every seed."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adam_optax.lab._problems.problem import Problem
from adam_optax.lab.errors import LabError
from adam_optax.lab.optimizers import Optimizer

LEARNING_RATE = "learning_rate"
"""Name of the one hyper-parameter that every optimiser has."""

MOST_RUNS = 100_000
"""Runs of one comparison or sweep, at most: more of them would be a slip, and fill the memory."""

Settings = Mapping[str, Sequence[float]] | Sequence[Mapping[str, float]]
"""A grid (every value of one name with every value of the others), or a list of settings."""


@dataclass(frozen=True)
class Job:
    """Describe one run of a sweep that is to be trained.

    Attributes:
        optimizer: The optimiser's place among the optimisers of the sweep.
        numbers: Hyper-parameters by name, among them `learning_rate`.
        seed: Seed of the initial parameters and of the order of the batches.
    """

    optimizer: int
    numbers: tuple[tuple[str, float], ...]
    seed: int


def jobs(
    problem: Problem, optimizers: Sequence[Optimizer], settings: Settings, seeds: Sequence[int]
) -> list[Job]:
    """List the runs, optimiser by optimiser, setting by setting, seed by seed.

    Args:
        problem: The problem, whose learning rate is the default.
        optimizers: The optimisers.
        settings: A grid, or a list of settings (see `Settings`).
        seeds: Seeds of the runs.

    Raises:
        LabError: If there is no setting, a setting is not a set of numbers by name, or there are
            too many runs.
    """
    check_runs_planned(len(optimizers), _count(settings), len(seeds))
    points = _points(settings)
    names = {frozenset(point) for point in points}
    if len(names) != 1 or not all(names):
        raise LabError("every setting must give the same hyper-parameters, and there must be one")
    rates = [optimizer.rate * problem.learning_rate for optimizer in optimizers]
    return [
        Job(place, tuple(({LEARNING_RATE: rates[place]} | point).items()), seed)
        for place in range(len(optimizers))
        for point in points
        for seed in seeds
    ]


def check_runs_planned(optimizers: int, settings: int, seeds: int) -> None:
    """Refuse more runs than `MOST_RUNS`, before any of them takes memory."""
    runs = optimizers * settings * seeds
    if runs > MOST_RUNS:
        raise LabError(
            f"{runs} runs (optimisers {optimizers}, settings {settings}, seeds {seeds}) are too "
            f"many; make at most {MOST_RUNS}"
        )


def check_float32(name: str, value: float) -> None:
    """Refuse a number that float32 does not hold, in which runs compute, or a rate that it rounds.

    A larger number would be infinite there, and a lower rate 0, which trains nothing.
    """
    limits = np.finfo(np.float32)
    lowest = float(limits.tiny) if name == LEARNING_RATE else 0.0
    if not lowest <= abs(value) <= float(limits.max):
        least = f"at least {lowest:.2g} and " if lowest else ""
        raise LabError(
            f"{name} must be {least}at most {float(limits.max):.2g}, not {value!r}: runs compute "
            "in float32"
        )


def _count(settings: Settings) -> int:
    """Count the settings without making them."""
    if not isinstance(settings, Mapping):
        return len(settings)
    return math.prod(len(v) for v in settings.values() if isinstance(v, Sequence))


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
        if name == LEARNING_RATE and value <= 0:
            raise LabError(f"{name} must be positive, not {value!r}")
        check_float32(name, value)
    return {name: float(value) for name, value in point.items()}
