"""Define MARS (Yuan et al. 2024): AdamW and Lion on gradients of which the noise is reduced."""

import math

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number, abs_sq, is_python_number, safe_sqrt
from adam_optax.directions import ratio
from adam_optax.moments import Leaf, Read, ema, previous
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("gamma", "eps", "eps_root"))
def mars(
    b1: Number = 0.95,
    b2: Number = 0.99,
    gamma: Number = 0.025,
    max_norm: Number = 1.0,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    zero_start: bool = False,
) -> Rule:
    """Build MARS's rule: Adam on gradients that the last gradients correct.

    Take MARS for pretraining on much data, at rates several times AdamW's: the correction, a part
    of the change of the gradient, takes noise out of the mean. The last gradient is a third moment
    to keep, and the norm of each parameter's gradient a second pass.

    Moments: `mu`, the mean corrected gradient; `nu`, the mean square of corrected gradients; and
    `g`, the last gradient.

    Step: `μ̂ / (√(ν̂ + eps_root) + eps), μ of c, ν of |c|², c = d min(1, max_norm / |d|)`,
    with `d = g + gamma b1 / (1 - b1) Δ`, `Δ = g - g_{t-1}`, the norm over the parameter, and `μ̂`
    and `ν̂` corrected for their start as Adam's. The `Δ` of the first step is 0.

    This is the paper's Algorithm 2 with the last step's gradient for the second one that the exact
    form computes (MARS-approx, which the paper trains with). Others differ by an argument each: the
    authors' code, EPFL's and pytorch-optimizer's have `zero_start=True`, timm has not; HeavyBall
    has `max_norm=inf`. The authors and timm give vectors plain AdamW: `max_norm=inf, gamma=0`
    for them by `by_path`. Levanter clips all parameters by one norm: `mars_correction`.

    Args:
        b1: decay rate of the mean `mu`, in [0, 1); default 0.95.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.99.
        gamma: how much of the change of the gradient is added; 0: none, which is Adam but for the
            clipping; default 0.025.
        max_norm: largest norm of a parameter's corrected gradient; `math.inf` clips nothing;
            default 1.0.
        eps: added to the root in the denominator, in units of the gradient; default 1e-8.
        eps_root: added to the second moment under the root, in units of the squared gradient;
            default 0.0.
        zero_start: whether the gradient before the first counts as 0 instead of as the first, so
            that the first `d` is `1 + gamma b1 / (1 - b1)` times the gradient; default False.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.mars(), 6e-3, decay=ao.Decay(0.01))

    References:
        Yuan et al., [MARS: Unleashing the Power of Variance Reduction for Training Large
        Models](https://arxiv.org/abs/2411.10438), ICML 2025, Algorithm 2.
    """
    correct = clipped(corrected(b1, gamma, zero_start), max_norm)
    nu = ema(b2, lambda x: abs_sq(correct(x)), signed=False)
    return Rule({"mu": ema(b1, correct), "nu": nu, "g": previous()}, ratio(eps, eps_root))


@variant(decay_rates=("b1",), non_negative=("gamma",))
def mars_lion(
    b1: Number = 0.95, gamma: Number = 0.025, max_norm: Number = 1.0, zero_start: bool = False
) -> Rule:
    """Build MARS-Lion's rule: the sign of the mean of gradients that the last ones correct.

    Take MARS-Lion as `mars` where Lion's steps, all of one size, are wanted: its learning rate and
    weight decay are Lion's. It keeps no second moment, but the last gradient.

    Moments: `mu`, the mean corrected gradient, and `g`, the last gradient.

    Step: `sign(μ), μ of c, c = d min(1, max_norm / |d|)`,
    with `d = g + gamma b1 / (1 - b1) Δ`, `Δ = g - g_{t-1}` and the norm over the parameter, as in
    `mars`, which also says how implementations differ. The `Δ` of the first step is 0.

    Args:
        b1: decay rate of the mean `mu`, in [0, 1); default 0.95.
        gamma: how much of the change of the gradient is added; default 0.025.
        max_norm: largest norm of a parameter's corrected gradient; `math.inf` clips nothing;
            default 1.0.
        zero_start: whether the gradient before the first counts as 0 instead of as the first;
            default False.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.mars_lion(), 1e-4, decay=ao.Decay(0.1))

    References:
        Yuan et al., [MARS: Unleashing the Power of Variance Reduction for Training Large
        Models](https://arxiv.org/abs/2411.10438), ICML 2025, Algorithm 3.
    """
    correct = clipped(corrected(b1, gamma, zero_start), max_norm)
    mu = ema(b1, correct, corrected=False)
    return Rule({"mu": mu, "g": previous()}, lambda x: jnp.sign(x.hat["mu"]))


@variant(decay_rates=("b1",), non_negative=("gamma",))
def mars_correction(b1: Number = 0.95, gamma: Number = 0.025, zero_start: bool = False) -> Rule:
    """Build the rule that corrects gradients as MARS does, and leaves the step to a later link.

    Take the correction as a link where something stands between it and the moments, such as one
    clipping of all parameters, as in Levanter's MARS; else take `mars`, which has both in a pass.

    Moments: `g`, the last gradient.

    Step: `g + gamma b1 / (1 - b1) Δ, Δ = g - g_{t-1}`,
    where the `Δ` of the first step is 0. It is a gradient still: moments come after it.

    Args:
        b1: the decay rate of the mean that comes after, in [0, 1); default 0.95.
        gamma: how much of the change of the gradient is added; default 0.025.
        zero_start: whether the gradient before the first counts as 0 instead of as the first;
            default False.

    Returns:
        The rule, for `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import optax, adam_optax as ao
        >>> link = ao.scale_by(ao.rules.mars_correction(b1=0.95))
        >>> adamw = ao.adamw(6e-3, b1=0.95, b2=0.99, weight_decay=0.01)
        >>> tx = optax.chain(link, ao.clip_by_global_norm(1.0), adamw)

    References:
        Yuan et al., [MARS: Unleashing the Power of Variance Reduction for Training Large
        Models](https://arxiv.org/abs/2411.10438), ICML 2025, equation of `c_t`.
    """
    return Rule({"g": previous()}, corrected(b1, gamma, zero_start))


def corrected(b1: Number, gamma: Number, zero_start: bool) -> Read:
    """Return the observation of a gradient to which a part of its change is added.

    Args:
        b1: decay rate of the mean.
        gamma: how much of the change is added.
        zero_start: whether the gradient before the first counts as 0.
    """
    weight = gamma * b1 / (1 - b1)

    def observe(x: Leaf) -> Array:
        change = x.g - x.previous["g"]
        if not zero_start:
            change = jnp.where(x.t > 1, change, jnp.zeros_like(change))
        return x.g + weight * change

    return observe


def clipped(observed: Read, max_norm: Number) -> Read:
    """Return an observation that is scaled down to a norm over the leaf, if it is above.

    Args:
        observed: the observation.
        max_norm: the largest norm; `math.inf` clips nothing.

    Raises:
        ValueError: if the norm is a number that is not positive.
        TypeError: if the norm is no number.
    """
    if not isinstance(max_norm, Array):
        if isinstance(max_norm, bool) or not isinstance(max_norm, int | float):
            raise TypeError(
                "max_norm must be a number, a schedule (count -> value) or a scalar array, not "
                f"{type(max_norm).__name__}; math.inf clips nothing"
            )
        if not max_norm > 0:
            raise ValueError(f"max_norm must be positive, not {max_norm}; math.inf clips nothing")
    if is_python_number(max_norm) and max_norm == math.inf:
        return observed

    def observe(x: Leaf) -> Array:
        c = observed(x)
        return c / jnp.maximum(1.0, safe_sqrt(jnp.sum(abs_sq(c))) / max_norm)

    return observe
