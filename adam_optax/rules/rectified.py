"""RAdam's rectification, without the cancellation of its textbook form."""

import math
from typing import Any

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number, is_python_number


def rectification(b: Number, t: Array, threshold: Number = 5.0) -> tuple[Array, Array]:
    """Whether nu has seen enough by step `t`, and the factor `r_t` (Liu et al. 2020, Algorithm 2).

    `r_t = sqrt((rho-4) (rho-2) rho_inf / ((rho_inf-4) (rho_inf-2) rho))` where
    `rho_t >= threshold`; 1 elsewhere, so that nothing is the root of a negative number.
    """
    rho, limit = length(b, t), jnp.maximum(2 / (1 - b) - 1, 4.001)  # never sure where it is less
    sure = rho >= threshold
    rho = jnp.where(sure, rho, limit)
    ratio = (rho - 4) / (limit - 4) * ((rho - 2) / (limit - 2)) * (limit / rho)
    return sure, jnp.sqrt(ratio)


def length(b: Number, t: Array) -> Array:
    """`rho_t = 2/(1-b) - 1 - 2 t b^t / (1 - b^t)`, the length of the average seen as a window.

    With `x = -t log b` the last term is `2/a x/(e^x - 1)`, `a = -log b`. It nearly cancels the
    first at small x (2000 - 1994: float32 is off by 1 %), where its series is `t` less little.
    """
    a, offset = _constants(b) if is_python_number(b) else _traced_constants(b)
    x = a * t
    small = jnp.minimum(x, 0.5)
    series = jnp.ones_like(x)
    for term in (39.4857, 39.5076, 39.6, 40.0, 42.0, 60.0):  # of x/(e^x - 1), Horner's way
        series = 1 - small * small / term * series
    young = t * (1 - small / 6 * series) + offset
    old = 2 / (1 - b) - 1 - 2 * t / jnp.expm1(jnp.maximum(x, 0.5))
    return jnp.where(x < 0.5, young, old)


def _constants(b: float) -> tuple[Number, Number]:
    a = -math.log(b) if b > 0 else math.inf
    return a, _offset(1 - b) if b > 0.9 else 2 / (1 - b) - 1 - 2 / a


def _traced_constants(b: Any) -> tuple[Number, Number]:
    a = -jnp.log1p(b - 1)
    return a, jnp.where(b > 0.9, _offset(1 - b), 2 / (1 - b) - 1 - 2 / a)


def _offset(w: Number) -> Number:
    """`2/w - 1 - 2/a`, `a = -log(1-w)`, by its series in `w <= 0.1`."""
    return w * (1 / 6 + w * (1 / 12 + w * (19 / 360 + w * (3 / 80 + w * 863 / 30240))))
