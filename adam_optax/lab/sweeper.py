"""Sweep many settings of hyper-parameters on one problem, in one compiled program."""

import itertools
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from adam_optax._core.files import physical_memory
from adam_optax.lab._problems.problem import Problem
from adam_optax.lab.errors import LabError
from adam_optax.lab.grid import Job, Settings, jobs
from adam_optax.lab.optimizers import Optimizer, build, resolve, resolve_all
from adam_optax.lab.parts import Part
from adam_optax.lab.pool import RETRIES, Pool
from adam_optax.lab.program import Outcome, Program
from adam_optax.lab.results import Point, Sweep
from adam_optax.lab.resume import Arrays, FinishedParts
from adam_optax.lab.run import OnStage, ignore_stage
from adam_optax.lab.task import Task
from adam_optax.lab.trainer import check_epochs, check_seeds

OnProgress = Callable[[int, int], object]
"""Called with the number of runs done and the number of runs planned."""


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
    executor: Executor | None = None,
    retries: int = RETRIES,
    on_progress: OnProgress | None = None,
    on_stage: OnStage | None = None,
) -> Sweep:
    """Train every setting with every seed, in one program that is compiled once.

    Args:
        problem: A name (see `problems`) or a `Problem`.
        optimizers: One optimiser, or several whose states have equal shapes: names such as `adam`,
            or `Optimizer` records. The `build` of a record is called with the learning rate, and
            with the other hyper-parameters by name, as traced scalars: so a user's own schedule
            can take its parameters from the sweep.
        settings: Values by name, every value with every other value:
            `{"learning_rate": [1e-3, 1e-2], "b1": [0.8, 0.9]}`; or a list of settings:
            `[{"b1": 0.9, "b2": 0.999}, ...]`. The default of the learning rate is the problem's
            rate times the optimiser's factor.
        seeds: Seeds of the initial parameters and of the order of the batches.
        epochs: Passes over the training set; by default the problem's.
        batch_size: Examples per step; by default the problem's.
        data_dir: The directory of the data files, for problems that are not embedded.
        parallel: Number of runs that are vmapped. By default one run on a CPU, where one is the
            fastest, and elsewhere as many runs as should fit into the memory.
        parts: A directory for finished parts, from which a killed sweep goes on, to the same
            numbers; remove it when the results are kept elsewhere.
        executor: Does the parts, to the same numbers: any of `concurrent.futures` whose processes
            are not forks, or one of `open_executor`. By default this process does them in turn.
        retries: Times that a part is run again whose worker died.
        on_progress: Called after every part with the number of runs done and planned.
        on_stage: Called when the compilation begins, and when a part does; with an executor, after
            each part.

    Returns:
        The runs; after Ctrl-C the finished ones.

    Raises:
        DataError: If the data is missing or damaged.
        LabError: If a name is unknown, a number is out of range, nothing could be trained, or the
            executor cannot do a part.
    """
    single = isinstance(optimizers, str | Optimizer)
    found = [resolve(optimizers)] if single else resolve_all(optimizers)  # type: ignore[arg-type]
    task = Task(problem, batch_size, data_dir)
    check_seeds(seeds)
    todo = jobs(task.problem, found, settings, seeds)
    epochs = check_epochs(task.problem, epochs)
    runs = len(todo) // len(found)
    width = default_width(task, epochs, runs) if parallel is None else _checked(parallel, runs)
    pool = None if executor is None else Pool(executor, retries, task, problem, data_dir)
    sweeper = Sweeper(task, found, width, epochs, parts, pool=pool)
    return sweeper.run(todo, on_progress, on_stage)


class Sweeper:
    """Run jobs of some optimisers on a task, `width` at a time, by one compiled program.

    Args:
        task: The task to train on.
        optimizers: The optimisers, whose states must have equal shapes.
        width: Number of runs that are vmapped.
        epochs: Epochs of each run.
        parts: A directory for finished parts, from which a killed sweep resumes; `None`: nothing
            is kept.
        every_epoch: Whether to measure the loss of the whole training set after every epoch;
            otherwise it is measured after the last epoch only.
        pool: Does the parts elsewhere; `None`: they are done here, in turn.

    Attributes:
        task: The task.

    Raises:
        LabError: If the memory could not hold so many runs at a time, or so many epochs.
    """

    def __init__(
        self,
        task: Task,
        optimizers: Sequence[Optimizer],
        width: int,
        epochs: int,
        parts: Path | str | None = None,
        every_epoch: bool = True,
        pool: Pool | None = None,
    ) -> None:
        self.task, self._optimizers = task, list(optimizers)
        self._width, self._epochs, self._every_epoch = width, epochs, every_epoch
        self._pool, self._token, self._lock = pool, uuid.uuid4().hex, threading.Lock()
        _check_memory(task, width, epochs)
        self._program = Program(task, optimizers, width, every_epoch)
        self._run: Callable[..., Outcome] | None = None
        self._on_stage: OnStage = ignore_stage
        names = [optimizer.name for optimizer in optimizers]
        self._parts = FinishedParts(parts, task, names, epochs, epochs if every_epoch else 1)

    def run(
        self,
        todo: Sequence[Job],
        on_progress: OnProgress | None = None,
        on_stage: OnStage | None = None,
    ) -> Sweep:
        """Train all jobs; after Ctrl-C return the finished ones.

        Args:
            todo: The jobs, all of which must give the same hyper-parameters.
            on_progress: Called after every part with the number of runs done and planned.
            on_stage: Called when the compilation begins, and when a part does.

        Raises:
            LabError: If an optimiser does not take the hyper-parameters or refuses a value, or a
                part cannot be written.
        """
        self._program.check({name: jnp.float32(value) for name, value in todo[0].numbers})
        # In the program the hyper-parameters are traced, and no check sees their values.
        for place, numbers in dict.fromkeys((job.optimizer, job.numbers) for job in todo):
            build(self._optimizers[place], dict(numbers))
        chunks = list(_chunks(todo, self._width))
        self._on_stage = on_stage or ignore_stage
        done: dict[int, Arrays] = {}

        def keep(place: int, arrays: Arrays) -> None:
            self._parts.save(chunks[place], arrays)
            done[place] = arrays

        def report() -> None:
            if on_progress is not None:
                on_progress(sum(len(chunks[place]) for place in done), len(todo))

        try:
            for place, part in enumerate(chunks):
                arrays = self._parts.load(part)
                if arrays is not None:
                    done[place] = arrays
                elif self._pool is None:
                    keep(place, self._trained(part))
                else:
                    continue
                report()
            if self._pool is not None:
                left = [place for place in range(len(chunks)) if place not in done]
                parts = [self._described(self._pool, chunks[place]) for place in left]
                self._pool.run(parts, lambda i, got: keep(left[i], got), report, self._on_stage)
        except KeyboardInterrupt:
            pass
        points = (_points(self._optimizers, chunks[i], done[i]) for i in sorted(done))
        return Sweep(self.task.problem, tuple(itertools.chain(*points)), len(todo))

    def _trained(self, part: Sequence[Job]) -> Arrays:
        """Train a part; a part with fewer runs than the width is filled up with its last run."""
        task, full = self.task, [*part, *[part[-1]] * (self._width - len(part))]
        names = [name for name, _ in part[0].numbers]
        table = np.array([[value for _, value in job.numbers] for job in full], np.float32)
        numbers = dict(zip(names, table.T, strict=True))
        params = jax.tree.map(lambda *x: jnp.stack(x), *(task.params(job.seed) for job in full))
        orders = np.stack([self._orders(job.seed) for job in full])
        place, data = np.int32(part[0].optimizer), (task.train, task.test)
        arguments = place, numbers, params, orders, data
        who = self._optimizers[part[0].optimizer].name
        with self._lock:  # threads of an executor share what is compiled
            if self._run is None:
                self._on_stage("compiling", who)
                self._run = self._program.run.lower(*arguments).compile()
        self._on_stage("training", self._name(part))
        # Ctrl-C ends this wait at once, and would not end that of NumPy.
        outcome = jax.block_until_ready(self._run(*arguments))
        return tuple(np.asarray(array)[: len(part)] for array in outcome)

    def _name(self, part: Sequence[Job]) -> str:
        first, last = part[0], part[-1]
        given = ", ".join(f"{name} {value:.3g}" for name, value in first.numbers)
        said = f"{self._optimizers[first.optimizer].name}, {given}, seed {first.seed}"
        return said if first is last else f"{said} and {len(part) - 1} more runs"

    def _described(self, pool: Pool, part: Sequence[Job]) -> Part:
        optimizers, how = tuple(self._optimizers), (self._width, self._epochs, self._every_epoch)
        return _SweepPart(self._name(part), pool.source, self._token, optimizers, *how, tuple(part))

    def _orders(self, seed: int) -> NDArray[np.int32]:
        return np.stack(list(itertools.islice(self.task.orders(seed), self._epochs)))


@dataclass(frozen=True)
class _SweepPart(Part):
    """Describe the runs of one part of a sweep, as `Sweeper` has them."""

    width: int
    epochs: int
    every_epoch: bool
    jobs: tuple[Job, ...]

    def run(self, task: Task) -> Arrays:
        """Train the runs."""
        how = task, self.optimizers, self.width, self.epochs, None, self.every_epoch
        return task.programs.get(self.program, partial(Sweeper, *how))._trained(self.jobs)


def _chunks(todo: Sequence[Job], width: int) -> Iterator[list[Job]]:
    """Yield parts of at most `width` runs, of one optimiser each."""
    for _, group in itertools.groupby(todo, lambda job: job.optimizer):
        runs = list(group)
        for begin in range(0, len(runs), width):
            yield runs[begin : begin + width]


def _points(optimizers: list[Optimizer], part: Sequence[Job], arrays: Arrays) -> Iterator[Point]:
    for job, losses, after, accuracy in zip(part, *arrays, strict=True):
        name = optimizers[job.optimizer].name
        yield Point(name, dict(job.numbers), job.seed, losses, after, float(accuracy))


def _checked(parallel: int, runs: int) -> int:
    if parallel < 1:
        raise LabError(f"parallel must be at least 1, got {parallel}")
    return min(parallel, runs)


def default_width(task: Task, epochs: int, runs: int) -> int:
    """Return the number of runs that are vmapped by default: on a CPU one, which is the fastest.

    Elsewhere as many as should fit into half of the memory.

    Args:
        task: The task.
        epochs: Epochs of each run.
        runs: Number of runs, the most that there is use for.
    """
    device = jax.devices()[0]
    limit = 0 if device.platform == "cpu" else (device.memory_stats() or {}).get("bytes_limit", 0)
    return max(1, min(runs, int(limit // 2 // _bytes_per_run(task, epochs))))


def _bytes_per_run(task: Task, epochs: int) -> int:
    """Estimate what a run keeps: parameters, gradients, updates, two moments; activations as much.

    That is of the model alone; the order of the batches is beside it.
    """
    params = jax.eval_shape(lambda: task.params(0))
    model = int(10 * sum(p.size * p.dtype.itemsize for p in jax.tree.leaves(params)))
    return model + 4 * epochs * task.steps_per_epoch * task.batch_size


def _check_memory(task: Task, width: int, epochs: int) -> None:
    """Refuse runs at a time that this machine's memory could not hold.

    Raises:
        LabError: If the batches' orders and the models of `width` runs need more.
    """
    needed, memory = width * _bytes_per_run(task, epochs), physical_memory()
    if needed > memory:
        raise LabError(
            f"{width} runs at a time, of {epochs} epochs, need {needed >> 30} GiB of the "
            f"{memory >> 30} GiB of memory; make fewer epochs, or fewer runs in parallel"
        )
