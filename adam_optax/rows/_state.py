"""What is kept of a table, and what is looked up in it."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class RowsState(NamedTuple):
    """A table of rows and what the optimiser keeps of it. The rows are in here, not in `params`.

    Attributes:
        count: steps taken, an int32 scalar.
        rest: the table: each row's resting point as of its last step, shape `(V, ...)`.
        moments: the rule's moments by name, as of each row's last step.
        last: which step that was, shape `(V,)`, int32; None where rows stand still between.
        decayed: `-log P`, `P` the product of `1 - rate * weight_decay` over the steps so far, as a
            sum and what its rounding has lost; None where rows do not decay between.
        marks: what these were at each row's last step, two arrays of shape `(V,)`.
    """

    count: Array  # type: ignore[assignment]  # tuple.count: the field's name is optax's
    rest: Array
    moments: dict[str, Array]
    last: Array | None
    decayed: tuple[Array, Array] | None
    marks: tuple[Array, Array] | None


class Rows(NamedTuple):
    """Rows of a table as they are now: `params` is what a model reads and differentiates.

    Attributes:
        ids: which rows.
        params: the rows.
        rest: as in the state.
        gap: for how many steps they have had no gradient.
        fade: by how much weight decay has shrunk that since, as `-log`.
        drift: how far the rows would yet come down without a gradient.
        moments: as they have faded by now.
    """

    ids: Array
    params: Array
    rest: Array
    gap: Array
    fade: Array
    drift: Array
    moments: dict[str, Array]


def added(total: tuple[Array, Array], amount: Array) -> tuple[Array, Array]:
    """A sum with what its rounding has lost, and a number more (Neumaier 1974)."""
    new = total[0] + amount
    moved = new - total[0]
    lost = (total[0] - (new - moved)) + (amount - moved)
    return new, total[1] + lost


def shrunk(rest: Array, fade: Array, more: Array | float) -> Array:
    """`rest e^-fade + more`; for a small fade with one rounding of what is large."""
    fade = fade.reshape(fade.shape + (1,) * (rest.ndim - fade.ndim))
    small = fade < 0.5
    change = jnp.where(small, jnp.expm1(-fade), jnp.exp(-fade))
    return jnp.where(small, rest, 0) + (change * rest + more)
