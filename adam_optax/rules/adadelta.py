"""Define AdaDelta (Zeiler 2012)."""

from jax import Array

from adam_optax._core.numerics import Number, abs_sq, safe_divide, safe_sqrt
from adam_optax.moments import Leaf, Moment, Read, ema, square
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("rho",), non_negative=("eps",))
def adadelta(rho: Number = 0.9, eps: Number = 1e-6) -> Rule:
    """Build AdaDelta's rule: gradients in units of the steps before.

    Take AdaDelta where no learning rate is to be tuned: its steps have the unit of the parameters,
    and Zeiler's learning rate is 1. They start small.

    Moments: `e_g`, the mean squared gradient, and `e_x`, the mean squared step.

    Step: `d = g √(e_x + eps) / √(e_g + eps), e_g of |g|², e_x of |d|²`,
    for the gradient `g`; both averages decay by rho, and the root of `e_x` is that of the step
    before.

    Args:
        rho: decay rate of both averages, in [0, 1); default 0.9.
        eps: added under both roots, in units of the squared gradient and of the squared step;
            default 1e-6.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.adadelta(rho=0.95), 1.0)

    References:
        Zeiler, [ADADELTA: An Adaptive Learning Rate Method](https://arxiv.org/abs/1212.5701), 2012,
        Algorithm 1.
    """

    def mean_of(observe: Read) -> Moment:
        return ema(rho, observe, signed=False, corrected=False)

    def direction(x: Leaf) -> Array:
        rms_step = safe_sqrt(x.previous["e_x"] + eps)
        rms_grad = safe_sqrt(x.current["e_g"] + eps)
        return safe_divide(rms_step, rms_grad, eps) * x.g

    return Rule({"e_g": mean_of(square), "e_x": mean_of(lambda x: abs_sq(direction(x)))}, direction)
