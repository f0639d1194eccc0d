"""Minimise with ACProp, whose denominator is that of the step before."""

from __future__ import annotations  # so that `help` shows the names of types

from typing import Unpack

from adam_optax import rules
from adam_optax._alias._build import (
    Transformation,
    known,
    optimizer_function,
    optimizer_with_decay,
    scale_by,
)
from adam_optax._alias.options import DecayOptions, MomentOptions
from adam_optax._core.by_path import Hyperparameter
from adam_optax._core.types import DTypeLike, Mask


@optimizer_function
def acprop(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-16,
    eps_root: Hyperparameter = 1e-16,
    weight_decay: Hyperparameter | None = 0.0,
    mask: Mask = None,
    *,
    paper: bool = False,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with ACProp: a gradient over the surprise in the gradients before it.

    Take ACProp where the denominator must not know the gradient that it divides, as in ADOPT, and
    gradients point steadily in one direction, as for AdaBelief. No mean of gradients is in the
    step, so that noise reaches the parameters as it is; the costs are AdaBelief's.

    Step: `g / (√ν̂_{t-1} + eps), ν = b2 ν + (1-b2) |g - μ_{t-1}|² + eps_root`, times
    `-learning_rate`, with `μ = b1 μ + (1-b1) g` and `ν̂_{t-1} = ν_{t-1} / (1 - b2^(t-1))`, 1 at the
    first step, for the gradient `g` and the step `t`, 1 at the first. With decay, `λ p` is added to
    the step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the mean squared surprise `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to `nu` at every step, in units of the squared gradient.
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        paper: whether the surprise is the distance from the mean with this gradient in it, as in
            the paper, from which optax departs.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `mu` and `nu`.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.acprop(0.1, weight_decay=0.01)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.201

    References:
        Zhuang et al., [Momentum Centering and Asynchronous Update for Adaptive Gradient
        Methods](https://arxiv.org/abs/2110.05454), NeurIPS 2021, Algorithm 2.
    """
    rule = rules.acprop(b1, b2, eps, eps_root, paper)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(acprop, options)
    )


@optimizer_function
def scale_by_acprop(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-16,
    eps_root: Hyperparameter = 1e-16,
    *,
    paper: bool = False,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Rescale gradients by ACProp.

    Take a `scale_by_*` transformation to put something between the rescaling and the learning rate,
    as in `optax.chain(ao.scale_by_acprop(), ..., optax.scale_by_learning_rate(1e-3))`; else take
    `acprop`, which does both in one pass over memory.

    Step: `g / (√ν̂_{t-1} + eps), ν = b2 ν + (1-b2) |g - μ_{t-1}|² + eps_root`, with
    `μ = b1 μ + (1-b1) g` and `ν̂_{t-1} = ν_{t-1} / (1 - b2^(t-1))`, 1 at the first step, for the
    gradient `g` and the step `t`, 1 at the first.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the mean squared surprise `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to `nu` at every step, in units of the squared gradient.
        paper: whether the surprise is the distance from the mean with this gradient in it, as in
            the paper, from which optax departs.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        **options: `nu_dtype`, `storage` and `stacked`, how the moments are kept; see
            `ao.MomentOptions`.

    Returns:
        A transformation that rescales gradients, before learning rate and sign; its state holds
        `count` and the moments `mu` and `nu`.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.scale_by_acprop()
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        2.000

    References:
        Zhuang et al., [Momentum Centering and Asynchronous Update for Adaptive Gradient
        Methods](https://arxiv.org/abs/2110.05454), NeurIPS 2021, Algorithm 2.
    """
    rule = rules.acprop(b1, b2, eps, eps_root, paper)
    return scale_by(rule, mu_dtype=mu_dtype, **known(scale_by_acprop, options))
