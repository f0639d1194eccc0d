"""Minimise with LAMB, NovoGrad and StableAdamW, which look at whole layers."""

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
def lamb(
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
    """Minimise with LAMB: Adam with decay, at the length of the parameter.

    Take LAMB for very large batches: each step is scaled by the norm of its parameter, so that all
    layers move by the same share of themselves.

    Step: `d |p| / |d|, d = μ̂ / (√(ν̂ + eps_root) + eps) + λ p`, times `-learning_rate`, with
    `μ = b1 μ + (1-b1) g`, `ν = b2 ν + (1-b2) |g|²`, `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)`
    for the gradient `g`, the parameter `p` and the step `t`, 1 at the first.

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
        >>> tx = ao.lamb(0.1, weight_decay=0.01)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.100

    References:
        You et al., [Large Batch Optimization for Deep Learning: Training BERT in 76
        Minutes](https://arxiv.org/abs/1904.00962), ICLR 2020, Algorithm 2.
    """
    rule = rules.lamb(b1, b2, eps, eps_root, nesterov)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(lamb, options)
    )


@optimizer_function
def novograd(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.25,
    eps: Hyperparameter = 1e-6,
    eps_root: Hyperparameter = 0.0,
    weight_decay: Hyperparameter | None = 0.0,
    *,
    nesterov: bool = False,
    mask: Mask = None,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with NovoGrad: gradients over the norm of their layer, and decay in the average.

    Take NovoGrad for speech and vision models with large batches. NovoGrad needs half of Adam's
    memory, because its second moment is one number for each parameter array.

    Step: `μ = b1 μ + g / (√(ν + eps_root) + eps) + λ p`, times `-learning_rate`, with
    `ν = b2 ν + (1-b2) Σ|g|²`, at first `Σ|g|²`, for the gradient `g` and the parameter `p`.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the sum `mu` of normalised gradients, in [0, 1).
        b2: decay rate of `nu`, the squared norm of a parameter's gradient, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        weight_decay: strength λ of the weight decay, which is averaged with the gradient.
        nesterov: whether the first moment is read one step ahead.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        **options: `coupling`, how the decay goes with the learning rate (neither independent nor
            cautious), and `nu_dtype`, `storage` and `stacked`, how the moments are kept; see
            `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `mu` and `nu`, of which `nu` is one
        number for each parameter array.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.novograd(0.1, weight_decay=0.01)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.059

    References:
        Ginsburg et al., [Stochastic Gradient Methods with Layer-wise Adaptive Moments for Training
        of Deep Networks](https://arxiv.org/abs/1905.11286), 2019, Algorithm 1.
    """
    rule = rules.novograd(b1, b2, eps, eps_root, nesterov)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(novograd, options)
    )


@optimizer_function
def scale_by_novograd(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.25,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    weight_decay: Hyperparameter = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Rescale gradients by NovoGrad.

    Take a `scale_by_*` transformation to put something between the rescaling and the learning rate,
    as in `optax.chain(ao.scale_by_novograd(), ..., optax.scale_by_learning_rate(1e-3))`; else take
    `novograd`, which does both in one pass over memory. As in optax, `eps` is 1e-8 here by default,
    and 1e-6 in `novograd`.

    Step: `μ`, with `μ = b1 μ + g / (√(ν + eps_root) + eps) + λ p` and `ν = b2 ν + (1-b2) Σ|g|²`, at
    first `Σ|g|²`, for the gradient `g` and the parameter `p`.

    Args:
        b1: decay rate of the sum `mu` of normalised gradients, in [0, 1).
        b2: decay rate of `nu`, the squared norm of a parameter's gradient, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        weight_decay: strength λ of the weight decay, which is averaged with the gradient; all
            parameters decay. Above 0, `update` needs the parameters.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        nesterov: whether the first moment is read one step ahead.
        **options: `nu_dtype`, `storage` and `stacked`, how the moments are kept; see
            `ao.MomentOptions`.

    Returns:
        A transformation that rescales gradients, before learning rate and sign; its state holds
        `count` and the moments `mu` and `nu`, of which `nu` is one number for each parameter array.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.scale_by_novograd(weight_decay=0.01)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        0.587

    References:
        Ginsburg et al., [Stochastic Gradient Methods with Layer-wise Adaptive Moments for Training
        of Deep Networks](https://arxiv.org/abs/1905.11286), 2019, Algorithm 1.
    """
    rule = rules.novograd(b1, b2, eps, eps_root, nesterov, weight_decay)
    return scale_by(rule, mu_dtype=mu_dtype, **known(scale_by_novograd, options))


@optimizer_function
def stable_adamw(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.99,
    eps: Hyperparameter = 1e-6,
    weight_decay: Hyperparameter | None = 0.01,
    mask: Mask = None,
    *,
    nesterov: bool = False,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with StableAdamW: AdamW with Adafactor's update clipping.

    Take StableAdamW where the loss of a large model has spikes, or instead of clipping gradients:
    for each parameter array by itself, a step is shortened where the gradients are larger than the
    second moment predicts.

    Step: `d / max(1, rms(g / √ν̂)), d = μ̂ / (√ν̂ + eps) + λ p`, times `-learning_rate`, with
    `μ = b1 μ + (1-b1) g`, `ν = b2 ν + (1-b2) |g|²`, `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)`
    for the gradient `g`, the parameter `p` and the step `t`, 1 at the first.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
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
        >>> tx = ao.stable_adamw(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.101

    References:
        Wortsman et al., [Stable and Low-Precision Training for Large-Scale Vision-Language
        Models](https://arxiv.org/abs/2304.13013), NeurIPS 2023, Algorithm 2.
    """
    rule = rules.stable_adam(b1, b2, eps, nesterov)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(stable_adamw, options)
    )
