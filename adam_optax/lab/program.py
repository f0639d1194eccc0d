"""Compile the training run of a sweep once, for every setting of hyper-parameters."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import optax

from adam_optax.lab.errors import LabError
from adam_optax.lab.grid import LEARNING_RATE
from adam_optax.lab.optimizers import Optimizer
from adam_optax.lab.task import Task

Outcome = tuple[jax.Array, jax.Array, jax.Array]
"""Batch losses, training loss after each epoch (or the last), test accuracy after the last."""

_Numbers = dict[str, jax.Array]
_Carry = tuple[optax.Params, optax.OptState]
_Data = tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


class Program:
    """Train from start to end by one of several optimisers, with traced hyper-parameters.

    Args:
        task: The task to train on.
        optimizers: The optimisers, whose states must have equal shapes.
        width: Number of runs that are vmapped.
        every_epoch: Whether to measure the loss of the whole training set after every epoch;
            otherwise it is measured after the last epoch only.

    Attributes:
        run: The jitted function `run(place, numbers, params, orders, data) -> Outcome`.
            `place` is the optimiser's place among the optimisers, `numbers` the hyper-parameters
            by name, `params` the initial parameters, `orders` the batches (epochs, steps,
            examples), `data` the training and the test set. `numbers`, `params` and `orders` have
            a leading axis of `width` runs; all of those runs have one optimiser.
    """

    def __init__(
        self,
        task: Task,
        optimizers: Sequence[Optimizer],
        width: int,
        every_epoch: bool = True,
    ) -> None:
        self._task, self._optimizers, self._every_epoch = task, optimizers, every_epoch
        # A single run is not vmapped: products of matrices are faster without an axis of one.
        self.run = jax.jit(self._many if width > 1 else self._single)

    def check(self, numbers: _Numbers) -> None:
        """Trace an update of every optimiser, so that unfit ones are refused before training.

        Args:
            numbers: Hyper-parameters by name.

        Raises:
            LabError: If an optimiser does not take these hyper-parameters, or the states differ in
                shape.
        """
        params = jax.eval_shape(lambda: self._task.params(0))
        states = []
        for optimizer in self._optimizers:
            try:
                states.append(jax.eval_shape(partial(_after_a_step, optimizer), numbers, params))
            except Exception as error:
                reason = " ".join(str(error).split()) or type(error).__name__
                raise LabError(f"{optimizer.name} with {_named(numbers)}: {reason}") from error
        shapes = [jax.tree.map(lambda x: (x.shape, x.dtype), state) for state in states]
        for optimizer, shape in zip(self._optimizers, shapes, strict=True):
            if shape != shapes[0]:
                raise LabError(
                    f"the states of {self._optimizers[0].name} and {optimizer.name} differ in "
                    "shape; give them a sweep each"
                )

    def _single(
        self,
        place: jax.Array,
        numbers: _Numbers,
        params: optax.Params,
        orders: jax.Array,
        data: _Data,
    ) -> Outcome:
        number, param, order = jax.tree.map(lambda x: x[0], (numbers, params, orders))
        losses, after, accuracy = self._train(place, number, param, order, data)
        return losses[None], after[None], accuracy[None]

    def _many(
        self,
        place: jax.Array,
        numbers: _Numbers,
        params: optax.Params,
        orders: jax.Array,
        data: _Data,
    ) -> Outcome:
        run = jax.vmap(self._train, in_axes=(None, 0, 0, 0, None))
        outcome: Outcome = run(place, numbers, params, orders, data)
        return outcome

    def _train(
        self,
        place: jax.Array,
        numbers: _Numbers,
        params: optax.Params,
        orders: jax.Array,
        data: _Data,
    ) -> Outcome:
        (x, y), test = data

        def step(carry: _Carry, batch: jax.Array) -> tuple[_Carry, jax.Array]:
            params, state = carry
            loss, grads = jax.value_and_grad(self._task.batch_loss)(params, batch, x, y)
            updates, state = self._switch(place, "update", numbers, grads, state, params)
            return (optax.apply_updates(params, updates), state), loss

        def measured(carry: _Carry) -> jax.Array:
            return self._task.loss_and_accuracy(carry[0], x, y)[0]

        def epoch(carry: _Carry, order: jax.Array) -> tuple[_Carry, Any]:
            carry, losses = jax.lax.scan(step, carry, order)
            return carry, (losses, measured(carry) if self._every_epoch else None)

        start = params, self._switch(place, "init", numbers, params)
        end, (losses, after) = jax.lax.scan(epoch, start, orders)
        after = measured(end)[None] if after is None else after
        return losses.reshape(-1), after, self._task.loss_and_accuracy(end[0], *test)[1]

    def _switch(self, place: jax.Array, method: str, numbers: _Numbers, *arguments: Any) -> Any:
        """Call a method of the optimiser at a place; of several optimisers, only that one runs."""
        branches = [partial(_call, optimizer, method, numbers) for optimizer in self._optimizers]
        if len(branches) == 1:
            return branches[0](*arguments)
        return jax.lax.switch(place, branches, *arguments)


def _call(optimizer: Optimizer, method: str, numbers: _Numbers, *arguments: Any) -> Any:
    others = {name: value for name, value in numbers.items() if name != LEARNING_RATE}
    return getattr(optimizer.build(numbers[LEARNING_RATE], **others), method)(*arguments)


def _after_a_step(optimizer: Optimizer, numbers: _Numbers, params: optax.Params) -> optax.OptState:
    state = _call(optimizer, "init", numbers, params)
    return _call(optimizer, "update", numbers, params, state, params)[1]


def _named(numbers: _Numbers) -> str:
    return ", ".join(numbers)
