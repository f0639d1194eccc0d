"""Describe parts of the work on a problem, so that any process can do them, and do them.

A part is one training, or the vmapped trainings of one compiled program. What describes it can be
sent to another process, which loads the data once and compiles each program once. The process
must be like the one that sends the part: the same data, the same versions, the same platform.
"""

import contextlib
import traceback
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax

from adam_optax._core.user_code import describe
from adam_optax._engine.kernels.cpu.choice import chosen, cpu_loops
from adam_optax.lab._problems.problem import Problem
from adam_optax.lab.errors import LabError
from adam_optax.lab.kept import Kept
from adam_optax.lab.optimizers import Optimizer
from adam_optax.lab.resume import made_by
from adam_optax.lab.task import Task

_TASKS = 2
"""Tasks that a worker keeps, with their data and their programs."""


_sent: "weakref.WeakValueDictionary[str, Task]" = weakref.WeakValueDictionary()
"""Tasks of this process by the token under which its parts are sent: its threads find them here."""
_received = Kept(_TASKS)
"""Tasks that parts of other processes brought here."""


@dataclass(frozen=True)
class Numerics:
    """Hold the choices of this process, or thread, that change numbers.

    Attributes:
        x64: Whether JAX has 64 bits.
        precision: JAX's default precision of products of matrices.
        random: JAX's default generator of random numbers.
        loops: The choice of `adam_optax.cpu_loops`.
    """

    x64: bool
    precision: str | None
    random: str
    loops: str

    @classmethod
    def here(cls) -> "Numerics":
        """Return the choices that hold where this is called."""
        names = "enable_x64", "default_matmul_precision", "default_prng_impl"
        x64, precision, random = (getattr(jax.config, f"jax_{name}") for name in names)
        return cls(bool(x64), precision, random, chosen.get())

    @contextlib.contextmanager
    def chosen(self) -> Iterator[None]:
        """Let the choices hold in the body, in this thread."""
        with (
            jax.enable_x64(self.x64),
            jax.default_matmul_precision(self.precision),
            jax.default_prng_impl(self.random),
            cpu_loops(self.loops),
        ):
            yield


@dataclass(frozen=True)
class Source:
    """Describe a task, so that another process can load it.

    Attributes:
        token: Names the task.
        problem: The problem; best by its name, which every process can find.
        batch_size: Examples per step.
        data_dir: Directory of the data files.
        made_by: What the numbers follow from, which must be the same in every process.
        numerics: Choices that change numbers.
    """

    token: str
    problem: str | Problem
    batch_size: int
    data_dir: str | None
    made_by: tuple[object, ...]
    numerics: Numerics

    def task(self) -> Task:
        """Return the task, loaded once in each process.

        Raises:
            LabError: If the process would give other numbers.
        """
        return _sent.get(self.token) or _received.get(self.token, self._load)

    def publish(self, task: Task) -> None:
        """Let the threads of this process find the task, for as long as it is in use."""
        _sent[self.token] = task

    def _load(self) -> Task:
        task = Task(self.problem, self.batch_size, self.data_dir)
        here, there = made_by(task), list(self.made_by)
        names = "problem", "data", "batch size", "versions of adam_optax and jax, and platform"
        for name, mine, wanted in zip(names, here, there, strict=True):
            if mine != wanted:
                raise LabError(
                    f"this worker's {name} would give other numbers: {mine}, not {wanted}; "
                    "give workers what the process has that starts them"
                )
        return task


@dataclass(frozen=True)
class Part(ABC):
    """Describe a part of some work.

    Attributes:
        name: What is trained, for messages.
        source: The task.
        program: Names the compiled program that the part shares with others.
        optimizers: The optimisers of that program.
    """

    name: str
    source: Source
    program: str
    optimizers: tuple[Optimizer, ...]

    @abstractmethod
    def run(self, task: Task) -> Any:
        """Do the part, and return its results as arrays and records that can be sent."""


@dataclass(frozen=True)
class Done:
    """Hold what a part gave."""

    value: Any


@dataclass(frozen=True)
class Failed:
    """Hold what a part raised, as text: an error of the user's own may not be sent.

    Attributes:
        text: The error in one line.
        traceback: Where it came from.
    """

    text: str
    traceback: str


def do(part: Part) -> Done | Failed:
    """Do a part in a worker.

    What the part raises is returned, so that whatever a future raises is of the executor.
    """
    try:
        with part.source.numerics.chosen():
            return Done(part.run(part.source.task()))
    except Exception as error:
        text = str(error) if isinstance(error, LabError) else describe(error)
        return Failed(text, traceback.format_exc())


def pieces(part: Part) -> Iterator[tuple[str, object]]:
    """Yield what of a part is the user's, with its name."""
    problem = part.source.problem
    if isinstance(problem, Problem):
        for field in ("load", "model", "losses", "right"):
            yield f"{field} of problem {problem.name!r}", getattr(problem, field)
    for optimizer in part.optimizers:
        yield f"build of optimiser {optimizer.name!r}", optimizer.build
