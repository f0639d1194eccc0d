"""Define Yogi (Zaheer et al. 2018)."""

import dataclasses

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number
from adam_optax.directions import ratio
from adam_optax.moments import ema, square
from adam_optax.rules.base import Rule, variant


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
    """Build Yogi's rule: Adam whose second moment moves by steps of the squared gradient.

    Take Yogi where gradients are sparse or bursty and Adam's effective learning rate rises too
    fast: the second moment falls no faster than by small squares.

    Moments: `mu`, the mean gradient, and `nu`, the second moment.

    Step: `μ̂ / (√(ν̂ + eps_root) + eps), ν = ν - (1-b2) sign(ν - |g|²) |g|²`,
    with `μ = b1 μ + (1-b1) g`, `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)` for the gradient `g`
    and the step `t`, 1 at the first. The start and the bias corrections are optax's; the paper has
    no corrections.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1); default 0.9.
        b2: `1 - b2` is the share of the squared gradient by which `nu` moves; in [0, 1);
            default 0.999.
        eps: added to the root in the denominator, in units of the gradient; default 1e-3.
        eps_root: added to the second moment under the root, in units of the squared gradient;
            default 0.0.
        initial_accumulator_value: where `mu` and `nu` start; a number, no schedule; default 1e-6.
        nesterov: whether the first moment is read one step ahead (Dozat 2016); default False.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if `initial_accumulator_value` is a schedule.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.yogi(), 1e-2)

    References:
        Zaheer et al., [Adaptive Methods for Nonconvex
        Optimization](https://papers.nips.cc/paper/2018/hash/90365351ccc7437a1309dc64e4db32a3-Abstract.html),
        NeurIPS 2018, Algorithm 2.
    """

    def update(m: Array, x: Array, t: Array) -> Array:
        return m - (1 - b2) * jnp.sign(m - x) * x

    init = initial_accumulator_value
    nu = dataclasses.replace(ema(b2, square, signed=False, init=init), update=update)
    return Rule({"mu": ema(b1, nesterov=nesterov, init=init), "nu": nu}, ratio(eps, eps_root))
