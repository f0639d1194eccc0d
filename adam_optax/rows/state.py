"""What is kept of a table, and what is looked up in it."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class RowsState(NamedTuple):
    """A table of rows and what the optimiser keeps of it. The rows are in here, not in `params`.

    Attributes:
        count: steps taken, an int32 scalar.
        rest: the table: where each row would come to rest, over `P`, shape `(V, ...)`.
        moments: the rule's moments by name, as of each row's last step with a gradient.
        last: which step that was, shape `(V,)`, int32; None where rows stand still between.
        shrink: `-log P`, `P` the product of `1 - rate * weight_decay` over the steps, as two
            numbers: the sum, and what its rounding has lost.
    """

    count: Array  # type: ignore[assignment]  # tuple.count: the field's name is optax's
    rest: Array
    moments: dict[str, Array]
    last: Array | None
    shrink: Array


class Rows(NamedTuple):
    """Rows of a table as they are now: `params` is what a model reads and differentiates.

    Attributes:
        ids: which rows.
        params: the rows, `P rest + drift`.
        rest: as in the state.
        drift: how far they would yet come down without a gradient.
        moments: as they have faded by now.
    """

    ids: Array
    params: Array
    rest: Array
    drift: Array
    moments: dict[str, Array]


def shrunk(shrink: Array) -> Array:
    """`P`."""
    return jnp.exp(-(shrink[0] + shrink[1]))


def shrink_by(shrink: Array, amount: Array) -> Array:
    """`-log P` after another step: a compensated sum (Neumaier 1974), right over millions."""
    total = shrink[0] + amount
    moved = total - shrink[0]
    lost = (shrink[0] - (total - moved)) + (amount - moved)
    return jnp.stack([total, shrink[1] + lost])
