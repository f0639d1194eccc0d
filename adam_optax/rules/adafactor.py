"""Adafactor's arithmetic; its memory is a storage of nu, `adam_optax.storage.factored`."""

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number, abs_sq, safe_divide, safe_sqrt
from adam_optax.directions import clip_by_rms
from adam_optax.moments import Leaf, Moment, ema
from adam_optax.rules.base import Rule, variant


@variant(
    decay_rates=("momentum",),
    non_negative=("clipping_threshold", "eps"),
    optional=("clipping_threshold",),
)
def adafactor(
    decay_rate: Number = 0.8,
    decay_offset: int = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: Number | None = 1.0,
    momentum: Number | None = None,
    eps: Number = 1e-30,
) -> Rule:
    """Adafactor (Shazeer & Stern 2018, Algorithm 4); momentum follows the rate, as in optax.

    Step: `max(rms(p), 1e-3) d / max(1, rms(d) / threshold), d = g / √ν`,
    with `ν = b ν + (1-b) (|g|² + eps)`, `b = 1 - t^-decay_rate`.
    """

    def update(m: Array, x: Array, t: Array) -> Array:
        age = jnp.maximum(t - decay_offset, 1.0)
        return m + jnp.exp(-decay_rate * jnp.log(age)) * (x - m)  # 1 - b_t = age^-decay_rate

    def unit(x: Leaf) -> Array:
        step = safe_divide(x.g, safe_sqrt(x.current["nu"]), 0.0)
        step = step if clipping_threshold is None else clip_by_rms(clipping_threshold)(step, x)
        return step * parameter_scale(x) if multiply_by_parameter_scale else step

    nu = Moment(lambda x: abs_sq(x.g) + eps, update, signed=False)
    if momentum is None:
        return Rule({"nu": nu}, unit)
    mu = ema(momentum, lambda x: x.learning_rate * unit(x), corrected=False)
    return Rule({"nu": nu, "mu": mu}, lambda x: x.current["mu"], handles=("learning_rate",))


def parameter_scale(x: Leaf, least: float = 1e-3) -> Array:
    """The size of the parameter, `max(rms(p), least)`, in which Adafactor takes its steps."""
    size = jnp.sum(abs_sq(x.p)) / max(x.p.size, 1)
    return jnp.maximum(safe_sqrt(size), least)
