"""Define Adam and NAdam (Kingma & Ba 2015; Dozat 2016)."""

from adam_optax._core.numerics import Number
from adam_optax.directions import eps_hat_scale, ratio, ratio_eps_hat
from adam_optax.moments import ema, square
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("eps", "eps_root"))
def adam(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    nesterov: bool = False,
    eps_hat: bool = False,
) -> Rule:
    """Build Adam's rule: the mean gradient over the root of the mean squared gradient.

    Take Adam as the first choice for a deep network: the size of its steps hardly depends on the
    scale of the gradients, and its defaults seldom need tuning. With `nesterov`, the rule is NAdam.

    Moments: `mu`, the mean gradient, and `nu`, the mean squared gradient.

    Step: `μ̂ / (√(ν̂ + eps_root) + eps)`,
    with `μ = b1 μ + (1-b1) g`, `ν = b2 ν + (1-b2) |g|²`, `μ̂ = μ / (1 - b1^t)` and
    `ν̂ = ν / (1 - b2^t)` for the gradient `g` and the step `t`, 1 at the first. NAdam reads the
    first moment one step ahead, `μ̂ = b1 μ / (1 - b1^{t+1}) + (1-b1) g / (1 - b1^t)`: Dozat's
    without his factor b2 on ν.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1); default 0.9.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.999.
        eps: added to the root in the denominator, in units of the gradient; default 1e-8.
        eps_root: added to the second moment under the root, in units of the squared gradient;
            default 0.0.
        nesterov: whether the first moment is read one step ahead (NAdam); default False.
        eps_hat: whether `eps` is the paper's epsilon-hat, added to the root of the uncorrected
            second moment as in TensorFlow and Keras: it then acts like `eps / sqrt(1 - b2^t)`;
            default False.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.adam(b2=0.99), 1e-3, decay=ao.Decay(1e-4))  # AdamW

    References:
        Kingma & Ba, [Adam: A Method for Stochastic Optimization](https://arxiv.org/abs/1412.6980),
        ICLR 2015, Algorithm 1.
        Dozat, [Incorporating Nesterov Momentum into
        Adam](https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ), ICLR 2016 workshop,
        Algorithm 2, for `nesterov`.
    """
    moments = {"mu": ema(b1, nesterov=nesterov), "nu": ema(b2, square, signed=False)}
    if eps_hat:
        return Rule(moments, ratio_eps_hat(eps, eps_root), eps_hat_scale(b2))
    return Rule(moments, ratio(eps, eps_root))
