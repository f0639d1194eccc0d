"""Define the state of a table, and the rows that are looked up in it."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

NumberOrSchedule: TypeAlias = float | Callable[[Array], ArrayLike]
"""A number, or a schedule `count -> value` that JAX can trace."""


class RowsState(NamedTuple):
    """Hold a table of rows and what the optimiser remembers of each row.

    The rows themselves are in the state, not in `params`; `_closed_form.py` explains the rest.

    Attributes:
        count: steps taken, an int32 scalar.
        table: each row as of the row's last step, shape `(V, ...)`.
        moments: the rule's moments by name, as of each row's last step.
        last: the count of each row's last step, shape `(V,)`, int32; None where rows stand still
            between their gradients.
        ahead: how each row moves in the N steps after its last one: K weights of its moments, each
            an array of shape `(V,)` (of shape `(V, K)` a TPU would fill up K to 128), or where a
            row has no more than K elements, how far they come down, shape `(V, ...)`; None where
            rows do not move between their gradients.
        decayed: the cumulative `-log P` of weight decay, where P is the product of
            `1 - learning_rate * weight_decay` over the steps so far, as a pair (sum, rounding
            error); None where rows do not decay between their gradients.
        marks: the value of `decayed` N steps after each row's last one, two arrays of shape `(V,)`,
            and by how much these N steps raise it.
    """

    count: Array  # type: ignore[assignment]  # tuple.count: the field's name is optax's
    table: Array
    moments: dict[str, Array]
    last: Array | None
    ahead: Array | tuple[Array, ...] | None
    decayed: tuple[Array, Array] | None
    marks: tuple[Array, Array, Array] | None


class Rows(NamedTuple):
    """Hold rows of a table as they are now; a model reads and differentiates `params`.

    Attributes:
        ids: the rows' ids, of any shape `(...)`.
        params: the rows, shape `(..., D)`.
        gap: for how many steps each row has had no gradient, shape `(...)`, int32.
        moments: the rows' moments by name, decayed to the present step.
        read: true for every row; it depends on all that was read of the row.
    """

    ids: Array
    params: Array
    gap: Array
    moments: dict[str, Array]
    read: Array


def compensated_add(total: tuple[Array, Array], amount: Array) -> tuple[Array, Array]:
    """Add a number to a sum that is kept together with its rounding error.

    The pair is made anew each time, so that the rounding error stays below a rounding of the sum
    (Dekker 1971): left to itself it would grow until it, too, is rounded.

    Args:
        total: the sum and its rounding error.
        amount: the number.
    """
    new = total[0] + amount
    moved = new - total[0]
    lost = (total[0] - (new - moved)) + (amount - moved)
    error = total[1] + lost
    both = new + error
    return both, error - (both - new)


def shrink(rows: Array, fade: Array, more: Array | float) -> Array:
    """Return `rows e^-fade + more`; for a small fade the large `rows` are rounded only once."""
    fade = fade.reshape(fade.shape + (1,) * (rows.ndim - fade.ndim))
    small = fade < 0.5
    change = jnp.where(small, jnp.expm1(-fade), jnp.exp(-fade))
    return jnp.where(small, rows, 0) + (change * rows + more)
