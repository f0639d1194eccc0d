"""Keep both moments of Adam in one byte, on a grid that is fitted to each block of neighbours."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from adam_optax._core.dither import to_unit_interval, two_dithers
from adam_optax.storage._base import EVERYWHERE, LeafContext
from adam_optax.storage._pair.base import PairFormat, largest_ratio
from adam_optax.storage._quant.bits import bits_of, exact_divmod, float_of
from adam_optax.storage._quant.blocks import Blocks
from adam_optax.storage._quant.log_grid import (
    BELOW_TOP,
    MIDDLE,
    RatioQuantizer,
    ScaleQuantizer,
    decay_compensation,
)

CODES = 255
"""The number of codes of a pair that is not zero."""
FINEST, STEPS = 21, 4
"""The logarithm of nu's finest step in bits of float32 (a fourth of an octave), and the number of
step sizes, each twice the one before.

Each grid has every second value of the next finer grid, so that a block which changes between grids
does not round its values again; and every grid is the same when it is moved by two octaves."""
MAX_STEPS, MAX_COARSE_STEPS = 15, 26
"""The most steps of a block on a grid, and on the coarsest; beyond, small numbers are clamped."""
SMALLEST, LARGEST = 2.0**-124, 1.6e38
"""The bounds to which nu is clamped: two octaves beyond them are still normal float32 numbers."""
TOP = ScaleQuantizer(-10, 4)
"""The quantiser of a block's largest ratio: from 2^-10 in sixteenths of an octave."""


class Header(NamedTuple):
    """Hold the four bytes that the elements of a block share.

    Attributes:
        first: the lowest step of the block's nu, counted from a float32 of zero.
        cells: steps from there to the highest; in the upper bits, `32 k` for a step of `2^k / 4`
            octaves.
        top: the block's largest ratio, as a code of `TOP`.
    """

    first: Array
    cells: Array
    top: Array


class BlockGrid(NamedTuple):
    """Describe a block's grid for nu.

    Attributes:
        shift: the logarithm of a step, in bits of float32.
        first: the lowest step.
        cells: steps from there to the highest.
    """

    shift: Array
    first: Array
    cells: Array

    def value(self, c: Array) -> Array:
        """Return the number at the lower end of the c-th step."""
        return float_of((self.first + c) << self.shift)

    def code(self, y: Array, u: Array) -> Array:
        """Return the step of a number or the next one, so that fourth roots are right on average.

        Where a step is an octave and more, a `nu` that is right on average would make
        `1 / sqrt(nu)` too large.
        """
        c = jnp.maximum((bits_of(y).astype(jnp.int32) >> self.shift) - self.first, 0)
        low, high = self.value(c), self.value(c + 1)
        up = (_fourth_root(jnp.maximum(y / low, 1.0)) - 1) / (_fourth_root(high / low) - 1)
        return c + (to_unit_interval(u) >= 1 - up).astype(jnp.int32)

    def moved(self, c: Array, old: "BlockGrid", before: Array, now: Array) -> Array:
        """Return the codes of numbers that rest, as `LogGrid.moved`; to nearest on a new grid."""
        one = 127 << 23
        past, passed = (bits_of(x).astype(jnp.int32) - one for x in (before, now))
        place = (old.first + c - (past >> old.shift)) << old.shift
        half = (1 << (self.shift - 1)) * (old.shift != self.shift).astype(jnp.int32)
        place = ((place + half) >> self.shift) + (passed >> self.shift) - self.first
        return jnp.clip(place, 0, self.cells + 1)


def _fourth_root(x: Array) -> Array:
    return jnp.sqrt(jnp.sqrt(x))


@dataclasses.dataclass(frozen=True, repr=False)
class OneBytePair(PairFormat):
    """Keep mu and nu in one byte, on a grid for each block; see `pair`."""

    bytes: int = 1
    block: int = 64
    kernel_platforms: ClassVar[frozenset[str]] = EVERYWHERE

    @property
    def components(self) -> tuple[str, ...]:  # type: ignore[override]
        """Return the names of the codes and of the four bytes of header a block."""
        return ("", *Header._fields)

    def encode(self, values: Sequence[Array], context: LeafContext) -> dict[str, Any]:
        """Return the codes and the headers of the blocks."""
        (mu, nu), scalars = self._mu_nu(values), context.scalars
        u, w = two_dithers(context.shape, scalars.salt, context.offset)
        some, y = nu > 0, jnp.clip(nu * scalars.nu_scale, SMALLEST, LARGEST)
        shared = self._fit_grid(y, some)
        grid = BlockGrid(*(self._expand(x, context) for x in shared))
        c, ratios = grid.code(y, u), self._ratios(shared.cells, context)
        if (resting := context.resting) is not None:
            old_grid, old_c, old_ratio, old_top = self._split(resting.encoded, context, MIDDLE)
            scales = resting.scalars.nu_scale, scalars.nu_scale
            c = jnp.where(resting.mask, grid.moved(old_c, old_grid, *scales), c)
        ratio = mu * (1 / self._mu_scale(grid.value(c), scalars))
        bound = 2.0 * largest_ratio(context.moments)  # 2: nu may be rounded down by two octaves
        ratio = jnp.clip(ratio, -bound, bound)
        size = jnp.abs(ratio)
        if resting is not None:  # to nearest; and no block's top falls while an element rests
            old_top = old_top * BELOW_TOP
            ratio = jnp.where(resting.mask, old_ratio * old_top, ratio)
            size = jnp.where(resting.mask, old_top, size)
            w = jnp.where(resting.mask, MIDDLE, w)
        ratio, size = (jnp.where(some, x, 0.0) for x in (ratio, size))
        top = TOP.code(Blocks(self.block).max(size))
        z = ratios.code(ratio * self._expand(1 / TOP.value(top), context), w)
        code = jnp.where(some, 1 + c * ratios.codes + (z + ratios.size), 0)
        cells = shared.cells + 32 * (shared.shift - FINEST)
        header = Header(shared.first.astype(jnp.uint16), cells.astype("u1"), top.astype("u1"))
        return {"": code.astype(jnp.uint8), **header._asdict()}

    def decode(self, encoded: Mapping[str, Any], context: LeafContext) -> tuple[Array, ...]:
        """Return both moments of each code."""
        _, w = two_dithers(context.shape, context.scalars.salt, context.offset)
        grid, c, ratio, top = self._split(encoded, context, w)
        return self._both(encoded[""] != 0, ratio * top, grid.value(c), context.scalars)

    def _split(
        self, encoded: Mapping[str, Any], context: LeafContext, w: Array | np.uint32
    ) -> tuple[BlockGrid, Array, Array, Array]:
        """Return each element's grid, code of nu, share of the largest ratio, and that ratio.

        The dither `w` is taken off the share.
        """
        first, cells, top = (encoded[n].astype(jnp.int32) for n in Header._fields)
        shared = BlockGrid((cells >> 5) + FINEST, first, cells & 31)
        grid = BlockGrid(*(self._expand(x, context) for x in shared))
        ratios = self._ratios(cells & 31, context)
        code = encoded[""].astype(jnp.int32)
        c, z = exact_divmod(jnp.maximum(code - 1, 0), ratios.codes, 8)
        return grid, c, ratios.value(z - ratios.size, w), self._expand(TOP.value(top), context)

    def _fit_grid(self, y: Array, some: Array) -> BlockGrid:
        """Return the finest grid on which a block's numbers are few steps apart."""
        blocks = Blocks(self.block)
        ends = blocks.max(jnp.where(some, y, 0.0)), blocks.min(jnp.where(some, y, LARGEST))
        high, low = (bits_of(end).astype(jnp.int32) for end in ends)
        high = jnp.maximum(high, (127 - 124) << 23)
        low = jnp.minimum(low, high)
        shift = jnp.full_like(high, FINEST)
        for step in range(FINEST, FINEST + STEPS - 1):
            shift = shift + ((high >> step) - (low >> step) > MAX_STEPS).astype(jnp.int32)
        cells = jnp.minimum((high >> shift) - (low >> shift), MAX_COARSE_STEPS)
        return BlockGrid(shift, (high >> shift) - cells, cells)

    def _nu_scale(self, count: Array, decay: object, log_decay: Array | None) -> Array:
        """Return the factor of nu modulo two octaves, the step of the coarsest grid."""
        return decay_compensation(count, decay, log_decay, octaves=2)

    def _ratios(self, cells: Array, context: LeafContext) -> RatioQuantizer:
        """Return the quantiser of the ratio, which has the codes that the grid of nu leaves.

        The grid of nu has a step more than `cells`, for numbers that are rounded up.
        """
        codes, _ = exact_divmod(jnp.full_like(cells, CODES), cells + 2)
        size, scalars = self._expand((codes - 1) >> 1, context), context.scalars
        return RatioQuantizer(size, scalars.ratio_top, scalars.ratio_knee)

    def _expand(self, shared: Array, context: LeafContext) -> Array:
        return Blocks(self.block).expand(shared, context.shape)
