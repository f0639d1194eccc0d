"""The dither by which formats and parameters of few bits are rounded: right on average, and evenly.

`hash(place, key) + count golden`, modulo `2^32`. Over the steps an element's numbers are spread
more evenly than random ones, so that the errors of rounding by them cancel sooner. They depend on
the element's place in the whole array: one device and eight give the same bits.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

GOLDEN = np.uint32(2654435769)
"""`2^32` over the golden ratio: its multiples fill the circle evenly."""
SILVER = np.uint32(2447445413)
"""`2^32` times .5698, the second coordinate of a sequence that fills the square evenly."""

Key = int | Array | np.uint32


class Corner(NamedTuple):
    """Where in a whole array a part of it begins.

    Attributes:
        shape: of the whole.
        start: the index of the part's first element, by axis.
    """

    shape: tuple[int, ...]
    start: tuple[Array, ...]


def dither(shape: tuple[int, ...], count: Array, key: Key, corner: Corner | None = None) -> Array:
    """A number in `[0, 2^32)` for each element at a step, of this shape."""
    return dithers(shape, count, key, corner)[0]


def dithers(
    shape: tuple[int, ...], count: Array, key: Key, corner: Corner | None = None
) -> tuple[Array, Array]:
    """Two of them that have nothing to do with one another."""
    place, t = _place(shape, corner), count.astype(jnp.uint32)
    h = _mixed(place ^ _mixed_key(key))
    return h + t * GOLDEN, h * np.uint32(0x9E3779B1) + t * SILVER


def unit(u: Array) -> Array:
    """Such numbers as float32 in [0, 1)."""
    high = jnp.astype(u >> np.uint32(8), jnp.int32)  # accelerators convert no unsigned integers
    return high.astype(jnp.float32) * np.float32(2.0**-24)


def _place(shape: tuple[int, ...], corner: Corner | None) -> Array:
    """Row-major, modulo 2^32; without a reshape, which would gather what is sharded."""
    place = jnp.zeros(shape, jnp.uint32)
    for axis, length in enumerate(shape if corner is None else corner.shape):
        index = lax.broadcasted_iota(jnp.uint32, shape, axis)
        if corner is not None:
            index = index + corner.start[axis].astype(jnp.uint32)
        place = place * np.uint32(length % 2**32) + index
    return place


def _mixed_key(key: Key) -> Any:
    """Of a number that is known beforehand a constant, which no leaf need compute."""
    if isinstance(key, int):
        return _mixed(np.full(1, key % 2**32, np.uint32))[0]  # no scalar: they warn of overflow
    return _mixed(jnp.asarray(key, jnp.uint32))


def _mixed(x: Any) -> Any:
    """MurmurHash3's finaliser: a permutation of uint32 in which every bit depends on every bit."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))
