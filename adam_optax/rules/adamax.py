"""Define AdaMax (Kingma & Ba 2015)."""

from jax import Array

from adam_optax._core.numerics import Number, safe_divide
from adam_optax.directions import ratio_no_sqrt
from adam_optax.moments import Leaf, decayed_max, ema
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("eps",))
def adamax(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    nesterov: bool = False,
    eps_outside: bool = False,
) -> Rule:
    """Build AdaMax's rule: Adam on the infinity norm.

    Take AdaMax where gradients are sparse, as of embeddings: a decaying maximum of magnitudes is
    not pulled down by zeros as a mean of squares is, and needs no bias correction.

    Moments: `mu`, the mean gradient, and `nu`, the exponentially weighted infinity norm.

    Step: `μ̂ / ν, ν = max(b2 ν, |g| + eps)`,
    with `μ = b1 μ + (1-b1) g` and `μ̂ = μ / (1 - b1^t)` for the gradient `g` and the step `t`, 1 at
    the first.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1); default 0.9.
        b2: decay rate of the infinity norm `nu`, in [0, 1); default 0.999.
        eps: added to the gradient's magnitude, in units of the gradient; default 1e-8.
        nesterov: whether the first moment is read one step ahead (Dozat 2016); default False.
        eps_outside: whether `eps` is added where `nu` divides, as in Keras and Lasagne, instead of
            to the gradient's magnitude before the maximum; default False.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.adamax(), 2e-3)

    References:
        Kingma & Ba, [Adam: A Method for Stochastic Optimization](https://arxiv.org/abs/1412.6980),
        ICLR 2015, Algorithm 2.
    """

    def magnitude(x: Leaf) -> Array:
        return abs(x.g) if eps_outside else abs(x.g) + eps

    moments = {"mu": ema(b1, nesterov=nesterov), "nu": decayed_max(b2, magnitude)}
    if eps_outside:
        return Rule(moments, lambda x: safe_divide(x.hat["mu"], x.hat["nu"] + eps, least=eps))
    return Rule(moments, ratio_no_sqrt("nu", least=eps))
