"""Define LAMB (You et al. 2020)."""

from adam_optax._core.numerics import Number
from adam_optax.directions import trust_ratio
from adam_optax.rules.adam import adam
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("eps", "eps_root"))
def lamb(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-6,
    eps_root: Number = 0.0,
    nesterov: bool = False,
) -> Rule:
    """Build LAMB's rule: Adam with decay, at the length of the parameter.

    Take LAMB for very large batches: each step is scaled by the norm of its parameter, so that all
    layers move by the same share of themselves.

    Moments: `mu`, the mean gradient, and `nu`, the mean squared gradient.

    Step: `d |p| / |d|, d = μ̂ / (√(ν̂ + eps_root) + eps) + λ p`,
    with Adam's μ̂ and ν̂ (see `adam`), the parameter `p` and the weight decay λ. The norms run over
    the whole parameter; where one of them is 0, the step is `d`.

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
        >>> tx = ao.optimizer(ao.rules.lamb(), 1e-2, decay=ao.Decay(0.01))

    References:
        You et al., [Large Batch Optimization for Deep Learning: Training BERT in 76
        Minutes](https://arxiv.org/abs/1904.00962), ICLR 2020, Algorithm 2.
    """
    rule = adam(b1, b2, eps, eps_root, nesterov)
    return Rule(rule.moments, rule.direction, postprocess=trust_ratio)
