"""Work on the bits of float32 numbers."""

import jax.numpy as jnp
from jax import Array, lax


def bits_of(x: Array) -> Array:
    """Return the bits of float32 numbers as uint32: of positive ones, a piecewise linear log2."""
    return lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)


def float_of(bits: Array) -> Array:
    """Return the float32 numbers with these bits."""
    return lax.bitcast_convert_type(bits.astype(jnp.uint32), jnp.float32)


def exact_divmod(
    code: Array, by: int | Array, bits: int = 32, reciprocal: Array | None = None
) -> tuple[Array, Array]:
    """Return quotient and remainder, as int32, of codes; quotients must be below 2^22.

    Accelerators have no integer division. A float's is exact for codes of up to 21 bits, since the
    middle of a code is further from a multiple than its rounding; for others it is off by one at
    most, which is mended.

    Args:
        code: the codes, not negative.
        by: the divisor.
        bits: how many bits the codes have.
        reciprocal: `1 / by`, where that is at hand.
    """
    reciprocal = 1 / jnp.asarray(by, jnp.float32) if reciprocal is None else reciprocal
    whole = jnp.astype(code, jnp.int32)
    if bits <= 21:
        quotient = ((whole.astype(jnp.float32) + 0.5) * reciprocal).astype(jnp.int32)
        return quotient, whole - quotient * by
    high = (code.astype(jnp.uint32) >> 8).astype(jnp.int32).astype(jnp.float32)
    quotient = ((high * 256 + (whole & 0xFF).astype(jnp.float32)) * reciprocal).astype(jnp.int32)
    remainder = whole - quotient * by
    off = (remainder >= by).astype(jnp.int32) - (remainder < 0).astype(jnp.int32)
    return quotient + off, remainder - off * by


def approx_sqrt(y: Array) -> Array:
    """Return the square root of positive numbers or up to 6.1 % more: half of the bits' log2."""
    return float_of((bits_of(y) >> 1) + jnp.uint32(127 << 22))
