"""Make the dither by which formats and parameters of few bits are rounded without bias.

Every dither is a hash of the element's place in the whole array, of a key and of the step: one
device and eight give the same bits, and no period of the gradients meets a period of the dither.
"""

from typing import NamedTuple, TypeAlias, TypeVar

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

WINDOW_BITS = 7
"""The logarithm of the number of steps over which `two_dithers` fills the circle evenly."""
GOLDEN = np.uint32(0x9E3779B1)
"""An odd number near `2^32` over the golden ratio: `(h, GOLDEN h)` fills the square evenly."""

Key: TypeAlias = int | Array | np.uint32
"""A number by which dithers differ; a Python int is known while a step is traced."""

Bits = TypeVar("Bits", Array, NDArray[np.uint32])
"""An array of uint32, of JAX or of NumPy."""


class TileOffset(NamedTuple):
    """Say where in a whole array a tile or shard of the array begins.

    Attributes:
        shape: the shape of the whole array.
        start: the index of the tile's first element, by axis.
        base: the place of the array's first element in a still larger array; None: 0.
    """

    shape: tuple[int, ...]
    start: tuple[Array, ...]
    base: Array | None = None


def at_base(shape: tuple[int, ...], base: Array, offset: TileOffset | None = None) -> TileOffset:
    """Return an offset in an array whose first element is not the first of the dither's places.

    Args:
        shape: the shape of the array.
        base: the place of its first element, uint32.
        offset: where in the array a tile begins; None: the tile is the array.
    """
    start = (jnp.zeros((), jnp.uint32),) * len(shape)
    whole = TileOffset(shape, start) if offset is None else offset
    return whole._replace(base=base)


def dither(
    shape: tuple[int, ...], count: Array, key: Key, offset: TileOffset | None = None
) -> Array:
    """Return a number in `[0, 2^32)` for each element, drawn anew at each step.

    What is rounded without a second look, such as a parameter, needs numbers of which no step tells
    the next: where the rounded number decides how the next one is rounded, as a parameter beside a
    power of two does, any other sequence pushes it to one side.
    """
    time = _hash_time(hash_key(key), count.astype(jnp.uint32))
    return _murmur3_finalizer(_place(shape, offset) ^ time)


class Salt(NamedTuple):
    """Hold what the dithers of all elements share at a step; see `two_dithers`.

    Attributes:
        window: a hash of the key and the window of steps.
        turn: the step's place in its window, as a part of the circle.
        fresh: a hash of the step.
    """

    window: Array
    turn: Array
    fresh: Array


def salt(count: Array, hashed: Array | np.uint32) -> Salt:
    """Return what the dithers of a step and a key share; the key is hashed (`hash_key`)."""
    t = count.astype(jnp.uint32)
    turn = (t & np.uint32(2**WINDOW_BITS - 1)) << np.uint32(32 - WINDOW_BITS)
    return Salt(_hash_time(hashed, t >> np.uint32(WINDOW_BITS)), turn, _murmur3_finalizer(t))


def two_dithers(
    shape: tuple[int, ...], salt: Salt, offset: TileOffset | None = None
) -> tuple[Array, Array]:
    """Return two unrelated numbers in `[0, 2^32)` for each element at a step.

    The first is for averages that grow by small amounts. Over a window of 128 steps its numbers are
    128 equal steps around the circle, so that the errors of rounding cancel sooner than those of
    numbers drawn at random. The start and the order (1, 3, ... or 127 places ahead at each step)
    are drawn anew for each element and window. So two numbers of a window are never close, whatever
    lies between them: gradients of any period are rounded at least as well as by independent
    numbers. (A rotation by the golden ratio is as even over the steps, but repeats itself nearly
    after each Fibonacci number of steps, and so resonates with such periods.)

    The second is drawn anew at each step.
    """
    h = _murmur3_finalizer(_place(shape, offset) ^ salt.window)
    return h + (h | np.uint32(1)) * salt.turn, (h ^ salt.fresh) * GOLDEN


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
    if offset is not None and offset.base is not None:
        place = place + offset.base
    return place


def _hash_time(hashed: Array | np.uint32, time: Array) -> Array:
    """Hash a hashed key with a time."""
    return _murmur3_finalizer(hashed + time * GOLDEN)


def hash_key(key: Key) -> Array | np.uint32:
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
