"""Clip the step of any variant by the history of its own length."""

import dataclasses
import functools as ft
from typing import Any

import jax.numpy as jnp
from jax import Array

from adam_optax._core import checks
from adam_optax._core.checks import Kind, hyperparameter
from adam_optax._core.numerics import abs_sq, one_minus_power, safe_divide, safe_sqrt
from adam_optax.moments import Leaf, ema
from adam_optax.rules.base import Factory, Rule

NAME = "step_norm"
"""The moment that holds the mean length of a leaf's steps."""


@dataclasses.dataclass(frozen=True)
class _Clip:
    """Change a rule; equal clips of one variant share their compiled steps."""

    beta: float
    relative: float
    warmup_steps: int

    def of(self, rule: Rule) -> Rule:
        """Return a rule that also remembers the length of its steps, and clips them."""

        def clipped(x: Leaf) -> tuple[Array, Array]:
            """Return the step, and its length after clipping."""
            step = rule.direction(x)
            length = safe_sqrt(jnp.sum(abs_sq(step)))
            weight = one_minus_power(self.beta, jnp.maximum(x.t - 1, 1.0))
            bound = self.relative * x.previous[NAME] / weight
            # Steps of length 0 say nothing of the next ones, and would be the last to be taken.
            clips = (x.t >= self.warmup_steps) & (bound > 0) & (length > bound)
            scale = jnp.where(clips, safe_divide(bound, length, 0.0), 1.0)
            return step * scale, length * scale

        def update(m: Array, x: Array, age: Array) -> Array:
            return jnp.where(jnp.isfinite(x), mean.update(m, x, age), m)

        mean = ema(self.beta, lambda x: clipped(x)[1], signed=False, corrected=False)
        lengths = dataclasses.replace(mean, update=update, over="all")
        moments = {**rule.moments, NAME: lengths}
        return dataclasses.replace(
            rule, moments=moments, direction=lambda x: clipped(x)[0], origin=None
        )


def clip_step_by_history(
    rule: Rule, beta: float = 0.98, relative: float = 1.05, warmup_steps: int = 100
) -> Rule:
    """Clip the step of each parameter to a multiple of the mean length of its steps so far.

    Take it where the loss of a large model has spikes, and one threshold does not suit all layers:
    AdaGC's rule for gradients (Wang et al. 2025, Algorithm 1), here for what becomes of them;
    `adam_optax.adagc` clips the gradients. It costs a norm for each parameter array, a second pass
    over memory, and one number of state.

    The step `d` is multiplied by `min(1, relative n / |d|)`, after which
    `n = beta n + (1-beta) |d|` over `1 - beta^t` is the mean length, of steps as they were clipped.
    In the steps before `warmup_steps` nothing is clipped. The length is that of the whole array, or
    of each layer where layers are `stacked`; a decoupled weight decay is added after the clipping.

    Args:
        rule: a variant, one of `adam_optax.rules` or your own.
        beta: decay rate of the mean, in [0, 1); default 0.98.
        relative: how many times the mean a length may be, 1 or somewhat above; default 1.05.
        warmup_steps: the step, counted from 1, from which steps are clipped; default 100.

    Returns:
        The rule, with one moment more, `step_norm`, of one number.

    Raises:
        ValueError: if a number is out of range, or if the rule has a moment of that name.
        TypeError: if a number is none; schedules and arrays are refused here.

    Example:
        >>> import adam_optax as ao
        >>> rule = ao.rules.clip_step_by_history(ao.rules.adam(b2=0.95))
        >>> tx = ao.optimizer(rule, 1e-3, decay=ao.Decay(0.1))

    References:
        Wang et al., [AdaGC: Improving Training Stability for Large Language Model
        Pretraining](https://arxiv.org/abs/2502.11034), 2025, Algorithm 1.
    """
    _check("beta", beta, Kind.DECAY_RATE)
    _check("relative", relative, Kind.POSITIVE)
    first = checks.steps("warmup_steps", warmup_steps)
    if NAME in rule.moments:
        raise ValueError(f"{rule.name} has a moment {NAME!r} already: its steps are clipped once")
    return _changed(rule, _Clip(float(beta), float(relative), first))


def _check(name: str, value: Any, kind: Kind) -> None:
    if callable(value) or hasattr(value, "dtype"):
        raise TypeError(f"{name} must be a Python number here, not {type(value).__name__}")
    hyperparameter(name, value, kind, schedule=False)


def _changed(rule: Rule, clip: _Clip) -> Rule:
    """Return a changed rule that is still built anew at each step, with its schedules."""
    new, origin = clip.of(rule), rule.origin
    if origin is None or rule.recipe() is not origin.recipe:  # a part may have been replaced
        return new
    factory = _composed(origin.factory, clip)
    recipe = dataclasses.replace(origin.recipe, factory=factory)
    bind: Factory = lambda *args, **kwargs: _changed(origin.bind(*args, **kwargs), clip)  # noqa: E731
    made = dataclasses.replace(origin, factory=factory, recipe=recipe, built=new, bind=bind)
    return dataclasses.replace(new, origin=made)


@ft.lru_cache(maxsize=64)
def _composed(factory: Factory, clip: _Clip) -> Factory:
    """Return the function from hyper-parameters to a rule whose steps are clipped."""

    @ft.wraps(factory)
    def clipped(*args: Any, **kwargs: Any) -> Rule:
        return clip.of(factory(*args, **kwargs))

    return clipped
