"""Define AMSGrad (Reddi et al. 2018)."""

import dataclasses

from adam_optax._core.numerics import Number
from adam_optax.directions import eps_hat_scale, ratio, ratio_eps_hat
from adam_optax.moments import ema, running_max, square
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("eps", "eps_root"))
def amsgrad(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    nesterov: bool = False,
    raw_max: bool = False,
    eps_hat: bool = False,
) -> Rule:
    """Build AMSGrad's rule: Adam whose second moment never falls.

    Take AMSGrad where Adam oscillates or diverges late in training because rare large gradients are
    forgotten: its effective learning rate never rises.

    Moments: `mu`, the mean gradient; `nu`, the mean squared gradient; and `nu_max`, the largest
    `nu` so far.

    Step: `μ̂ / (√(max ν̂ + eps_root) + eps)`,
    with `μ = b1 μ + (1-b1) g`, `ν = b2 ν + (1-b2) |g|²`, `μ̂ = μ / (1 - b1^t)` and
    `ν̂ = ν / (1 - b2^t)` for the gradient `g` and the step `t`, 1 at the first.
    Three forms differ in where the bias of ν is corrected:

    * optax's, the default: the maximum of `ν / (1 - b2^s)` over the steps `s`;
    * PyTorch's, TensorFlow's and Keras's, `raw_max=True`: the maximum of `ν`, over `1 - b2^t`;
    * the paper's, `bias_correction_mu=bias_correction_nu=False`: the maximum of `ν`.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1); default 0.9.
        b2: decay rate of the second moment `nu`, in [0, 1), while `nu_max` does not decay;
            default 0.999.
        eps: added to the root in the denominator, in units of the gradient; default 1e-8.
        eps_root: added to the second moment under the root, in units of the squared gradient;
            default 0.0.
        bias_correction_mu: whether the first moment is corrected for its start at 0; default True.
        bias_correction_nu: whether the second moment is corrected for its start at 0; default True.
        nesterov: whether the first moment is read one step ahead (Dozat 2016); default False.
        raw_max: whether the maximum is taken over the uncorrected second moment, and corrected
            afterwards; default False.
        eps_hat: whether `eps` is the paper's epsilon-hat, added to the root of the uncorrected
            second moment as in TensorFlow and Keras: it then acts like `eps / sqrt(1 - b2^t)`;
            default False.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.amsgrad(raw_max=True), 1e-3)  # as in PyTorch

    References:
        Reddi et al., [On the Convergence of Adam and Beyond](https://arxiv.org/abs/1904.09237),
        ICLR 2018, Algorithm 2.
    """
    mu = ema(b1, corrected=bias_correction_mu, nesterov=nesterov)
    nu = ema(b2, square, signed=False, corrected=bias_correction_nu)
    nu_max = running_max(lambda x: x.hat["nu"])
    if raw_max:  # nu_max is read with the correction that nu itself would get
        nu_max = dataclasses.replace(
            running_max(lambda x: x.current["nu"]),
            read=nu.read,
            precompute=nu.precompute,
            age_of="nu",
        )
    moments = {"mu": mu, "nu": nu, "nu_max": nu_max}
    if eps_hat:
        return Rule(moments, ratio_eps_hat(eps, eps_root, "nu_max"), eps_hat_scale(b2))
    return Rule(moments, ratio(eps, eps_root, "nu_max"))
