"""Define StableAdamW's rule (Wortsman et al. 2023)."""

from adam_optax._core.numerics import Number
from adam_optax.directions import clip_by_update_rms
from adam_optax.rules.adam import adam
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("eps",))
def stable_adam(
    b1: Number = 0.9, b2: Number = 0.99, eps: Number = 1e-6, nesterov: bool = False
) -> Rule:
    """Build StableAdamW's rule: Adam with Adafactor's update clipping.

    Take StableAdamW where the loss of a large model has spikes, or instead of clipping gradients: a
    step whose gradients are larger than the second moment knows is shortened, for each parameter
    array by itself.

    Moments: `mu`, the mean gradient, and `nu`, the mean squared gradient.

    Step: `d / max(1, rms(g / √ν̂)), d = μ̂ / (√ν̂ + eps) + λ p`,
    with Adam's μ̂ and ν̂ (see `adam`), the gradient `g`, the parameter `p`, the weight decay λ and
    `rms` the root mean square over the parameter.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1); default 0.9.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.99.
        eps: added to the root in the denominator, and the least root in the clipping, in units of
            the gradient; default 1e-6.
        nesterov: whether the first moment is read one step ahead (Dozat 2016); default False.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.stable_adam(), 1e-3, decay=ao.Decay(0.01))

    References:
        Wortsman et al., [Stable and Low-Precision Training for Large-Scale Vision-Language
        Models](https://arxiv.org/abs/2304.13013), NeurIPS 2023, Algorithm 2.
    """
    rule = adam(b1, b2, eps, 0.0, nesterov)
    return Rule(rule.moments, rule.direction, postprocess=clip_by_update_rms(eps))
