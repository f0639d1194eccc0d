"""Make the dither by which formats and parameters of few bits are rounded without bias.

`hash(place, key) + count golden`, modulo `2^32`. Over the steps an element's numbers are spread
more evenly than random ones, so that the errors of rounding by them cancel sooner. They depend on
the element's place in the whole array: one device and eight give the same bits.
"""

from typing import NamedTuple, TypeAlias, TypeVar

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

GOLDEN = np.uint32(2654435769)
"""`2^32` over the golden ratio: its multiples fill the circle evenly."""
SILVER = np.uint32(2447445413)
"""`2^32` times .5698, the second coordinate of a sequence that fills the square evenly."""

Key: TypeAlias = int | Array | np.uint32
"""A number by which dithers differ; a Python int is known while a step is traced."""

Bits = TypeVar("Bits", Array, NDArray[np.uint32])
"""An array of uint32, of JAX or of NumPy."""


class TileOffset(NamedTuple):
    """Say where in a whole array a tile or shard of the array begins.

    Attributes:
        shape: the shape of the whole array.
        start: the index of the tile's first element, by axis.
    """

    shape: tuple[int, ...]
    start: tuple[Array, ...]


def dither(
    shape: tuple[int, ...], count: Array, key: Key, offset: TileOffset | None = None
) -> Array:
    """Return a number in `[0, 2^32)` for each element at a step."""
    return two_dithers(shape, count, key, offset)[0]


def two_dithers(
    shape: tuple[int, ...], count: Array, key: Key, offset: TileOffset | None = None
) -> tuple[Array, Array]:
    """Return two unrelated numbers in `[0, 2^32)` for each element at a step."""
    place, t = _place(shape, offset), count.astype(jnp.uint32)
    h = _murmur3_finalizer(place ^ _hash_key(key))
    return h + t * GOLDEN, h * np.uint32(0x9E3779B1) + t * SILVER


def to_unit_interval(u: Array | np.uint32) -> Array:
    """Map numbers in `[0, 2^32)` to float32 in [0, 1)."""
    high = jnp.astype(u >> np.uint32(8), jnp.int32)  # accelerators convert no unsigned integers
    return high.astype(jnp.float32) * np.float32(2.0**-24)


def _place(shape: tuple[int, ...], offset: TileOffset | None) -> Array:
    """Return each element's row-major index modulo 2^32.

    A reshape would gather a sharded array; this does not.
    """
    place = jnp.zeros(shape, jnp.uint32)
    for axis, length in enumerate(shape if offset is None else offset.shape):
        index = lax.broadcasted_iota(jnp.uint32, shape, axis)
        if offset is not None:
            index = index + offset.start[axis].astype(jnp.uint32)
        place = place * np.uint32(length % 2**32) + index
    return place


def _hash_key(key: Key) -> Array | np.uint32:
    """Hash the key; a Python int is hashed in NumPy at trace time, so that it is a constant."""
    if isinstance(key, int):
        vector = np.full(1, key % 2**32, np.uint32)  # scalars of NumPy warn of overflow
        hashed: np.uint32 = _murmur3_finalizer(vector)[0]
        return hashed
    return _murmur3_finalizer(jnp.asarray(key, jnp.uint32))


def _murmur3_finalizer(x: Bits) -> Bits:
    """Permute uint32 so that every bit depends on every bit (MurmurHash3's finaliser)."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))
