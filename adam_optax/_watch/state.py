"""Define the state of a watched optimiser: its own state, and the last records of each layer."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from adam_optax._core.by_path import path_name
from adam_optax._core.numerics import safe_increment

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""The quantiles, over the weights of a layer, of what is recorded per weight."""

WIDTHS = {
    "grad_rms": 1,
    "clipped_rms": 1,
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
"""The value in a record of a quantity that is not known; `read` turns it into NaN.

The record itself does not hold NaN, which `jax_debug_nans` would report.
"""


class WatchState(NamedTuple):
    """Hold the state of `adam_optax.watch(tx)`.

    Attributes:
        inner_state: the state of `tx`.
        count: the steps seen, an int32 scalar.
        layers: a tree over the parameters with an empty node for each: the paths of its nodes are
            the names of the layers.
        steps: the step of each record, shape `(records,)`, int32; 0 where there is none yet.
        table: the records, float32 of shape `(records, layers, numbers)`, the numbers as in
            `WIDTHS`. The table is a ring: the newest record replaces the oldest.
    """

    inner_state: Any
    count: Array  # type: ignore[assignment]  # tuple.count: the field's name is optax's
    layers: Any
    steps: Array
    table: Array


def init_state(inner_state: Any, params: Any, keep: int) -> WatchState:
    """Return the state before the first step.

    Args:
        inner_state: the state of the watched transformation.
        params: the parameters.
        keep: how many records the state has room for.
    """
    # Built by `tree.map` alone: optax may pass a placeholder for the whole tree, which must stay.
    layers = jax.tree.map(lambda _: optax.MaskedNode(), params)
    shape = keep, len(jax.tree.leaves(layers, is_leaf=is_layer)), sum(WIDTHS.values())
    count, steps = jnp.zeros((), jnp.int32), jnp.zeros(keep, jnp.int32)
    return WatchState(inner_state, count, layers, steps, jnp.full(shape, UNKNOWN, jnp.float32))


def append_record(
    state: WatchState, inner_state: Any, due: Array, record: Array, every: int
) -> WatchState:
    """Return the state a step later, with the record of that step if one is due.

    Args:
        state: the state before the step.
        inner_state: the watched transformation's state after the step.
        due: whether the step is recorded, a bool scalar.
        record: the record, float32 of shape `(layers, numbers)`.
        every: the steps between two records.
    """
    slot = state.count // every % len(state.steps)
    count = safe_increment(state.count)
    return WatchState(
        inner_state,
        count,
        state.layers,
        state.steps.at[slot].set(jnp.where(due, count, state.steps[slot])),
        state.table.at[slot].set(jnp.where(due, record, state.table[slot])),
    )


def is_layer(x: Any) -> bool:
    """Return whether a node of `WatchState.layers` stands for a layer."""
    return isinstance(x, optax.MaskedNode)


def layer_names(layers: Any) -> list[str]:
    """Return the names of the layers in the order of the table: `dense/kernel`."""
    paths = jax.tree.leaves_with_path(layers, is_leaf=is_layer)
    return [path_name(path) or "parameter" for path, _ in paths]


def reading_order(layers: Any) -> list[int]:
    """Return the places of the layers in the table, in the order in which a reader expects them.

    JAX sorts the keys of a dictionary as text, which puts `Dense_10` before `Dense_2`; here the
    numbers in keys count as numbers. What is no dictionary keeps its own order.
    """
    paths = [path for path, _ in jax.tree.leaves_with_path(layers, is_leaf=is_layer)]
    first: dict[tuple[Any, ...], int] = {}
    for place, path in enumerate(paths):
        for depth in range(len(path)):
            first.setdefault(path[: depth + 1], place)

    def by_number(place: int) -> list[tuple[tuple[int, int | str], ...]]:
        path = paths[place]
        return [
            _pieces(entry.key)
            if isinstance(entry, jax.tree_util.DictKey)
            else ((0, first[path[: depth + 1]]),)
            for depth, entry in enumerate(path)
        ]

    return sorted(range(len(paths)), key=by_number)


def _pieces(key: object) -> tuple[tuple[int, int | str], ...]:
    """Split a key into numbers and what is between them, such that all pieces can be compared."""
    pieces = re.split("([0-9]+)", str(key))
    return tuple((0, int(x)) if place % 2 else (1, x) for place, x in enumerate(pieces))


def quantity_columns() -> Iterator[tuple[str, slice]]:
    """Yield each quantity and the columns of a record that hold it."""
    begin = 0
    for name, width in WIDTHS.items():
        yield name, slice(begin, begin + width)
        begin += width
