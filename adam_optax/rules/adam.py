"""Adam and what differs from it in a line (Kingma & Ba 2015, and others)."""

import dataclasses

import jax.numpy as jnp
from jax import Array

from adam_optax.directions import hat_pace, over, ratio, ratio_hat, stabilised, trust_ratio
from adam_optax.moments import Leaf, ema, fading_peak, peak, square
from adam_optax.numerics import Number, abs_sq, quotient
from adam_optax.rule import Rule, variant
from adam_optax.rules.rectified import rectification


@variant
def adam(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    nesterov: bool = False,
    eps_hat: bool = False,
) -> Rule:
    """Adam (Kingma & Ba 2015, Algorithm 1); with `nesterov`, NAdam (Dozat 2016)."""
    moments = {"mu": ema(b1, nesterov=nesterov), "nu": ema(b2, square, signed=False)}
    if eps_hat:
        return Rule(moments, ratio_hat(eps, eps_root), hat_pace(b2))
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
    eps_hat: bool = False,
) -> Rule:
    """AMSGrad (Reddi et al. 2018, Algorithm 2), with the corrections of optax or of PyTorch."""
    mu = ema(b1, corrected=bias_correction_mu, nesterov=nesterov)
    nu = ema(b2, square, signed=False, corrected=bias_correction_nu)
    largest = peak(lambda x: x.hat["nu"])
    if raw_max:  # read with the correction that nu itself would get
        largest = dataclasses.replace(peak(lambda x: x.new["nu"]), read=nu.read, warm=nu.warm)
    moments = {"mu": mu, "nu": nu, "nu_max": largest}
    if eps_hat:
        return Rule(moments, ratio_hat(eps, eps_root, "nu_max"), hat_pace(b2))
    return Rule(moments, ratio(eps, eps_root, "nu_max"))


@variant
def adamax(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    nesterov: bool = False,
    eps_outside: bool = False,
) -> Rule:
    """AdaMax (Kingma & Ba 2015, Algorithm 2), with `eps` inside the maximum as in optax."""
    nu = fading_peak(b2, lambda x: abs(x.g) if eps_outside else abs(x.g) + eps)
    moments = {"mu": ema(b1, nesterov=nesterov), "nu": nu}
    if eps_outside:
        return Rule(moments, lambda x: quotient(x.hat["mu"], x.hat["nu"] + eps, least=eps))
    return Rule(moments, over("nu", least=eps))


@variant
def adabelief(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-16,
    eps_root: Number = 1e-16,
    nesterov: bool = False,
) -> Rule:
    """AdaBelief (Zhuang et al. 2020, Algorithm 2); `eps_root` goes into the stored nu."""
    surprise = ema(b2, lambda x: abs_sq(x.g - x.new["mu"]), signed=False)
    nu = dataclasses.replace(surprise, fold=lambda m, x, t: surprise.fold(m, x, t) + eps_root)
    return Rule({"mu": ema(b1, nesterov=nesterov), "nu": nu}, ratio(eps))


@variant
def yogi(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-3,
    eps_root: Number = 0.0,
    initial_accumulator_value: float = 1e-6,
    nesterov: bool = False,
) -> Rule:
    """Yogi (Zaheer et al. 2018, Algorithm 2), with optax's start and bias corrections."""

    def fold(m: Array, x: Array, t: Array) -> Array:
        return m - (1 - b2) * jnp.sign(m - x) * x

    start = initial_accumulator_value
    nu = dataclasses.replace(ema(b2, square, signed=False, init=start), fold=fold)
    return Rule({"mu": ema(b1, nesterov=nesterov, init=start), "nu": nu}, ratio(eps, eps_root))


@variant
def radam(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    threshold: Number = 5.0,
    nesterov: bool = False,
    eps_hat: bool = False,
) -> Rule:
    """Rectified Adam (Liu et al. 2020, Algorithm 2): Adam, and momentum while nu is young."""
    rule = adam(b1, b2, eps, eps_root, nesterov, eps_hat)

    def direction(x: Leaf) -> Array:
        (sure, r), pace = x.pace
        return jnp.where(sure, r * rule.direction(x._replace(pace=pace)), x.hat["mu"])

    return Rule(rule.moments, direction, lambda t: (rectification(b2, t, threshold), rule.pace(t)))


@variant
def lamb(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-6,
    eps_root: Number = 0.0,
    nesterov: bool = False,
) -> Rule:
    """LAMB (You et al. 2020, Algorithm 2): Adam with decay, at the length of the parameter."""
    rule = adam(b1, b2, eps, eps_root, nesterov)
    return Rule(rule.moments, rule.direction, finish=trust_ratio)


@variant
def stable_adam(
    b1: Number = 0.9, b2: Number = 0.99, eps: Number = 1e-6, nesterov: bool = False
) -> Rule:
    """StableAdamW (Wortsman et al. 2023, Algorithm 2): Adam with Adafactor's update clipping."""
    rule = adam(b1, b2, eps, 0.0, nesterov)
    return Rule(rule.moments, rule.direction, finish=stabilised(eps))
