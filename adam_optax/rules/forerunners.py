"""What Adam grew out of, and what bounds it on the way back to SGD."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number, abs_sq, one_minus_power, safe_divide, safe_sqrt
from adam_optax.moments import Leaf, Read, ema, grad, running_max, square, trace
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("momentum",), optional=("momentum",))
def momentum(momentum: Number | None = 0.9, nesterov: bool = False) -> Rule:
    """Momentum (Polyak 1964), undamped, or Nesterov's as in Sutskever et al. 2013; None: none.

    Step: `trace = momentum trace + g`.
    """
    if momentum is None:
        return Rule({}, grad)
    return Rule({"trace": trace(grad, momentum, nesterov=nesterov)}, lambda x: x.hat["trace"])


@variant(non_negative=("eps",), constant=("initial_accumulator_value",))
def adagrad(initial_accumulator_value: float = 0.1, eps: Number = 1e-7) -> Rule:
    """AdaGrad (Duchi et al. 2011, Figure 1), with optax's start and `eps` under the root.

    Step: `g / √(Σ_t |g|² + eps)`.
    """
    seen = trace(square, init=initial_accumulator_value, signed=False)
    den = lambda x: safe_sqrt(x.current["sum_of_squares"] + eps)  # noqa: E731
    return Rule({"sum_of_squares": seen}, lambda x: safe_divide(x.g, den(x), eps))


def scatter(b: Number, *, corrected: bool) -> Read:
    """What the variance averages, from the mean `mu` before the step (West 1979).

    `E[g^2] - E[g]^2` cancels; with `d` the gradient's distance from the mean so far, the variance
    is the average of `b |d|^2`. Corrected for the start, the mean is `mu / (1 - b^{t-1})`, and the
    share of the past is `b (1 - b^{t-1}) / (1 - b^t)` instead of `b`: 0 at first.
    """

    def of(x: Leaf) -> Array:
        if not corrected:
            return b * abs_sq(x.g - x.previous["mu"])
        past = one_minus_power(b, x.t - 1)
        mean = x.previous["mu"] / jnp.where(past > 0, past, 1.0)
        return b * past / one_minus_power(b, x.t) * abs_sq(x.g - mean)

    return of


@variant(decay_rates=("decay", "momentum"), non_negative=("eps",), constant=("initial_scale",))
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
        return safe_divide(x.g, safe_sqrt(v + eps) if eps_in_sqrt else safe_sqrt(v) + eps, eps)

    if momentum is None:
        return Rule(moments, unit)
    steps = trace(lambda x: x.learning_rate * unit(x), momentum, nesterov=nesterov)
    return Rule({**moments, "trace": steps}, lambda x: x.hat["trace"], handles=("learning_rate",))


@variant(decay_rates=("rho",), non_negative=("eps",))
def adadelta(rho: Number = 0.9, eps: Number = 1e-6) -> Rule:
    """AdaDelta (Zeiler 2012, Algorithm 1): the step in units of the steps before.

    Step: `d = g √(e_x + eps) / √(e_g + eps), e_g of |g|², e_x of |d|²`.
    """

    def step(x: Leaf) -> Array:
        return (
            safe_divide(safe_sqrt(x.previous["e_x"] + eps), safe_sqrt(x.current["e_g"] + eps), eps)
            * x.g
        )

    mean = lambda of: ema(rho, of, signed=False, corrected=False)  # noqa: E731
    return Rule({"e_g": mean(square), "e_x": mean(lambda x: abs_sq(step(x)))}, step)


@variant(decay_rates=("b1", "b2"), non_negative=("eps",))
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
        return safe_sqrt(one_minus_power(b2, t)) / one_minus_power(b1, t), low, high

    def direction(x: Leaf) -> Array:
        scale, low, high = x.scalars
        size = safe_divide(scale, safe_sqrt(x.current[den]) + eps, eps)
        return jnp.clip(size, low, high) * x.current["mu"]

    moments = {"mu": ema(b1), "nu": ema(b2, square, signed=False)}
    if amsbound:
        moments["nu_max"] = running_max(lambda x: x.current["nu"])
    return Rule(moments, direction, pace)
