"""Define Grams (Cao et al. 2024)."""

from adam_optax import directions
from adam_optax._core.numerics import Number
from adam_optax.rules.adam import adam
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("eps", "eps_root"))
def grams(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-6,
    eps_root: Number = 0.0,
    nesterov: bool = False,
) -> Rule:
    """Build Grams' rule: Adam says how far, and the gradient in which direction.

    Take Grams where cautious steps help (`adam_optax.directions.cautious`), which leave out the
    elements whose mean gradient has another sign than the gradient; Grams turns these round. The
    part itself is `adam_optax.directions.grams`, for any variant.

    Moments: `mu`, the mean gradient, and `nu`, the mean squared gradient.

    Step: `sign(g) |μ̂ / (√(ν̂ + eps_root) + eps)|`,
    with Adam's `μ̂` and `ν̂` (see `adam`) and the gradient `g`.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1); default 0.9.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.999.
        eps: added to the root in the denominator, in units of the gradient; default 1e-6.
        eps_root: added to the second moment under the root, in units of the squared gradient;
            default 0.0.
        nesterov: whether the first moment is read one step ahead (Dozat 2016); default False.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.grams(), 1e-3, decay=ao.Decay(0.01))

    References:
        Cao et al., [Grams: Gradient Descent with Adaptive Momentum
        Scaling](https://arxiv.org/abs/2412.17107), 2024, Algorithm 1.
    """
    rule = adam(b1, b2, eps, eps_root, nesterov)
    return Rule(rule.moments, directions.grams(rule.direction))
