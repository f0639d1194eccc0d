"""The bits of float32 numbers."""

import jax.numpy as jnp
from jax import Array, lax

from adam_optax._core.dither import unit as unit


def bits_of(x: Array) -> Array:
    """The bits of float32 numbers as uint32: of positive ones, their logarithm, linear between."""
    return lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)


def divided(
    code: Array, by: int | Array, bits: int = 32, share: Array | None = None
) -> tuple[Array, Array]:
    """Quotient and remainder, as int32, of codes of so many bits; quotients below 2^22.

    Accelerators have no integer division. A float's is exact for codes of up to 21 bits, since the
    middle of a code is further from a multiple than its rounding; for others it is off by one at
    most, which is mended. `share` is `1 / by`, where that is at hand.
    """
    share = 1 / jnp.asarray(by, jnp.float32) if share is None else share
    whole = jnp.astype(code, jnp.int32)
    if bits <= 21:
        quotient = ((whole.astype(jnp.float32) + 0.5) * share).astype(jnp.int32)
        return quotient, whole - quotient * by
    high = (code.astype(jnp.uint32) >> 8).astype(jnp.int32).astype(jnp.float32)
    quotient = ((high * 256 + (whole & 0xFF).astype(jnp.float32)) * share).astype(jnp.int32)
    rest = whole - quotient * by
    off = (rest >= by).astype(jnp.int32) - (rest < 0).astype(jnp.int32)
    return quotient + off, rest - off * by


def float_of(bits: Array) -> Array:
    """The float32 numbers with these bits."""
    return lax.bitcast_convert_type(bits.astype(jnp.uint32), jnp.float32)


def near_root(y: Array) -> Array:
    """The square root of positive numbers or up to 6.1 % more: half of the bits' logarithm."""
    return float_of((bits_of(y) >> 1) + jnp.uint32(127 << 22))
