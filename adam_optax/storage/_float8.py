"""Keep a moment in eight-bit floats with an exponent for each block, rounded without bias."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from adam_optax._core.checks import check_seed, refuse_complex
from adam_optax._core.dither import to_unit_interval
from adam_optax.moments import Moment
from adam_optax.storage._base import EVERYWHERE, Format, Frame, LeafContext, LogDecays
from adam_optax.storage._quant.bits import bits_of, float_of, floor_log2, power_of_two
from adam_optax.storage._quant.blocks import Blocks, check_block
from adam_optax.storage._quant.log_grid import MIDDLE, decay_compensation

LARGEST = 4e37
"""The bound to which moments are clamped: the inverse of a larger scale would be no float32."""
MIN_EXPONENT, MANTISSA_BITS = -6, 3
"""The exponent of e4m3's smallest normal number, and the bits of its mantissa."""
MAX_EXPONENT = 7
"""The exponent to which a block's largest number is scaled in e4m3: no number rounds beyond 448."""
CODE_OFFSET = (128 << MANTISSA_BITS) - 255
"""The offset from an unsigned code to the first bits of its float: 255 is 2, and 1 is 2^-30.75."""


@dataclasses.dataclass(frozen=True, repr=False)
class Float8(Format):
    """Keep a moment as eight-bit floats, scaled by block; see `float8`."""

    function: ClassVar[str] = "float8"
    block: int = 128
    seed: int = 0
    components: ClassVar[tuple[str, ...]] = ("", "scale")
    skips_nonfinite: ClassVar[bool] = True
    kernel_platforms: ClassVar[frozenset[str]] = EVERYWHERE
    has_frame: ClassVar[bool] = True

    def frame(
        self, moments: tuple[Moment, ...], count: Array, key: int, log_decays: LogDecays
    ) -> Frame:
        """Return the factor that takes the decay of a non-negative moment out of its code.

        Scaled by `b^-count` (modulo an octave) the decay is exact: only growth is rounded.
        """
        del key
        (moment,), (log_decay,) = moments, log_decays
        if moment.signed:
            return (bits_of(jnp.ones((), jnp.float32)),)
        return (bits_of(decay_compensation(count, moment.decay, log_decay)),)

    def scalars(self, frame: Frame) -> Array:
        """Return the factor."""
        return float_of(frame[0])

    def encode(self, values: Sequence[Array], context: LeafContext) -> dict[str, Any]:
        """Return eight-bit floats, and the exponent of the largest number of each block."""
        (m,), (moment,) = values, context.moments
        refuse_complex(m, "float8()")
        blocks = Blocks(self.block)
        x = jnp.clip(m.astype(jnp.float32), -LARGEST, LARGEST) * context.scalars
        scale = floor_log2(blocks.max(jnp.abs(x)))
        y = x * blocks.expand(power_of_two(-scale), x.shape)
        u, _ = context.dithers(self.seed)
        if (resting := context.resting) is not None and moment.signed:
            u = jnp.where(resting.mask, MIDDLE, u)  # most are whole, and nothing is to be rounded
        codes = _encode_signed(y, u) if moment.signed else _encode_unsigned(y, u)
        if resting is not None and not moment.signed:
            old = resting.encoded[""].astype(jnp.int32)
            old_scale = blocks.expand(resting.encoded["scale"].astype(jnp.int32), x.shape)
            octaves = old_scale - blocks.expand(scale, x.shape)
            passed = _passed(context.scalars) - _passed(resting.scalars)
            moved = jnp.clip(old + passed + (octaves << MANTISSA_BITS), 1, 255)
            moved = jnp.where(old != 0, moved, 0).astype(jnp.uint8)
            codes = jnp.where(resting.mask, moved, codes)
        return {"": codes, "scale": scale.astype(jnp.int8)}

    def decode(self, encoded: Mapping[str, Any], context: LeafContext) -> tuple[Array, ...]:
        """Return the moment in float32."""
        (moment,), codes = context.moments, encoded[""]
        y = _decode_signed(codes) if moment.signed else _decode_unsigned(codes)
        scale = Blocks(self.block).expand(encoded["scale"].astype(jnp.int32), codes.shape)
        return (y * power_of_two(scale) / jnp.asarray(context.scalars),)


def _passed(factor: Array) -> Array:
    """Return how many codes a factor has passed: by so many the codes of numbers that rest move."""
    return bits_of(factor).astype(jnp.int32) >> (23 - MANTISSA_BITS)


def _encode_signed(y: Array, u: Array) -> Array:
    """Return numbers of a magnitude below 2 as e4m3, rounded down or up by the dither."""
    y = y * power_of_two(jnp.int32(MAX_EXPONENT))
    exponent = jnp.maximum(floor_log2(y), MIN_EXPONENT)
    steps = jnp.floor(jnp.abs(y) * power_of_two(MANTISSA_BITS - exponent) + to_unit_interval(u))
    size = steps * power_of_two(exponent - MANTISSA_BITS)
    return jnp.astype(jnp.where(y < 0, -size, size), jnp.float8_e4m3fn)


def _decode_signed(codes: Array) -> Array:
    """Return the numbers that `_encode_signed` rounded."""
    return codes.astype(jnp.float32) * power_of_two(jnp.int32(-MAX_EXPONENT))


def _encode_unsigned(y: Array, u: Array) -> Array:
    """Return the first bits of numbers below 2 as codes; 0 is the code of 0 alone.

    Numbers that are too small get code 1.
    """
    bits = (bits_of(y) + (u >> (32 - 23 + MANTISSA_BITS))) >> (23 - MANTISSA_BITS)
    codes = jnp.clip(bits.astype(jnp.int32) - CODE_OFFSET, 1, 255)
    return jnp.where(y > 0, codes, 0).astype(jnp.uint8)


def _decode_unsigned(codes: Array) -> Array:
    """Return the numbers that `_encode_unsigned` rounded."""
    bits = (codes.astype(jnp.int32) + CODE_OFFSET) << (23 - MANTISSA_BITS)
    return jnp.where(codes != 0, float_of(bits), 0.0)


def float8(block: int = 128, *, seed: int = 0) -> Float8:
    r"""Keep a moment in one byte, as floats of eight bits with an exponent for each block.

    When to take it: for any rule, and for any moment of a rule (`{"nu": float8()}`), where moments
    shall take a byte each and neighbours along the last axis differ in size. Where a rule has a
    mean of gradients beside a mean of squares, `pair()` takes the same memory and follows float32
    more closely between unlike neighbours; `int8()` follows it as closely between like ones.

    Cost: one byte an element and one byte a block, 2.02 bytes a parameter for both moments of Adam.
    Coordinates whose gradients are tens of thousands of times smaller than a neighbour's take
    shorter steps.

    A moment that can be negative is kept as e4m3: 17 octaves below the largest number of its block,
    the last three octaves with fewer digits, then zero. A moment that cannot be negative, such as a
    mean of squares, needs twice the octaves for the same range of gradients, and no sign: it is
    kept with five bits of exponent and three of mantissa, 31 octaves, as uint8, because no dtype
    has these bits. There, a positive number is never kept as zero, because mu over a nu of zero is
    a step without bound; it is raised to :math:`2^{-31}` of the largest number of its block.

    Rounding is by a dither that is right on average. A block's exponent is a power of two, so that
    no number is rounded again when the exponent changes. The decay of a mean of squares is kept
    out of the code and is exact.

    Refuses: complex moments. An element whose gradient is not finite takes no step and keeps its
    moments.

    Args:
        block: how many neighbours along the last axis share an exponent, one byte.
        seed: a number that selects the dither.

    Raises:
        ValueError, TypeError: if `block` is no positive int; where the format is used, if a moment
            is complex.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.adamw(1e-3, storage=ao.storage.float8())
    >>> moments = tx.init({"w": jnp.ones((3, 500))})[0].moments
    >>> moments["nu"]["w"].dtype, moments["nu"]["w"].shape, moments["nu_scale"]["w"].shape
    (dtype('uint8'), (3, 500), (3, 4))

    Reference: Micikevicius et al. 2022, "FP8 Formats for Deep Learning" (e4m3).
    """
    return Float8(check_block(block, "float8()"), check_seed(seed))
