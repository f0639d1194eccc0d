"""Find the distinct rows of a batch, in arrays of a static size."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.core import Tracer
from numpy.typing import ArrayLike

PADDING = 1 << 30
"""The first id that stands for no row."""
LOST = 3 << 29
"""The first id that stands for a batch that could not be looked up."""


class Unique(NamedTuple):
    """Hold the distinct ids of a batch.

    Attributes:
        ids: the distinct ids, rising, shape `(size,)`, int32. Padding from 2**30 on fills the rest;
            it is read as zeros and written nowhere.
        local: the place in `ids` of each id of the batch, int32, in the batch's shape.
    """

    ids: Array
    local: Array


def unique(ids: Array | ArrayLike, num_rows: int, size: int | None = None) -> Unique:
    """Return the distinct ids of a batch, and the place of each id among them.

    Args:
        ids: integers in `[0, num_rows)`, of any shape.
        num_rows: the number of rows of the table.
        size: the most distinct ids that a batch can have; lookups and updates cost in proportion
            to it. None: `min(ids.size, num_rows)`, which always suffices.

    Returns:
        `Unique(ids, local)`: the rows of the batch are `rows[local]`, and differentiating through
        that sums the gradients of duplicates.

    Raises:
        ValueError: for an id outside the table, or more distinct ids than `size`. Inside `jit`,
            where the ids are not known, all rows of such a batch are read as NaN, so that its
            loss is NaN, and nothing is written.
        TypeError: if the ids are not integers.

    Example:
        >>> from adam_optax import rows
        >>> ids, local = rows.unique([[7, 2], [7, 5]], num_rows=10)
        >>> ids[:3], local.ravel()
        (Array([2, 5, 7], dtype=int32), Array([2, 0, 2, 1], dtype=int32))
    """
    given = _as_integers(ids)
    size = _max_distinct(given, num_rows) if size is None else size
    if not (0 < size < LOST - PADDING and 0 < num_rows <= PADDING):
        raise ValueError(f"num_rows={num_rows} and size={size} must be positive, below 2**30")
    flat = given.ravel().astype(jnp.int32)
    inside = (given >= 0) & (given < num_rows)
    found, local, distinct = _find_distinct(jnp.where(inside.ravel(), flat, 0), size)
    _refuse_known(given, inside, distinct, num_rows, size)
    fits = jnp.all(inside) & (distinct <= size)
    return Unique(_ids_or_lost(found, fits), local.reshape(given.shape))


def add(ids: Array, grads: Array, num_rows: int, size: int | None = None) -> tuple[Array, Array]:
    """Sum the gradients of each row over several batches or devices.

    Use it to accumulate gradients whose ids come apart, before one step is taken for all of them.

    Args:
        ids: the ids that `unique` returned for each batch, shape `(..., R)`.
        grads: the gradients with respect to the rows of each batch, shape `(..., R, D)`.
        num_rows: the number of rows of the table.
        size: the most distinct ids that all batches together can have; None: `min(ids.size,
            num_rows)`.

    Returns:
        Distinct ids as from `unique`, and a gradient for each: `apply(state, lookup(state, ids),
        grads)` takes the step.

    Raises:
        ValueError: as `unique` does.

    Example:
        >>> import jax.numpy as jnp
        >>> from adam_optax import rows
        >>> ids = jnp.stack([rows.unique([1, 4], 10).ids, rows.unique([4, 4], 10).ids])
        >>> rows.add(ids, jnp.ones((2, 2, 1)), num_rows=10, size=2)[1].ravel()
        Array([1., 2.], dtype=float32)
    """
    flat, each = ids.ravel(), grads.reshape(ids.size, *grads.shape[ids.ndim :])
    size = _max_distinct(flat, num_rows) if size is None else size
    # Padding has no gradient, so that all of it may share the place after the last row.
    found, local, distinct = _find_distinct(jnp.minimum(flat, PADDING), size)
    invalid = is_invalid(ids, num_rows)
    _refuse_known(ids, ~invalid, distinct, num_rows, size)
    sums = jnp.zeros((size, *each.shape[1:]), grads.dtype).at[local].add(each, mode="drop")
    fits = ~jnp.any(invalid) & (distinct <= size)
    return _ids_or_lost(found, fits), sums


def is_invalid(ids: Array, num_rows: int) -> Array:
    """Return which ids name neither a row nor padding."""
    return (ids < 0) | ((ids >= num_rows) & (ids < PADDING)) | (ids >= LOST)


def is_rising(ids: Array) -> Array:
    """Return whether ids rise strictly, and so are distinct, as those of `unique` are."""
    return jnp.all(ids[1:] > ids[:-1])


def _find_distinct(flat: Array, size: int) -> tuple[Array, Array, Array]:
    """Return distinct ids up to `size`, the place of each id among them, and their number.

    The ids are padded, and the number does not count padding.
    """
    order = jnp.argsort(flat)
    at = flat[order]
    first = (at != jnp.roll(at, 1)) | (jnp.arange(at.size) == 0)
    place = jnp.cumsum(first.astype(jnp.int32)) - 1
    local = jnp.zeros_like(flat).at[order].set(place, unique_indices=True)
    padding = PADDING + jnp.arange(size, dtype=jnp.int32)
    found = padding.at[place].min(at, mode="drop", indices_are_sorted=True)
    return found, local, jnp.sum(first & (at < PADDING))


def _ids_or_lost(found: Array, fits: Array) -> Array:
    """Return the ids, or ids that are read as NaN and written nowhere if the batch does not fit."""
    return jnp.where(fits, found, LOST + jnp.arange(found.size, dtype=jnp.int32))


def _refuse_known(ids: Array, inside: Array, distinct: Array, num_rows: int, size: int) -> None:
    """Refuse ids that do not fit, if their values are known outside `jit`."""
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


def _as_integers(ids: Array | ArrayLike) -> Array:
    given = jnp.asarray(ids)
    if not jnp.issubdtype(given.dtype, jnp.integer):
        raise TypeError(f"ids must be integers, not {given.dtype}")
    return given.astype(jnp.int32) if given.dtype.itemsize < 4 else given


def _max_distinct(ids: Array, num_rows: int) -> int:
    return max(1, min(ids.size, num_rows))
