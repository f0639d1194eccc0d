"""Code books: the few numbers in [-1, 1] that a code of some bits can stand for."""

import dataclasses
import functools as ft
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from adam_optax.storage.bits import unit


@dataclasses.dataclass(frozen=True)
class Map:
    """Numbers in increasing order, among them zero: the code is the place.

    Attributes:
        values: exact in float32.
    """

    values: tuple[float, ...]

    @property
    def zero(self) -> int:
        """The code of zero."""
        return self.values.index(0.0)

    def code(self, x: Array, u: Array) -> Array:
        """The code below a number of [-1, 1] or the one above, as the dither says."""
        table = self._table()
        below = jnp.searchsorted(table, x, side="right", method="scan_unrolled") - 1
        below = jnp.clip(below, 0, len(self.values) - 2)
        low, high = table[below], table[below + 1]
        # Mirrored below zero, so that a number and its negative are rounded alike.
        part = jnp.clip((x - low) / (high - low), 0.0, 1.0)
        return below + jnp.where(x < 0, unit(~u) >= 1 - part, unit(u) < part).astype(jnp.int32)

    def value(self, code: Array) -> Array:
        """The number of a code."""
        return self._table()[code.astype(jnp.int32)]

    def _table(self) -> Array:
        return jnp.asarray(np.array(self.values, np.float32))


@ft.cache
def dynamic_map(signed: bool = True, exponents: int = 7, bits: int = 8) -> Map:
    r"""The dynamic tree of Dettmers et al. 2022 (8-bit optimizers, section 2.1), bitsandbytes' map.

    Decade by decade down from 1, the middles of equal parts of :math:`[0.1, 1]`, of which each
    decade has half as many as the one above it; then 0 and 1. There is no -1.

    Args:
        signed: whether it has negative numbers.
        exponents: how many decades.
        bits: of a code.
    """
    values = [0.0, 1.0]
    for i in range(exponents):
        parts = 2 ** (i + bits - 1 - exponents) * (1 if signed else 2)
        edges = _edges(parts + 1)
        decade = np.float32(10.0 ** (i + 1 - exponents)) * ((edges[:-1] + edges[1:]) / 2)
        values += [*decade, *(-decade if signed else ())]
    return Map(tuple(np.sort(np.array(values, np.float32)).tolist()))


def _edges(count: int) -> Any:
    """Equal parts of [0.1, 1], from either end with one rounding, as torch.linspace has them."""
    first, last, i = np.float32(0.1), np.float32(1.0), np.arange(count, dtype=np.float64)
    step = np.float64((last - first) / np.float32(count - 1))
    return np.where(i < count // 2, first + step * i, last - step * (count - 1 - i)).astype("f4")


@ft.cache
def linear_map(codes: int) -> Map:
    """Zero and equal steps to 1."""
    return Map(tuple((np.arange(codes) / (codes - 1)).astype(np.float32).tolist()))
