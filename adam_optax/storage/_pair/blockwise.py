"""Both moments of Adam in one code, on a scale that each block of neighbours fits to itself."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax import Array

from adam_optax._core.dither import unit
from adam_optax.storage._base import ACCELERATORS, Moments, Stamp, Values
from adam_optax.storage._pair.elementwise import Pair
from adam_optax.storage._quant.bits import bits_of, divided, float_of
from adam_optax.storage._quant.blocks import Blocks
from adam_optax.storage._quant.log_grid import frame
from adam_optax.storage._quant.ratio import Ratio, Top

SIDES = {2: 42, 3: 288, 4: 1834}
"""By bytes: the ratio's codes on each side of zero."""
SMALLEST, LARGEST = 2.0**-126, 3e38
"""What is smaller and not zero, or larger, is kept as these."""
SPAN = 48
"""Octaves that a block's nu may span; what is lower is clamped up."""
TOP = Top(-24, 3)
"""The largest ratio of a block: from 2^-24 in eighths of an octave."""


class Header(NamedTuple):
    """What a block shares.

    Attributes:
        first: exponent of its smallest nu, biased as in float32.
        span: octaves from there to its largest.
        top: its largest ratio, as a code of `TOP`.
    """

    first: Array
    span: Array
    top: Array


class Octaves(NamedTuple):
    """A grid for nu.

    Attributes:
        first: exponent of its beginning, biased as in float32.
        codes: how many there are an octave.
        share: `1 / codes`.
    """

    first: Array
    codes: Array
    share: Array


@dataclasses.dataclass(frozen=True)
class BlockPair(Pair):
    """See `pair`, with `block`."""

    block: int = 128
    guarded: ClassVar[bool] = True
    helped: ClassVar[frozenset[str]] = ACCELERATORS

    @property
    def parts(self) -> tuple[str, ...]:  # type: ignore[override]
        """The codes, and three bytes of header a block."""
        return (*super().parts, *Header._fields)

    def encode(self, values: Values, moments: Moments, stamp: Stamp) -> dict[str, Any]:
        """0 for `nu = 0`, else 1 + nu's code times the number of ratios + the ratio's code."""
        mu, nu = self._values(values, moments)
        u, w = self._dithers(stamp)
        some, y = nu > 0, jnp.clip(nu * stamp.tick.frame, SMALLEST, LARGEST)
        shared = self._range(y, some)
        grid = self._grid_of(*shared, stamp)
        c = self._code(y, grid, u)
        r = jnp.where(some, self._share(mu, self._value(c, grid), stamp), 0.0)
        top = TOP.code(Blocks(self.block).most(jnp.abs(r)))
        z = self._shares.code(r * self._each(1 / TOP.value(top), stamp), w)
        code = 1 + c * self._shares.codes + (z + self._shares.size)
        kept = self._packed(jnp.where(some, code, 0).astype(jnp.uint32))
        return kept | {n: x.astype(jnp.uint8) for n, x in Header(*shared, top)._asdict().items()}

    def decode(self, kept: Mapping[str, Any], moments: Moments, stamp: Stamp) -> dict[str, Array]:
        """Both moments of a code."""
        first, span, top = (kept[n].astype(jnp.int32) for n in Header._fields)
        code, grid = self._unpacked(kept), self._grid_of(first, span, stamp)
        c, z = divided(jnp.maximum(code, 1) - 1, self._shares.codes, 8 * self.bytes)
        _, w = self._dithers(stamp)
        share = self._shares.value(z - self._shares.size, w) * self._each(TOP.value(top), stamp)
        return self._moments(code != 0, share, self._value(c, grid), stamp, moments)

    @property
    def _shares(self) -> Ratio:
        """Of the block's largest ratio."""
        return Ratio(SIDES[self.bytes], 1.0, 0.5)

    @property
    def _size(self) -> int:
        """How many codes nu has."""
        return ((1 << 8 * self.bytes) - 1) // (2 * SIDES[self.bytes] + 1)

    def _grid_of(self, first: Array, span: Array, stamp: Stamp) -> Octaves:
        """Of each element: as many codes an octave as its block's span leaves."""
        codes, _ = divided(jnp.full_like(span, self._size - 1), span)
        grid = Octaves(first, codes, 1 / codes.astype(jnp.float32))
        return Octaves(*(self._each(x, stamp) for x in grid))

    def _frame(self, count: Array, decay: object) -> Array:
        """Without the rise of an average: a block's codes are where its numbers are."""
        return frame(count, decay)

    def _each(self, shared: Array, stamp: Stamp) -> Array:
        return Blocks(self.block).spread(shared, stamp.shape)

    def _range(self, y: Array, some: Array) -> tuple[Array, Array]:
        """The lowest exponent of a block's nu, and how many octaves it spans."""
        blocks = Blocks(self.block)
        ends = blocks.most(jnp.where(some, y, 0.0)), blocks.least(jnp.where(some, y, LARGEST))
        top, low = ((bits_of(end) >> 23).astype(jnp.int32) for end in ends)
        top = jnp.maximum(top, 1)
        low = jnp.clip(low, jnp.maximum(top - SPAN + 1, 1), top)
        return low, top - low + 1

    def _code(self, y: Array, grid: Octaves, u: Array) -> Array:
        """The code of nu among those of its block."""
        bits = bits_of(y).astype(jnp.int32)
        mantissa = (bits & 0x7FFFFF).astype(jnp.float32) * jnp.float32(2.0**-23)
        step = (mantissa * grid.codes.astype(jnp.float32) + unit(u)).astype(jnp.int32)
        c = ((bits >> 23) - grid.first) * grid.codes + step
        return jnp.clip(c, 0, self._size - 1)

    def _value(self, c: Array, grid: Octaves) -> Array:
        """The nu of a code."""
        octave, rest = divided(c, grid.codes, self._size.bit_length(), grid.share)
        return float_of((grid.first + octave) << 23) * (1 + rest.astype(jnp.float32) * grid.share)
