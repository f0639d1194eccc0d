"""Define AdaBound and AMSBound (Luo et al. 2019)."""

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number, one_minus_power, safe_divide, safe_sqrt
from adam_optax.moments import Leaf, ema, running_max, square
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("eps",))
def adabound(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    final_lr: Number = 0.1,
    gamma: Number = 1e-3,
    base_lr: Number = 1e-3,
    amsbound: bool = False,
) -> Rule:
    """Build AdaBound's rule: from Adam to SGD by bounds on the step sizes.

    Take AdaBound where Adam trains faster and SGD generalises better: the step sizes of all
    parameters are held between bounds that close in on one learning rate. With `amsbound`, the rule
    is AMSBound, whose second moment never falls.

    Moments: `mu`, the mean gradient; `nu`, the mean squared gradient; and, with `amsbound`,
    `nu_max`, the largest `nu` so far.

    Step: `clip(√(1-b2^t) / (1-b1^t) / (√ν + eps), low_t, high_t) μ`,
    with `low_t = final_lr / base_lr (1 - 1 / (gamma t + 1))`,
    `high_t = final_lr / base_lr (1 + 1 / (gamma t))`, `μ = b1 μ + (1-b1) g` and
    `ν = b2 ν + (1-b2) |g|²` for the gradient `g` and the step `t`, 1 at the first. AMSBound has
    `max(ν_max, ν)` for ν.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1); default 0.9.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.999.
        eps: added to the root in the denominator, in units of the gradient; default 1e-8.
        final_lr: the learning rate of SGD on which both bounds close in, where the learning rate is
            `base_lr`; default 0.1.
        gamma: how fast the bounds close in: after `1 / gamma` steps, each is within a factor of 2
            of its limit; default 1e-3.
        base_lr: the learning rate to which `final_lr` belongs; a schedule that lowers the learning
            rate below `base_lr` lowers the bounds as much; default 1e-3.
        amsbound: whether the largest second moment so far stands for the second moment;
            default False.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.adabound(final_lr=0.1, base_lr=1e-3), 1e-3)

    References:
        Luo et al., [Adaptive Gradient Methods with Dynamic Bound of Learning
        Rate](https://arxiv.org/abs/1902.09843), ICLR 2019, Algorithms 2 and 3.
    """
    limit, second_moment = final_lr / base_lr, "nu_max" if amsbound else "nu"

    def step_bounds(t: Array, ages: Mapping[str, Array]) -> tuple[Array, Array, Array]:
        low, high = limit * (1 - 1 / (gamma * t + 1)), limit * (1 + 1 / (gamma * t))
        weights = one_minus_power(b1, ages["mu"]), one_minus_power(b2, ages["nu"])
        return safe_sqrt(weights[1]) / weights[0], low, high

    def direction(x: Leaf) -> Array:
        bias_correction, low, high = x.scalars
        rms_grad = safe_sqrt(x.current[second_moment])
        step_size = safe_divide(bias_correction, rms_grad + eps, eps)
        return jnp.clip(step_size, low, high) * x.current["mu"]

    moments = {"mu": ema(b1), "nu": ema(b2, square, signed=False)}
    if amsbound:
        moments["nu_max"] = running_max(lambda x: x.current["nu"])
    return Rule(moments, direction, step_bounds)
