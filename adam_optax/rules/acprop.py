"""Define ACProp (Zhuang et al. 2021)."""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number, abs_sq, one_minus_power, safe_divide
from adam_optax.directions import denominator
from adam_optax.moments import Leaf, ema
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("eps", "eps_root"))
def acprop(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-16,
    eps_root: Number = 1e-16,
    paper: bool = False,
) -> Rule:
    """Build ACProp's rule: a gradient over the surprise in the gradients before it.

    Take ACProp where the denominator must not know the gradient that it divides, as in ADOPT, and
    gradients point steadily in one direction, as for AdaBelief: there is no mean of gradients in
    the step, so that noise reaches the parameters as it is.

    Moments: `mu`, the mean gradient, which only centres, and `nu`, the mean squared distance of the
    gradient from `mu`.

    Step: `g / (√ν̂_{t-1} + eps), ν = b2 ν + (1-b2) |g - μ_{t-1}|² + eps_root`,
    with `μ = b1 μ + (1-b1) g` and `ν̂_{t-1} = ν_{t-1} / (1 - b2^(t-1))`, 1 at the first step, for
    the gradient `g` and the step `t`, 1 at the first. In the paper `μ_t` stands for `μ_{t-1}`,
    from which optax departs.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1); default 0.9.
        b2: decay rate of the mean squared surprise `nu`, in [0, 1); default 0.999.
        eps: added to the root in the denominator, in units of the gradient; default 1e-16.
        eps_root: added to `nu` at every step, in units of the squared gradient; default 1e-16.
        paper: whether the surprise is the distance from the mean with this gradient in it, as in
            the paper; default False.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.acprop(paper=True), 1e-3)

    References:
        Zhuang et al., [Momentum Centering and Asynchronous Update for Adaptive Gradient
        Methods](https://arxiv.org/abs/2110.05454), NeurIPS 2021, Algorithm 2.
    """
    surprise = ema(
        b2, lambda x: abs_sq(x.g - (x.current if paper else x.previous)["mu"]), signed=False
    )

    def update(m: Array, x: Array, t: Array) -> Array:
        return surprise.update(m, x, t) + eps_root

    def seen_before(t: Array, ages: Mapping[str, Array]) -> Array:
        """Return the weight that `nu` had seen before this step."""
        return one_minus_power(b2, jnp.where(t > 1, ages["nu"] - 1, 1.0))

    def direction(x: Leaf) -> Array:
        nu_hat = jnp.where(x.t > 1, x.previous["nu"] / x.scalars, 1.0)
        return safe_divide(x.g, denominator(nu_hat, eps), least=eps)

    nu = dataclasses.replace(surprise, update=update)
    return Rule({"mu": ema(b1), "nu": nu}, direction, seen_before)
