"""Adam and what differs from it in a line (Kingma & Ba 2015, and others)."""

import dataclasses

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number, abs_sq, safe_divide
from adam_optax.directions import (
    clip_by_update_rms,
    eps_hat_scale,
    ratio,
    ratio_eps_hat,
    ratio_no_sqrt,
    trust_ratio,
)
from adam_optax.moments import Leaf, decayed_max, ema, running_max, square
from adam_optax.rules.base import Rule, variant
from adam_optax.rules.rectified import rectification


@variant(decay_rates=("b1", "b2"), non_negative=("eps", "eps_root"))
def adam(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    nesterov: bool = False,
    eps_hat: bool = False,
) -> Rule:
    """Adam (Kingma & Ba 2015, Algorithm 1); with `nesterov`, NAdam (Dozat 2016).

    Step: `μ̂ / (√(ν̂ + eps_root) + eps)`,
    with `μ = b1 μ + (1-b1) g`, `ν = b2 ν + (1-b2) |g|²`, `μ̂ = μ / (1 - b1^t)` and
    `ν̂ = ν / (1 - b2^t)`. One step ahead, `μ̂ = b1 μ / (1 - b1^{t+1}) + (1-b1) g / (1 - b1^t)`:
    Dozat's without his factor b2 on ν. Weight decay, where there is some, is decoupled
    (Loshchilov & Hutter 2019, Algorithm 2).
    """
    moments = {"mu": ema(b1, nesterov=nesterov), "nu": ema(b2, square, signed=False)}
    if eps_hat:
        return Rule(moments, ratio_eps_hat(eps, eps_root), eps_hat_scale(b2))
    return Rule(moments, ratio(eps, eps_root))


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
    """AMSGrad (Reddi et al. 2018, Algorithm 2): Adam whose second moment never falls.

    Step: `μ̂ / (√(max ν̂ + eps_root) + eps)`.
    Three forms differ in where the bias of ν is corrected:

    * optax's, the default: the maximum of `ν / (1 - b2^s)` over the steps `s`;
    * PyTorch's, TensorFlow's and Keras's, `raw_max=True`: that of `ν`, over `1 - b2^t`;
    * the paper's, `bias_correction_mu=bias_correction_nu=False`: that of `ν`.
    """
    mu = ema(b1, corrected=bias_correction_mu, nesterov=nesterov)
    nu = ema(b2, square, signed=False, corrected=bias_correction_nu)
    largest = running_max(lambda x: x.hat["nu"])
    if raw_max:  # read with the correction that nu itself would get
        largest = dataclasses.replace(
            running_max(lambda x: x.current["nu"]), read=nu.read, precompute=nu.precompute
        )
    moments = {"mu": mu, "nu": nu, "nu_max": largest}
    if eps_hat:
        return Rule(moments, ratio_eps_hat(eps, eps_root, "nu_max"), eps_hat_scale(b2))
    return Rule(moments, ratio(eps, eps_root, "nu_max"))


@variant(decay_rates=("b1", "b2"), non_negative=("eps",))
def adamax(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    nesterov: bool = False,
    eps_outside: bool = False,
) -> Rule:
    """AdaMax (Kingma & Ba 2015, Algorithm 2): Adam on the infinity norm.

    Step: `μ̂ / ν, ν = max(b2 ν, |g| + eps)`.
    """
    nu = decayed_max(b2, lambda x: abs(x.g) if eps_outside else abs(x.g) + eps)
    moments = {"mu": ema(b1, nesterov=nesterov), "nu": nu}
    if eps_outside:
        return Rule(moments, lambda x: safe_divide(x.hat["mu"], x.hat["nu"] + eps, least=eps))
    return Rule(moments, ratio_no_sqrt("nu", least=eps))


@variant(decay_rates=("b1", "b2"), non_negative=("eps", "eps_root"))
def adabelief(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-16,
    eps_root: Number = 1e-16,
    nesterov: bool = False,
) -> Rule:
    """AdaBelief (Zhuang et al. 2020, Algorithm 2): Adam by the surprise in a gradient.

    Step: `μ̂ / (√ν̂ + eps), ν = b2 ν + (1-b2) |g - μ|² + eps_root`.
    """
    surprise = ema(b2, lambda x: abs_sq(x.g - x.current["mu"]), signed=False)
    nu = dataclasses.replace(surprise, update=lambda m, x, t: surprise.update(m, x, t) + eps_root)
    return Rule({"mu": ema(b1, nesterov=nesterov), "nu": nu}, ratio(eps))


@variant(
    decay_rates=("b1", "b2"),
    non_negative=("eps", "eps_root"),
    constant=("initial_accumulator_value",),
)
def yogi(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-3,
    eps_root: Number = 0.0,
    initial_accumulator_value: float = 1e-6,
    nesterov: bool = False,
) -> Rule:
    """Yogi (Zaheer et al. 2018, Algorithm 2), with optax's start and bias corrections.

    Step: `μ̂ / (√(ν̂ + eps_root) + eps), ν = ν - (1-b2) sign(ν - |g|²) |g|²`.
    """

    def update(m: Array, x: Array, t: Array) -> Array:
        return m - (1 - b2) * jnp.sign(m - x) * x

    start = initial_accumulator_value
    nu = dataclasses.replace(ema(b2, square, signed=False, init=start), update=update)
    return Rule({"mu": ema(b1, nesterov=nesterov, init=start), "nu": nu}, ratio(eps, eps_root))


@variant(decay_rates=("b1", "b2"), non_negative=("eps", "eps_root"))
def radam(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    threshold: Number = 5.0,
    nesterov: bool = False,
    eps_hat: bool = False,
) -> Rule:
    """Rectified Adam (Liu et al. 2020, Algorithm 2): Adam, and momentum while nu is young.

    Step: `r_t μ̂ / (√(ν̂ + eps_root) + eps), and μ̂ while ρ_t < threshold`,
    with `r_t = √((ρ_t-4) (ρ_t-2) ρ_∞ / ((ρ_∞-4) (ρ_∞-2) ρ_t))`, `ρ_∞ = 2 / (1-b2) - 1` and
    `ρ_t = ρ_∞ - 2 t b2^t / (1 - b2^t)`.
    """
    rule = adam(b1, b2, eps, eps_root, nesterov, eps_hat)

    def direction(x: Leaf) -> Array:
        (sure, r), scalars = x.scalars
        return jnp.where(sure, r * rule.direction(x._replace(scalars=scalars)), x.hat["mu"])

    return Rule(
        rule.moments, direction, lambda t: (rectification(b2, t, threshold), rule.precompute(t))
    )


@variant(decay_rates=("b1", "b2"), non_negative=("eps", "eps_root"))
def lamb(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-6,
    eps_root: Number = 0.0,
    nesterov: bool = False,
) -> Rule:
    """LAMB (You et al. 2020, Algorithm 2): Adam with decay, at the length of the parameter.

    Step: `d |p| / |d|, d = μ̂ / (√(ν̂ + eps_root) + eps) + λ p`.
    """
    rule = adam(b1, b2, eps, eps_root, nesterov)
    return Rule(rule.moments, rule.direction, postprocess=trust_ratio)


@variant(decay_rates=("b1", "b2"), non_negative=("eps",))
def stable_adam(
    b1: Number = 0.9, b2: Number = 0.99, eps: Number = 1e-6, nesterov: bool = False
) -> Rule:
    """StableAdamW (Wortsman et al. 2023, Algorithm 2): Adam with Adafactor's update clipping.

    Step: `d / max(1, rms(g / √ν̂)), d = μ̂ / (√ν̂ + eps) + λ p`.
    """
    rule = adam(b1, b2, eps, 0.0, nesterov)
    return Rule(rule.moments, rule.direction, postprocess=clip_by_update_rms(eps))
