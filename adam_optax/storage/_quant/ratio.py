"""Signed numbers of bounded size as codes whose steps grow with the number."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from jax import Array

from adam_optax._core.dither import dither, unit
from adam_optax.storage._quant.bits import bits_of, float_of


@dataclasses.dataclass(frozen=True)
class Ratio:
    """`-size` to `size` for numbers in [-top, top]: equal steps of `log(1 + |x| / knee)`.

    The logarithm is the float's own, linear within an octave. Zero has a code of its own. The
    dither by which a code was rounded is taken off again when it is read, so that the error is even
    within half a step to either side, whatever the number: half the variance of rounding at random.

    Attributes:
        size: codes on each side of zero; an array if elements have different ones.
        top: the largest number.
        knee: below it codes are evenly spaced.
    """

    size: int | Array
    top: float
    knee: float = 0.022

    @property
    def codes(self) -> int | Array:
        """How many there are."""
        return 2 * self.size + 1

    @property
    def _start(self) -> int:
        return int(np.float32(self.knee).view(np.uint32))

    @property
    def _span(self) -> int:
        return int(np.float32(self.top + self.knee).view(np.uint32)) - self._start

    def code(self, x: Array, u: Array) -> Array:
        """The code of a number, rounded by the dither `u`."""
        near = jnp.minimum(jnp.abs(x), self.top) + jnp.float32(self.knee)
        steps = (bits_of(near).astype(jnp.int32) - self._start).astype(jnp.float32)
        scale = jnp.asarray(self.size, jnp.float32) * jnp.float32(1 / self._span)
        z = jnp.minimum((steps * scale + unit(u)).astype(jnp.int32), self.size)
        return jnp.where(x < 0, -z, z)

    def value(self, z: Array, u: Array) -> Array:
        """The number of a code that was rounded by the dither `u`."""
        steps = jnp.where(z == 0, 0.0, jnp.abs(z).astype(jnp.float32) + (0.5 - unit(u)))
        bits = (steps * (self._span / jnp.asarray(self.size, jnp.float32)) + 0.5).astype(jnp.int32)
        size = float_of(bits + self._start) - jnp.float32(self.knee)
        return jnp.where(z < 0, -size, size)


@dataclasses.dataclass(frozen=True)
class Top:
    """A positive number in a byte: 256 numbers, `2^digits` an octave, from `2^first`; rounded up.

    Attributes:
        first: exponent of the smallest.
        digits: binary digits of the mantissa.
    """

    first: int
    digits: int

    def code(self, x: Array) -> Array:
        """The code of the next number that is not smaller, or of the largest."""
        rest = 23 - self.digits
        steps = ((bits_of(x) + ((1 << rest) - 1)) >> rest).astype(jnp.int32)
        return jnp.clip(steps - self._start, 0, 255)

    def value(self, code: Array) -> Array:
        """The number of a code."""
        return float_of((code + self._start) << (23 - self.digits))

    @property
    def _start(self) -> int:
        return (self.first + 127) << self.digits


def shuffle(count: Array) -> Array:
    """By what a dither is multiplied to be another at every step, as if it were drawn anew.

    One that moves on by the same amount every step, as `dithers` does, would when it is taken off
    again push what stands still always to the same side.
    """
    return dither((), jnp.zeros((), jnp.uint32), count.astype(jnp.uint32)) | np.uint32(1)


def bound(b1: float, b2: float) -> float:
    """How large `|mu| / sqrt(nu)` can be (Cauchy-Schwarz); without limit if `b1^2 >= b2`."""
    if b1 * b1 >= b2:
        return math.inf
    return (1 - b1) / math.sqrt((1 - b2) * (1 - b1 * b1 / b2))
