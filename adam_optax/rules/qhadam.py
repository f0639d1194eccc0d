"""Define QHAdam (Ma & Yarats 2019)."""

from jax import Array

from adam_optax._core.numerics import Number, abs_sq, safe_divide
from adam_optax.directions import denominator
from adam_optax.moments import Leaf, ema, square
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("v1", "v2", "eps", "eps_root"))
def qhadam(
    b1: Number = 0.995,
    b2: Number = 0.999,
    v1: Number = 0.7,
    v2: Number = 1.0,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
) -> Rule:
    """Build QHAdam's rule: Adam whose moments are each mixed with the gradient of the step.

    Take QHAdam for a long memory that still follows the last gradient: with `v1` 1 it is Adam, with
    `v1` equal to `b1` about NAdam, with `v1` 0 RMSProp.

    Moments: `mu`, the mean gradient, and `nu`, the mean squared gradient.

    Step: `((1-v1) g + v1 μ̂) / (√((1-v2) |g|² + v2 ν̂ + eps_root) + eps)`,
    with Adam's `μ̂` and `ν̂` (see `adam`) and the gradient `g`. The defaults are those that the paper
    recommends.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1); default 0.995.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.999.
        v1: the share of the mean gradient in the numerator, from 0 to 1; default 0.7.
        v2: the share of the mean squared gradient in the denominator, from 0 to 1; default 1.0.
        eps: added to the root in the denominator, in units of the gradient; default 1e-8.
        eps_root: added to the second moment under the root, in units of the squared gradient;
            default 0.0.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.qhadam(b1=0.999, v1=0.8), 1e-3, decay=ao.Decay(0.01))

    References:
        Ma & Yarats, [Quasi-hyperbolic momentum and Adam for deep
        learning](https://arxiv.org/abs/1810.06801), ICLR 2019, section 4.
    """

    def direction(x: Leaf) -> Array:
        above = (1 - v1) * x.g + v1 * x.hat["mu"]
        nu = (1 - v2) * abs_sq(x.g) + v2 * x.hat["nu"]
        return safe_divide(above, denominator(nu, eps, eps_root), least=eps)

    return Rule({"mu": ema(b1), "nu": ema(b2, square, signed=False)}, direction)
