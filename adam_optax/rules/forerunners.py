"""What Adam grew out of, and what bounds it on the way back to SGD."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number, abs_sq, quotient, root, warmth
from adam_optax.moments import Leaf, Read, ema, grad, peak, square, total
from adam_optax.rules.base import Rule, variant


@variant
def momentum(momentum: Number | None = 0.9, nesterov: bool = False) -> Rule:
    """Momentum (Polyak 1964), undamped, or Nesterov's as in Sutskever et al. 2013; None: none.

    Step: `trace = momentum trace + g`.
    """
    if momentum is None:
        return Rule({}, grad)
    return Rule({"trace": total(grad, momentum, nesterov=nesterov)}, lambda x: x.hat["trace"])


@variant
def adagrad(initial_accumulator_value: float = 0.1, eps: Number = 1e-7) -> Rule:
    """AdaGrad (Duchi et al. 2011, Figure 1), with optax's start and `eps` under the root.

    Step: `g / √(Σ_t |g|² + eps)`.
    """
    seen = total(square, init=initial_accumulator_value, signed=False)
    den = lambda x: root(x.new["sum_of_squares"] + eps)  # noqa: E731
    return Rule({"sum_of_squares": seen}, lambda x: quotient(x.g, den(x), eps))


def scatter(b: Number, *, corrected: bool) -> Read:
    """What the variance averages, from the mean `mu` before the step (West 1979).

    `E[g^2] - E[g]^2` cancels; with `d` the gradient's distance from the mean so far, the variance
    is the average of `b |d|^2`. Corrected for the start, the mean is `mu / (1 - b^{t-1})`, and the
    share of the past is `b (1 - b^{t-1}) / (1 - b^t)` instead of `b`: 0 at first.
    """

    def of(x: Leaf) -> Array:
        if not corrected:
            return b * abs_sq(x.g - x.old["mu"])
        past = warmth(b, x.t - 1)
        mean = x.old["mu"] / jnp.where(past > 0, past, 1.0)
        return b * past / warmth(b, x.t) * abs_sq(x.g - mean)

    return of


@variant
def rmsprop(
    decay: Number = 0.9,
    eps: Number = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: Number | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> Rule:
    """RMSProp (Tieleman & Hinton 2012), centred (Graves 2013); momentum follows the rate.

    Step: `g / √(ν + eps), ν = decay ν + (1-decay) |g|²`.
    Centred, `E|g|² - |E g|²` stands for ν; it is kept by itself, as `variance`, since the
    difference of two averages cancels.
    """
    how: dict[str, Any] = {"corrected": bias_correction, "signed": False, "init": initial_scale}
    moments, den = {"nu": ema(decay, square, **how)}, "nu"
    if centered:
        away, den = scatter(decay, corrected=bias_correction), "variance"
        moments = {"variance": ema(decay, away, **how), "mu": ema(decay)}

    def unit(x: Leaf) -> Array:
        v = x.hat[den]
        return quotient(x.g, root(v + eps) if eps_in_sqrt else root(v) + eps, eps)

    if momentum is None:
        return Rule(moments, unit)
    trace = total(lambda x: x.rate * unit(x), momentum, nesterov=nesterov)
    return Rule({**moments, "trace": trace}, lambda x: x.hat["trace"], inside=("rate",))


@variant
def adadelta(rho: Number = 0.9, eps: Number = 1e-6) -> Rule:
    """AdaDelta (Zeiler 2012, Algorithm 1): the step in units of the steps before.

    Step: `d = g √(e_x + eps) / √(e_g + eps), e_g of |g|², e_x of |d|²`.
    """

    def step(x: Leaf) -> Array:
        return quotient(root(x.old["e_x"] + eps), root(x.new["e_g"] + eps), eps) * x.g

    mean = lambda of: ema(rho, of, signed=False, corrected=False)  # noqa: E731
    return Rule({"e_g": mean(square), "e_x": mean(lambda x: abs_sq(step(x)))}, step)


@variant
def adabound(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    final_lr: Number = 0.1,
    gamma: Number = 1e-3,
    base_lr: Number = 1e-3,
    amsbound: bool = False,
) -> Rule:
    """AdaBound (Luo et al. 2019, Algorithm 2), or AMSBound: step sizes that close in on SGD's.

    Step: `clip(√(1-b2^t) / (1-b1^t) / (√ν + eps), low_t, high_t) μ`,
    with `low_t = final_lr / base_lr (1 - 1 / (gamma t + 1))` and
    `high_t = final_lr / base_lr (1 + 1 / (gamma t))`.
    """
    final, den = final_lr / base_lr, "nu_max" if amsbound else "nu"

    def pace(t: Array) -> tuple[Array, Array, Array]:
        low, high = final * (1 - 1 / (gamma * t + 1)), final * (1 + 1 / (gamma * t))
        return root(warmth(b2, t)) / warmth(b1, t), low, high

    def direction(x: Leaf) -> Array:
        scale, low, high = x.pace
        size = quotient(scale, root(x.new[den]) + eps, eps)
        return jnp.clip(size, low, high) * x.new["mu"]

    moments = {"mu": ema(b1), "nu": ema(b2, square, signed=False)}
    if amsbound:
        moments["nu_max"] = peak(lambda x: x.new["nu"])
    return Rule(moments, direction, pace)
