"""Code books: the few numbers in [-1, 1] that a code of some bits can stand for.

They are computed, not looked up: a gather of each element costs accelerators more than the rest of
the step, and kernels cannot do it.
"""

import dataclasses

import jax.numpy as jnp
from jax import Array

from adam_optax._core.dither import to_unit_interval


class Book:
    """Numbers in increasing order, zero among them and 1 the largest: the code is the place."""

    @property
    def zero(self) -> int:
        """The code of zero."""
        raise NotImplementedError

    @property
    def top(self) -> int:
        """How many codes there are above zero."""
        raise NotImplementedError

    @property
    def low(self) -> float:
        """The lowest number."""
        return 0.0

    @property
    def values(self) -> Array:
        """All its numbers."""
        return self.value(jnp.arange(self.zero + self.top + 1))

    def code(self, x: Array, u: Array) -> Array:
        """The code below a number of [-1, 1] or the one above, as the dither says."""
        size = jnp.abs(x)
        below = self._below(size)
        low, high = self._size(below), self._size(below + 1)
        part = jnp.clip((size - low) / (high - low), 0.0, 1.0)
        # Away from zero below it, too, by the part that is left: all in all `floor(x + u)`.
        step = below + (to_unit_interval(jnp.where(x < 0, ~u, u)) < part).astype(jnp.int32)
        return self.zero + jnp.where(x < 0, -jnp.minimum(step, self.zero), step)

    def value(self, code: Array) -> Array:
        """The number of a code."""
        step = code.astype(jnp.int32) - self.zero
        size = self._size(jnp.abs(step))
        return jnp.where(step < 0, -size, size)

    def _size(self, step: Array) -> Array:
        """The number so many codes above zero."""
        raise NotImplementedError

    def _below(self, size: Array) -> Array:
        """Of the numbers from zero to the last but one, which is the largest not above this."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Dynamic(Book):
    r"""The dynamic tree of Dettmers et al. 2022 (8-bit optimizers, section 2.1), bitsandbytes' map.

    Decade by decade down from 1, the middles of equal parts of :math:`[0.1, 1]`, of which each
    decade has half as many as the one above it; then 0 and 1. There is no -1.

    Attributes:
        signed: whether it has negative numbers.
        decades: how many.
        first: the parts of the lowest decade.
    """

    signed: bool = True
    decades: int = 7
    first: int = 1

    @property
    def top(self) -> int:
        """How many codes there are above zero."""
        return int(self.first * (2**self.decades - 1) + 1)

    @property
    def zero(self) -> int:
        """The code of zero."""
        return self.top - 1 if self.signed else 0

    @property
    def low(self) -> float:
        """The lowest number, the middle of the last part."""
        return -(1 - 0.45 / (self.first * 2 ** (self.decades - 1))) if self.signed else 0.0

    def _size(self, step: Array) -> Array:
        place = jnp.maximum(step + (self.first - 1), self.first).astype(jnp.float32)
        lowest, parts = self._decade(place, [self.first * 2.0**i for i in range(self.decades)])
        size = lowest * (9 * (place + 0.5) / parts - 8)  # place: parts to 2 parts in a decade
        return jnp.where(step >= self.top, 1.0, jnp.where(step > 0, size, 0.0))

    def _below(self, size: Array) -> Array:
        lowest, parts = self._decade(size, self._edges())
        part = jnp.clip(jnp.floor((size / lowest - 1) * parts / 9 - 0.5), -1.0, parts - 1)
        return jnp.clip((part + parts).astype(jnp.int32) - (self.first - 1), 0, self.top - 1)

    def _edges(self) -> list[float]:
        """The lower end of each decade."""
        return [10.0 ** (i - self.decades) for i in range(self.decades)]

    def _decade(self, x: Array, starts: list[float]) -> tuple[Array, Array]:
        """The lower end of a number's decade and its parts, from where decades start for it."""
        lowest, parts = (jnp.full_like(x, first) for first in (self._edges()[0], self.first))
        for i, (start, edge) in enumerate(zip(starts, self._edges(), strict=True)):
            above = x >= start
            lowest = jnp.where(above, edge, lowest)
            parts = jnp.where(above, self.first * 2.0**i, parts)
        return lowest, parts


@dataclasses.dataclass(frozen=True)
class Linear(Book):
    """Zero and equal steps to 1.

    Attributes:
        top: how many.
    """

    top: int = 15

    @property
    def zero(self) -> int:
        """The code of zero."""
        return 0

    def _size(self, step: Array) -> Array:
        return step.astype(jnp.float32) / self.top

    def _below(self, size: Array) -> Array:
        return jnp.clip(jnp.floor(size * self.top).astype(jnp.int32), 0, self.top - 1)
