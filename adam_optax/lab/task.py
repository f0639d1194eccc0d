"""What all optimisers share on a problem: data, initial parameters, batches, loss."""

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from adam_optax.lab.errors import LabError
from adam_optax.lab.problem import Problem
from adam_optax.lab.problems import get

_PART = 2048
"""How many examples are evaluated at a time."""


class Task:
    """A problem with its data on the device.

    The initial parameters and the order of the batches follow from the problem and
    the seed alone, so with the same seed every optimiser sees identical batches from
    the same start, and what differs between the runs is the optimiser.

    Attributes:
      problem: What is trained.
      batch_size: Examples per step.
      steps_per_epoch: Full batches in the training set.
      train: Features and labels to train on.
      test: Features and labels held out.

    Raises:
      DataError: If the data is missing or damaged.
      LabError: If the problem is unknown or a batch does not fit the training set.
    """

    def __init__(
        self,
        problem: str | Problem,
        batch_size: int | None = None,
        data_dir: Path | str | None = None,
    ) -> None:
        self.problem = get(problem)
        data = self.problem.load(None if data_dir is None else Path(data_dir))
        self.batch_size = self.problem.batch_size if batch_size is None else batch_size
        examples = len(data.train_x)
        if not 1 <= self.batch_size <= examples:
            raise LabError(f"batch size must be 1 to {examples}, got {self.batch_size}")
        self.steps_per_epoch = examples // self.batch_size
        self.train = jnp.asarray(data.train_x), jnp.asarray(data.train_y)
        self.test = jnp.asarray(data.test_x), jnp.asarray(data.test_y)
        model = self.problem.model()
        self._apply: Callable[..., Any] = model.apply
        self._init = jax.jit(model.init)
        self._measure = jax.jit(self.loss_and_accuracy)

    def params(self, seed: int) -> Any:
        """Makes the initial parameters of a seed."""
        return self._init(jax.random.key(seed), self.train[0][:1])

    def orders(self, seed: int) -> Iterator[NDArray[np.int32]]:
        """Yields for each epoch the examples of its batches, shape (steps, batch size).

        What does not fill a batch is left out, another rest in every epoch.
        """
        rng = np.random.default_rng([seed, zlib.crc32(self.problem.name.encode())])
        shape = self.steps_per_epoch, self.batch_size
        while True:
            order = rng.permutation(len(self.train[0]))[: shape[0] * shape[1]]
            yield order.astype(np.int32).reshape(shape)

    def loss(self, params: Any, x: jax.Array, y: jax.Array, key: Any = None) -> jax.Array:
        """Computes the mean loss in nats, with the model's noise if given a key."""
        outputs = self._apply(params, x, **({} if key is None else {"rngs": {"dropout": key}}))
        return self.problem.losses(outputs, y).mean()

    def batch_loss(self, params: Any, batch: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        """Computes the loss in training, of the examples of a batch.

        The noise follows from the batch, so that every optimiser sees the same.
        """
        key = jax.random.fold_in(jax.random.key(0), batch.sum())
        return self.loss(params, x[batch], y[batch], key)

    def evaluate(self, params: Any) -> tuple[float, float]:
        """Returns the loss on the training set and the accuracy on the test set."""
        loss, _ = self._measure(params, *self.train)
        _, accuracy = self._measure(params, *self.test)
        return float(loss), float(accuracy)

    def loss_and_accuracy(
        self, params: Any, x: jax.Array, y: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Computes the mean loss and the share that is right, without the model's noise.

        Part by part: the activations of all examples would not fit the memory.
        """

        def sums(part: tuple[jax.Array, jax.Array]) -> jax.Array:
            outputs, problem = self._apply(params, part[0]), self.problem
            return jnp.stack(
                [problem.losses(outputs, part[1]).sum(), problem.right(outputs, part[1]).sum()]
            )

        whole = len(x) // _PART * _PART
        parts = [a[:whole].reshape(-1, _PART, *a.shape[1:]) for a in (x, y)]
        totals = sums((x[whole:], y[whole:]))
        if whole:
            totals = totals + jax.lax.map(sums, tuple(parts)).sum(0)
        loss, right = totals / y.size
        return loss, right
