"""Minimise with QHAdam and Grams, which mix the gradient of the step into Adam."""

from __future__ import annotations  # so that `help` shows the names of types

from typing import Unpack

from adam_optax import rules
from adam_optax._alias._build import (
    Transformation,
    known,
    optimizer_function,
    optimizer_with_decay,
)
from adam_optax._alias.options import DecayOptions
from adam_optax._core.by_path import Hyperparameter
from adam_optax._core.types import DTypeLike, Mask


@optimizer_function
def qhadam(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.995,
    b2: Hyperparameter = 0.999,
    v1: Hyperparameter = 0.7,
    v2: Hyperparameter = 1.0,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    weight_decay: Hyperparameter | None = 0.0,
    mask: Mask = None,
    *,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with QHAdam: Adam whose moments are each mixed with the gradient of the step.

    Take QHAdam for a long memory that still follows the last gradient, at Adam's costs: with `v1` 1
    it is Adam, with `v1` equal to `b1` about NAdam, with `v1` 0 RMSProp.

    Step: `((1-v1) g + v1 μ̂) / (√((1-v2) |g|² + v2 ν̂ + eps_root) + eps)`, times `-learning_rate`,
    with `μ = b1 μ + (1-b1) g`, `ν = b2 ν + (1-b2) |g|²`, `μ̂ = μ / (1 - b1^t)` and
    `ν̂ = ν / (1 - b2^t)` for the gradient `g` and the step `t`, 1 at the first. With decay, `λ p` is
    added to the step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        v1: the share of the mean gradient in the numerator, from 0 to 1.
        v2: the share of the mean squared gradient in the denominator, from 0 to 1.
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
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
        >>> tx = ao.qhadam(0.1, weight_decay=0.01)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.101

    References:
        Ma & Yarats, [Quasi-hyperbolic momentum and Adam for deep
        learning](https://arxiv.org/abs/1810.06801), ICLR 2019, section 4.
    """
    rule = rules.qhadam(b1, b2, v1, v2, eps, eps_root)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(qhadam, options)
    )


@optimizer_function
def grams(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-6,
    eps_root: Hyperparameter = 0.0,
    weight_decay: Hyperparameter | None = 0.0,
    mask: Mask = None,
    *,
    nesterov: bool = False,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with Grams: Adam says how far, and the gradient in which direction.

    Take Grams where cautious steps help (`ao.directions.cautious`). Cautious steps leave out each
    element whose mean gradient has another sign than its gradient; Grams turns the step of such an
    element round. Its costs are Adam's.

    Step: `sign(g) |μ̂ / (√(ν̂ + eps_root) + eps)|`, times `-learning_rate`, with
    `μ = b1 μ + (1-b1) g`, `ν = b2 ν + (1-b2) |g|²`, `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)`
    for the gradient `g` and the step `t`, 1 at the first. With decay, `λ p` is added to the step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        nesterov: whether the first moment is read one step ahead (Dozat 2016).
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
        >>> tx = ao.grams(0.1, weight_decay=0.01)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.101

    References:
        Cao et al., [Grams: Gradient Descent with Adaptive Momentum
        Scaling](https://arxiv.org/abs/2412.17107), 2024, Algorithm 1.
    """
    rule = rules.grams(b1, b2, eps, eps_root, nesterov)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(grams, options)
    )
