"""Make a step of the moments: functions `Leaf -> Array`, before learning rate and sign.

A `Direction` reads a `Leaf`; a `Postprocess` changes a direction's step after the weight decay
was added to it. `Rule(moments, direction, postprocess=...)` puts them together.
"""

import math
from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jax import Array

from adam_optax._core.deprecation import renamed
from adam_optax._core.numerics import (
    LEAST_NORM,
    Number,
    abs_sq,
    angle,
    is_python_number,
    one_minus_power,
    safe_divide,
    safe_sqrt,
    sign_agreement,
)
from adam_optax.moments import Leaf

Direction = Callable[[Leaf], Array]
"""A step of one leaf."""

Postprocess = Callable[[Array, Leaf], Array]
"""A last change to a step, given the step with weight decay in it and the leaf."""


def first_moment(x: Leaf) -> Array:
    """Return the first moment as it is read, `x.hat["mu"]`."""
    return x.hat["mu"]


def denominator(v: Array, eps: Number, eps_root: Number = 0.0) -> Array:
    """Return `sqrt(v + eps_root) + eps`, the denominator of most of the family.

    Args:
        v: the second moment.
        eps: added to the root, in units of the gradient.
        eps_root: added under the root, in units of the squared gradient.
    """
    return safe_sqrt(v if is_python_number(eps_root) and eps_root == 0 else v + eps_root) + eps


def ratio(
    eps: Number = 1e-8, eps_root: Number = 0.0, den: str = "nu", num: Direction = first_moment
) -> Direction:
    """Build the direction `mu / (sqrt(nu + eps_root) + eps)` of the moments as they are read.

    This is Adam's (Kingma & Ba 2015, Algorithm 1).

    Args:
        eps: added to the root, in units of the gradient.
        eps_root: added under the root, in units of the squared gradient.
        den: the name of the moment in the denominator.
        num: the numerator.

    Example:
        >>> import adam_optax as ao
        >>> moments = {"mu": ao.moments.ema(0.9), "size": ao.moments.ema(0.999, ao.moments.square)}
        >>> rule = ao.Rule(moments, ao.directions.ratio(1e-8, den="size"))
    """
    return lambda x: safe_divide(num(x), denominator(x.hat[den], eps, eps_root), least=eps)


def ratio_eps_hat(eps: Number = 1e-8, eps_root: Number = 0.0, den: str = "nu") -> Direction:
    """Build `ratio` with the paper's epsilon-hat, which is added to the uncorrected root.

    `sqrt(1 - b2^t) mu / (sqrt(nu) + eps)` of the uncorrected `nu` (Kingma & Ba 2015, end of section
    2) is `ratio` with `eps / sqrt(1 - b2^t)` for `eps`. The rule's `precompute` must be
    `eps_hat_scale(b2)`.

    Args:
        eps: epsilon-hat, in units of the gradient.
        eps_root: added under the root of the corrected moment, in units of the squared gradient.
        den: the name of the moment in the denominator.
    """
    return lambda x: safe_divide(
        first_moment(x), denominator(x.hat[den], eps * x.scalars, eps_root), least=eps
    )


def eps_hat_scale(b2: Number, den: str = "nu") -> Callable[[Array, Mapping[str, Array]], Array]:
    """Build the rule's `precompute` that returns `1 / sqrt(1 - b2^t)`, for `ratio_eps_hat`.

    Args:
        b2: decay rate of the moment in the denominator.
        den: the name of that moment, whose age is in the place of `t`.
    """
    return lambda t, ages: 1 / safe_sqrt(one_minus_power(b2, ages[den]))


def ratio_no_sqrt(den: str = "nu", least: Number = 0.0) -> Direction:
    """Build the direction `mu / nu` of the moments as they are read (AdaMax).

    Args:
        den: the name of the moment in the denominator, in units of the gradient.
        least: a lower bound of that moment.
    """
    return lambda x: safe_divide(x.hat["mu"], x.hat[den], least)


def atan2(
    a: Number = 4 / math.pi, b: Number = 1.0, den: str = "nu", num: Direction = first_moment
) -> Direction:
    """Build a direction whose quotient of the moments is an angle, which needs no epsilon.

    `a atan2(mu, b sqrt(nu))` of the moments as they are read; it is Adam-atan2's (Everett et al.
    2024), and may take the place of any variant's. For gradients of any scale the step is the same,
    where an epsilon makes small ones smaller; a step is at most `a pi / 2`, 2 by default, however
    small `nu` is. Small quotients are `a / b` times Adam's, so that `a = b` has Adam's small steps.

    Args:
        a: the factor of the angle; default 4/pi, with which a first step is 1, as Adam's.
        b: the factor of the root.
        den: the name of the second moment.
        num: the numerator.

    Example:
        >>> import dataclasses, adam_optax as ao
        >>> adabelief = ao.rules.adabelief()
        >>> rule = dataclasses.replace(adabelief, direction=ao.directions.atan2())
    """

    def turned(x: Leaf) -> Array:
        mu, root = num(x), b * safe_sqrt(x.hat[den])
        if jnp.isrealobj(mu):
            return a * angle(mu, root)
        size = safe_sqrt(abs_sq(mu))
        return a * angle(size, root) * safe_divide(mu, size, least=0.0)

    return turned


def cautious(direction: Direction, least: float = 1e-3) -> Direction:
    """Build a direction that steps only where the step agrees with the gradient, and more there.

    `d * mask / max(mean(mask), least)` with `mask = d g > 0` (Liang et al. 2024, Algorithm 1),
    scaled as in timm.

    Args:
        direction: the direction `d`.
        least: the least share of the elements by which the rest is enlarged.

    Example:
        >>> import dataclasses, adam_optax as ao
        >>> adam = ao.rules.adam()
        >>> rule = dataclasses.replace(adam, direction=ao.directions.cautious(adam.direction))
    """

    def masked(x: Leaf) -> Array:
        d = direction(x)
        agrees = (sign_agreement(d, x.g) > 0).astype(x.t.dtype)
        return d * agrees / jnp.maximum(_mean(agrees), least)

    return masked


def grams(direction: Direction) -> Direction:
    """Build a direction that steps as far as another one, in the direction of the gradient.

    `sign(g) |d|` (Cao et al. 2024, Algorithm 1); the sign of a complex gradient is `g / |g|`, and
    where the gradient is 0, nothing moves.

    Args:
        direction: the direction `d`.

    Example:
        >>> import dataclasses, adam_optax as ao
        >>> adan = ao.rules.adan()
        >>> rule = dataclasses.replace(adan, direction=ao.directions.grams(adan.direction))
    """
    return lambda x: jnp.sign(x.g) * abs(direction(x))


def trust_ratio(step: Array, x: Leaf) -> Array:
    """Return the step at the length of the parameter; the step as it is if either length is 0.

    `step |p| / |step|`, with norms over the leaf (LAMB, You et al. 2020, Algorithm 2).

    Args:
        step: the step so far, with weight decay in it.
        x: the leaf, of which the parameter is needed.
    """
    param_norm, step_norm = _norm(x.p), _norm(step)
    both = (param_norm > 0) & (step_norm > 0)
    return step * jnp.where(both, safe_divide(param_norm, step_norm, 0.0), 1.0)


def hyperball(radius: str = "radius") -> Postprocess:
    """Build the step to the point of a sphere that a step of `learning_rate` radii leads towards.

    `p - R unit(p - learning_rate R unit(step))` with `unit(x) = x / |x|`, norms over the leaf: the
    parameter keeps its norm R, and turns by an angle that the learning rate alone decides (Wen et
    al. 2026).
    A step with weight decay in it is taken as it is. Where R is 0, the step is left as it was.

    The rule must multiply its direction by `x.learning_rate`, and say that it `handles` it; `adamh`
    is such a rule.

    Args:
        radius: the name of the moment that holds R, `moments.first_norm()`.
    """

    def on_sphere(step: Array, x: Leaf) -> Array:
        size = x.current[radius]
        towards = x.p - x.learning_rate * size * safe_divide(step, _norm(step), 0.0)
        moved = x.p - size * safe_divide(towards, _norm(towards), 0.0)
        return jnp.where(size > LEAST_NORM, moved, step)

    return on_sphere


def clip_by_rms(threshold: Number = 1.0) -> Postprocess:
    """Build the division of a step by `max(1, rms(step) / threshold)`.

    This is Adafactor's update clipping (Shazeer & Stern 2018, section 6).

    Args:
        threshold: the largest root mean square of a step.
    """
    return lambda step, x: step / jnp.maximum(1.0, safe_sqrt(_mean(abs_sq(step))) / threshold)


def rms_clipped(direction: Direction, threshold: Number = 1.0) -> Direction:
    """Build a direction that is divided by `max(1, rms(d) / threshold)`, before weight decay.

    `clip_by_rms` does the same to the step with weight decay in it. A step of Adam has a root mean
    square near 1 while gradients are noise, and up to `sqrt(1 / (1 - b2))` where they grow.

    Args:
        direction: the direction `d`.
        threshold: the largest root mean square of the direction.

    Example:
        >>> import dataclasses, adam_optax as ao
        >>> adam = ao.rules.adam()
        >>> rule = dataclasses.replace(adam, direction=ao.directions.rms_clipped(adam.direction))
    """
    clip = clip_by_rms(threshold)
    return lambda x: clip(direction(x), x)


def clip_by_update_rms(eps: Number, den: str = "nu") -> Postprocess:
    """Build the division of a step by `max(1, rms(g / max(sqrt(nu), eps)))`.

    This is StableAdamW's (Wortsman et al. 2023, Algorithm 2).

    Args:
        eps: the least root, in units of the gradient.
        den: the name of the second moment.
    """

    def clip(step: Array, x: Leaf) -> Array:
        normalized = safe_divide(abs(x.g), jnp.maximum(safe_sqrt(x.hat[den]), eps), least=eps)
        return step / jnp.maximum(1.0, safe_sqrt(_mean(jnp.square(normalized))))

    return clip


def _norm(x: Array) -> Array:
    """Return the Euclidean norm over the leaf."""
    return safe_sqrt(jnp.sum(abs_sq(x)))


def _mean(x: Array) -> Array:
    """Return the mean, 0 for an empty leaf, where `jnp.mean` would be NaN."""
    return jnp.sum(x) / max(x.size, 1)


__getattr__ = renamed(
    __name__,
    {
        "Finish": "Postprocess",
        "mean": "first_moment",
        "deviation": "denominator",
        "over": "ratio_no_sqrt",
        "ratio_hat": "ratio_eps_hat",
        "hat_pace": "eps_hat_scale",
        "clipped": "clip_by_rms",
        "stabilised": "clip_by_update_rms",
    },
)
