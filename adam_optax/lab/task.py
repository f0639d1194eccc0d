"""Prepare what all optimisers share on a problem: data, initial parameters, batches, loss."""

import zlib
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from adam_optax.lab._problems.builtin import find_problem
from adam_optax.lab._problems.checks import load_data, reported
from adam_optax.lab._problems.problem import Problem
from adam_optax.lab.errors import LabError
from adam_optax.lab.kept import Kept

_CHUNK = 2048
"""Examples that are evaluated at a time."""


class Task:
    """Hold a problem with its data on the device.

    The initial parameters and the order of the batches follow from the problem and the seed
    alone: with the same seed every optimiser sees identical batches from the same start, and the
    runs differ by the optimiser only.

    Args:
        problem: The name of a problem, or a `Problem`.
        batch_size: Examples per step; `None`: the problem's own batch size.
        data_dir: Directory of the data files, for problems that are not embedded.

    Attributes:
        problem: The problem.
        batch_size: Examples per step.
        steps_per_epoch: Number of full batches in the training set.
        train: Features and labels of the training set.
        test: Features and labels of the test set.
        programs: What is compiled for the task in a worker, by the names that parts have for it.

    Raises:
        DataError: If the data is missing or damaged.
        LabError: If the problem is unknown, its model or loss cannot be traced, or a batch does not
            fit the training set.
    """

    def __init__(
        self,
        problem: str | Problem,
        batch_size: int | None = None,
        data_dir: Path | str | None = None,
    ) -> None:
        self.problem, self.programs = find_problem(problem), Kept()
        data = load_data(self.problem, None if data_dir is None else Path(data_dir))
        self.batch_size = self.problem.batch_size if batch_size is None else batch_size
        examples = len(data.train_x)
        if not 1 <= self.batch_size <= examples:
            raise LabError(f"batch size must be 1 to {examples}, got {self.batch_size}")
        self.steps_per_epoch = examples // self.batch_size
        with reported(self.problem, "it cannot be trained"):
            self.train = jnp.asarray(data.train_x), jnp.asarray(data.train_y)
            self.test = jnp.asarray(data.test_x), jnp.asarray(data.test_y)
            model = self.problem.model()
            self._apply: Callable[..., Any] = model.apply
            self._init = jax.jit(model.init)
            self._measure = jax.jit(self.loss_and_accuracy)
            params = jax.eval_shape(lambda: self.params(0))
            for x, y in (self.train, self.test):
                jax.eval_shape(self.loss_and_accuracy, params, x[:1], y[:1])

    @cached_property
    def checksums(self) -> list[int]:
        """Return a checksum of each array of the data."""
        return [zlib.crc32(np.asarray(array).tobytes()) for array in (*self.train, *self.test)]

    def params(self, seed: int) -> optax.Params:
        """Build the initial parameters of a seed."""
        params: optax.Params = self._init(jax.random.key(seed), self.train[0][:1])
        return params

    def orders(self, seed: int) -> Iterator[NDArray[np.int32]]:
        """Yield for each epoch the examples of its batches, shape (steps, batch size).

        Examples that do not fill a batch are left out, other ones in every epoch.
        """
        rng = np.random.default_rng([seed, zlib.crc32(self.problem.name.encode())])
        shape = self.steps_per_epoch, self.batch_size
        while True:
            order = rng.permutation(len(self.train[0]))[: shape[0] * shape[1]]
            yield order.astype(np.int32).reshape(shape)

    def loss(
        self, params: optax.Params, x: jax.Array, y: jax.Array, key: jax.Array | None = None
    ) -> jax.Array:
        """Compute the mean loss, in nats.

        Args:
            params: Parameters of the model.
            x: Features of the examples.
            y: Labels of the examples.
            key: Random key of the model's noise (dropout); `None`: no noise.
        """
        outputs = self._apply(params, x, **({} if key is None else {"rngs": {"dropout": key}}))
        return self.problem.losses(outputs, y).mean()

    def batch_loss(
        self, params: optax.Params, batch: jax.Array, x: jax.Array, y: jax.Array
    ) -> jax.Array:
        """Compute the mean training loss of the examples of a batch, in nats.

        The key of the model's noise follows from the batch, so that every optimiser sees the same
        noise.

        Args:
            params: Parameters of the model.
            batch: Numbers of the examples, shape (batch size,).
            x: Features of the whole training set.
            y: Labels of the whole training set.
        """
        key = jax.random.fold_in(jax.random.key(0), batch.sum())
        return self.loss(params, x[batch], y[batch], key)

    def evaluate(self, params: optax.Params) -> tuple[float, float]:
        """Return the loss on the training set, in nats, and the accuracy on the test set."""
        loss, _ = self._measure(params, *self.train)
        _, accuracy = self._measure(params, *self.test)
        # Ctrl-C ends this wait at once, and would not end that of `float`.
        jax.block_until_ready((loss, accuracy))
        return float(loss), float(accuracy)

    def loss_and_accuracy(
        self, params: optax.Params, x: jax.Array, y: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Compute the mean loss and the accuracy of all examples, without the model's noise.

        The examples are evaluated chunk by chunk, because the activations of all examples together
        would not fit into the memory.
        """

        def sums(chunk: tuple[jax.Array, jax.Array]) -> jax.Array:
            outputs, problem = self._apply(params, chunk[0]), self.problem
            return jnp.stack(
                [problem.losses(outputs, chunk[1]).sum(), problem.right(outputs, chunk[1]).sum()]
            )

        whole = len(x) // _CHUNK * _CHUNK
        chunks = [a[:whole].reshape(-1, _CHUNK, *a.shape[1:]) for a in (x, y)]
        totals = sums((x[whole:], y[whole:]))
        if whole:
            totals = totals + jax.lax.map(sums, tuple(chunks)).sum(0)
        loss, right = totals / y.size
        return loss, right
