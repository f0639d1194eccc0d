"""Define Adafactor (Shazeer & Stern 2018), whose moment `storage.factored` keeps small."""

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number, abs_sq, is_python_number, safe_divide, safe_sqrt
from adam_optax.directions import Direction, rms_clipped
from adam_optax.moments import Leaf, Moment, ema
from adam_optax.rules.base import Rule, variant


@variant(
    decay_rates=("momentum",),
    non_negative=("clipping_threshold", "eps"),
    optional=("clipping_threshold",),
)
def adafactor(
    decay_rate: Number = 0.8,
    decay_offset: int = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: Number | None = 1.0,
    momentum: Number | None = None,
    eps: Number = 1e-30,
) -> Rule:
    """Build Adafactor's rule: RMSProp in steps relative to the size of the parameter.

    Take Adafactor where the optimiser's memory is what limits the model: with `storage.factored`,
    the second moment of an m by n matrix is m + n numbers, and there is no first moment unless
    `momentum` is given.

    Moments: `nu`, the mean squared gradient, and, with momentum, `mu`, the mean step.

    Step: `max(rms(p), 1e-3) d / max(1, rms(d) / threshold), d = g / √ν`,
    with `ν = b ν + (1-b) (|g|² + eps)`, `b = 1 - t^-decay_rate`, for the gradient `g`, the
    parameter `p` and the step `t`, 1 at the first. The momentum averages steps that have the
    learning rate in them, as in optax.

    Args:
        decay_rate: exponent of the second moment's decay rate, `1 - t^-decay_rate`; default 0.8.
        decay_offset: the step from which `t` counts; default 0.
        multiply_by_parameter_scale: whether steps are in units of `max(rms(p), 1e-3)`;
            default True.
        clipping_threshold: the largest root mean square of a step in such units; None stands for no
            bound; default 1.0.
        momentum: decay rate of the average `mu` of the steps, in [0, 1); None stands for no
            average; default None.
        eps: added to the squared gradients, in units of the squared gradient; default 1e-30.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`. With momentum, it applies the
        learning rate itself.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.adafactor(), 1e-2, storage={"nu": ao.storage.factored()})

    References:
        Shazeer & Stern, [Adafactor: Adaptive Learning Rates with Sublinear Memory
        Cost](https://arxiv.org/abs/1804.04235), ICML 2018, Algorithm 4.
    """
    step = clipped_ratio(clipping_threshold)

    def scaled_grad(x: Leaf) -> Array:
        return step(x) * _parameter_scale(x) if multiply_by_parameter_scale else step(x)

    nu = mean_square(decay_rate, decay_offset, eps)
    if momentum is None:
        return Rule({"nu": nu}, scaled_grad)
    mu = ema(momentum, lambda x: x.learning_rate * scaled_grad(x), corrected=False)
    return Rule({"nu": nu, "mu": mu}, lambda x: x.current["mu"], handles=("learning_rate",))


def mean_square(decay_rate: Number, decay_offset: int, eps: Number, b2_cap: Number = 1.0) -> Moment:
    """Average squared gradients with the decay rate `min(b2_cap, 1 - t^-decay_rate)` at step `t`.

    Args:
        decay_rate: exponent of the decay rate.
        decay_offset: the step from which `t` counts.
        eps: added to the squared gradients, in their units.
        b2_cap: the largest decay rate; by default there is no bound.
    """

    def update(m: Array, x: Array, t: Array) -> Array:
        age = jnp.maximum(t - decay_offset, 1.0)
        moved = jnp.exp(-decay_rate * jnp.log(age))  # 1 - b_t = age^-decay_rate
        if not is_python_number(b2_cap) or b2_cap < 1:
            moved = jnp.maximum(moved, 1 - b2_cap)
        return m + moved * (x - m)

    return Moment(lambda x: abs_sq(x.g) + eps, update, signed=False)


def clipped_ratio(clipping_threshold: Number | None) -> Direction:
    """Build the direction `g / √ν`, whose root mean square is bounded.

    Args:
        clipping_threshold: the bound; None stands for none.
    """

    def over_root(x: Leaf) -> Array:
        return safe_divide(x.g, safe_sqrt(x.current["nu"]), 0.0)

    return over_root if clipping_threshold is None else rms_clipped(over_root, clipping_threshold)


def _parameter_scale(x: Leaf, least: float = 1e-3) -> Array:
    """Return `max(rms(p), least)`, the size of the parameter that Adafactor's steps relate to."""
    mean_square = jnp.sum(abs_sq(x.p)) / max(x.p.size, 1)
    return jnp.maximum(safe_sqrt(mean_square), least)
