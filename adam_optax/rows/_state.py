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

    The rows themselves are in the state, not in `params`. `_closed_form.py` explains why the state
    holds a row's resting point instead of the row.

    Attributes:
        count: steps taken, an int32 scalar.
        rest: the table: the resting point of each row as of the row's last step, shape `(V, ...)`.
        moments: the rule's moments by name, as of each row's last step.
        last: the count of each row's last step, shape `(V,)`, int32; None where rows stand still
            between their gradients.
        decayed: the cumulative `-log P` of weight decay, where P is the product of
            `1 - learning_rate * weight_decay` over the steps so far, as a compensated pair (sum,
            rounding error); None where rows do not decay between their gradients.
        marks: the value of `decayed` when each row was last written, two arrays of shape `(V,)`.
    """

    count: Array  # type: ignore[assignment]  # tuple.count: the field's name is optax's
    rest: Array
    moments: dict[str, Array]
    last: Array | None
    decayed: tuple[Array, Array] | None
    marks: tuple[Array, Array] | None


class Rows(NamedTuple):
    """Hold rows of a table as they are now; a model reads and differentiates `params`.

    Attributes:
        ids: the rows' ids, of any shape `(...)`.
        params: the rows, shape `(..., D)`.
        rest: the rows' resting points as in the state.
        gap: for how many steps each row has had no gradient, shape `(...)`, int32.
        fade: `-log` of the factor by which weight decay has shrunk each row since, shape `(...)`.
        drift: how far each row would yet come down without a gradient, in the shape of `params`.
        moments: the rows' moments by name, decayed to the present step.
    """

    ids: Array
    params: Array
    rest: Array
    gap: Array
    fade: Array
    drift: Array
    moments: dict[str, Array]


def compensated_add(total: tuple[Array, Array], amount: Array) -> tuple[Array, Array]:
    """Add a number to a sum that is kept together with its rounding error (Neumaier 1974).

    Args:
        total: the sum and its rounding error.
        amount: the number.
    """
    new = total[0] + amount
    moved = new - total[0]
    lost = (total[0] - (new - moved)) + (amount - moved)
    return new, total[1] + lost


def shrink(rest: Array, fade: Array, more: Array | float) -> Array:
    """Return `rest e^-fade + more`; for a small fade the large `rest` is rounded only once."""
    fade = fade.reshape(fade.shape + (1,) * (rest.ndim - fade.ndim))
    small = fade < 0.5
    change = jnp.where(small, jnp.expm1(-fade), jnp.exp(-fade))
    return jnp.where(small, rest, 0) + (change * rest + more)
