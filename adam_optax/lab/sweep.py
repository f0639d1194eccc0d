"""Many settings of hyper-parameters on one problem, in one compiled program."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from adam_optax.lab.errors import LabError
from adam_optax.lab.optimizers import Optimizer, resolve, resolve_all
from adam_optax.lab.parts import Arrays, Parts
from adam_optax.lab.points import Point, Sweep
from adam_optax.lab.problem import Problem
from adam_optax.lab.program import Program
from adam_optax.lab.settings import Job, Settings, jobs
from adam_optax.lab.task import Task
from adam_optax.lab.train import check_epochs, check_seeds

OnProgress = Callable[[int, int], object]


def sweep(
    problem: str | Problem,
    optimizers: str | Optimizer | Sequence[str | Optimizer],
    settings: Settings,
    seeds: Sequence[int] = range(3),
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    data_dir: Path | str | None = None,
    parallel: int | None = None,
    parts: Path | str | None = None,
    on_progress: OnProgress | None = None,
) -> Sweep:
    """Trains every setting with every seed, in one program that is compiled once.

    Args:
      problem: A name (see `problems`) or a `Problem`.
      optimizers: One, or several whose states have equal shapes: names such as `adam`, or
        `Optimizer` records, whose `build` is given the learning rate and the other numbers by name,
        as traced scalars: a schedule of the user's own takes its parameters so.
      settings: Values by name, all with all: `{"learning_rate": [1e-3, 1e-2], "b1": [0.8, 0.9]}`;
        or a list of settings, `[{"b1": 0.9, "b2": 0.999}, ...]`. Without a learning rate it is the
        problem's times the optimiser's factor.
      seeds: Seeds of the initial parameters and of the order of the batches.
      epochs: By default the problem's.
      batch_size: By default the problem's.
      data_dir: The directory of the data files, for problems that are not embedded.
      parallel: How many runs are vmapped. By default one on a CPU, where that is the fastest, and
        as many as should fit the memory elsewhere.
      parts: A directory for finished parts; a sweep that was killed goes on from them.
      on_progress: Called after every part with the runs done and planned.

    Returns:
      The runs; with Ctrl-C those that were finished.

    Raises:
      DataError: If the data is missing or damaged.
      LabError: If a name is unknown, a number is out of range, or nothing could be trained.
    """
    single = isinstance(optimizers, str | Optimizer)
    found = [resolve(optimizers)] if single else resolve_all(optimizers)  # type: ignore[arg-type]
    task = Task(problem, batch_size, data_dir)
    check_seeds(seeds)
    todo = jobs(task.problem, found, settings, seeds)
    width = _width(task, parallel, len(todo) // len(found))
    sweeper = Sweeper(task, found, width, check_epochs(task.problem, epochs), parts)
    swept = sweeper.run(todo, on_progress)
    if not swept.interrupted:
        sweeper.clear(todo)
    return swept


class Sweeper:
    """Runs jobs of some optimisers on a task, `width` at a time, by one compiled program.

    Without `every_epoch` the loss of the whole training set is measured at the end only.
    """

    def __init__(
        self,
        task: Task,
        optimizers: Sequence[Optimizer],
        width: int,
        epochs: int,
        parts: Path | str | None = None,
        every_epoch: bool = True,
    ) -> None:
        self.task, self._optimizers = task, list(optimizers)
        self._width, self._epochs = width, epochs
        self._program = Program(task, optimizers, width, every_epoch)
        names = [optimizer.name for optimizer in optimizers]
        self._parts = Parts(None if parts is None else Path(parts), task, names, epochs)

    def run(self, todo: Sequence[Job], on_progress: OnProgress | None = None) -> Sweep:
        """Trains all jobs, all with the same names of numbers; with Ctrl-C, some.

        Finished parts stay until `clear`.

        Raises:
          LabError: If an optimiser does not take the numbers, or a part cannot be kept.
        """
        self._program.check({name: jnp.float32(value) for name, value in todo[0].numbers})
        chunks = list(_chunks(todo, self._width))
        points: list[Point] = []
        try:
            for part in chunks:
                arrays = self._parts.load(part)
                if arrays is None:
                    arrays = self._trained(part)
                    self._parts.save(part, arrays)
                points += _points(self._optimizers, part, arrays)
                if on_progress is not None:
                    on_progress(len(points), len(todo))
        except KeyboardInterrupt:
            return Sweep(self.task.problem, tuple(points), len(todo))
        return Sweep(self.task.problem, tuple(points), len(todo))

    def clear(self, todo: Sequence[Job]) -> None:
        """Removes the finished parts of these jobs, once their results are elsewhere."""
        self._parts.clear(list(_chunks(todo, self._width)))

    def _trained(self, part: Sequence[Job]) -> Arrays:
        """What comes of a part; what it lacks of the width is the last run again."""
        task, full = self.task, [*part, *[part[-1]] * (self._width - len(part))]
        names = [name for name, _ in part[0].numbers]
        table = np.array([[value for _, value in job.numbers] for job in full], np.float32)
        numbers = dict(zip(names, table.T, strict=True))
        params = jax.tree.map(lambda *x: jnp.stack(x), *(task.params(job.seed) for job in full))
        orders = np.stack([self._orders(job.seed) for job in full])
        place, data = np.int32(part[0].optimizer), (task.train, task.test)
        outcome = self._program.run(place, numbers, params, orders, data)
        return tuple(np.asarray(array)[: len(part)] for array in outcome)

    def _orders(self, seed: int) -> NDArray[np.int32]:
        return np.stack(list(itertools.islice(self.task.orders(seed), self._epochs)))


def _chunks(todo: Sequence[Job], width: int) -> Iterator[list[Job]]:
    """Parts of at most `width` runs, of one optimiser each."""
    for _, group in itertools.groupby(todo, lambda job: job.optimizer):
        runs = list(group)
        for begin in range(0, len(runs), width):
            yield runs[begin : begin + width]


def _points(optimizers: list[Optimizer], part: Sequence[Job], arrays: Arrays) -> Iterator[Point]:
    for job, losses, after, accuracy in zip(part, *arrays, strict=True):
        name = optimizers[job.optimizer].name
        yield Point(name, dict(job.numbers), job.seed, losses, after, float(accuracy))


def _width(task: Task, parallel: int | None, runs: int) -> int:
    """How many runs go at a time."""
    if parallel is not None:
        if parallel < 1:
            raise LabError(f"parallel must be at least 1, got {parallel}")
        return min(parallel, runs)
    device = jax.devices()[0]
    limit = 0 if device.platform == "cpu" else (device.memory_stats() or {}).get("bytes_limit", 0)
    # Parameters, gradients, updates and two moments, and as much again for activations.
    params = jax.eval_shape(lambda: task.params(0))
    each = 10 * sum(p.size * p.dtype.itemsize for p in jax.tree.leaves(params))
    return max(1, min(runs, int(limit // 2 // each)))
