"""Define LaProp (Ziyin et al. 2020)."""

from adam_optax._core.numerics import Number
from adam_optax.directions import ratio
from adam_optax.moments import ema, grad, square
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("eps", "eps_root"))
def laprop(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-15,
    eps_root: Number = 0.0,
    nesterov: bool = False,
) -> Rule:
    """Build LaProp's rule: Adam that normalises a gradient first and averages afterwards.

    Take LaProp where Adam is unstable, with a low `b2` for one: a step is never longer than the
    longest of the normalised gradients that it averages.

    Moments: `nu`, the mean squared gradient, and `mu`, the mean normalised gradient.

    Step: `μ̂, μ = b1 μ + (1-b1) g / (√(ν̂ + eps_root) + eps)`,
    with `ν = b2 ν + (1-b2) |g|²`, `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)` for the gradient
    `g` and the step `t`, 1 at the first.

    Args:
        b1: decay rate of the mean `mu` of normalised gradients, in [0, 1); default 0.9.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.999.
        eps: added to the root in the denominator, in units of the gradient; default 1e-15.
        eps_root: added to the second moment under the root, in units of the squared gradient;
            default 0.0.
        nesterov: whether the first moment is read one step ahead (Dozat 2016); default False.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.laprop(b2=0.95), 4e-4)

    References:
        Ziyin et al., [LaProp: Separating Momentum and Adaptivity in
        Adam](https://arxiv.org/abs/2002.04839), 2020, Algorithm 1.
    """
    normalized_grad = ratio(eps, eps_root, num=grad)
    mu = ema(b1, normalized_grad, nesterov=nesterov)
    return Rule({"nu": ema(b2, square, signed=False), "mu": mu}, lambda x: x.hat["mu"])
