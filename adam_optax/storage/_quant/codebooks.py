"""Quantise blockwise by a codebook: the few numbers in [-1, 1] that a code of some bits stands for.

A codebook's numbers are computed, not looked up: a gather of each element costs accelerators more
than the rest of the step, and Pallas kernels cannot gather.
"""

import abc
import dataclasses

import jax.numpy as jnp
from jax import Array

from adam_optax._core.dither import to_unit_interval
from adam_optax.storage._quant.bits import bits_of, float_of
from adam_optax.storage._quant.blocks import Blocks

SMALLEST_ABSMAX = 2.0**-120
"""The smallest absmax, by which quotients are exact.

Blocks of smaller numbers are kept as zeros, or in parts of this absmax where a positive number must
not become zero."""


class Codebook(abc.ABC):
    """Number the values of a codebook in increasing order; zero and 1, the largest, are values.

    A "step" is a value's distance from zero in codes, a "magnitude" the value of a step. Below
    zero the values are those above zero, with the sign changed.
    """

    @property
    @abc.abstractmethod
    def zero(self) -> int:
        """Return the code of zero, which is also the number of codes below zero."""

    @property
    @abc.abstractmethod
    def steps(self) -> int:
        """Return the number of codes above zero."""

    @property
    def lowest(self) -> float:
        """Return the lowest value."""
        return 0.0

    @property
    def values(self) -> Array:
        """Return all values, by code."""
        return self.value(jnp.arange(self.zero + self.steps + 1))

    def code(self, x: Array, u: Array) -> Array:
        """Return the code below a number of [-1, 1] or the code above it, as the dither `u` says.

        The rounding is right on average if the dither is uniform.
        """
        magnitude = jnp.abs(x)
        below = self._step_below(magnitude)
        low, high = self._magnitude(below), self._magnitude(below + 1)
        fraction = jnp.clip((magnitude - low) / (high - low), 0.0, 1.0)
        # Numbers below zero round away from zero with the same probability, by the complement of
        # the dither, so that all numbers round by `floor(x + u)` in units of the grid.
        up = to_unit_interval(jnp.where(x < 0, ~u, u)) < fraction
        step = below + up.astype(jnp.int32)
        return self.zero + jnp.where(x < 0, -jnp.minimum(step, self.zero), step)

    def value(self, code: Array) -> Array:
        """Return the value of a code."""
        step = code.astype(jnp.int32) - self.zero
        magnitude = self._magnitude(jnp.abs(step))
        return jnp.where(step < 0, -magnitude, magnitude)

    @abc.abstractmethod
    def _magnitude(self, step: Array) -> Array:
        """Return the value of a step above zero."""

    @abc.abstractmethod
    def _step_below(self, magnitude: Array) -> Array:
        """Return the largest step whose value is not above a magnitude, but never the last step."""


@dataclasses.dataclass(frozen=True)
class DynamicMap(Codebook):
    r"""Compute bitsandbytes' dynamic map (Dettmers et al. 2022, 8-bit optimizers, section 2.1).

    Decade by decade down from 1, the values are the middles of equal parts of :math:`[0.1, 1]`
    times a power of ten, and each decade has half as many parts as the decade above it; 0 and 1 are
    values, too. There is no -1.

    Attributes:
        signed: whether there are negative values.
        decades: the number of decades.
        first: the number of parts of the lowest decade.
    """

    signed: bool = True
    decades: int = 7
    first: int = 1

    @property
    def steps(self) -> int:
        """Return the number of codes above zero."""
        return int(self.first * (2**self.decades - 1) + 1)

    @property
    def zero(self) -> int:
        """Return the code of zero, which is also the number of codes below zero."""
        return self.steps - 1 if self.signed else 0

    @property
    def lowest(self) -> float:
        """Return the lowest value, which is the middle of the last part with the sign changed."""
        return -(1 - 0.45 / (self.first * 2 ** (self.decades - 1))) if self.signed else 0.0

    def _magnitude(self, step: Array) -> Array:
        place = jnp.maximum(step + (self.first - 1), self.first).astype(jnp.float32)
        lower, parts = self._decade(place, [self.first * 2.0**i for i in range(self.decades)])
        # Places run from `parts` to `2 parts` in a decade; powers of two are read off the place.
        if self.first & (self.first - 1) == 0:
            parts = float_of(bits_of(place) & jnp.uint32(0xFF800000))
        magnitude = lower * (9 * (place + 0.5) / parts - 8)
        return jnp.where(step >= self.steps, 1.0, jnp.where(step > 0, magnitude, 0.0))

    def _step_below(self, magnitude: Array) -> Array:
        lower, parts = self._decade(magnitude, self._lower_ends())
        part = jnp.clip(jnp.floor((magnitude / lower - 1) * parts / 9 - 0.5), -1.0, parts - 1)
        return jnp.clip((part + parts).astype(jnp.int32) - (self.first - 1), 0, self.steps - 1)

    def _lower_ends(self) -> list[float]:
        """Return the lower end of each decade."""
        return [10.0 ** (i - self.decades) for i in range(self.decades)]

    def _decade(self, x: Array, starts: list[float]) -> tuple[Array, Array]:
        """Return the lower end of the decade of `x`, and the decade's number of parts.

        Args:
            x: magnitudes or places.
            starts: the magnitude or place at which each decade starts.
        """
        lower, parts = (jnp.full_like(x, first) for first in (self._lower_ends()[0], self.first))
        for i, (start, end) in enumerate(zip(starts, self._lower_ends(), strict=True)):
            reached = x >= start
            lower = jnp.where(reached, end, lower)
            parts = jnp.where(reached, self.first * 2.0**i, parts)
        return lower, parts


@dataclasses.dataclass(frozen=True)
class LinearMap(Codebook):
    """Compute zero and equal steps up to 1.

    Attributes:
        steps: the number of codes above zero.
    """

    steps: int = 15

    @property
    def zero(self) -> int:
        """Return the code of zero."""
        return 0

    def _magnitude(self, step: Array) -> Array:
        return step.astype(jnp.float32) / self.steps

    def _step_below(self, magnitude: Array) -> Array:
        return jnp.clip(jnp.floor(magnitude * self.steps).astype(jnp.int32), 0, self.steps - 1)


def quantize_blockwise(
    m: Array, codebook: Codebook, blocks: Blocks, u: Array
) -> tuple[Array, Array]:
    """Return the codes of a moment, and the absmax of each block, for which the code of 1 stands.

    A positive number of a codebook without negative values never gets the code of zero.

    Args:
        m: the moment.
        codebook: the values of codes, in units of a block's absmax.
        blocks: the blocks of neighbours that share an absmax.
        u: a dither for each element, uint32.
    """
    x = m.astype(jnp.float32)
    lowest = codebook.lowest
    # A codebook's lowest value is above -1: the absmax is such that this value reaches, too.
    magnitude = jnp.where(x < 0, x * jnp.float32(1 / (lowest or 1.0)), x)
    largest = blocks.max(magnitude)
    small = jnp.where(largest > 0, SMALLEST_ABSMAX if lowest == 0.0 else 0.0, 0.0)
    absmax = jnp.where(largest >= SMALLEST_ABSMAX, largest, small)
    unit = blocks.expand(absmax, x.shape)
    normalized = jnp.where(unit > 0, x / jnp.where(unit > 0, unit, 1.0), 0.0)
    code = codebook.code(normalized, u)
    if lowest == 0.0:
        code = jnp.where(normalized > 0, jnp.maximum(code, 1), 0)
    return code, absmax


def dequantize_blockwise(code: Array, absmax: Array, codebook: Codebook, blocks: Blocks) -> Array:
    """Return the moment of codes that `quantize_blockwise` made, in float32."""
    return codebook.value(code) * blocks.expand(absmax, code.shape)
