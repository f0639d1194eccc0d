"""Give hyper-parameters other than the learning rate the schedules that papers have for them.

A schedule is a function from the count of steps, 0 at the first, to a number, as optax has it. Give
one to an optimiser itself (`ao.ademamix(..., alpha=...)`): its moments then take into account what
their decay rates were before.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from adam_optax._core import checks
from adam_optax._core.checks import Kind, hyperparameter
from adam_optax._core.types import Schedule


@dataclasses.dataclass(frozen=True, repr=False)
class _Warmup:
    """Hold a warm-up: a schedule that is hashable, and shows the call that made it."""

    function: Callable[..., Schedule]
    end: float
    steps: int
    start: float

    def __repr__(self) -> str:
        """Show the call."""
        name = self.function.__name__
        return f"{name}({self.end!r}, {self.steps!r}, start={self.start!r})"

    def share(self, count: ArrayLike) -> Array:
        """Return which share of the warm-up is over at the step after `count` steps."""
        t = jnp.asarray(count).astype(jnp.result_type(float)) + 1
        return jnp.minimum(t / self.steps, 1.0)


class _AlphaWarmup(_Warmup):
    """Interpolate a number."""

    def __call__(self, count: ArrayLike) -> Array:
        """Return the number at the step after `count` steps."""
        share = self.share(count)
        return (1 - share) * self.start + share * self.end


class _HalfLifeWarmup(_Warmup):
    """Interpolate the half-life of a decay rate."""

    def __call__(self, count: ArrayLike) -> Array:
        """Return the decay rate at the step after `count` steps.

        `1 - b` is computed, and not `b`, whose logarithm has few digits where `b` is near 1.
        """
        share = self.share(count)
        length = (1 - share) * _length(self.start) + share * _length(self.end)
        return 1 + jnp.expm1(-1 / length)


def _length(b: float) -> float:
    """Return `-1 / log(b)`, the steps in which an average forgets all but 1/e."""
    return -1 / math.log(b) if b > 0 else 0.0


def ademamix_alpha(alpha: float, steps: int, start: float = 0.0) -> Schedule:
    """Build AdEMAMix's warm-up of `alpha`: linear, from the weight of no slow mean.

    Take it with `ademamix_b3` wherever AdEMAMix's slow mean remembers thousands of steps: what that
    mean holds of the first gradients, which are large and unlike the later ones, would else be in
    every step for long. The paper's `steps` is the number of steps of the run.

    `min(t / steps, 1) (alpha - start) + start` at the step `t`, 1 at the first, which an optimiser
    asks for by the count 0. (Apple's port to optax reads `t - 1`, Apple's PyTorch reads `t`.)

    Args:
        alpha: the weight of the slow mean after the warm-up.
        steps: the length of the warm-up, in steps; 1 or less warms nothing up.
        start: the weight before the first step; default 0.0, the paper's.

    Returns:
        A schedule for `alpha` of `ademamix`; float64 where JAX is allowed to, else float32, within
        1.2e-7 of itself.

    Raises:
        TypeError: if a number is none, or `steps` is no integer.
        ValueError: if a number is negative, or not finite.

    Example:
        >>> import adam_optax as ao
        >>> alpha = ao.schedules.ademamix_alpha(8.0, steps=256_000)
        >>> [round(float(alpha(count)), 6) for count in (0, 127_999, 256_000)]
        [3.1e-05, 4.0, 8.0]

    References:
        Pagliardini et al., [The AdEMAMix Optimizer: Better, Faster,
        Older](https://arxiv.org/abs/2409.03137), ICLR 2025, section 3.
    """
    alpha = _number("alpha", alpha, Kind.NON_NEGATIVE)
    start = _number("start", start, Kind.NON_NEGATIVE)
    return _AlphaWarmup(ademamix_alpha, alpha, max(checks.steps("steps", steps), 1), start)


def ademamix_b3(b3: float, steps: int, start: float = 0.9) -> Schedule:
    """Build AdEMAMix's warm-up of `b3`: linear in the half-life of the slow mean.

    Take it with `ademamix_alpha`, over the same number of steps. Linear in `b3` itself, the
    half-life would hardly move until the last few steps.

    `exp(log(start) log(b3) / ((1 - s) log(b3) + s log(start)))`, `s = min(t / steps, 1)` at the
    step `t`, 1 at the first, which an optimiser asks for by the count 0. A mean with the decay rate
    `b` forgets half in `log(1/2) / log(b)` steps, which grow linearly. (Apple's PyTorch adds 1e-8
    to `b` before the logarithm, which lengthens a half-life of 6,931 steps by .7.)

    Args:
        b3: the decay rate of the slow mean after the warm-up, in [0, 1).
        steps: the length of the warm-up, in steps; 1 or less warms nothing up.
        start: the decay rate before the first step, in [0, b3]; default 0.9, AdEMAMix's `b1`, as in
            the paper.

    Returns:
        A schedule for `b3` of `ademamix`: float64 where JAX is allowed to, else the nearest float32
        or the one beside it. float32 has steps of 6e-8 below 1, so that `1 - b3` is off by up to
        6e-8: 6e-4 of itself at .9999, and .6 % at .99999. (The formula itself in float32 is off
        by 4e-6.)

    Raises:
        TypeError: if a number is none, or `steps` is no integer.
        ValueError: if a decay rate is not in [0, 1), `start` is above `b3`, or `steps` is negative.

    Example:
        >>> import adam_optax as ao
        >>> b3 = ao.schedules.ademamix_b3(0.9999, steps=256_000)
        >>> [round(float(b3(count)), 5) for count in (0, 999, 127_999, 256_000)]
        [0.90039, 0.9796, 0.9998, 0.9999]
        >>> alpha = ao.schedules.ademamix_alpha(8.0, steps=256_000)
        >>> tx = ao.ademamix(1e-3, b3=b3, alpha=alpha, weight_decay=0.1)

    References:
        Pagliardini et al., [The AdEMAMix Optimizer: Better, Faster,
        Older](https://arxiv.org/abs/2409.03137), ICLR 2025, section 3.
    """
    b3, start = (_number(n, b, Kind.DECAY_RATE) for n, b in (("b3", b3), ("start", start)))
    if start > b3:
        raise ValueError(f"start must not be above b3, {b3}, not {start}: a warm-up lengthens")
    return _HalfLifeWarmup(ademamix_b3, b3, max(checks.steps("steps", steps), 1), start)


def _number(name: str, value: Any, kind: Kind) -> float:
    """Return a Python number in range."""
    if not isinstance(value, float | int) and callable(getattr(value, "item", None)):
        value = value.item()
    return float(hyperparameter(name, value, kind, schedule=False))
