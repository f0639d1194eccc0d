"""Keep moments as this library does, with an idea of a peer in it: what is the idea worth?

No library has these formats. They round by this library's dither, unbiased in the number that is
read, and keep no positive nu as zero. The power is COAT's idea, the logarithm SOLO's; either rounds
mu to nearest, and so can these.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array, lax

from adam_optax._core.dither import to_unit_interval
from adam_optax.storage import LeafContext
from adam_optax.storage._float8 import CODE_OFFSET, LARGEST, MANTISSA_BITS, MIN_EXPONENT, Float8
from adam_optax.storage._int4 import Int4, codebook_for
from adam_optax.storage._quant.bits import bits_of, float_of, floor_log2, power_of_two
from adam_optax.storage._quant.blocks import Blocks
from adam_optax.storage._quant.codebooks import (
    SMALLEST_ABSMAX,
    dequantize_blockwise,
    quantize_blockwise,
)
from adam_optax.storage._quant.log_grid import MIDDLE
from benchmarks.codecs.groups import grouped

PARTS = 8
"""The parts of 1 of which a power is a multiple, as COAT's; a byte keeps how many."""
SIGNED_TOP, UNSIGNED_TOP = 8, 1
"""The logarithm of what a block's unit is in e4m3, and in the floats of `float8()` for nu."""
SIGNED_OCTAVES, UNSIGNED_OCTAVES = 16, 31
"""The octaves below its unit that a block fills, of the 17 and 31.75 that there are."""
LOGARITHMS = 15
"""The codes of a nu above zero."""
FINEST = 2.0**-8
"""The least octaves between two of these codes."""


@dataclasses.dataclass(frozen=True, repr=False)
class PoweredFloat8(Float8):
    """Keep `x^k` in the codes of `float8()`, by a `k` with which a block fills their range.

    The largest multiple of 1/8 is taken at which the least magnitude above zero is in the range.
    The block's exponent and the decay of nu are those of `float8()`, so that a nu which only decays
    is not rounded while the power stays.

    Attributes:
        nearest_mu: whether a moment that can be negative is rounded to nearest.
    """

    function: ClassVar[str] = "PoweredFloat8"
    components: ClassVar[tuple[str, ...]] = ("", "scale", "power")
    skips_nonfinite: ClassVar[bool] = False
    kernel_platforms: ClassVar[frozenset[str]] = frozenset()
    nearest_mu: bool = False

    def encode(self, values: Sequence[Array], context: LeafContext) -> dict[str, Any]:
        """Return the codes, and the exponent and the power of each block, a byte each."""
        (m,), (moment,) = values, context.moments
        blocks, signed = Blocks(self.block), moment.signed
        x = jnp.clip(m.astype(jnp.float32), -LARGEST, LARGEST) * context.scalars
        size = jnp.abs(x)
        scale = floor_log2(blocks.max(size))
        least = blocks.min(jnp.where(size > 0, size, jnp.inf))
        octaves = (scale + 1).astype(jnp.float32) - jnp.log2(least)
        filled = SIGNED_OCTAVES if signed else UNSIGNED_OCTAVES
        power = jnp.clip(jnp.floor(filled * PARTS / octaves), 1, 255).astype(jnp.uint8)
        shared = {"scale": scale.astype(jnp.int8), "power": power}
        unit, k = self._shared(shared, x.shape)
        expanded = jnp.exp2(jnp.log2(size / unit) * k)
        below = _signed_code(expanded) if signed else _unsigned_code(expanded)
        low, high = (unit * _magnitude(below + i, k, signed=signed) for i in (0, 1))
        even, _ = context.dithers(self.seed)
        u = to_unit_interval(MIDDLE if signed and self.nearest_mu else even)
        codes = below + (u < (size - low) / (high - low)).astype(jnp.int32)
        codes = jnp.where(size > 0, codes, 0).astype(jnp.uint8)
        if signed:
            codes = jnp.where(x < 0, codes | jnp.uint8(128), codes)
            codes = lax.bitcast_convert_type(codes, jnp.float8_e4m3fn)
        return {"": codes, **shared}

    def decode(self, encoded: Mapping[str, Any], context: LeafContext) -> tuple[Array, ...]:
        """Return the moment in float32."""
        (moment,), codes = context.moments, encoded[""]
        unit, k = self._shared(encoded, codes.shape)
        bits = lax.bitcast_convert_type(codes, jnp.uint8).astype(jnp.int32)
        magnitude = bits & 127 if moment.signed else bits
        size = unit * _magnitude(magnitude, k, signed=moment.signed)
        return (jnp.where(bits != magnitude, -size, size) / jnp.asarray(context.scalars),)

    def _shared(self, encoded: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Return for each element the unit of its block, above all its numbers, and the power."""
        blocks = Blocks(self.block)
        unit = power_of_two(encoded["scale"].astype(jnp.int32) + 1)
        power = encoded["power"].astype(jnp.float32) / PARTS
        return blocks.expand(unit, shape), blocks.expand(power, shape)


def _signed_code(y: Array) -> Array:
    """Return the code of the largest number of e4m3 that is not above a number of [0, 1]."""
    y = y * power_of_two(jnp.int32(SIGNED_TOP))
    exponent = jnp.maximum(floor_log2(y), MIN_EXPONENT)
    steps = jnp.floor(y * power_of_two(MANTISSA_BITS - exponent)).astype(jnp.int32)
    return ((exponent - MIN_EXPONENT) << MANTISSA_BITS) + steps


def _unsigned_code(y: Array) -> Array:
    """Return the largest code of `float8()` for nu that is not above a number of [0, 1], or 1."""
    bits = bits_of(y * power_of_two(jnp.int32(UNSIGNED_TOP))) >> (23 - MANTISSA_BITS)
    return jnp.clip(bits.astype(jnp.int32) - CODE_OFFSET, 1, 254)


def _magnitude(code: Array, k: Array, *, signed: bool) -> Array:
    """Return the number, in units of its block, whose power is the code's number."""
    if signed:
        narrow = lax.bitcast_convert_type(code.astype(jnp.uint8), jnp.float8_e4m3fn)
        octaves = jnp.log2(narrow.astype(jnp.float32)) - SIGNED_TOP
    else:
        bits = (code + CODE_OFFSET) << (23 - MANTISSA_BITS)
        octaves = jnp.log2(jnp.where(code > 0, float_of(bits), 0.0)) - UNSIGNED_TOP
    return jnp.exp2(octaves / k)


@dataclasses.dataclass(frozen=True, repr=False)
class LogarithmicInt4(Int4):
    """Keep mu in four bits as `int4()` does, and nu as a power of a base that a block chooses.

    Code 15 is a block's largest number, and 1 that below which a tenth of its numbers above zero
    are; these are raised to it. Code 0 is zero alone.

    Attributes:
        quantile: the part of a block that is raised.
        nearest_mu: whether mu is rounded to nearest.
    """

    function: ClassVar[str] = "LogarithmicInt4"
    components: ClassVar[tuple[str, ...]] = ("", "absmax", "absmax2", "octaves")
    skips_nonfinite: ClassVar[bool] = False
    kernel_platforms: ClassVar[frozenset[str]] = frozenset()
    quantile: float = 0.1
    nearest_mu: bool = False

    def encode(self, values: Sequence[Array], context: LeafContext) -> dict[str, Any]:
        """Put mu's code into the high half of a byte, nu's into the low; keep what blocks share."""
        (mu, nu), (moment, _) = values, context.moments
        blocks = Blocks(self.block)
        even, fresh = context.dithers(self.seed)
        u = jnp.full_like(fresh, MIDDLE) if self.nearest_mu else fresh
        high, absmax = quantize_blockwise(mu, codebook_for(moment), blocks, u)
        low, absmax2, octaves = self._logarithms(nu.astype(jnp.float32), to_unit_interval(even))
        byte = (high * 16 + low).astype(jnp.uint8)
        return {"": byte, "absmax": absmax, "absmax2": absmax2, "octaves": octaves}

    def _logarithms(self, nu: Array, u: Array) -> tuple[Array, Array, Array]:
        """Return the codes of nu, each block's absmax, and the octaves between two codes."""
        blocks = Blocks(self.block)
        largest = blocks.max(nu)
        absmax = jnp.where(largest > 0, jnp.maximum(largest, SMALLEST_ABSMAX), 0.0)
        low = jnp.maximum(self._lowest(nu).reshape(absmax.shape), SMALLEST_ABSMAX)
        octaves = jnp.maximum(jnp.log2(absmax / low) / (LOGARITHMS - 1), FINEST)
        unit, step = (blocks.expand(each, nu.shape) for each in (absmax, octaves))
        x = jnp.where(unit > 0, nu / jnp.where(unit > 0, unit, 1.0), 0.0)
        down = jnp.ceil(-jnp.log2(x) / step)
        below = jnp.clip(LOGARITHMS - down, 1, LOGARITHMS - 1)
        under, over = _power(below, step), _power(below + 1, step)
        codes = below + (u < (x - under) / (over - under)).astype(jnp.float32)
        return jnp.where(x > 0, codes, 0.0).astype(jnp.int32), absmax, octaves

    def _lowest(self, nu: Array) -> Array:
        """Return of each block the least number but the raised part of those above zero."""
        rows = grouped(jnp.where(nu > 0, nu, jnp.inf), self.block)
        lowest = -lax.top_k(-rows, int(self.quantile * (self.block - 1)) + 1)[0]
        count = jnp.sum(jnp.isfinite(rows), axis=-1, keepdims=True, dtype=jnp.float32)
        place = jnp.astype(self.quantile * jnp.maximum(count - 1, 0.0), jnp.int32)
        return jnp.take_along_axis(lowest, place, axis=-1)[..., 0]

    def decode(self, encoded: Mapping[str, Any], context: LeafContext) -> tuple[Array, ...]:
        """Return both moments of a byte, in float32."""
        (moment, _), blocks, byte = context.moments, Blocks(self.block), encoded[""]
        mu = dequantize_blockwise(byte >> 4, encoded["absmax"], codebook_for(moment), blocks)
        unit, step = (blocks.expand(encoded[n], byte.shape) for n in ("absmax2", "octaves"))
        code = (byte & 15).astype(jnp.float32)
        return mu, jnp.where(code > 0, unit * _power(code, step), 0.0)


def _power(code: Array, octaves: Array) -> Array:
    """Return the number of a code above zero, in units of a block's absmax."""
    return jnp.exp2((code - LOGARITHMS) * octaves)
