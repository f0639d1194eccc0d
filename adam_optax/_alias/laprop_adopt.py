"""Minimise with LaProp and ADOPT: normalise first, then average."""

from __future__ import annotations  # so that `help` shows the names of types

from collections.abc import Callable
from typing import Unpack

from jax import Array

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
def laprop(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-15,
    eps_root: Hyperparameter = 0.0,
    *,
    nesterov: bool = False,
    weight_decay: Hyperparameter | None = None,
    mask: Mask = None,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with LaProp: Adam that normalises a gradient first and averages afterwards.

    Take LaProp where Adam is unstable, with a low `b2` for one: a step is never longer than the
    longest of the normalised gradients that it averages.

    Step: `μ̂, μ = b1 μ + (1-b1) g / (√(ν̂ + eps_root) + eps)`, times `-learning_rate`, with
    `ν = b2 ν + (1-b2) |g|²`, `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)` for the gradient `g`
    and the step `t`, 1 at the first. With decay, `λ p` is added to the step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the mean `mu` of normalised gradients, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        nesterov: whether the first moment is read one step ahead (Dozat 2016).
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise; None: no decay.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `mu` and `nu`.

    Raises:
        ValueError: if a number is out of range, or if `mask` or `coupling` is given without
            `weight_decay`.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.laprop(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.100

    References:
        Ziyin et al., [LaProp: Separating Momentum and Adaptivity in
        Adam](https://arxiv.org/abs/2002.04839), 2020, Algorithm 1.
    """
    rule = rules.laprop(b1, b2, eps, eps_root, nesterov)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(laprop, options)
    )


@optimizer_function
def scale_by_laprop(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-15,
    eps_root: Hyperparameter = 0.0,
    *,
    nesterov: bool = False,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Rescale gradients by LaProp.

    Take a `scale_by_*` transformation to put something between the rescaling and the learning rate,
    as in `optax.chain(ao.scale_by_laprop(), ..., optax.scale_by_learning_rate(1e-3))`; else take
    `laprop`, which does both in one pass over memory.

    Step: `μ̂, μ = b1 μ + (1-b1) g / (√(ν̂ + eps_root) + eps)`, with `ν = b2 ν + (1-b2) |g|²`,
    `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)` for the gradient `g` and the step `t`, 1 at the
    first.

    Args:
        b1: decay rate of the mean `mu` of normalised gradients, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        nesterov: whether the first moment is read one step ahead (Dozat 2016).
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
        >>> tx = ao.scale_by_laprop()
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        1.000

    References:
        Ziyin et al., [LaProp: Separating Momentum and Adaptivity in
        Adam](https://arxiv.org/abs/2002.04839), 2020, Algorithm 1.
    """
    rule = rules.laprop(b1, b2, eps, eps_root, nesterov)
    return scale_by(rule, mu_dtype=mu_dtype, **known(scale_by_laprop, options))


@optimizer_function
def adopt(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.9999,
    eps: Hyperparameter = 1e-6,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[Array], Array] | None = None,
    weight_decay: Hyperparameter | None = None,
    mask: Mask = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with ADOPT: Adam normalised by the second moment of the step before.

    Take ADOPT where Adam's convergence hangs on the choice of `b2`: a gradient that is not in its
    own denominator lets every `b2` converge.

    Step: `μ = b1 μ + (1-b1) clip(g / max(√ν_{t-1}, eps), ±(t-1)^¼)`, times `-learning_rate`, with
    `ν = b2 ν + (1-b2) |g|²` for the gradient `g` and the step `t`, 1 at the first. The first step
    only sets `ν = |g|²` and moves nothing. With decay, `λ p` is added to the step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the mean `mu` of normalised gradients, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: the least value of the root in the denominator, in units of the gradient.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        nesterov: whether the first moment is read one step ahead (Dozat 2016).
        use_clipping: whether normalised gradients are clipped; complex ones cannot be.
        clip_value_fn: the bound of a normalised gradient as a function of the count of steps
            before; None: the count's fourth root.
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise; None: no decay.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `mu` and `nu`.

    Raises:
        ValueError: if a number is out of range, or if `mask` or `coupling` is given without
            `weight_decay`.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.adopt(0.1)
        >>> _, state = tx.update(grads, tx.init(params), params)
        >>> updates, state = tx.update(grads, state, params)
        >>> print(f"{updates[0]:.3f}")
        -0.010

    References:
        Taniguchi et al., [ADOPT: Modified Adam Can Converge with Any β2 with the Optimal
        Rate](https://arxiv.org/abs/2411.02853), NeurIPS 2024, Algorithm 2.
    """
    rule = rules.adopt(b1, b2, eps, nesterov, use_clipping, clip_value_fn)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(adopt, options)
    )


@optimizer_function
def scale_by_adopt(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.9999,
    eps: Hyperparameter = 1e-6,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[Array], Array] | None = None,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Rescale gradients by ADOPT.

    Take a `scale_by_*` transformation to put something between the rescaling and the learning rate,
    as in `optax.chain(ao.scale_by_adopt(), ..., optax.scale_by_learning_rate(1e-3))`; else take
    `adopt`, which does both in one pass over memory.

    Step: `μ = b1 μ + (1-b1) clip(g / max(√ν_{t-1}, eps), ±(t-1)^¼)`, with `ν = b2 ν + (1-b2) |g|²`
    for the gradient `g` and the step `t`, 1 at the first. The first step only sets `ν = |g|²` and
    moves nothing.

    Args:
        b1: decay rate of the mean `mu` of normalised gradients, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: the least value of the root in the denominator, in units of the gradient.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        nesterov: whether the first moment is read one step ahead (Dozat 2016).
        use_clipping: whether normalised gradients are clipped; complex ones cannot be.
        clip_value_fn: the bound of a normalised gradient as a function of the count of steps
            before; None: the count's fourth root.
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
        >>> tx = ao.scale_by_adopt()
        >>> _, state = tx.update(grads, tx.init(params), params)
        >>> updates, state = tx.update(grads, state, params)
        >>> print(f"{updates[0]:.3f}")
        0.100

    References:
        Taniguchi et al., [ADOPT: Modified Adam Can Converge with Any β2 with the Optimal
        Rate](https://arxiv.org/abs/2411.02853), NeurIPS 2024, Algorithm 2.
    """
    rule = rules.adopt(b1, b2, eps, nesterov, use_clipping, clip_value_fn)
    return scale_by(rule, mu_dtype=mu_dtype, **known(scale_by_adopt, options))
