"""Train the runs behind the Adam paper's figures at full size, each optimiser at all its rates."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from adam_optax.lab.errors import DataError
from adam_optax.lab.grid import LEARNING_RATE, jobs
from adam_optax.lab.paper.contenders import Contender
from adam_optax.lab.paper.figures import FIGURES, Panel, Size
from adam_optax.lab.sweeper import Sweeper, default_width
from adam_optax.lab.task import Task
from benchmarks.gpu.case import AbsentError, Case, Measured, Part, Setup
from benchmarks.gpu.timing import spent

PANELS = {panel.name: panel for of in FIGURES.values() for panel in of}
SMALL = Size(1, 256, 8, per_decade=1)
SHAPES = {"mnist": ((28 * 28,), 10)}
"""Shapes of the examples, and numbers of classes, that a miniature makes up."""


def cases(setup: Setup) -> list[Case]:
    """List the optimisers of each panel of the four figures."""
    panels = [(name, panel) for name, of in FIGURES.items() for panel in of]
    if setup.miniature:
        panels = [(name, panel) for name, panel in panels if panel.data in SHAPES][:2]
    return [
        Case(f"{name}, {panel.name}: {one.optimizer.name}", functools.partial(of_one, *what))
        for name, panel in panels
        for one in (panel.contenders[:1] if setup.miniature else panel.contenders)
        for what in [(setup, panel, one)]
    ]


@functools.cache
def task(setup: Setup, name: str) -> tuple[Task, Size]:
    """Return the problem of a panel with its data, and its size.

    Raises:
        AbsentError: if the data is not there.
    """
    panel = PANELS[name]
    if setup.miniature:
        problem = dataclasses.replace(panel.problem(SMALL), load=lambda _: made_up(panel.data))
        return Task(problem), SMALL
    own = setup.data / panel.data
    place = own if own.exists() else setup.data
    try:
        return Task(panel.problem(panel.paper), None, place), panel.paper
    except DataError as error:
        raise AbsentError(f"{panel.data} is not in {setup.data}: {error}") from error


def made_up(data: str) -> Any:
    """Make up a data set of noise: a trial of the code, which says nothing of the paper."""
    from adam_optax.lab import Data

    shape, classes = SHAPES[data]
    rng = np.random.default_rng(0)
    x = rng.random((SMALL.examples or 0, *shape), np.float32)
    y = rng.integers(0, classes, len(x)).astype(np.int32)
    return Data(x, y, x[:64], y[:64])


def of_one(setup: Setup, panel: Panel, one: Contender) -> Iterator[Measured]:
    """Train an optimiser with one seed at every setting; name the best."""
    made, size = task(setup, panel.name)
    grid = {LEARNING_RATE: one.rates(size.per_decade), **panel.grid}
    todo = jobs(made.problem, [one.optimizer], grid, (0,))
    width = default_width(made, size.epochs, len(todo))
    parts = None if setup.miniature else setup.out / "parts"
    sweeper = Sweeper(made, [one.optimizer], width, size.epochs, parts, every_epoch=False)
    swept, seconds = spent(lambda: sweeper.run(todo))
    if swept.interrupted:
        raise KeyboardInterrupt
    costs = [_cost(point.losses, made.steps_per_epoch) for point in swept.points]
    best = int(np.argmin(costs))
    said = ", ".join(f"{name} {x:.3g}" for name, x in swept.points[best].numbers.items())
    noise = "; of noise instead of data" if setup.miniature else ""
    note = f"best of {len(todo)} settings, one seed: {said}; {size}{noise}"
    yield Measured("cost, last epoch", "nats", costs[best], note=note)
    yield Measured("epochs of all runs", "1/s", len(todo) * size.epochs / seconds)


def _cost(losses: Any, steps: int) -> float:
    """Return the mean of the last epoch; infinite where a loss was not finite."""
    sound = np.isfinite(losses).all()
    return float(np.mean(losses[-steps:], dtype=np.float64)) if sound else np.inf


NOTES = (
    "*cost, last epoch* is the mean over its batches, at the best of the settings, with one seed.",
    "What it says: which optimiser trains lowest on the paper's problems. What it does not say: how"
    " much of that is the seed's.",
)
PART = Part("figures", "Figures 1 to 4 of the Adam paper", 0.1, cases, NOTES)
