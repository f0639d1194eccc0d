"""Define Adan (Xie et al. 2022)."""

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number, abs_sq
from adam_optax.directions import ratio
from adam_optax.moments import Leaf, ema, previous
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2", "b3"), non_negative=("eps", "eps_root"))
def adan(
    b1: Number = 0.98,
    b2: Number = 0.92,
    b3: Number = 0.99,
    eps: Number = 1e-8,
    eps_root: Number = 1e-8,
    paper: bool = False,
) -> Rule:
    """Build Adan's rule: Adam on the gradient and its change.

    Take Adan for vision models and large batches, at learning rates several times Adam's: the
    change of the gradient is Nesterov's look-ahead without a second gradient.

    Moments: `mu`, the mean gradient; `delta`, the mean change of the gradient; `nu`, the mean
    square of both together; and `g`, the last gradient.

    Step: `(μ̂ + k δ̂) / (√(ν̂ + eps_root) + eps), ν of |g + k Δ|², δ of Δ = g - g_{t-1}`,
    with `μ`, `δ` and `ν` the averages by b1, b2 and b3, and `μ̂`, `δ̂` and `ν̂` these corrected for
    their start. `k` is `1 - b2` in optax, the default, and `b2` in the paper, whose b's are 1 minus
    these. At the first step `Δ` is 0.

    Args:
        b1: decay rate of the mean gradient `mu`, in [0, 1); default 0.98.
        b2: decay rate of the mean change `delta` of the gradient, in [0, 1); default 0.92.
        b3: decay rate of the second moment `nu`, in [0, 1); default 0.99.
        eps: added to the root in the denominator, in units of the gradient; default 1e-8.
        eps_root: added to the second moment under the root, in units of the squared gradient;
            default 1e-8.
        paper: whether the change is weighted as in the paper, from which optax departs;
            default False.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.adan(paper=True), 5e-3, decay=ao.Decay(0.02))

    References:
        Xie et al., [Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep
        Models](https://arxiv.org/abs/2208.06677), 2022, Algorithm 1.
    """
    k = b2 if paper else 1 - b2

    def change(x: Leaf) -> Array:
        return jnp.where(x.t > 1, x.g - x.previous["g"], jnp.zeros_like(x.g))

    nu = ema(b3, lambda x: abs_sq(x.g + k * change(x)), signed=False)
    moments = {"mu": ema(b1), "delta": ema(b2, change), "nu": nu, "g": previous()}
    return Rule(moments, ratio(eps, eps_root, num=lambda x: x.hat["mu"] + k * x.hat["delta"]))
