"""Signed numbers of bounded size as codes whose steps grow with the number."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from jax import Array

from adam_optax.storage.bits import bits_of, float_of, unit


@dataclasses.dataclass(frozen=True)
class Ratio:
    """`-size` to `size` for numbers in [-top, top]: equal steps of `log(1 + |x| / knee)`.

    The logarithm is the float's own, linear within an octave. Zero has a code of its own.

    Attributes:
        size: codes on each side of zero.
        top: the largest number.
        knee: below it codes are evenly spaced.
    """

    size: int
    top: float
    knee: float = 0.022

    @property
    def codes(self) -> int:
        """How many there are."""
        return 2 * self.size + 1

    @property
    def _start(self) -> int:
        return int(np.float32(self.knee).view(np.uint32))

    @property
    def _scale(self) -> float:
        return self.size / (int(np.float32(self.top + self.knee).view(np.uint32)) - self._start)

    def code(self, x: Array, u: Array) -> Array:
        """The code of a number, rounded by the dither `u`."""
        near = jnp.minimum(jnp.abs(x), self.top) + jnp.float32(self.knee)
        steps = (bits_of(near).astype(jnp.int32) - self._start).astype(jnp.float32)
        up = unit(jnp.where(x < 0, ~u, u))
        z = jnp.floor(steps * jnp.float32(self._scale) + up).astype(jnp.int32)
        z = jnp.clip(z, 0, self.size)
        return jnp.where(x < 0, -z, z)

    def value(self, z: Array) -> Array:
        """The number of a code."""
        steps = jnp.floor(jnp.abs(z).astype(jnp.float32) * jnp.float32(1 / self._scale) + 0.5)
        size = float_of(steps.astype(jnp.int32) + self._start) - jnp.float32(self.knee)
        return jnp.where(z < 0, -size, size)


def bound(b1: float, b2: float) -> float:
    """How large `|mu| / sqrt(nu)` can be (Cauchy-Schwarz); without limit if `b1^2 >= b2`."""
    if b1 * b1 >= b2:
        return math.inf
    return (1 - b1) / math.sqrt((1 - b2) * (1 - b1 * b1 / b2))
