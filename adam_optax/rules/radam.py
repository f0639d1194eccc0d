"""Define RAdam (Liu et al. 2020), with a window length that does not cancel."""

import math
from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number, is_python_number, log_rate
from adam_optax.moments import Leaf
from adam_optax.rules.adam import adam
from adam_optax.rules.base import Rule, variant


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
    """Build RAdam's rule: Adam, rectified while its second moment is young.

    Take RAdam where Adam needs a warm-up of the learning rate: it starts with momentum alone, and
    shrinks Adam's step while the second moment averages few gradients.

    Moments: `mu`, the mean gradient, and `nu`, the mean squared gradient.

    Step: `r_t μ̂ / (√(ν̂ + eps_root) + eps), and μ̂ while ρ_t < threshold`,
    with `r_t = √((ρ_t-4) (ρ_t-2) ρ_∞ / ((ρ_∞-4) (ρ_∞-2) ρ_t))`, `ρ_∞ = 2 / (1-b2) - 1`,
    `ρ_t = ρ_∞ - 2 t b2^t / (1 - b2^t)` and Adam's μ̂ and ν̂ (see `adam`) at the step `t`, 1 at the
    first. The paper rectifies where `ρ_t > 4`; 5 is its authors' code's.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1); default 0.9.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.999.
        eps: added to the root in the denominator, in units of the gradient; default 1e-8.
        eps_root: added to the second moment under the root, in units of the squared gradient;
            default 0.0.
        threshold: the length of the average, in steps, from which the second moment is trusted;
            below it the step is the mean gradient; default 5.0.
        nesterov: whether the first moment is read one step ahead (Dozat 2016); default False.
        eps_hat: whether `eps` is the paper's epsilon-hat, added to the root of the uncorrected
            second moment as in TensorFlow and Keras: it then acts like `eps / sqrt(1 - b2^t)`;
            default False.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.radam(), 1e-3)

    References:
        Liu et al., [On the Variance of the Adaptive Learning Rate and
        Beyond](https://arxiv.org/abs/1908.03265), ICLR 2020, Algorithm 2.
    """
    rule = adam(b1, b2, eps, eps_root, nesterov, eps_hat)

    def precompute(t: Array, ages: Mapping[str, Array]) -> tuple[tuple[Array, Array], object]:
        return _rectification(b2, ages["nu"], threshold), rule.precompute(t, ages)

    def direction(x: Leaf) -> Array:
        (is_rectified, r), scalars = x.scalars
        return jnp.where(is_rectified, r * rule.direction(x._replace(scalars=scalars)), x.hat["mu"])

    return Rule(rule.moments, direction, precompute)


def _rectification(b: Number, t: Array, threshold: Number) -> tuple[Array, Array]:
    """Return whether `rho_t >= threshold`, and there `r_t`; elsewhere 1.

    The 1 keeps the branch that is not taken from the root of a negative number.
    """
    rho, rho_inf = _sma_length(b, t), jnp.maximum(2 / (1 - b) - 1, 4.001)
    is_rectified = rho >= threshold  # never where rho_inf was raised to 4.001
    rho = jnp.where(is_rectified, rho, rho_inf)
    r_squared = (rho - 4) / (rho_inf - 4) * ((rho - 2) / (rho_inf - 2)) * (rho_inf / rho)
    return is_rectified, jnp.sqrt(r_squared)


def _sma_length(b: Number, t: Array) -> Array:
    """Return `rho_t = 2/(1-b) - 1 - 2 t b^t / (1 - b^t)`, the average's length as a window.

    With `a = -log b` and `x = a t` the last term is `2/a x/(e^x - 1)`. At small x the last term
    nearly cancels the first (2000 - 1994: float32 is off by 1 %), so that a series is summed there:
    `rho_t = t (1 - x/6 + ...) + 2/(1-b) - 1 - 2/a`.
    """
    a, offset = _constants(b) if is_python_number(b) else _traced_constants(b)
    x = a * t
    small = jnp.minimum(x, 0.5)
    series = jnp.ones_like(x)
    for term in (39.4857, 39.5076, 39.6, 40.0, 42.0, 60.0):  # of x/(e^x - 1), by Horner's scheme
        series = 1 - small * small / term * series
    young = t * (1 - small / 6 * series) + offset
    old = 2 / (1 - b) - 1 - 2 * t / jnp.expm1(jnp.maximum(x, 0.5))
    return jnp.where(x < 0.5, young, old)


def _constants(b: float) -> tuple[Number, Number]:
    """Return `a = -log b` and `2/(1-b) - 1 - 2/a`, in double."""
    a = -math.log(b) if b > 0 else math.inf
    return a, _offset(1 - b) if b > 0.9 else 2 / (1 - b) - 1 - 2 / a


def _traced_constants(b: Number) -> tuple[Number, Number]:
    """Return what `_constants` returns, for a rate that is an array."""
    a = log_rate(jnp.asarray(b))
    return a, jnp.where(b > 0.9, _offset(1 - b), 2 / (1 - b) - 1 - 2 / a)


def _offset(w: Number) -> Number:
    """Return `2/w - 1 - 2/a`, `a = -log(1-w)`, by its series for `w <= 0.1`."""
    return w * (1 / 6 + w * (1 / 12 + w * (19 / 360 + w * (3 / 80 + w * 863 / 30240))))
