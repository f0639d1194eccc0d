"""Train one optimiser on one problem, compiled once for all seeds."""

import copy
import itertools
import math
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from numpy.typing import NDArray

from adam_optax.lab._problems.problem import Problem
from adam_optax.lab.errors import Interrupted, LabError
from adam_optax.lab.grid import LEARNING_RATE, check_float32, check_runs_planned
from adam_optax.lab.optimizers import Optimizer, build, resolve
from adam_optax.lab.parts import Part, Source
from adam_optax.lab.resume import Checkpoints, to_arrays
from adam_optax.lab.run import Epoch, OnStage, Run, ignore_stage, steps_to
from adam_optax.lab.task import Task

_Carry = tuple[optax.Params, optax.OptState]
Trained = tuple[list[Epoch], list[NDArray[Any]]]
"""The epochs of a run, and the arrays after the last if they are asked for."""


def train(
    problem: str | Problem,
    optimizer: str | Optimizer,
    seed: int = 0,
    *,
    learning_rate: float | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    data_dir: Path | str | None = None,
    parts: Path | str | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
) -> Run:
    """Train one optimiser on a problem, with one seed.

    Args:
        problem: A name (see `problems`) or a `Problem`.
        optimizer: A name such as `adam` or `optax.sgd`, or an `Optimizer`.
        seed: Seed of the initial parameters and of the order of the batches.
        learning_rate: By default the problem's rate times the optimiser's factor.
        epochs: Passes over the training set; by default the problem's.
        batch_size: Examples per step; by default the problem's.
        data_dir: The directory of the data files, for problems that are not embedded.
        parts: A directory for the finished epochs, from which a killed run goes on, to the same
            numbers; remove it when the results are kept elsewhere.
        on_epoch: Called after every epoch with its record.

    Returns:
        The record of the run.

    Raises:
        DataError: If the data is missing or damaged.
        LabError: If a name is unknown or a number is out of range.
        KeyboardInterrupt: If Ctrl-C was pressed. Once an epoch is finished, the exception has an
            attribute `partial`: the record of the run up to then.
    """
    found, task = resolve(optimizer), Task(problem, batch_size, data_dir)
    return Trainer(task, found, learning_rate, parts).run(seed, epochs, on_epoch)


class Trainer:
    """Train one optimiser at one learning rate on a task, compiled once for all seeds.

    Args:
        task: The task to train on.
        optimizer: The optimiser.
        learning_rate: By default the problem's rate times the optimiser's factor.
        parts: A directory for finished epochs, from which a killed run goes on; `None`: nothing is
            kept.
        facts: What else the numbers follow from, beside task, name and rate; for `parts`.
        on_stage: Called when the compilation begins, and when a run does.

    Attributes:
        learning_rate: The learning rate.

    Raises:
        LabError: If the learning rate is not a positive number, or the optimiser refuses the rate.
    """

    def __init__(
        self,
        task: Task,
        optimizer: Optimizer,
        learning_rate: float | None = None,
        parts: Path | str | None = None,
        facts: Sequence[object] = (),
        on_stage: OnStage | None = None,
    ) -> None:
        default = optimizer.rate * task.problem.learning_rate
        self.learning_rate = default if learning_rate is None else learning_rate
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise LabError(f"learning rate must be positive, got {self.learning_rate}")
        check_float32(LEARNING_RATE, self.learning_rate)
        self._task, self._name, self._parts = task, optimizer.name, parts
        self._optimizer, self._token = optimizer, uuid.uuid4().hex
        self._facts = [optimizer.name, self.learning_rate, *facts]
        self._on_stage = on_stage or ignore_stage
        self._tx = build(optimizer, {LEARNING_RATE: self.learning_rate})
        params = task.params(0)
        state = self._tx.init(params)
        self._bytes_per_parameter = _bytes(state) / _size(params)

    @cached_property
    def _epoch(self) -> Callable[..., Any]:
        """Return the program of an epoch, compiled before the first run that is not finished.

        The program is run once, so that no measured time contains the compilation or the extra
        cost of a program's first execution.
        """
        self._on_stage("compiling", self._name)
        like = *self._start(0), next(self._task.orders(0)), *self._task.train
        program = jax.jit(self._scan).lower(*like).compile()
        jax.block_until_ready(program(*like))
        return program

    def run(
        self,
        seed: int,
        epochs: int | None = None,
        on_epoch: Callable[[Epoch], object] | None = None,
    ) -> Run:
        """Train from the seed's initial parameters.

        Args:
            seed: Seed of the initial parameters and of the order of the batches.
            epochs: Passes over the training set; by default the problem's.
            on_epoch: Called after every epoch with its record.

        Raises:
            Interrupted: If Ctrl-C was pressed once an epoch was finished; `partial` is the record.
            KeyboardInterrupt: If Ctrl-C was pressed before that.
            LabError: If `epochs` is below 1, the seed is not in 0 to 2**31 - 1, or a checkpoint
                cannot be written.
        """
        epochs = check_epochs(self._task.problem, epochs)
        check_seed(seed)
        kept = self._kept(seed, epochs)
        start = self._start(seed)
        done, carry = kept.load(start) or ([], start)
        self._latest: tuple[Epoch | None, _Carry] = (done[-1] if done else None), carry
        try:
            if not _is_whole(done, epochs):
                for epoch in self._epochs(seed, epochs, len(done)):
                    done.append(epoch)
                    is_last = epoch.diverged or epoch.epoch == epochs
                    kept.save(done, self._latest[1], now=is_last)
                    if on_epoch is not None:
                        on_epoch(epoch)
                    if epoch.diverged:
                        break
            elif on_epoch is not None:  # all of it was done before
                on_epoch(done[-1])
        except KeyboardInterrupt as stopped:
            latest, carry = self._latest
            if latest is None:
                raise
            if not done or done[-1] is not latest:  # stopped just before it was listed
                done.append(latest)
            kept.save(done, carry, now=True)
            raise Interrupted(self._record(seed, done)) from stopped
        return self._record(seed, done)

    def kept(self, seed: int, epochs: int) -> Run | None:
        """Return a run that is kept whole, or `None`."""
        done, _ = self._kept(seed, epochs).load(self._start(seed)) or ([], None)
        return self._record(seed, done) if _is_whole(done, epochs) else None

    def described(self, source: Source, seed: int, epochs: int) -> Part:
        """Describe a run, so that another process can train it; `keep` takes its results."""
        who, with_state = f"{self._name}, seed {seed}", self._parts is not None
        how = self.learning_rate, epochs, seed, with_state
        return _RunPart(who, source, self._token, (self._optimizer,), *how)

    def keep(self, seed: int, epochs: int, trained: Trained) -> Run:
        """Keep a run that another process trained, as `run` would, and return its record."""
        done, arrays = trained
        self._kept(seed, epochs).save(done, arrays, now=True)
        return self._record(seed, done)

    def compile(self) -> None:
        """Compile the program of an epoch."""
        self._epoch  # noqa: B018  # it is kept

    @property
    def latest(self) -> _Carry:
        """Return the parameters and the state after the latest epoch of the latest run."""
        return self._latest[1]

    def _kept(self, seed: int, epochs: int) -> Checkpoints:
        return Checkpoints(self._parts, self._task, [*self._facts, epochs, seed])

    def _start(self, seed: int) -> _Carry:
        params = self._task.params(seed)
        return params, self._tx.init(params)

    def _epochs(self, seed: int, epochs: int, done: int) -> Iterator[Epoch]:
        """Train the epochs after those that are done."""
        program, carry = self._epoch, self._latest[1]
        self._on_stage("training", f"{self._name}, seed {seed}")
        orders = itertools.islice(self._task.orders(seed), done, epochs)
        for number, order in enumerate(orders, start=done + 1):
            start = time.perf_counter()
            carry, losses = program(*carry, order, *self._task.train)
            losses.block_until_ready()
            seconds = (time.perf_counter() - start) / len(order)
            measured = self._task.evaluate(carry[0])
            record = np.asarray(losses), seconds, *measured
            epoch = Epoch(self._name, seed, number, epochs, *record)
            self._latest = epoch, carry  # in one step, between whose halves no signal can come
            yield epoch

    def _scan(
        self,
        params: optax.Params,
        state: optax.OptState,
        order: jax.Array,
        x: jax.Array,
        y: jax.Array,
    ) -> tuple[_Carry, jax.Array]:
        def step(carry: _Carry, batch: jax.Array) -> tuple[_Carry, jax.Array]:
            params, state = carry
            loss, grads = jax.value_and_grad(self._task.batch_loss)(params, batch, x, y)
            updates, state = self._tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), loss

        return jax.lax.scan(step, (params, state), order)

    def _record(self, seed: int, epochs: list[Epoch]) -> Run:
        losses = np.concatenate([epoch.losses for epoch in epochs])
        return Run(
            optimizer=self._name,
            seed=seed,
            learning_rate=self.learning_rate,
            losses=losses,
            train_loss=tuple(epoch.train_loss for epoch in epochs),
            test_accuracy=epochs[-1].test_accuracy,
            steps_to_target=steps_to(self._task.problem.target_loss, losses),
            seconds_per_step=float(np.median([epoch.seconds_per_step for epoch in epochs])),
            state_bytes_per_parameter=self._bytes_per_parameter,
            diverged=epochs[-1].diverged,
            test_accuracies=tuple(epoch.test_accuracy for epoch in epochs),
        )


def _is_whole(done: Sequence[Epoch], epochs: int) -> bool:
    return len(done) == epochs or bool(done and done[-1].diverged)


@dataclass(frozen=True)
class _RunPart(Part):
    """Describe one run, as `Trainer` has it; `with_state` sends the last state back, too."""

    learning_rate: float
    epochs: int
    seed: int
    with_state: bool

    def run(self, task: Task) -> Trained:
        """Train, and return the epochs and, if asked for, the arrays after the last."""
        # The compiled program is shared; what a run leaves behind is its own.
        trainer = copy.copy(task.programs.get(self.program, lambda: self._trainer(task)))
        epochs: list[Epoch] = []
        trainer.run(self.seed, self.epochs, epochs.append)
        return epochs, to_arrays(trainer.latest) if self.with_state else []

    def _trainer(self, task: Task) -> Trainer:
        trainer = Trainer(task, self.optimizers[0], self.learning_rate)
        trainer.compile()
        return trainer


def check_epochs(problem: Problem, epochs: int | None) -> int:
    """Return the number of epochs to train for: the problem's if `epochs` is `None`.

    Raises:
        LabError: If the number is below 1.
    """
    chosen = problem.epochs if epochs is None else epochs
    if chosen < 1:
        raise LabError(f"epochs must be at least 1, got {chosen}")
    return chosen


def check_seed(seed: int) -> None:
    """Refuse a seed that is not in 0 to 2**31 - 1, because JAX's keys could not hold the seed."""
    if not 0 <= seed < 2**31:
        raise LabError(f"seed must be 0 to {2**31 - 1}, got {seed}")


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuse an empty list of seeds, repeated seeds, too many, and seeds that are out of range."""
    check_runs_planned(1, 1, len(seeds))
    for seed in seeds:
        check_seed(seed)
    if not seeds or len(set(seeds)) < len(seeds):
        raise LabError("seeds must be different numbers, and at least one")


def _bytes(tree: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def _size(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
