"""Compute on the bits of float32 numbers: exponents, powers of two, division, approximate roots."""

import jax.numpy as jnp
from jax import Array, lax


def bits_of(x: Array) -> Array:
    """Return the bits of float32 numbers as uint32.

    The bits of positive numbers are a piecewise linear logarithm to base 2, in units of `2^-23`.
    """
    return lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)


def float_of(bits: Array) -> Array:
    """Return the float32 numbers with these bits."""
    return lax.bitcast_convert_type(bits.astype(jnp.uint32), jnp.float32)


def floor_log2(x: Array) -> Array:
    """Return the exponent of float32 numbers as int32; -126 for 0 and for denormal numbers."""
    field = jnp.astype((bits_of(x) >> 23) & jnp.uint32(0xFF), jnp.int32)
    return jnp.maximum(field, 1) - 127


def power_of_two(exponent: Array) -> Array:
    """Return `2^exponent` exactly; exponents are clamped to `-126 .. 127`."""
    return float_of((jnp.clip(exponent, -126, 127) + 127).astype(jnp.uint32) << 23)


def exact_divmod(
    code: Array, by: int | Array, bits: int = 32, reciprocal: Array | None = None
) -> tuple[Array, Array]:
    """Return quotient and remainder, as int32, of codes; quotients must be below 2^22.

    Accelerators have no integer division. Division in float32 is exact for codes of up to 21 bits,
    since the middle of a code is further from a multiple than the rounding error; for longer codes
    the quotient is off by one at most, which is corrected.

    Args:
        code: the codes, not negative.
        by: the divisor.
        bits: how many bits the codes have.
        reciprocal: `1 / by`, if the caller has computed it already.
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
    """Return the square root of positive numbers or up to 6.1 % more, by halving their bits."""
    return float_of((bits_of(y) >> 1) + jnp.uint32(127 << 22))
