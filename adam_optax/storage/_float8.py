"""Keep a moment in eight-bit floats with an exponent for each block, rounded without bias."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from adam_optax._core.checks import check_seed, refuse_complex
from adam_optax._core.dither import to_unit_interval
from adam_optax.moments import Moment
from adam_optax.storage._base import ACCELERATORS, Format, LeafContext
from adam_optax.storage._quant.bits import bits_of, float_of
from adam_optax.storage._quant.blocks import Blocks, check_block
from adam_optax.storage._quant.log_grid import decay_compensation

MOST = 4e37
"""What is larger is kept as this: the inverse of its scale would be no float32."""
LEAST, MANTISSA = -6, 3
"""The exponent of e4m3's smallest normal number, and the bits of its mantissa."""
TOP = 7
"""The exponent to which e4m3's largest of a block is brought: nothing is rounded beyond 448."""
BASE = (128 << MANTISSA) - 255
"""The first bits of 2, from which codes of what has no sign count down: 255 is 2, 1 is 2^-30.75."""


@dataclasses.dataclass(frozen=True, repr=False)
class Float8(Format):
    """Keep a moment as eight-bit floats, scaled by block; see `float8`."""

    function: ClassVar[str] = "float8"
    block: int = 128
    seed: int = 0
    components: ClassVar[tuple[str, ...]] = ("", "scale")
    skips_nonfinite: ClassVar[bool] = True
    kernel_platforms: ClassVar[frozenset[str]] = ACCELERATORS
    step_dependent: ClassVar[bool] = True

    def precompute(self, moments: tuple[Moment, ...], count: Array) -> Array:
        """Return the factor that takes the decay of a non-negative moment out of its code.

        Scaled by `b^-count` (modulo an octave) the decay is exact: only growth is rounded.
        """
        (moment,) = moments
        return (
            jnp.ones((), jnp.float32) if moment.signed else decay_compensation(count, moment.decay)
        )

    def encode(self, values: Sequence[Array], context: LeafContext) -> dict[str, Any]:
        """Return eight-bit floats, and for each block the exponent of its largest number."""
        (m,), (moment,) = values, context.moments
        refuse_complex(m, "float8()")
        blocks = Blocks(self.block)
        x = jnp.clip(m.astype(jnp.float32), -MOST, MOST) * context.scalars
        scale = exponent_of(blocks.max(jnp.abs(x)))
        y = x * blocks.expand(power(-scale), x.shape)
        u, _ = context.dithers(self.seed)
        codes = _signed(y, u) if moment.signed else _unsigned(y, u)
        return {"": codes, "scale": scale.astype(jnp.int8)}

    def decode(self, encoded: Mapping[str, Any], context: LeafContext) -> tuple[Array, ...]:
        """Return the moment in float32."""
        (moment,), codes = context.moments, encoded[""]
        y = _of_signed(codes) if moment.signed else _of_unsigned(codes)
        scale = Blocks(self.block).expand(encoded["scale"].astype(jnp.int32), codes.shape)
        return (y * power(scale) / jnp.asarray(context.scalars),)


def _signed(y: Array, u: Array) -> Array:
    """As e4m3, of numbers below 2: the neighbour nearer to zero or the other, by the dither."""
    y = y * power(jnp.int32(TOP))
    exponent = jnp.maximum(exponent_of(y), LEAST)
    steps = jnp.floor(jnp.abs(y) * power(MANTISSA - exponent) + to_unit_interval(u))
    size = steps * power(exponent - MANTISSA)
    return jnp.astype(jnp.where(y < 0, -size, size), jnp.float8_e4m3fn)


def _of_signed(codes: Array) -> Array:
    return codes.astype(jnp.float32) * power(jnp.int32(-TOP))


def _unsigned(y: Array, u: Array) -> Array:
    """The first bits of numbers below 2, and 0 for 0 alone; what is too small is raised."""
    bits = (bits_of(y) + (u >> (32 - 23 + MANTISSA))) >> (23 - MANTISSA)
    codes = jnp.clip(bits.astype(jnp.int32) - BASE, 1, 255)
    return jnp.where(y > 0, codes, 0).astype(jnp.uint8)


def _of_unsigned(codes: Array) -> Array:
    bits = (codes.astype(jnp.int32) + BASE) << (23 - MANTISSA)
    return jnp.where(codes != 0, float_of(bits), 0.0)


def exponent_of(x: Array) -> Array:
    """The exponent of float32 numbers, -126 of 0 and of denormal ones."""
    field = jnp.astype((bits_of(x) >> 23) & jnp.uint32(0xFF), jnp.int32)
    return jnp.maximum(field, 1) - 127


def power(exponent: Array) -> Array:
    """`2^exponent`, exactly, from `2^-126` to `2^127`."""
    return float_of((jnp.clip(exponent, -126, 127) + 127).astype(jnp.uint32) << 23)


def float8(block: int = 128, *, seed: int = 0) -> Float8:
    r"""Keep a moment in a byte, as floats of eight bits with an exponent by block.

    A moment that can be negative is kept as e4m3: 17 octaves below the largest of its block, the
    last three of them with fewer digits, then zero. One that cannot, a mean of squares, needs twice
    the octaves for the same range of gradients, and no sign: it is kept with five bits of exponent
    and three of mantissa, 31 octaves, as uint8, for no type has these. What is positive is never
    kept as zero there, for mu over a nu of zero is a step without bound; it is at most raised to
    :math:`2^{-31}` of the largest of its block.

    All is rounded by a dither that is right on average. A block's exponent is a power of two, so
    that it does not round anything again when it changes; what a step takes off a mean of squares
    by its decay is kept out of the code and is exact. An element whose gradient is not finite takes
    no step and keeps its moments.

    Args:
        block: how many neighbours along the last axis share an exponent, one byte.
        seed: a number that selects the dither.

    Raises:
        ValueError, TypeError: if `block` is no positive int; where it is used, if a moment is
            complex.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.adamw(1e-3, storage=ao.storage.float8())
    >>> moments = tx.init({"w": jnp.ones((3, 500))})[0].moments
    >>> moments["nu"]["w"].dtype, moments["nu"]["w"].shape, moments["nu_scale"]["w"].shape
    (dtype('uint8'), (3, 500), (3, 4))
    """
    return Float8(check_block(block, "float8()"), check_seed(seed))
