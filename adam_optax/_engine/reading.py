"""Say where the state of an optimiser has the counts at which its schedules are read.

A transformation's `update` function carries a `Reader`; no step uses it.
"""

import functools as ft
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from adam_optax._core.by_path import Hyperparameter
from adam_optax._core.types import PyTree
from adam_optax._engine.optax_states import Links
from adam_optax._engine.states import count_of, holds_moments, is_split, unpack
from adam_optax._engine.tree import Engine

READER = "adam_optax_reader"
"""The attribute of an `update` function that holds its `Reader`."""


class Reading(NamedTuple):
    """Hold what the state of an optimiser says of its hyper-parameters.

    Attributes:
        step: the count at which schedules of the rule are read.
        steps: those for the learning rate and the weight decay, as far as there are any.
        mask: which parameters decay, a tree of bools; None: all.
        given: a weight decay that the engine does not know.
    """

    step: Array
    steps: Mapping[str, Array]
    mask: PyTree = None
    given: Mapping[str, Hyperparameter] = {}


class Reader(NamedTuple):
    """Read what a state says of the hyper-parameters of the transformation that made it.

    Attributes:
        engine: what runs the steps.
        fits: tells whether a node of a tree can be the transformation's state.
        read: returns the reading, given the state and the parameters.
        has_mask: whether the parameters are needed, since weight decay has a mask.
    """

    engine: Engine
    fits: Callable[[PyTree], bool]
    read: Callable[[PyTree, PyTree], Reading]
    has_mask: bool = False


def of_moments(engine: Engine) -> Reader:
    """Return the reader of a rule alone, whose state is that of its moments."""
    fits = ft.partial(_holds, engine)
    return Reader(engine, fits, lambda state, params: Reading(_step(state), {}))


def of_chain(
    engine: Engine,
    links: Links,
    tail: Sequence[PyTree],
    splits: bool,
    spread_mask: Callable[[PyTree], PyTree] | None,
) -> Reader:
    """Return the reader of an optimiser, whose state is that of optax's chain.

    Args:
        engine: what runs the steps.
        links: the links of the chain.
        tail: the states of all links but the first, before a step.
        splits: whether the last link holds a trace.
        spread_mask: returns which parameters decay, given the parameters; None: all.
    """
    rate, decay = engine.grouping.learning_rate, engine.grouping.weight_decay
    kinds = [type(link) for link in tail]

    def fits(state: PyTree) -> bool:
        plain = isinstance(state, tuple) and not hasattr(state, "_fields")
        if not plain or len(state) != len(kinds) + 1:
            return False
        if splits:
            return is_split(state)
        return _holds(engine, state[0]) and [type(link) for link in state[1:]] == kinds

    def read(state: PyTree, params: PyTree) -> Reading:
        step, steps = _step(state[0]), {}
        if rate is not None:
            own = state[-1 - links.after_rate]
            steps["learning_rate"] = _counted(own, step) if callable(rate) else step
        if decay is not None:
            scheduled = callable(decay) and links.decay
            steps["weight_decay"] = _counted(state[1], step) if scheduled else step
        return Reading(step, steps, None if spread_mask is None else spread_mask(params))

    return Reader(engine, fits, read, spread_mask is not None)


def with_gradient_decay(
    reader: Reader,
    weight_decay: Hyperparameter,
    spread_mask: Callable[[PyTree], PyTree] | None,
) -> Reader:
    """Return the reader of an optimiser behind a link that adds decay to the gradients.

    Args:
        reader: that of the optimiser.
        weight_decay: what the link adds.
        spread_mask: returns which parameters decay, given the parameters; None: all.
    """

    def fits(state: PyTree) -> bool:
        plain = isinstance(state, tuple) and not hasattr(state, "_fields")
        return plain and reader.fits(state[1:])

    def read(state: PyTree, params: PyTree) -> Reading:
        found = reader.read(state[1:], params)
        steps = {**found.steps, "weight_decay": _counted(state[0], found.step)}
        mask = None if spread_mask is None else spread_mask(params)
        return found._replace(steps=steps, mask=mask, given={"weight_decay": weight_decay})

    return Reader(reader.engine, fits, read, spread_mask is not None)


def _holds(engine: Engine, state: PyTree) -> bool:
    """Tell whether a node holds the moments of an engine, as far as their entries are known."""
    alike = engine.grouping.plan.uniform
    if not holds_moments(state):  # optax's SGD keeps nothing
        return alike is not None and not alike.entries and isinstance(state, optax.EmptyState)
    return alike is None or {*unpack(state)} == {*alike.entries}


def _step(state: PyTree) -> Array:
    """Return the steps that a state of moments has counted; 0 if it counts none."""
    return _counted(count_of(state), jnp.zeros((), jnp.int32))


def _counted(state: PyTree, otherwise: Array) -> Array:
    """Return the count that a state holds, if it holds one; Flax may have wrapped it."""
    found: Array = next(iter(jax.tree.leaves(state)), otherwise)
    return found
