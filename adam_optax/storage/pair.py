"""Both moments of Adam in one code, element by element."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array, lax

from adam_optax.moments import grad, square
from adam_optax.numerics import is_exact
from adam_optax.storage.bits import dither, scrambled
from adam_optax.storage.format import Format, Joint, Moments, Stamp, Values
from adam_optax.storage.logarithm import Grid, frame
from adam_optax.storage.ratio import Ratio, bound
from adam_optax.storage.stochastic import Stochastic, check_seed, refuse_complex

GRIDS = {
    2: Grid(3, -46, 8, -72, 35),
    3: Grid(8, -60, 30, -126, 126),
    4: Grid(14, -60, 30, -126, 126),
}
SIDES = {2: 67, 3: 350, 4: 1400}
"""By bytes: the grid of nu, and the codes of the ratio on each side of zero."""


@dataclasses.dataclass(frozen=True)
class Pair(Joint):
    """See `pair`."""

    bytes: int = 2
    seed: int = 0
    fallback: Format = Stochastic()
    guarded: ClassVar[bool] = True

    @property
    def parts(self) -> tuple[str, ...]:  # type: ignore[override]
        """One array of codes; three bytes are kept as two arrays."""
        return ("high", "low") if self.bytes == 3 else ("",)

    def names(self, moments: Moments) -> tuple[str, ...]:
        """A mean of gradients and the mean of their squares."""
        means = [n for n, m in moments.items() if m.of is grad and m.signed and not m.scalar]
        squares = [n for n, m in moments.items() if m.of is square and not m.scalar]
        if not means or not squares:
            raise ValueError(
                "pair() keeps a mean of gradients with the mean of their squares, and this rule's "
                f"moments ({', '.join(moments)}) are no such pair; use storage.stochastic()"
            )
        return means[0], squares[0]

    def rest(self) -> Format:
        """The other moments, by themselves."""
        return self.fallback

    def encode(self, values: Values, moments: Moments, stamp: Stamp) -> dict[str, Any]:
        """The code: 0 for `nu = 0`, else 1 + nu's code times the ratio's codes + the ratio's."""
        (mu, nu), ratio = self._split(values), self._ratio(moments)
        u = dither(stamp.shape, stamp.count, stamp.salt + self.seed)
        f = frame(stamp.count, self._decay(moments))
        c = self._grid.code(jnp.minimum(nu, 1e38) * f, u)
        root = lax.rsqrt(self._grid.value(c) / f)
        z = ratio.code(mu * root, scrambled(u, 1))
        code = 1 + c.astype(jnp.uint32) * jnp.uint32(2 * ratio.size + 1)
        code = jnp.where(nu > 0, code + (z + ratio.size).astype(jnp.uint32), 0)
        return self._packed(code)

    def decode(self, kept: Mapping[str, Any], moments: Moments, stamp: Stamp) -> dict[str, Array]:
        """Both moments of a code."""
        ratio, f = self._ratio(moments), frame(stamp.count, self._decay(moments))
        code = self._unpacked(kept)
        some, code = code > 0, jnp.maximum(code, 1) - 1
        c = code // jnp.uint32(2 * ratio.size + 1)
        z = (code - c * jnp.uint32(2 * ratio.size + 1)).astype(jnp.int32) - ratio.size
        nu = jnp.where(some, self._grid.value(c.astype(jnp.int32)) / f, 0.0)
        mu = ratio.value(z) * jnp.sqrt(nu)
        return dict(zip(self.names(moments), (mu, nu), strict=True))

    @property
    def _grid(self) -> Grid:
        return GRIDS[self.bytes]

    def _split(self, values: Values) -> tuple[Array, Array]:
        mu, nu = values.values()
        refuse_complex(mu, "pair()")
        return mu.astype(jnp.float32), nu.astype(jnp.float32)

    def _decay(self, moments: Moments) -> Any:
        return moments[self.names(moments)[1]].decay

    def _ratio(self, moments: Moments) -> Ratio:
        b1, b2 = (moments[n].decay for n in self.names(moments))
        top = bound(b1, b2) if is_exact(b1) and is_exact(b2) else 8.0
        top = min(max(1.1 * top, 1.1), 64.0)  # a tenth more, for what rounding takes off nu
        return Ratio(SIDES[self.bytes], top, 2.0**-6)

    def _packed(self, code: Array) -> dict[str, Any]:
        if self.bytes == 3:
            return {"high": (code >> 8).astype(jnp.uint16), "low": code.astype(jnp.uint8)}
        return {"": code.astype(jnp.uint16 if self.bytes == 2 else jnp.uint32)}

    def _unpacked(self, kept: Mapping[str, Any]) -> Array:
        if self.bytes == 3:
            return kept["high"].astype(jnp.uint32) << 8 | kept["low"].astype(jnp.uint32)
        return kept[""].astype(jnp.uint32)


def pair(bytes: int = 2, *, fallback: Format | None = None, seed: int = 0) -> Pair:
    if bytes not in GRIDS:
        raise ValueError(f"bytes must be 2, 3 or 4, not {bytes!r}")
    return Pair(bytes, check_seed(seed), fallback or Stochastic(seed))
