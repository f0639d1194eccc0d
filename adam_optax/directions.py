"""How the moments become a step: functions `Leaf -> Array`, before learning rate and sign."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import (
    Number,
    abs_sq,
    is_python_number,
    one_minus_power,
    safe_divide,
    safe_sqrt,
    sign_agreement,
)
from adam_optax.moments import Leaf

Direction = Callable[[Leaf], Array]
Postprocess = Callable[[Array, Leaf], Array]


def first_moment(x: Leaf) -> Array:
    """The first moment as it is read."""
    return x.hat["mu"]


def denominator(v: Array, eps: Number, eps_root: Number = 0.0) -> Array:
    """`sqrt(v + eps_root) + eps`, the denominator of most of the family."""
    return safe_sqrt(v if is_python_number(eps_root) and eps_root == 0 else v + eps_root) + eps


def ratio(
    eps: Number = 1e-8, eps_root: Number = 0.0, den: str = "nu", num: Direction = first_moment
) -> Direction:
    """`mu / (sqrt(nu + eps_root) + eps)` of the moments as read (Adam, Algorithm 1).

    Args:
        eps: added to the root.
        eps_root: added under the root.
        den: the moment in the denominator.
        num: the numerator.
    """
    return lambda x: safe_divide(num(x), denominator(x.hat[den], eps, eps_root), least=eps)


def ratio_eps_hat(eps: Number = 1e-8, eps_root: Number = 0.0, den: str = "nu") -> Direction:
    """`ratio` with epsilon-hat (Kingma & Ba 2015, end of section 2), beside the raw root.

    `sqrt(1 - b2^t) mu / (sqrt(nu) + eps)` of the raw `nu` is `ratio` with `eps / sqrt(1 - b2^t)`;
    the rule's `pace` is `hat_pace(b2)`.
    """
    return lambda x: safe_divide(
        first_moment(x), denominator(x.hat[den], eps * x.scalars, eps_root), least=eps
    )


def eps_hat_scale(b2: Number) -> Callable[[Array], Array]:
    """By how much epsilon-hat is larger at a step: `1 / sqrt(1 - b2^t)`."""
    return lambda t: 1 / safe_sqrt(one_minus_power(b2, t))


def ratio_no_sqrt(den: str = "nu", least: Number = 0.0) -> Direction:
    """`mu / nu` of the moments as read, for a `nu >= least` on the gradient's scale (AdaMax)."""
    return lambda x: safe_divide(x.hat["mu"], x.hat[den], least)


def cautious(direction: Direction, least: float = 1e-3) -> Direction:
    """Only where the step agrees with the gradient, and more there (Liang et al. 2024).

    `d * mask / max(mean(mask), least)` with `mask = d g > 0`, scaled as in timm.
    """

    def masked(x: Leaf) -> Array:
        d = direction(x)
        agrees = (sign_agreement(d, x.g) > 0).astype(x.t.dtype)
        return d * agrees / jnp.maximum(_mean(agrees), least)

    return masked


def trust_ratio(step: Array, x: Leaf) -> Array:
    """The step at the length of the parameter (LAMB, Algorithm 2); as it is if either is 0."""
    above, below = (safe_sqrt(jnp.sum(abs_sq(a))) for a in (x.p, step))
    return step * jnp.where((above > 0) & (below > 0), safe_divide(above, below, 0.0), 1.0)


def clip_by_rms(threshold: Number = 1.0) -> Postprocess:
    """The step over `max(1, rms(step) / threshold)` (Shazeer & Stern 2018, section 6)."""
    return lambda step, x: step / jnp.maximum(1.0, safe_sqrt(_mean(abs_sq(step))) / threshold)


def clip_by_update_rms(eps: Number, den: str = "nu") -> Postprocess:
    """The step over `max(1, rms(g / sqrt(nu)))` (StableAdamW, Wortsman et al. 2023)."""

    def finish(step: Array, x: Leaf) -> Array:
        share = safe_divide(abs(x.g), jnp.maximum(safe_sqrt(x.hat[den]), eps), least=eps)
        return step / jnp.maximum(1.0, safe_sqrt(_mean(jnp.square(share))))

    return finish


def _mean(x: Array) -> Array:
    return jnp.sum(x) / max(x.size, 1)  # of an empty leaf: 0, where jnp.mean would be NaN
