"""The bits of float32 numbers."""

import jax.numpy as jnp
from jax import Array, lax

from adam_optax.dither import unit as unit


def bits_of(x: Array) -> Array:
    """The bits of float32 numbers as uint32: of positive ones, their logarithm, linear between."""
    return lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)


def divided(code: Array, by: int | Array) -> tuple[Array, Array]:
    """Quotient and remainder, as int32, of codes that are not negative; quotients below 2^22.

    Accelerators have no integer division. A float's is off by one at most, which is mended.
    """
    bits = code.astype(jnp.uint32)
    high, low = (jnp.astype(x, jnp.int32).astype(jnp.float32) for x in (bits >> 8, bits & 0xFF))
    share = 1 / jnp.asarray(by, jnp.float32)
    quotient = jnp.floor((high * 256 + low) * share).astype(jnp.int32)
    rest = lax.bitcast_convert_type(bits, jnp.int32) - quotient * by
    off = (rest >= by).astype(jnp.int32) - (rest < 0).astype(jnp.int32)
    return quotient + off, rest - off * by


def float_of(bits: Array) -> Array:
    """The float32 numbers with these bits."""
    return lax.bitcast_convert_type(bits.astype(jnp.uint32), jnp.float32)
