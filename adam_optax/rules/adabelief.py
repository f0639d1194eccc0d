"""Define AdaBelief (Zhuang et al. 2020)."""

import dataclasses

from jax import Array

from adam_optax._core.numerics import Number, abs_sq
from adam_optax.directions import ratio
from adam_optax.moments import ema
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("eps", "eps_root"))
def adabelief(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-16,
    eps_root: Number = 1e-16,
    nesterov: bool = False,
) -> Rule:
    """Build AdaBelief's rule: Adam by the surprise in a gradient instead of its size.

    Take AdaBelief where gradients point steadily in one direction: its steps are long where a
    gradient is near the mean gradient, and short where it is not. `eps` matters more than in Adam.

    Moments: `mu`, the mean gradient, and `nu`, the mean squared distance of the gradient from `mu`.

    Step: `μ̂ / (√ν̂ + eps), ν = b2 ν + (1-b2) |g - μ|² + eps_root`,
    with `μ = b1 μ + (1-b1) g`, `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)` for the gradient `g`
    and the step `t`, 1 at the first.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1); default 0.9.
        b2: decay rate of the mean squared surprise `nu`, in [0, 1); default 0.999.
        eps: added to the root in the denominator, in units of the gradient; default 1e-16.
        eps_root: added to `nu` at every step, in units of the squared gradient; default 1e-16.
        nesterov: whether the first moment is read one step ahead (Dozat 2016); default False.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.adabelief(eps=1e-12), 1e-3)

    References:
        Zhuang et al., [AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed
        Gradients](https://arxiv.org/abs/2010.07468), NeurIPS 2020, Algorithm 2.
    """
    surprise = ema(b2, lambda x: abs_sq(x.g - x.current["mu"]), signed=False)

    def update(m: Array, x: Array, t: Array) -> Array:
        return surprise.update(m, x, t) + eps_root

    nu = dataclasses.replace(surprise, update=update)
    return Rule({"mu": ema(b1, nesterov=nesterov), "nu": nu}, ratio(eps))
