"""Quantise numbers one by one on logarithmic grids, by the bits of float32 alone."""

import dataclasses
import math
from typing import TypeGuard

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from adam_optax._core.dither import to_unit_interval
from adam_optax._core.log_decay import phase
from adam_optax.storage._quant.bits import bits_of, float_of

FIRST, LAST = -126, 127
"""The exponents between which numbers are normal float32."""
ROOT_BITS = 5
"""The logarithm of the codes an octave below which one over the root of a number is kept right on
average, by which steps are taken, rather than the number: beyond, the two are the same."""
KEENNESS = 3
"""The logarithm by which numbers are rounded up more often where a code spans two octaves."""


@dataclasses.dataclass(frozen=True)
class LogGrid:
    """Quantise positive float32 numbers: `2^fine` codes an octave between `2^low` and `2^high`.

    Outside this range, as far as float32 reaches, there are `2^coarse` codes an octave. Codes are
    equally spaced within an octave, so that rounding by a dither is unbiased. Only where a code
    spans two octaves, numbers are rounded up more often: an average that grows by small amounts
    waits long for its next code there, and shall be too large rather than too small. A number below
    the grid is clamped up to the grid's first value, never to zero.

    Attributes:
        fine: the logarithm to base 2 of the number of codes an octave between `low` and `high`.
        low: exponent from which the grid is fine.
        high: exponent up to which the grid is fine.
        coarse: the logarithm to base 2 of the number of codes an octave elsewhere, -1 or more.
        size: the number of codes.
        ends: the bits of float32 between which the grid is fine.
        codes: the first code of the fine grid, and the first code beyond.
        step_bits: the logarithms of the steps between codes, in bits of float32: fine, coarse.
        octaves: the octaves of the widest step, by which numbers are moved on the grid unrounded.
    """

    fine: int
    low: int
    high: int
    coarse: int

    size: int = dataclasses.field(init=False)
    ends: tuple[int, int] = dataclasses.field(init=False)
    codes: tuple[int, int] = dataclasses.field(init=False)
    step_bits: tuple[int, int] = dataclasses.field(init=False)
    octaves: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        below = math.ceil((self.low - FIRST) * 2.0**self.coarse)
        above = math.ceil((LAST - self.high) * 2.0**self.coarse)
        beyond = below + ((self.high - self.low) << self.fine)
        object.__setattr__(self, "size", beyond + above + 1)
        object.__setattr__(self, "ends", ((self.low + 127) << 23, (self.high + 127) << 23))
        object.__setattr__(self, "codes", (below, beyond))
        object.__setattr__(self, "step_bits", (23 - self.fine, 23 - self.coarse))
        object.__setattr__(self, "octaves", 2 if self.coarse < 0 else 1)

    def code(self, y: Array, u: Array) -> Array:
        """Return the code of a positive number, rounded by the dither `u`."""
        bits, (step, wide) = lax.bitcast_convert_type(y, jnp.int32), self.step_bits
        inner = jnp.clip(bits, *self.ends)
        keen = KEENNESS if self.octaves > 1 else 0
        fine = (u >> (32 - step)).astype(jnp.int32)
        if self.fine < ROOT_BITS:  # rounded up 32 times as often in 31
            fine = fine - (fine >> 5) + (1 << (step - 5))
        coarse = (u >> (32 - wide + keen)).astype(jnp.int32) + ((1 << wide) - (1 << (wide - keen)))
        c = ((inner + fine) >> step) + ((bits - inner + coarse) >> wide)  # one of them is whole
        return jnp.clip(c - ((self.ends[0] >> step) - self.codes[0]), 0, self.size - 1)

    def moved(self, c: Array, before: Array, now: Array) -> Array:
        """Return the codes of numbers that rest while the scale of the grid goes on.

        All codes of a zone move by one and the same number of codes, when the scale has passed a
        code of the grid. So a number that rests is off by less than a code, however long it rests.

        Args:
            c: the codes.
            before: the factor by which numbers were scaled.
            now: the factor by which they are scaled now.
        """
        old, new = (bits_of(x).astype(jnp.int32) - (127 << 23) for x in (before, now))
        (step, wide), (low, high) = self.step_bits, self.codes
        fine = jnp.clip(c + ((new >> step) - (old >> step)), low, high)
        coarse = c + ((new >> wide) - (old >> wide))
        below, above = jnp.clip(coarse, 0, low), jnp.clip(coarse, high, self.size - 1)
        return jnp.where(c < low, below, jnp.where(c > high, above, fine))

    def value(self, c: Array) -> Array:
        """Return the number of a code."""
        step, wide = self.step_bits
        inner = jnp.clip(c, *self.codes)
        bits = self.ends[0] + ((inner - self.codes[0]) << step) + ((c - inner) << wide)
        return lax.bitcast_convert_type(bits, jnp.float32)


MIDDLE = np.uint32(1 << 31)
"""The dither with which rounding is to nearest."""
BELOW_TOP = np.float32(1 - 2.0**-16)
"""The factor of a resting ratio, without which the last bit of a block's largest ratio would raise
the block's largest ratio by a code, step after step."""


@dataclasses.dataclass(frozen=True)
class RatioQuantizer:
    """Quantise numbers in [-top, top] to `-size .. size`: equal steps of `log(1 + |x| / knee)`.

    The logarithm is the float's own, linear within an octave. Zero has a code of its own, which
    numbers within a step of it get at times. The dither by which a code of more than a step was
    rounded is subtracted again when the code is read, so that the error is even within half a step
    to either side, whatever the number: half the variance of rounding at random. Numbers between
    one and two steps are read up to 8 % too small, others right on average.

    Attributes:
        size: the number of codes on each side of zero; an array if it differs among elements.
        top: the largest number, a scalar in float32.
        knee: below this number codes are evenly spaced; likewise.
    """

    size: int | Array
    top: Array
    knee: Array

    @property
    def codes(self) -> int | Array:
        """Return the number of codes."""
        return 2 * self.size + 1

    def _range(self) -> tuple[Array, Array]:
        """Return the bits of the knee, and how many float32 numbers are between knee and top."""
        start = bits_of(self.knee).astype(jnp.int32)
        span = bits_of(self.top + self.knee).astype(jnp.int32) - start
        return start, span.astype(jnp.float32)

    def code(self, x: Array, u: Array) -> Array:
        """Return the code of a number, rounded by the dither `u`."""
        start, span = self._range()
        near = jnp.minimum(jnp.abs(x), self.top) + self.knee
        steps = (bits_of(near).astype(jnp.int32) - start).astype(jnp.float32)
        scale = jnp.asarray(self.size, jnp.float32) / span
        z = jnp.minimum((steps * scale + to_unit_interval(u)).astype(jnp.int32), self.size)
        return jnp.where(x < 0, -z, z)

    def value(self, z: Array, u: Array | np.uint32) -> Array:
        """Return the number of a code that was rounded by the dither `u`."""
        start, span = self._range()
        count = jnp.abs(z).astype(jnp.float32)
        # Zero is read as zero, so that one step must be read as one for numbers below it to be
        # right on average.
        steps = jnp.where(count < 2, count, count + (0.5 - to_unit_interval(u)))
        bits = (steps * (span / jnp.asarray(self.size, jnp.float32)) + 0.5).astype(jnp.int32)
        size = float_of(bits + start) - self.knee
        return jnp.where(z < 0, -size, size)


@dataclasses.dataclass(frozen=True)
class ScaleQuantizer:
    """Quantise a positive number to a byte, rounded up: `2^digits` codes an octave from `2^first`.

    Attributes:
        first: exponent of the smallest number.
        digits: binary digits of the mantissa.
    """

    first: int
    digits: int

    def code(self, x: Array) -> Array:
        """Return the code of the next number that is not smaller, or the largest code."""
        rest = 23 - self.digits
        steps = ((bits_of(x) + ((1 << rest) - 1)) >> rest).astype(jnp.int32)
        return jnp.clip(steps - self._start, 0, 255)

    def value(self, code: Array) -> Array:
        """Return the number of a code."""
        return float_of((code + self._start) << (23 - self.digits))

    @property
    def _start(self) -> int:
        return (self.first + 127) << self.digits


def decay_compensation(count: Array, b: object, log_decay: Array | None, octaves: int = 1) -> Array:
    """Return `b^-count` modulo `octaves`, in [1, 2^octaves), or 1 if that is not known.

    A number that decays by `b` at each step is scaled by this factor before it is quantised: while
    the number only decays, the scaled number stays at its place on the grid. So the decay is exact,
    and only growth is rounded.

    Args:
        count: the steps taken.
        b: the decay rate; its power is known if `b` is a Python number.
        log_decay: where `b` follows a schedule, what `_core.log_decay` keeps of all rates.
        octaves: the octaves that the factor covers, 1 or 2.
    """
    if log_decay is not None:
        return jnp.exp2(octaves * to_unit_interval(phase(log_decay, octaves)))
    if not _is_known_decay(b):
        return jnp.ones((), jnp.float32)
    rate = round(-math.log2(b) / octaves * 2**32)
    return jnp.exp2(octaves * to_unit_interval(count.astype(jnp.uint32) * jnp.uint32(rate)))


def warmup_compensation(
    count: Array, b: object, log_decay: Array | None, octaves: int = 1
) -> Array:
    """Return `1 / (1 - b^count)` in whole octaves (or in pairs of them), or 1 if it is not known.

    An average that began at zero is too small by that factor at first. A factor of whole octaves
    moves numbers along the grid without rounding them, and is computed from integers, so that it is
    the same on every backend.
    """
    scale = jnp.ones((), jnp.float32)
    if log_decay is not None:  # the average has seen 2^-octave of its weights at this log decay
        part = phase(log_decay)
        for octave in range(octaves, MAX_WARMUP + 1, octaves):
            below = np.uint32(min(-math.log2(1 - 2.0**-octave) * 2**32, 2**32 - 1))
            scale = scale * jnp.where((log_decay[0] == 0) & (part < below), 2.0**octaves, 1.0)
        return scale
    last = math.floor(-math.log2(1 - b)) if _is_known_decay(b) else 0
    for octave in range(octaves, last + 1, octaves):
        scale = scale * jnp.where(count.astype(jnp.int32) < 2**octave, 2.0**octaves, 1.0)
    return scale


def _is_known_decay(b: object) -> TypeGuard[float]:
    """Tell whether a decay rate is slow and known beforehand."""
    return isinstance(b, int | float) and 0.5 < b < 1


MAX_WARMUP = 20
"""The octaves by which a moment with a scheduled decay rate is enlarged at most."""


def max_ratio(b1: float, b2: float) -> float:
    """Return the bound of `|mu| / sqrt(nu)` (Cauchy-Schwarz); infinite if `b1^2 >= b2`."""
    if b1 * b1 >= b2:
        return math.inf
    return (1 - b1) / math.sqrt((1 - b2) * (1 - b1 * b1 / b2))
