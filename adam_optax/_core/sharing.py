"""Share one number of a moment among the elements of some axes, or of blocks along them."""

import math
from collections.abc import Callable
from typing import TypeAlias

import jax.numpy as jnp
from jax import Array

Over: TypeAlias = str | int | tuple[int | tuple[int, int], ...] | None
"""Which elements have one number together: `"all"`, an axis, or a tuple of axes and of pairs
`(axis, block)`; None: each element has its own."""

ALL = "all"
"""The whole leaf has one number."""


def normalize_over(over: Over) -> str | tuple[int | tuple[int, int], ...] | None:
    """Return `over` as `"all"`, a tuple that is not empty, or None.

    Raises:
        TypeError: if `over` is none of what it can be.
        ValueError: if a block has no element.
    """
    if over is None or over == ALL:
        return ALL if over else None
    entries = (over,) if isinstance(over, int) else over
    if not isinstance(entries, tuple) or not all(map(_is_entry, entries)):
        raise TypeError(
            "over must be 'all', an axis, a tuple of axes and of pairs (axis, block), or None, not "
            f"{over!r}; what differs among parameters is by path: adam_optax.by_path"
        )
    if any(isinstance(x, tuple) and x[1] < 1 for x in entries):
        raise ValueError(f"over={over!r}: a block must have at least one element")
    return entries or None


def _is_entry(x: object) -> bool:
    return type(x) is int or (isinstance(x, tuple) and [*map(type, x)] == [int, int])


def kept_shape(shape: tuple[int, ...], over: Over) -> tuple[int, ...]:
    """Return the shape of what is kept of a leaf: axes are dropped, or shortened by their blocks.

    Raises:
        ValueError: if the leaf lacks an axis, or blocks do not divide one.
    """
    blocks = _blocks(shape, over)
    if blocks is None:
        return shape
    return tuple(n // b for n, b in zip(shape, blocks, strict=True) if b)


def mean_over(x: Array, over: Over) -> Array:
    """Return the mean of each group of elements that share a number; 0 for an empty group."""
    blocks = _blocks(x.shape, over)
    if blocks is None:
        return x
    group = math.prod(b or n for n, b in zip(x.shape, blocks, strict=True))
    return _reduced(jnp.sum, x, blocks) / max(group, 1)


def any_over(mask: Array, over: Over) -> Array:
    """Return for each group of elements that share a number whether any of them is marked."""
    blocks = _blocks(mask.shape, over)
    return mask if blocks is None else _reduced(jnp.any, mask, blocks)


def spread(m: Array, shape: tuple[int, ...], over: Over) -> Array:
    """Return the number of each element: of a whole leaf's number, the number itself."""
    blocks = _blocks(shape, over)
    if blocks is None or m.ndim == 0:
        return m
    split = _split(shape, blocks)
    within = tuple(n for i, n in enumerate(split) if i % 2 == 0)
    kept = tuple(n for n in within for n in (n, 1))
    return jnp.broadcast_to(m.reshape(kept), split).reshape(shape)


def _reduced(reduce: Callable[..., Array], x: Array, blocks: tuple[int, ...]) -> Array:
    """Reduce over whole axes (block 0), and within the blocks along the others."""
    if not any(blocks):
        return reduce(x)
    whole = tuple(i for i, b in enumerate(blocks) if not b)
    if all(b < 2 for b in blocks):
        return reduce(x, axis=whole)
    within = reduce(x.reshape(_split(x.shape, blocks)), axis=tuple(range(1, 2 * x.ndim, 2)))
    return within.squeeze(whole)


def _split(shape: tuple[int, ...], blocks: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape in which each axis is two: the groups along it, and what is in a group."""
    pairs = zip(shape, blocks, strict=True)
    return tuple(x for n, b in pairs for x in ((n // b, b) if b else (1, n)))


def _blocks(shape: tuple[int, ...], over: Over) -> tuple[int, ...] | None:
    """Return the block along each axis: 1 for none, 0 for the whole axis; None: nothing is shared.

    Raises:
        ValueError: if the leaf lacks an axis, or blocks do not divide one.
    """
    normal = normalize_over(over)
    if normal is None:
        return None
    if isinstance(normal, str):
        return (0,) * len(shape)
    blocks = [1] * len(shape)
    for entry in normal:
        axis, block = entry if isinstance(entry, tuple) else (entry, 0)
        if not -len(shape) <= axis < len(shape):
            raise ValueError(f"over={over!r}: there is no axis {axis} in the shape {shape}")
        if block and shape[axis] % block:
            raise ValueError(
                f"over={over!r}: blocks of {block} do not divide axis {axis} of the shape {shape}"
            )
        if blocks[axis] != 1:
            raise ValueError(f"over={over!r} names axis {axis % len(shape)} of {shape} twice")
        blocks[axis] = block
    return tuple(blocks)
