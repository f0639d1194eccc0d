"""Keep both moments of Adam in one code, each element by itself, on one grid for all."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from adam_optax._core.dither import two_dithers
from adam_optax.moments import Moment
from adam_optax.storage._base import LeafContext
from adam_optax.storage._pair.base import PairFormat, PairScalars, largest_ratio
from adam_optax.storage._quant.bits import exact_divmod
from adam_optax.storage._quant.log_grid import (
    LogGrid,
    RatioQuantizer,
    decay_compensation,
    warmup_compensation,
)

GRIDS = {
    2: LogGrid(3, -48, 7, -1),
    3: LogGrid(8, -55, 9, 4),
    4: LogGrid(14, -60, 30, 10),
}
"""nu's grid by bytes. Two bytes are fine for gradients of 1e-7 to 10."""
KNEE = 0.42
"""The ratio below which codes are evenly spaced, over `(1 - b1) / (1 + b1)`, the ratio that
alternating signs leave."""
COARSE_TOP = 1.0
"""The largest ratio that two bytes keep where nu's codes are two octaves apart.

There, a nu may for a while be too small by an octave; a larger mu would be too large for it."""


@dataclasses.dataclass(frozen=True, repr=False)
class ElementwisePair(PairFormat):
    """Keep mu and nu in 2, 3 or 4 bytes, on one grid for all elements; see `pair`."""

    kernel_platforms: ClassVar[frozenset[str]] = frozenset({"tpu", "cpu"})

    @property
    def components(self) -> tuple[str, ...]:  # type: ignore[override]
        """Return the name of the array of codes, or two names for three bytes."""
        return ("high", "low") if self.bytes == 3 else ("",)

    def encode(self, values: Sequence[Array], context: LeafContext) -> dict[str, Any]:
        """Return the codes."""
        (mu, nu), scalars = self._mu_nu(values), context.scalars
        u, w = two_dithers(context.shape, scalars.salt, context.offset)
        grid, ratios = GRIDS[self.bytes], self._ratios(scalars)
        c = grid.code(nu * scalars.nu_scale, u)
        # Mu is divided by multiplying: a quotient would cost XLA for CPUs another pass.
        ratio = mu * (1 / self._mu_scale(grid.value(c), scalars))
        if grid.octaves > 1:
            is_fine = (c >= grid.codes[0]) & (c < grid.codes[1])
            ratio = jnp.where(is_fine, ratio, jnp.clip(ratio, -COARSE_TOP, COARSE_TOP))
        z = ratios.code(ratio, w)
        some = nu > 0
        if context.resting is not None:
            mask, encoded, before = context.resting
            has_old, old_c, old_z = self._split(encoded, ratios)
            c = jnp.where(mask, grid.moved(old_c, before.nu_scale, scalars.nu_scale), c)
            z = jnp.where(mask, old_z, z)
            some = (mask & has_old) | (~mask & some)  # libtpu 0.0.40 selects among no booleans
        code = c * ratios.codes + z + (1 + ratios.size)  # of four bytes modulo 2^32
        return pack_codes(jnp.where(some, code, 0).astype(jnp.uint32), self.bytes)

    def decode(self, encoded: Mapping[str, Any], context: LeafContext) -> tuple[Array, ...]:
        """Return both moments of each code."""
        ratios = self._ratios(context.scalars)
        some, c, z = self._split(encoded, ratios)
        _, w = two_dithers(context.shape, context.scalars.salt, context.offset)
        ratio = ratios.value(z, w)
        return self._both(some, ratio, GRIDS[self.bytes].value(c), context.scalars)

    def _split(
        self, encoded: Mapping[str, Any], ratios: RatioQuantizer
    ) -> tuple[Array, Array, Array]:
        """Return which codes stand for a nu above zero, nu's code, and the ratio's."""
        code = unpack_codes(encoded, self.bytes)
        some = code != 0  # no maximum: libtpu 0.0.42 knows none of unsigned integers
        c, z = exact_divmod(jnp.where(some, code - 1, code), ratios.codes, 8 * self.bytes)
        return some, c, z - ratios.size

    def _nu_scale(self, count: Array, decay: object, log_decay: Array | None) -> Array:
        """Return the factor of nu, which also compensates that the average started at zero."""
        octaves = GRIDS[self.bytes].octaves
        warmup = warmup_compensation(count, decay, log_decay, octaves)
        return decay_compensation(count, decay, log_decay, octaves) * warmup

    def _ratio_range(self, moments: tuple[Moment, ...]) -> tuple[float, float]:
        """Return the largest ratio, and the knee, which is in proportion to the smallest.

        A ratio is larger than its bound where nu was rounded down. With two bytes the rarest ones
        are clamped, in favour of finer steps.
        """
        top, b1 = largest_ratio(moments), moments[0].decay
        top = max(min(1.1 * top, 2.0), top) if self.bytes == 2 else 1.1 * top
        b1 = b1 if isinstance(b1, int | float) else 0.9
        return top, KNEE * (1 - b1) / (1 + b1)

    def _ratios(self, scalars: PairScalars) -> RatioQuantizer:
        """Return the quantiser of the ratio, which has the codes that nu's grid leaves."""
        size = ((2 ** (8 * self.bytes) - 1) // GRIDS[self.bytes].size - 1) // 2
        return RatioQuantizer(size, scalars.ratio_top, scalars.ratio_knee)


def pack_codes(code: Array, size: int) -> dict[str, Any]:
    """Return uint32 codes as arrays of `size` bytes a code, by component."""
    if size == 3:
        return {"high": (code >> 8).astype(jnp.uint16), "low": code.astype(jnp.uint8)}
    return {"": code.astype(jnp.uint16 if size == 2 else jnp.uint32)}


def unpack_codes(encoded: Mapping[str, Any], size: int) -> Array:
    """Return the uint32 codes that `pack_codes` packed."""
    if size == 3:
        high, low = (encoded[component].astype(jnp.uint32) for component in ("high", "low"))
        return jnp.bitwise_or(high << 8, low)
    return jnp.astype(encoded[""], jnp.uint32)
