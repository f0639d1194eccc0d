"""What a watched optimiser keeps beside its own state: the last records, layer by layer."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from adam_optax._core.numerics import safe_increment
from adam_optax.storage._plan import path_name

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the weights of a layer, for what is recorded per weight."""

WIDTHS = {
    "grad_rms": 1,
    "param_rms": 1,
    "update_rms": 1,
    "signal_to_noise": 1,
    "eps_share": 1,
    "storage_error": 1,
    "nonfinite": 1,
    "step_size": len(QUANTILES),
    "root_nu": len(QUANTILES),
}
"""How many numbers each quantity has in a record; none of them is negative."""

UNKNOWN = -1.0
"""What is recorded where there is nothing to record: not NaN, which `jax_debug_nans` would catch.
`read` turns it into NaN."""


class WatchState(NamedTuple):
    """The state of `adam_optax.watch(tx)`.

    Attributes:
        inner_state: the state of what is watched.
        count: the steps seen, an int32 scalar.
        layers: a tree over the parameters with nothing in it: what the layers are called.
        steps: the step of each record, 0 where there is none yet.
        table: float32 of shape (records, layers, numbers), the numbers as in `WIDTHS`. It is a
            ring: the newest record replaces the oldest.
    """

    inner_state: Any
    count: Array  # type: ignore[assignment]  # tuple.count: the field's name is optax's
    layers: Any
    steps: Array
    table: Array


def start(inner_state: Any, params: Any, keep: int) -> WatchState:
    """The state before the first step."""
    # Optax may hand in a placeholder for the whole tree: by `tree.map`, so that it stays in place.
    layers = jax.tree.map(lambda _: optax.MaskedNode(), params)
    shape = keep, len(jax.tree.leaves(layers, is_leaf=is_layer)), sum(WIDTHS.values())
    count, steps = jnp.zeros((), jnp.int32), jnp.zeros(keep, jnp.int32)
    return WatchState(inner_state, count, layers, steps, jnp.full(shape, UNKNOWN, jnp.float32))


def noted(state: WatchState, inner_state: Any, due: Array, row: Array, every: int) -> WatchState:
    """The state a step later, with the record of that step in it if one was due."""
    slot = state.count // every % len(state.steps)
    count = safe_increment(state.count)
    return WatchState(
        inner_state,
        count,
        state.layers,
        state.steps.at[slot].set(jnp.where(due, count, state.steps[slot])),
        state.table.at[slot].set(jnp.where(due, row, state.table[slot])),
    )


def is_layer(x: Any) -> bool:
    """Whether this stands for a layer in `WatchState.layers`."""
    return isinstance(x, optax.MaskedNode)


def names(layers: Any) -> list[str]:
    """What the layers are called, in the order of the table: `dense/kernel`."""
    paths = jax.tree.leaves_with_path(layers, is_leaf=is_layer)
    return [path_name(path) or "parameter" for path, _ in paths]


def columns() -> Iterator[tuple[str, slice]]:
    """Where each quantity is in a record."""
    begin = 0
    for name, width in WIDTHS.items():
        yield name, slice(begin, begin + width)
        begin += width
