"""Define ADOPT (Taniguchi et al. 2024)."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number, safe_divide, safe_sqrt, update_ema
from adam_optax.moments import Leaf, ema, square
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("eps",), functions=("clip_value_fn",))
def adopt(
    b1: Number = 0.9,
    b2: Number = 0.9999,
    eps: Number = 1e-6,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[Array], Array] | None = None,
) -> Rule:
    """Build ADOPT's rule: Adam normalised by the second moment of the step before.

    Take ADOPT where Adam's convergence hangs on the choice of `b2`: a gradient that is not in its
    own denominator lets every `b2` converge.

    Moments: `mu`, the mean normalised gradient, and `nu`, the mean squared gradient.

    Step: `μ = b1 μ + (1-b1) clip(g / max(√ν_{t-1}, eps), ±(t-1)^¼)`,
    with `ν = b2 ν + (1-b2) |g|²` for the gradient `g` and the step `t`, 1 at the first. The first
    step only sets `ν = |g|²` and moves nothing.

    Args:
        b1: decay rate of the mean `mu` of normalised gradients, in [0, 1); default 0.9.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.9999.
        eps: the least value of the root in the denominator, in units of the gradient; default 1e-6.
        nesterov: whether the first moment is read one step ahead (Dozat 2016); default False.
        use_clipping: whether normalised gradients are clipped; complex ones cannot be;
            default True.
        clip_value_fn: the bound of a normalised gradient as a function of the count of steps
            before; None stands for the count's fourth root; default None.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.adopt(use_clipping=False), 1e-3)

    References:
        Taniguchi et al., [ADOPT: Modified Adam Can Converge with Any β2 with the Optimal
        Rate](https://arxiv.org/abs/2411.02853), NeurIPS 2024, Algorithm 2.
    """

    def update(m: Array, x: Array, t: Array) -> Array:
        return jnp.where(t > 1, update_ema(b2, m, x, signed=False), x)

    def normalized_grad(x: Leaf) -> Array:
        g = safe_divide(x.g, jnp.maximum(safe_sqrt(x.previous["nu"]), eps), least=eps)
        if use_clipping and jnp.iscomplexobj(g):
            raise TypeError("adopt cannot clip complex numbers; set use_clipping=False")
        g = jnp.clip(g, -x.scalars, x.scalars) if use_clipping else g
        return jnp.where(x.t > 1, g, jnp.zeros_like(g))

    nu = dataclasses.replace(ema(b2, square, signed=False), update=update, uses_age=False)
    mu = ema(b1, normalized_grad, corrected=False, nesterov=nesterov)
    bound = clip_value_fn or _fourth_root
    return Rule({"mu": mu, "nu": nu}, lambda x: x.hat["mu"], lambda t, ages: bound(t - 1))


def _fourth_root(count: Array) -> Array:
    return safe_sqrt(safe_sqrt(count))
