"""The distinct rows of a batch, in arrays of a static size."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.core import Tracer

PADDING, LOST = 1 << 30, 3 << 29
"""From where on ids stand for no row, and for a batch that could not be looked up."""


class Unique(NamedTuple):
    """The distinct ids of a batch.

    Attributes:
        ids: rising, shape `(size,)`, int32; where they end, padding from 2**30 on, which is read as
            zeros and written nowhere.
        local: for each id of the batch its place in `ids`, in the batch's shape.
    """

    ids: Array
    local: Array


def unique(ids: Any, num_rows: int, size: int | None = None) -> Unique:
    """The distinct ids of a batch, and where in them each id is.

    Args:
        ids: integers in `[0, num_rows)`, of any shape.
        num_rows: rows of the table.
        size: the most distinct ids that there can be; None: `min(ids.size, num_rows)`, which
            always suffices. Lookups and updates cost in proportion to it.

    Returns:
        `Unique(ids, local)`: the rows of the batch are `rows[local]`, and differentiating through
        that sums the gradients of duplicates.

    Raises:
        ValueError: for an id outside the table, or more distinct ids than `size`. Inside `jit`,
            where the ids are not known, all rows of such a batch are read as NaN, so that its
            loss is NaN, and nothing is written.
        TypeError: if the ids are not integers.

    >>> from adam_optax import rows
    >>> ids, local = rows.unique([[7, 2], [7, 5]], num_rows=10)
    >>> ids[:3], local.ravel()
    (Array([2, 5, 7], dtype=int32), Array([2, 0, 2, 1], dtype=int32))
    """
    given = _integers(ids)
    size = _size(given, num_rows) if size is None else size
    if not (0 < size < LOST - PADDING and 0 < num_rows <= PADDING):
        raise ValueError(f"num_rows={num_rows} and size={size} must be positive, below 2**30")
    flat = given.ravel().astype(jnp.int32)
    inside = (given >= 0) & (given < num_rows)
    found, local, distinct = _distinct(jnp.where(inside.ravel(), flat, 0), size)
    _say(given, inside, distinct, num_rows, size)
    sound = jnp.all(inside) & (distinct <= size)
    return Unique(_or_lost(found, sound), local.reshape(given.shape))


def add(ids: Array, grads: Array, num_rows: int, size: int | None = None) -> tuple[Array, Array]:
    """The gradients of several batches, or devices, with those of each row added up.

    Args:
        ids: what `unique` gave for each, shape `(..., R)`.
        grads: with respect to the rows of each, shape `(..., R, D)`.
        num_rows: rows of the table.
        size: the most distinct ids that there can be; None: `min(ids.size, num_rows)`.

    Returns:
        Distinct ids as from `unique`, and a gradient for each: `apply(state, lookup(state, ids),
        grads)` takes the step.

    Raises:
        ValueError: as `unique` does.

    >>> import jax.numpy as jnp
    >>> from adam_optax import rows
    >>> ids = jnp.stack([rows.unique([1, 4], 10).ids, rows.unique([4, 4], 10).ids])
    >>> rows.add(ids, jnp.ones((2, 2, 1)), num_rows=10, size=2)[1].ravel()
    Array([1., 2.], dtype=float32)
    """
    flat, each = ids.ravel(), grads.reshape(ids.size, *grads.shape[ids.ndim :])
    size = _size(flat, num_rows) if size is None else size
    # Padding has no gradient: all of it may share the place after the last row.
    found, local, distinct = _distinct(jnp.minimum(flat, PADDING), size)
    lost = wrong(ids, num_rows)
    _say(ids, ~lost, distinct, num_rows, size)
    sums = jnp.zeros((size, *each.shape[1:]), grads.dtype).at[local].add(each, mode="drop")
    sound = ~jnp.any(lost) & (distinct <= size)
    return _or_lost(found, sound), sums


def wrong(ids: Array, num_rows: int) -> Array:
    """Which ids are neither those of a row nor padding."""
    return (ids < 0) | ((ids >= num_rows) & (ids < PADDING)) | (ids >= LOST)


def rising(ids: Array) -> Array:
    """Whether ids are distinct, as those of `unique` are."""
    return jnp.all(ids[1:] > ids[:-1])


def _distinct(flat: Array, size: int) -> tuple[Array, Array, Array]:
    """Distinct ids up to `size`, padded; where each is in them; and how many rows they name."""
    order = jnp.argsort(flat)
    at = flat[order]
    first = (at != jnp.roll(at, 1)) | (jnp.arange(at.size) == 0)
    place = jnp.cumsum(first.astype(jnp.int32)) - 1
    local = jnp.zeros_like(flat).at[order].set(place, unique_indices=True)
    padding = PADDING + jnp.arange(size, dtype=jnp.int32)
    found = padding.at[place].min(at, mode="drop", indices_are_sorted=True)
    return found, local, jnp.sum(first & (at < PADDING))


def _or_lost(found: Array, sound: Array) -> Array:
    return jnp.where(sound, found, LOST + jnp.arange(found.size, dtype=jnp.int32))


def _say(ids: Any, inside: Array, distinct: Array, num_rows: int, size: int) -> None:
    """Raise where the ids are known."""
    if isinstance(inside, Tracer) or isinstance(distinct, Tracer):
        return
    if not jnp.all(inside):
        (first,) = jax.device_get(ids[~inside][:1])
        raise ValueError(f"id {first} is not in a table of {num_rows} rows")
    if distinct > size:
        raise ValueError(
            f"{distinct} distinct ids do not fit size={size}; leave size out, or make it the "
            "most that a batch can have"
        )


def _integers(ids: Any) -> Array:
    given = jnp.asarray(ids)
    if not jnp.issubdtype(given.dtype, jnp.integer):
        raise TypeError(f"ids must be integers, not {given.dtype}")
    return given.astype(jnp.int32) if given.dtype.itemsize < 4 else given


def _size(ids: Array, num_rows: int) -> int:
    return max(1, min(ids.size, num_rows))
