"""Both moments of Adam in one byte, on grids that each block of neighbours fits to itself."""

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

CODES = 255
"""Of a pair that is not zero."""
FINEST, STEPS = 21, 4
"""nu's step is the fourth of an octave, `2^21` of float32's bits, or twice that, or 4 or 8 times.

Each grid has every second value of the next finer one, so that blocks which change to and fro do
not round anew what has been rounded; and all are the same two octaves on."""
CELLS, MOST = 15, 26
"""If a block's range has more steps, the next coarser grid is taken, or of the coarsest the top."""
SMALLEST, LARGEST = 2.0**-124, 1.6e38
"""What of nu is kept: a step of two octaves to either side is a normal float32 still."""
TOP = Top(-10, 4)
"""The largest ratio of a block: from 2^-10 in sixteenths of an octave."""


class Header(NamedTuple):
    """What a block shares, four bytes.

    Attributes:
        first: the lowest step of its nu, counted from a float32 of zero.
        cells: steps from there to its highest; in the upper bits, `32 k` for a step of `2^k / 4`
            octaves.
        top: its largest ratio, as a code of `TOP`.
    """

    first: Array
    cells: Array
    top: Array


class Grid(NamedTuple):
    """A block's grid: how many bits of float32 a step is, the lowest step, and how many there are.

    Attributes:
        shift: the logarithm of a step, in float32's bits.
        first: the lowest step.
        cells: steps from there to the highest.
    """

    shift: Array
    first: Array
    cells: Array

    def value(self, c: Array) -> Array:
        """The number at the lower end of a step above the lowest."""
        return float_of((self.first + c) << self.shift)

    def code(self, y: Array, u: Array) -> Array:
        """The step of a number or the next, so that the fourth root is right on average.

        Where a step is an octave and more, `nu` itself on average would make `1 / sqrt(nu)` too
        large.
        """
        c = jnp.maximum((bits_of(y).astype(jnp.int32) >> self.shift) - self.first, 0)
        low, high = self.value(c), self.value(c + 1)
        up = (_root(jnp.maximum(y / low, 1.0)) - 1) / (_root(high / low) - 1)
        return c + (unit(u) >= 1 - up).astype(jnp.int32)


def _root(x: Array) -> Array:
    return jnp.sqrt(jnp.sqrt(x))


@dataclasses.dataclass(frozen=True)
class BytePair(Pair):
    """See `pair`, with one byte."""

    bytes: int = 1
    block: int = 64
    guarded: ClassVar[bool] = True
    helped: ClassVar[frozenset[str]] = ACCELERATORS

    @property
    def parts(self) -> tuple[str, ...]:  # type: ignore[override]
        """The codes, and four bytes of header a block."""
        return ("", *Header._fields)

    def encode(self, values: Values, moments: Moments, stamp: Stamp) -> dict[str, Any]:
        """0 for `nu = 0`, else 1 + nu's code times the number of ratios + the ratio's code."""
        mu, nu = self._values(values, moments)
        u, w = self._dithers(stamp)
        some, y = nu > 0, jnp.clip(nu * stamp.tick.frame, SMALLEST, LARGEST)
        shared = self._fitted(y, some)
        grid = Grid(*(self._each(x, stamp) for x in shared))
        c, ratio = grid.code(y, u), self._ratios(shared.cells, stamp)
        r = jnp.where(some, self._share(mu, grid.value(c), stamp), 0.0)
        top = TOP.code(Blocks(self.block).most(jnp.abs(r)))
        z = ratio.code(r * self._each(1 / TOP.value(top), stamp), w)
        code = jnp.where(some, 1 + c * ratio.codes + (z + ratio.size), 0)
        cells = shared.cells + 32 * (shared.shift - FINEST)
        header = Header(shared.first.astype(jnp.uint16), cells.astype("u1"), top.astype("u1"))
        return {"": code.astype(jnp.uint8), **header._asdict()}

    def decode(self, kept: Mapping[str, Any], moments: Moments, stamp: Stamp) -> dict[str, Array]:
        """Both moments of a code."""
        first, cells, top = (kept[n].astype(jnp.int32) for n in Header._fields)
        shared = Grid((cells >> 5) + FINEST, first, cells & 31)
        grid, ratio = Grid(*(self._each(x, stamp) for x in shared)), self._ratios(cells & 31, stamp)
        code, (_, w) = kept[""].astype(jnp.int32), self._dithers(stamp)
        c, z = divided(jnp.maximum(code - 1, 0), ratio.codes, 8)
        share = ratio.value(z - ratio.size, w) * self._each(TOP.value(top), stamp)
        return self._moments(code != 0, share, grid.value(c), stamp, moments)

    def _fitted(self, y: Array, some: Array) -> Grid:
        """The finest grid on which a block's numbers are few steps."""
        blocks = Blocks(self.block)
        ends = blocks.most(jnp.where(some, y, 0.0)), blocks.least(jnp.where(some, y, LARGEST))
        high, low = (bits_of(end).astype(jnp.int32) for end in ends)
        high = jnp.maximum(high, (127 - 124) << 23)
        low = jnp.minimum(low, high)
        shift = jnp.full_like(high, FINEST)
        for step in range(FINEST, FINEST + STEPS - 1):
            shift = shift + ((high >> step) - (low >> step) > CELLS).astype(jnp.int32)
        cells = jnp.minimum((high >> shift) - (low >> shift), MOST)
        return Grid(shift, (high >> shift) - cells, cells)

    def _frame(self, count: Array, decay: object) -> Array:
        """Modulo the step of the coarsest grid."""
        return frame(count, decay, 2)

    def _ratios(self, cells: Array, stamp: Stamp) -> Ratio:
        """As many codes as are left beside those of nu, one of which is above the highest step."""
        codes, _ = divided(jnp.full_like(cells, CODES), cells + 2)
        return Ratio(self._each((codes - 1) >> 1, stamp), 1.0, 0.5)

    def _each(self, shared: Array, stamp: Stamp) -> Array:
        return Blocks(self.block).spread(shared, stamp.shape)
