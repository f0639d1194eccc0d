"""What a framework computes under a known name and no paper does; `adam_optax.conventions`."""

import math

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import (
    Number,
    is_python_number,
    one_minus_power,
    safe_divide,
    update_ema,
)
from adam_optax.directions import denominator, eps_hat_scale, ratio, ratio_eps_hat
from adam_optax.moments import Leaf, Moment, ema, grad, square
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("eps",))
def scheduled_nadam(
    b1: Number = 0.9, b2: Number = 0.999, eps: Number = 1e-8, momentum_decay: Number = 4e-3
) -> Rule:
    """NAdam with Dozat's schedule of the momentum, as in PyTorch; Keras: `momentum_decay=1`.

    Step: `((1-m_t) / (1-Πm) g + m_{t+1} / (1-Πm m_{t+1}) μ) / (√ν̂ + eps)`,
    with `m_t = b1 (1 - .5 .96^(t momentum_decay))` and `Πm` their product up to `t`.
    """

    def now(t: Array) -> Array:
        return b1 * (1 - 0.5 * jnp.exp(math.log(0.96) * momentum_decay * t))

    def ahead(x: Leaf) -> Array:
        (mu, after), done = x.scalars, x.current["product"]
        step: Array = (1 - mu) / (1 - done) * x.g + after / (1 - done * after) * x.current["mu"]
        return step

    product = Moment(lambda x: x.t, lambda m, x, t: m * now(t), init=1.0, signed=False, scalar=True)
    moments = {"mu": ema(b1), "nu": ema(b2, square, signed=False), "product": product}
    return Rule(moments, ratio(eps, num=ahead), lambda t: (now(t), now(t + 1)))


@variant(decay_rates=("b1", "b2"), non_negative=("eps",))
def constant_adam(b1: Number = 0.9, b2: Number = 0.999, eps: Number = 1e-8) -> Rule:
    """Adam with the bias factors of its first step at every step, as in ODL's solver.

    Step: `√(1-b2) / (1-b1) μ / (√ν + eps)`.
    """
    moments = {"mu": ema(b1), "nu": ema(b2, square, signed=False)}
    factor = (1 - b2) ** 0.5 / (1 - b1)
    return Rule(
        moments,
        lambda x: (
            factor * safe_divide(x.current["mu"], denominator(x.current["nu"], eps), least=eps)
        ),
    )


@variant(decay_rates=("b1", "b2"), non_negative=("eps",))
def fading_adam(
    b1: Number = 0.9, b2: Number = 0.999, eps: Number = 1e-8, decay_factor: Number = 1 - 1e-8
) -> Rule:
    """Adam with epsilon-hat and a b1 that fades, as in Blocks.

    Step: `√(1-b2^t) / (1-b^t) μ / (√ν + eps), b = b1 decay_factor^(t-1)`.
    """
    slope = math.log(decay_factor) if is_python_number(decay_factor) else jnp.log(decay_factor)

    def b(t: Array) -> Array:
        return b1 * jnp.exp(slope * (t - 1))

    mu = Moment(
        grad,
        lambda m, x, t: update_ema(b(t), m, x),
        read=lambda m, x, warm: m / warm,
        precompute=lambda t: one_minus_power(b(t), t),
        decay=b1,
    )
    moments = {"mu": mu, "nu": ema(b2, square, signed=False)}
    return Rule(moments, ratio_eps_hat(eps), eps_hat_scale(b2))
