"""Both moments of Adam in one code, element by element: two bytes that cannot explode."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number, is_exact
from adam_optax.moments import grad, square
from adam_optax.storage._base import Format, Joint, Moments, Stamp, Values
from adam_optax.storage._quant.bits import divided, near_root
from adam_optax.storage._quant.log_grid import Grid, frame, rise
from adam_optax.storage._quant.ratio import Ratio, bound, shuffle
from adam_optax.storage._stochastic import Stochastic, refuse_complex

GRIDS = {
    2: Grid(3, -46, 7, -72, 29),
    3: Grid(8, -55, 9, -126, 126),
    4: Grid(14, -60, 30, -126, 126),
}
"""By bytes: nu's grid. Two bytes are fine for gradients of 1e-7 to 10, coarse from 1e-11 to 2e4."""
STOCHASTIC = Stochastic()


class Beat(NamedTuple):
    """What the codes of a step have in common.

    Attributes:
        frame: by what nu is scaled, so that its decay is exact.
        back: `1 / frame`.
        root: `sqrt(back)`.
        shuffle: by what the dither of the ratio is multiplied.
    """

    frame: Array
    back: Array
    root: Array
    shuffle: Array


@dataclasses.dataclass(frozen=True)
class Pair(Joint):
    """See `pair`."""

    bytes: int = 2
    fallback: Format = STOCHASTIC
    seed: int = 0
    guarded: ClassVar[bool] = True
    clocked: ClassVar[bool] = True
    helped: ClassVar[frozenset[str]] = frozenset({"tpu"})

    @property
    def parts(self) -> tuple[str, ...]:  # type: ignore[override]
        """One array of codes; three bytes are kept as two arrays."""
        return ("high", "low") if self.bytes == 3 else ("",)

    def names(self, moments: Moments) -> tuple[str, ...]:
        """A mean of gradients and the mean of their squares."""
        means = [n for n, m in moments.items() if m.of is grad and m.signed]
        squares = [n for n, m in moments.items() if m.of is square]
        if not means or not squares:
            raise ValueError(
                "pair() keeps a mean of gradients with the mean of their squares, and this rule's "
                f"moments ({', '.join(moments)}) are no such pair; use storage.stochastic()"
            )
        return means[0], squares[0]

    def rest(self) -> Format:
        """The other moments, by themselves."""
        return self.fallback

    def tick(self, moments: Moments, count: Array) -> Beat:
        """What the codes of a step have in common."""
        decay = moments[self.names(moments)[1]].decay
        f = self._frame(count, decay)
        back = 1 / f
        return Beat(f, back, jnp.sqrt(back), shuffle(count))

    def encode(self, values: Values, moments: Moments, stamp: Stamp) -> dict[str, Any]:
        """0 for `nu = 0`, else 1 + nu's code times the number of ratios + the ratio's code."""
        mu, nu = self._values(values, moments)
        u, w = self._dithers(stamp)
        ratio = self._ratio(moments)
        c = self._grid.code(nu * stamp.tick.frame, u)
        z = ratio.code(self._share(mu, self._grid.value(c), stamp), w)
        code = c * ratio.codes + z + (1 + ratio.size)  # of four bytes modulo 2^32
        return self._packed(jnp.where(nu > 0, code, 0).astype(jnp.uint32))

    def decode(self, kept: Mapping[str, Any], moments: Moments, stamp: Stamp) -> dict[str, Array]:
        """Both moments of a code."""
        code, ratio = self._unpacked(kept), self._ratio(moments)
        c, z = divided(jnp.maximum(code, 1) - 1, ratio.codes, 8 * self.bytes)
        share = ratio.value(z - ratio.size, self._dithers(stamp)[1])
        return self._moments(code != 0, share, self._grid.value(c), stamp, moments)

    @property
    def _grid(self) -> Grid:
        return GRIDS[self.bytes]

    def _values(self, values: Values, moments: Moments) -> tuple[Array, Array]:
        mu, nu = (values[n] for n in self.names(moments))
        refuse_complex(mu, "pair()")
        return mu.astype(jnp.float32), nu.astype(jnp.float32)

    def _frame(self, count: Array, decay: object) -> Array:
        return frame(count, decay) * rise(count, decay)

    def _dithers(self, stamp: Stamp) -> tuple[Array, Array]:
        """Of nu and of the ratio."""
        u, w = stamp.dithers(self.seed)
        return u, w * stamp.tick.shuffle

    def _scale(self, value: Array, stamp: Stamp) -> Array:
        """To what mu is kept: about the root of nu as it is kept; `value` is that of its code.

        No root: XLA for CPUs makes a pass of its own of one that two outputs need.
        """
        scale: Array = near_root(value) * stamp.tick.root
        return scale

    def _share(self, mu: Array, value: Array, stamp: Stamp) -> Array:
        """What is kept of mu: by a factor, since a quotient would be a pass of its own, too."""
        return mu * (1 / self._scale(value, stamp))

    def _moments(
        self, some: Array, share: Array, value: Array, stamp: Stamp, moments: Moments
    ) -> dict[str, Array]:
        """Both, of what the code says."""
        both = share * self._scale(value, stamp), value * stamp.tick.back
        return {n: jnp.where(some, x, 0.0) for n, x in zip(self.names(moments), both, strict=True)}

    def _ratio(self, moments: Moments) -> Ratio:
        """As many codes as are left; two bytes cut the rarest ratios off for finer steps."""
        size = ((2 ** (8 * self.bytes) - 1) // self._grid.size - 1) // 2
        most = largest(*(moments[n].decay for n in self.names(moments)))
        return Ratio(size, 1.1 * (max(min(most, 2.0), 0.65 * most) if self.bytes == 2 else most))

    def _packed(self, code: Array) -> dict[str, Any]:
        if self.bytes == 3:
            return {"high": (code >> 8).astype(jnp.uint16), "low": code.astype(jnp.uint8)}
        return {"": code.astype(jnp.uint16 if self.bytes == 2 else jnp.uint32)}

    def _unpacked(self, kept: Mapping[str, Any]) -> Array:
        if self.bytes == 3:
            high, low = (kept[part].astype(jnp.uint32) for part in ("high", "low"))
            return jnp.bitwise_or(high << 8, low)
        return jnp.astype(kept[""], jnp.uint32)


def largest(b1: Number | None, b2: Number | None) -> float:
    """The largest `|mu| / sqrt(nu)` to be kept: the bound, or that of (.9, .999) if unknown."""
    most = bound(b1, b2) if is_exact(b1) and is_exact(b2) else bound(0.9, 0.999)
    return min(most, 64.0)
