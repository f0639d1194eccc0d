"""Minimise with RAdam and AdaBound: Adam held back early, or late."""

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
def radam(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    threshold: Hyperparameter = 5.0,
    *,
    nesterov: bool = False,
    eps_hat: bool = False,
    weight_decay: Hyperparameter | None = None,
    mask: Mask = None,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with RAdam: Adam, rectified while its second moment is young.

    Take RAdam where Adam needs a warm-up of the learning rate: RAdam starts with momentum alone,
    and shrinks Adam's step while its second moment averages few gradients.

    Step: `r_t μ̂ / (√(ν̂ + eps_root) + eps), and μ̂ while ρ_t < threshold`, times `-learning_rate`,
    with `r_t = √((ρ_t-4) (ρ_t-2) ρ_∞ / ((ρ_∞-4) (ρ_∞-2) ρ_t))`, `ρ_∞ = 2 / (1-b2) - 1`,
    `ρ_t = ρ_∞ - 2 t b2^t / (1 - b2^t)` and Adam's μ̂ and ν̂ (see `adam`) at the step `t`, 1 at the
    first. With decay, `λ p` is added to the step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        threshold: the length of the average, in steps, from which the second moment is trusted;
            below it the step is the mean gradient.
        nesterov: whether the first moment is read one step ahead (Dozat 2016).
        eps_hat: whether `eps` is the paper's epsilon-hat, added to the root of the uncorrected
            second moment as in TensorFlow and Keras: it then acts like `eps / sqrt(1 - b2^t)`.
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
        >>> tx = ao.radam(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.200

    References:
        Liu et al., [On the Variance of the Adaptive Learning Rate and
        Beyond](https://arxiv.org/abs/1908.03265), ICLR 2020, Algorithm 2.
    """
    rule = rules.radam(b1, b2, eps, eps_root, threshold, nesterov, eps_hat)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(radam, options)
    )


@optimizer_function
def scale_by_radam(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    threshold: Hyperparameter = 5.0,
    *,
    nesterov: bool = False,
    eps_hat: bool = False,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Rescale gradients by RAdam.

    Take a `scale_by_*` transformation to put something between the rescaling and the learning rate,
    as in `optax.chain(ao.scale_by_radam(), ..., optax.scale_by_learning_rate(1e-3))`; else take
    `radam`, which does both in one pass over memory.

    Step: `r_t μ̂ / (√(ν̂ + eps_root) + eps), and μ̂ while ρ_t < threshold`, with
    `r_t = √((ρ_t-4) (ρ_t-2) ρ_∞ / ((ρ_∞-4) (ρ_∞-2) ρ_t))`, `ρ_∞ = 2 / (1-b2) - 1`,
    `ρ_t = ρ_∞ - 2 t b2^t / (1 - b2^t)` and Adam's μ̂ and ν̂ (see `adam`) at the step `t`, 1 at the
    first.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        threshold: the length of the average, in steps, from which the second moment is trusted;
            below it the step is the mean gradient.
        nesterov: whether the first moment is read one step ahead (Dozat 2016).
        eps_hat: whether `eps` is the paper's epsilon-hat, added to the root of the uncorrected
            second moment as in TensorFlow and Keras: it then acts like `eps / sqrt(1 - b2^t)`.
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
        >>> tx = ao.scale_by_radam()
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        2.000

    References:
        Liu et al., [On the Variance of the Adaptive Learning Rate and
        Beyond](https://arxiv.org/abs/1908.03265), ICLR 2020, Algorithm 2.
    """
    rule = rules.radam(b1, b2, eps, eps_root, threshold, nesterov, eps_hat)
    return scale_by(rule, mu_dtype=mu_dtype, **known(scale_by_radam, options))


@optimizer_function
def adabound(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    final_lr: Hyperparameter = 0.1,
    gamma: Hyperparameter = 1e-3,
    base_lr: Hyperparameter = 1e-3,
    *,
    weight_decay: Hyperparameter | None = None,
    mask: Mask = None,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with AdaBound: from Adam to SGD by bounds on the step sizes.

    Take AdaBound where Adam trains faster and SGD generalises better: the step sizes of all
    parameters are held between bounds that close in on one learning rate.

    Step: `clip(√(1-b2^t) / (1-b1^t) / (√ν + eps), low_t, high_t) μ`, times `-learning_rate`, with
    `low_t = final_lr / base_lr (1 - 1 / (gamma t + 1))`,
    `high_t = final_lr / base_lr (1 + 1 / (gamma t))`, `μ = b1 μ + (1-b1) g` and
    `ν = b2 ν + (1-b2) |g|²` for the gradient `g` and the step `t`, 1 at the first. With decay,
    `λ p` is added to the step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        final_lr: the learning rate of SGD on which both bounds close in, where `learning_rate` is
            `base_lr`.
        gamma: how fast the bounds close in: after `1 / gamma` steps, each is within a factor of 2
            of its limit.
        base_lr: the learning rate to which `final_lr` belongs; a schedule that lowers
            `learning_rate` below `base_lr` lowers the bounds as much.
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
        >>> tx = ao.adabound(0.1, base_lr=0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.100

    References:
        Luo et al., [Adaptive Gradient Methods with Dynamic Bound of Learning
        Rate](https://arxiv.org/abs/1902.09843), ICLR 2019, Algorithm 2.
    """
    rule = rules.adabound(b1, b2, eps, final_lr, gamma, base_lr, amsbound=False)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(adabound, options)
    )


@optimizer_function
def amsbound(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    final_lr: Hyperparameter = 0.1,
    gamma: Hyperparameter = 1e-3,
    base_lr: Hyperparameter = 1e-3,
    *,
    weight_decay: Hyperparameter | None = None,
    mask: Mask = None,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with AMSBound: AdaBound whose second moment never falls.

    Take AMSBound where AdaBound is right and rare large gradients must not be forgotten. AMSBound
    keeps a third moment.

    Step: `clip(√(1-b2^t) / (1-b1^t) / (√ν_max + eps), low_t, high_t) μ`, times `-learning_rate`,
    with `ν_max = max(ν_max, ν)`, `low_t = final_lr / base_lr (1 - 1 / (gamma t + 1))`,
    `high_t = final_lr / base_lr (1 + 1 / (gamma t))`, `μ = b1 μ + (1-b1) g` and
    `ν = b2 ν + (1-b2) |g|²` for the gradient `g` and the step `t`, 1 at the first. With decay,
    `λ p` is added to the step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        final_lr: the learning rate of SGD on which both bounds close in, where `learning_rate` is
            `base_lr`.
        gamma: how fast the bounds close in: after `1 / gamma` steps, each is within a factor of 2
            of its limit.
        base_lr: the learning rate to which `final_lr` belongs; a schedule that lowers
            `learning_rate` below `base_lr` lowers the bounds as much.
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise; None: no decay.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `mu`, `nu` and `nu_max`.

    Raises:
        ValueError: if a number is out of range, or if `mask` or `coupling` is given without
            `weight_decay`.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.amsbound(0.1, base_lr=0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.100

    References:
        Luo et al., [Adaptive Gradient Methods with Dynamic Bound of Learning
        Rate](https://arxiv.org/abs/1902.09843), ICLR 2019, Algorithm 3.
        Reddi et al., [On the Convergence of Adam and Beyond](https://arxiv.org/abs/1904.09237),
        ICLR 2018, Algorithm 2.
    """
    rule = rules.adabound(b1, b2, eps, final_lr, gamma, base_lr, amsbound=True)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(amsbound, options)
    )
