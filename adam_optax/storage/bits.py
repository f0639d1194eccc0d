"""Arithmetic on the bits of float32, and the dither by which formats round without bias."""

import math

import jax.numpy as jnp
from jax import Array, lax

GOLDEN = 2654435769
"""`2^32` over the golden ratio: steps of a sequence that fills the unit interval evenly."""
SILVER = 2447445413
"""The same of the sequence's second coordinate (the square of the inverse plastic number)."""


def bits_of(x: Array) -> Array:
    """The bits of float32 numbers as uint32: of positive ones, their logarithm, linear between."""
    return lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)


def float_of(bits: Array) -> Array:
    """The float32 numbers with these bits."""
    return lax.bitcast_convert_type(bits.astype(jnp.uint32), jnp.float32)


def place(shape: tuple[int, ...]) -> Array:
    """The place of every element in the whole array, as uint32; sharded as the array is."""
    index = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        stride = jnp.uint32(math.prod(shape[axis + 1 :]) % 2**32)
        index = index + lax.broadcasted_iota(jnp.uint32, shape, axis) * stride
    return index


def scrambled(index: Array, salt: int) -> Array:
    """A hash of the place: each bit of it depends on each bit of the index."""
    x = index * jnp.uint32(GOLDEN) + jnp.uint32((salt * 0x9E3779B1 + 13) % 2**32)
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return jnp.bitwise_xor(x, x >> 16)


def dither(shape: tuple[int, ...], count: Array, salt: int) -> Array:
    """Numbers in `[0, 2^32)`, one per element and step, `hash(place) + count golden`.

    Over the steps an element's numbers are spread more evenly than random ones, so that the errors
    of rounding by them cancel sooner. They depend on the element's place in the whole array: one
    device and eight give the same bits.
    """
    return dithers(shape, count, salt)[0]


def dithers(shape: tuple[int, ...], count: Array, salt: int) -> tuple[Array, Array]:
    """Two such numbers per element and step that have nothing to do with one another."""
    h, t = scrambled(place(shape), salt), count.astype(jnp.uint32)
    return h + t * jnp.uint32(GOLDEN), h * jnp.uint32(0x9E3779B1) + t * jnp.uint32(SILVER)


def unit(u: Array) -> Array:
    """Such numbers as float32 in [0, 1)."""
    share: Array = jnp.astype(u >> 8, jnp.float32) * jnp.float32(2.0**-24)
    return share
