"""Define the base of the three formats that keep both moments of Adam in one code."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jax import Array

from adam_optax._core.checks import refuse_complex
from adam_optax._core.dither import Salt, hash_key, salt
from adam_optax.moments import Moment, grad, square
from adam_optax.storage._base import Format, Frame, LogDecays, Moments
from adam_optax.storage._quant.bits import approx_sqrt, bits_of, float_of
from adam_optax.storage._quant.log_grid import decay_compensation, max_ratio
from adam_optax.storage._stochastic import Stochastic

STOCHASTIC = Stochastic()
LARGEST_RATIO = 64.0
"""The largest `|mu| / sqrt(nu)` that is kept, whatever the decay rates."""


class PairScalars(NamedTuple):
    """Hold the scalars that all codes of a frame share.

    Attributes:
        salt: what the dithers of the step of the codes share: that of nu, and that of the ratio.
        nu_scale: the factor by which nu is scaled, so that its decay is exact.
        nu_unscale: `1 / nu_scale`.
        root_unscale: `sqrt(nu_unscale)`.
        ratio_top: the largest ratio, in the unit in which ratios are kept.
        ratio_knee: the ratio below which codes are evenly spaced.
    """

    salt: Salt
    nu_scale: Array
    nu_unscale: Array
    root_unscale: Array
    ratio_top: Array
    ratio_knee: Array


@dataclasses.dataclass(frozen=True, repr=False)
class PairFormat(Format):
    """Keep mu and nu of an element in one code: 0 for `nu = 0`, else `1 + c * ratios + z`.

    `c` is the code of nu on a logarithmic grid, `z` the code of `mu / scale`, and `ratios` the
    number of codes that `z` can be. `scale` is about the root of nu as it is stored, so that mu
    cannot outlive nu.
    """

    function: ClassVar[str] = "pair"
    bytes: int = 2
    fallback: Format = STOCHASTIC
    seed: int = 0
    skips_nonfinite: ClassVar[bool] = True
    has_frame: ClassVar[bool] = True

    def __repr__(self) -> str:
        """Show the call of `pair` that makes this format."""
        shown = {"bytes": 2, "block": 1, "seed": 0}
        given = [f"{n}={getattr(self, n)}" for n, v in shown.items() if getattr(self, n) != v]
        other = [] if self.fallback == Stochastic(self.seed) else [f"fallback={self.fallback!r}"]
        return f"pair({', '.join([*given, *other])})"

    def together(self, moments: Moments) -> tuple[str, ...]:
        """Return the names of the first mean of gradients and the first mean of their squares."""
        means = [n for n, m in moments.items() if m.observe is grad and m.signed]
        squares = [n for n, m in moments.items() if m.observe is square]
        if not means or not squares:
            raise ValueError(
                "pair() keeps a mean of gradients with the mean of their squares, and this rule's "
                f"moments ({', '.join(moments)}) are no such pair; use storage.stochastic()"
            )
        self._check_b1(moments[means[0]].decay)
        return means[0], squares[0]

    def _check_b1(self, b1: object) -> None:
        """Refuse a mean of gradients so long that the roundings of its steps add up."""
        is_fine = self.bytes > 2 or (self.bytes == 2 and self.block > 1)
        limit = 0.99 if is_fine else 0.97
        if isinstance(b1, int | float) and b1 > limit:
            other = "pair(3)" if b1 <= 0.99 else "stochastic()"
            raise ValueError(
                f"{self!r} rounds the mean of gradients at each step, and the errors of the last "
                f"1 / (1 - b1) steps add up: at b1={b1} updates would be off by far more than at "
                f"0.9; use storage.{other}, or b1 up to {limit}"
            )

    def others(self) -> Format:
        """Return the format of AMSGrad's maximum and other moments."""
        return self.fallback

    def frame(
        self, moments: tuple[Moment, ...], count: Array, key: int, log_decays: LogDecays
    ) -> Frame:
        """Return count and hashed key of the dither, the scale of nu, and the range of ratios."""
        scale = self._nu_scale(count, moments[1].decay, log_decays[1])
        top, knee = self._ratio_range(moments)
        hashed = jnp.uint32(hash_key(key + self.seed))
        numbers = bits_of(jnp.stack([scale, *(jnp.float32(x) for x in (top, knee))]))
        return count.astype(jnp.uint32), hashed, *numbers

    def scalars(self, frame: Frame) -> PairScalars:
        """Return the scalars that all codes of a frame share."""
        count, hashed, *numbers = frame
        scale, top, knee = float_of(jnp.stack(numbers))
        unscale = 1 / scale
        roots = scale, unscale, jnp.sqrt(unscale)
        return PairScalars(salt(count, hashed), *roots, top, knee)

    def _mu_nu(self, values: Sequence[Array]) -> tuple[Array, Array]:
        """Return both moments in float32; refuse complex ones."""
        mu, nu = values
        refuse_complex(mu, "pair()")
        return mu.astype(jnp.float32), nu.astype(jnp.float32)

    def _nu_scale(self, count: Array, decay: object, log_decay: Array | None) -> Array:
        """Return the factor by which nu is scaled before it is quantised."""
        return decay_compensation(count, decay, log_decay)

    def _ratio_range(self, moments: tuple[Moment, ...]) -> tuple[float, float]:
        """Return the largest ratio and the knee of its quantiser, in units of a block's largest."""
        del moments
        return 1.0, 0.5

    def _mu_scale(self, nu: Array, scalars: PairScalars) -> Array:
        """Return about the root of nu, by which mu is divided; `nu` is the value of its code.

        An exact root that two outputs use costs XLA for CPUs a second pass over memory.
        """
        scale: Array = approx_sqrt(nu) * scalars.root_unscale
        return scale

    def _both(
        self, nonzero: Array, ratio: Array, nu: Array, scalars: PairScalars
    ) -> tuple[Array, ...]:
        """Return mu and nu of the elements whose code is not zero, 0 elsewhere."""
        both = ratio * self._mu_scale(nu, scalars), nu * scalars.nu_unscale
        return tuple(jnp.where(nonzero, x, 0.0) for x in both)


def largest_ratio(moments: tuple[Moment, ...]) -> float:
    """Return the bound of `|mu| / sqrt(nu)`, at most 64; 64 if b1 or b2 vary."""
    b1, b2 = (m.decay for m in moments)
    if isinstance(b1, int | float) and isinstance(b2, int | float):
        return min(max_ratio(b1, b2), LARGEST_RATIO)
    return LARGEST_RATIO
