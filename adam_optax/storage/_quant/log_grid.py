"""Positive numbers as codes on a logarithmic grid, by the bits of float32 alone."""

import dataclasses
import math
from typing import TypeGuard

import jax.numpy as jnp
from jax import Array, lax

from adam_optax._core.dither import unit
from adam_optax._core.numerics import is_exact


@dataclasses.dataclass(frozen=True)
class Grid:
    """`2^k_bits` codes an octave between `2^low` and `2^high`, and one an octave beyond.

    Codes are equally spaced within an octave, so that rounding by a dither is unbiased. What is
    below the grid is clamped up to its first value, never to zero.

    Attributes:
        k_bits: logarithm of the codes an octave.
        low: exponent from which the grid is fine.
        high: exponent up to which it is.
        first: exponent of the first code.
        last: exponent of the last.
    """

    k_bits: int
    low: int
    high: int
    first: int
    last: int

    @property
    def size(self) -> int:
        """How many codes there are."""
        return self._base(self.last) - self._base(self.first) + 1

    def _base(self, exponent: int) -> int:
        return exponent + ((1 << self.k_bits) - 1) * min(max(exponent, self.low), self.high)

    def code(self, y: Array, u: Array) -> Array:
        """The code of a positive number, rounded by the dither `u`."""
        bits, digits = lax.bitcast_convert_type(y, jnp.int32), 23 - self.k_bits
        inner = jnp.clip(bits, self._bits(self.low), self._bits(self.high))
        fine, coarse = ((u >> (32 - n)).astype(jnp.int32) for n in (digits, 23))
        c = ((inner + fine) >> digits) + ((bits - inner + coarse) >> 23)  # one of them is whole
        return jnp.clip(c - self._start, 0, self.size - 1)

    def value(self, c: Array) -> Array:
        """The number of a code."""
        digits = 23 - self.k_bits
        ends = ((self._bits(e) >> digits) - self._start for e in (self.low, self.high))
        inner = jnp.clip(c, *ends)
        bits = ((inner + self._start) << digits) + ((c - inner) << 23)
        return lax.bitcast_convert_type(bits, jnp.float32)

    @property
    def _start(self) -> int:
        """The first code's distance from where codes would begin if the grid were fine all over."""
        return (127 << self.k_bits) + self._base(self.first)

    def _bits(self, exponent: int) -> int:
        return (exponent + 127) << 23


def frame(count: Array, b: object, octaves: int = 1) -> Array:
    """`b^-count` modulo `octaves`, in [1, 2^octaves): by what a number that fades by `b` is scaled.

    So scaled, it stays where it is on the grid while nothing comes in: its decay is exact, and
    only its growth is rounded. 1 if `b` is not known beforehand.
    """
    if not known(b):
        return jnp.ones((), jnp.float32)
    rate = round(-math.log2(b) / octaves * 2**32)
    return jnp.exp2(octaves * unit(count.astype(jnp.uint32) * jnp.uint32(rate)))


def rise(count: Array, b: object) -> Array:
    """The bias factor's inverse, `1 / (1 - b^count)`, in whole octaves; 1 if `b` is not known.

    An average that began at zero is too small by that at first. Octaves move numbers along the
    grid without rounding them; integers alone say how many, on every backend alike.
    """
    scale = jnp.ones((), jnp.float32)
    for octave in range(1, math.floor(-math.log2(1 - b)) + 1 if known(b) else 1):
        scale = scale * jnp.where(count.astype(jnp.int32) < 2**octave, 2.0, 1.0)
    return scale


def known(b: object) -> TypeGuard[float]:
    """Whether a decay is one that fades slowly, and known beforehand."""
    return is_exact(b) and 0.5 < b < 1
