"""Keep both moments of Adam in one code, on a grid that is fitted to each block of neighbours."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax import Array

from adam_optax._core.dither import to_unit_interval, two_dithers
from adam_optax.moments import Moment
from adam_optax.storage._base import EVERYWHERE, LeafContext
from adam_optax.storage._pair.base import PairFormat, PairScalars, largest_ratio
from adam_optax.storage._pair.elementwise import pack_codes, unpack_codes
from adam_optax.storage._quant.bits import bits_of, exact_divmod, float_of
from adam_optax.storage._quant.blocks import Blocks
from adam_optax.storage._quant.log_grid import BELOW_TOP, MIDDLE, RatioQuantizer, ScaleQuantizer

SIDES = {2: 42, 3: 288, 4: 1834}
"""The number of codes of the ratio on each side of zero, by bytes."""
KNEE = 0.3
"""The ratio below which codes are evenly spaced, over a block's largest ratio.

A smaller knee serves elements that oscillate beside a steady one, and costs elements of blocks
whose ratios are alike."""
SMALLEST, LARGEST = 2.0**-126, 3e38
"""The bounds to which a nu that is not zero is clamped."""
SPAN = 48
"""The most octaves that a block's nu may span; a lower nu is clamped up."""
TOP = ScaleQuantizer(-24, 3)
"""The quantiser of a block's largest ratio: from 2^-24 in eighths of an octave."""


class Header(NamedTuple):
    """Hold the three bytes that the elements of a block share.

    Attributes:
        first: exponent of the block's smallest nu, biased as in float32.
        span: octaves from there to the block's largest nu.
        top: the block's largest ratio, as a code of `TOP`.
    """

    first: Array
    span: Array
    top: Array


class OctaveGrid(NamedTuple):
    """Describe a grid for nu with equally many codes in each octave.

    Attributes:
        first: exponent of the grid's beginning, biased as in float32.
        codes: how many codes an octave has.
        step: `1 / codes`.
    """

    first: Array
    codes: Array
    step: Array


@dataclasses.dataclass(frozen=True, repr=False)
class BlockwisePair(PairFormat):
    """Keep mu and nu in 2, 3 or 4 bytes, on a grid for each block; see `pair`."""

    block: int = 128
    kernel_platforms: ClassVar[frozenset[str]] = EVERYWHERE

    @property
    def components(self) -> tuple[str, ...]:  # type: ignore[override]
        """Return the names of the codes and of the three bytes of header a block."""
        return (*(("high", "low") if self.bytes == 3 else ("",)), *Header._fields)

    def encode(self, values: Sequence[Array], context: LeafContext) -> dict[str, Any]:
        """Return the codes and the headers of the blocks."""
        (mu, nu), scalars = self._mu_nu(values), context.scalars
        u, w = two_dithers(context.shape, scalars.salt, context.offset)
        some, y = nu > 0, jnp.clip(nu * scalars.nu_scale, SMALLEST, LARGEST)
        shared = self._fit_range(y, some)
        grid = self._grid(*shared, context)
        c, ratios = self._code(y, grid, u), self._ratios(scalars)
        if (resting := context.resting) is not None:
            old_grid, old_c, old_z, old_top = self._split(resting.encoded, ratios, context)
            old_scales = resting.scalars.nu_scale, scalars.nu_scale
            c = jnp.where(resting.mask, self._moved(old_c, old_grid, grid, *old_scales), c)
        ratio = mu * (1 / self._mu_scale(self._value(c, grid), scalars))
        bound = 1.1 * largest_ratio(context.moments)  # 1.1: nu may be rounded down
        ratio = jnp.clip(ratio, -bound, bound)
        size = jnp.abs(ratio)
        if resting is not None:  # to nearest; and no block's top falls while an element rests
            old_top = old_top * BELOW_TOP
            ratio = jnp.where(resting.mask, ratios.value(old_z, MIDDLE) * old_top, ratio)
            size = jnp.where(resting.mask, old_top, size)
            w = jnp.where(resting.mask, MIDDLE, w)
        ratio, size = (jnp.where(some, x, 0.0) for x in (ratio, size))
        top = TOP.code(Blocks(self.block).max(size))
        z = ratios.code(ratio * self._expand(1 / TOP.value(top), context), w)
        code = 1 + c * ratios.codes + (z + ratios.size)
        codes = pack_codes(jnp.where(some, code, 0).astype(jnp.uint32), self.bytes)
        return codes | {n: x.astype(jnp.uint8) for n, x in Header(*shared, top)._asdict().items()}

    def decode(self, encoded: Mapping[str, Any], context: LeafContext) -> tuple[Array, ...]:
        """Return both moments of each code."""
        ratios = self._ratios(context.scalars)
        grid, c, z, top = self._split(encoded, ratios, context)
        _, w = two_dithers(context.shape, context.scalars.salt, context.offset)
        some = unpack_codes(encoded, self.bytes) != 0
        ratio = ratios.value(z, w) * top
        return self._both(some, ratio, self._value(c, grid), context.scalars)

    def _split(
        self, encoded: Mapping[str, Any], ratios: RatioQuantizer, context: LeafContext
    ) -> tuple[OctaveGrid, Array, Array, Array]:
        """Return each element's grid, its codes of nu and of the ratio, and the largest ratio."""
        first, span, top = (encoded[n].astype(jnp.int32) for n in Header._fields)
        code = unpack_codes(encoded, self.bytes)
        below = jnp.where(code != 0, code - 1, code)  # no maximum, as in `ElementwisePair._split`
        c, z = exact_divmod(below, ratios.codes, 8 * self.bytes)
        grid = self._grid(first, span, context)
        return grid, c, z - ratios.size, self._expand(TOP.value(top), context)

    def _moved(
        self, c: Array, old: OctaveGrid, new: OctaveGrid, before: Array, now: Array
    ) -> Array:
        """Return the codes of numbers that rest, as `LogGrid.moved`; to nearest on a new grid."""
        place = c - ((before - 1) * old.codes.astype(jnp.float32)).astype(jnp.int32)
        scaled = place.astype(jnp.float32) * (old.step * new.codes.astype(jnp.float32))
        nearest = jnp.floor(scaled + 0.5).astype(jnp.int32)
        place = jnp.where(old.codes == new.codes, place, nearest)
        passed = ((now - 1) * new.codes.astype(jnp.float32)).astype(jnp.int32)
        place = place + passed + (old.first - new.first) * new.codes
        return jnp.clip(place, 0, self._size - 1)

    def _ratio_range(self, moments: tuple[Moment, ...]) -> tuple[float, float]:
        """Return the largest ratio and the knee, in units of a block's largest ratio."""
        del moments
        return 1.0, KNEE

    def _ratios(self, scalars: PairScalars) -> RatioQuantizer:
        """Return the quantiser of ratios in units of a block's largest ratio."""
        return RatioQuantizer(SIDES[self.bytes], scalars.ratio_top, scalars.ratio_knee)

    @property
    def _size(self) -> int:
        """Return the number of codes of nu."""
        return ((1 << 8 * self.bytes) - 1) // (2 * SIDES[self.bytes] + 1)

    def _grid(self, first: Array, span: Array, context: LeafContext) -> OctaveGrid:
        """Return each element's grid; the span of its block decides the codes an octave."""
        codes, _ = exact_divmod(jnp.full_like(span, self._size - 1), span)
        grid = OctaveGrid(first, codes, 1 / codes.astype(jnp.float32))
        return OctaveGrid(*(self._expand(x, context) for x in grid))

    def _expand(self, shared: Array, context: LeafContext) -> Array:
        return Blocks(self.block).expand(shared, context.shape)

    def _fit_range(self, y: Array, some: Array) -> tuple[Array, Array]:
        """Return the lowest exponent of each block's nu, and the number of octaves it spans."""
        blocks = Blocks(self.block)
        ends = blocks.max(jnp.where(some, y, 0.0)), blocks.min(jnp.where(some, y, LARGEST))
        top, low = ((bits_of(end) >> 23).astype(jnp.int32) for end in ends)
        top = jnp.maximum(top, 1)
        low = jnp.clip(low, jnp.maximum(top - SPAN + 1, 1), top)
        return low, top - low + 1

    def _code(self, y: Array, grid: OctaveGrid, u: Array) -> Array:
        """Return the code of nu on the grid of its block."""
        bits = bits_of(y).astype(jnp.int32)
        mantissa = (bits & 0x7FFFFF).astype(jnp.float32) * jnp.float32(2.0**-23)
        step = mantissa * grid.codes.astype(jnp.float32) + to_unit_interval(u)
        c = ((bits >> 23) - grid.first) * grid.codes + step.astype(jnp.int32)
        return jnp.clip(c, 0, self._size - 1)

    def _value(self, c: Array, grid: OctaveGrid) -> Array:
        """Return the nu of a code."""
        octave, rest = exact_divmod(c, grid.codes, self._size.bit_length(), grid.step)
        return float_of((grid.first + octave) << 23) * (1 + rest.astype(jnp.float32) * grid.step)
