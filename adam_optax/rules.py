"""The variants. Each is a paper's algorithm box; `adam_optax.alias` gives them optax's names."""

import dataclasses

from adam_optax.directions import over, ratio
from adam_optax.moments import ema, fading_peak, peak, square
from adam_optax.numerics import Number
from adam_optax.rule import Rule, variant

__all__ = ["Rule", "adam", "adamax", "amsgrad", "variant"]


@variant
def adam(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    nesterov: bool = False,
) -> Rule:
    """Adam (Kingma & Ba 2015, Algorithm 1); with `nesterov`, NAdam (Dozat 2016)."""
    moments = {"mu": ema(b1, nesterov=nesterov), "nu": ema(b2, square, signed=False)}
    return Rule(moments, ratio(eps, eps_root))


@variant
def amsgrad(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    nesterov: bool = False,
    raw_max: bool = False,
) -> Rule:
    """AMSGrad (Reddi et al. 2018, Algorithm 2), with the corrections of optax or of PyTorch."""
    mu = ema(b1, corrected=bias_correction_mu, nesterov=nesterov)
    nu = ema(b2, square, signed=False, corrected=bias_correction_nu)
    largest = peak(lambda x: x.hat["nu"])
    if raw_max:  # read with the correction that nu itself would get
        largest = dataclasses.replace(peak(lambda x: x.new["nu"]), read=nu.read, warm=nu.warm)
    return Rule({"mu": mu, "nu": nu, "nu_max": largest}, ratio(eps, eps_root, den="nu_max"))


@variant
def adamax(
    b1: Number = 0.9, b2: Number = 0.999, eps: Number = 1e-8, nesterov: bool = False
) -> Rule:
    """AdaMax (Kingma & Ba 2015, Algorithm 2), with `eps` inside the maximum as in optax."""
    nu = fading_peak(b2, lambda x: abs(x.g) + eps)
    return Rule({"mu": ema(b1, nesterov=nesterov), "nu": nu}, over("nu", least=eps))
