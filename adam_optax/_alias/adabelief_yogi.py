"""Minimise with AdaBelief and Yogi: Adam with another second moment."""

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
def adabelief(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-16,
    eps_root: Hyperparameter = 1e-16,
    *,
    nesterov: bool = False,
    weight_decay: Hyperparameter | None = None,
    mask: Mask = None,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with AdaBelief: Adam by the surprise in a gradient instead of its size.

    Take AdaBelief where gradients point steadily in one direction: its steps are long where a
    gradient is near its mean, and short where it is not. `eps` matters more than in Adam.

    Step: `μ̂ / (√ν̂ + eps), ν = b2 ν + (1-b2) |g - μ|² + eps_root`, times `-learning_rate`, with
    `μ = b1 μ + (1-b1) g`, `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)` for the gradient `g` and
    the step `t`, 1 at the first. With decay, `λ p` is added to the step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the mean squared surprise `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to `nu` at every step, in units of the squared gradient.
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
        >>> tx = ao.adabelief(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.111

    References:
        Zhuang et al., [AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed
        Gradients](https://arxiv.org/abs/2010.07468), NeurIPS 2020, Algorithm 2.
    """
    rule = rules.adabelief(b1, b2, eps, eps_root, nesterov)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(adabelief, options)
    )


@optimizer_function
def scale_by_belief(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-16,
    eps_root: Hyperparameter = 1e-16,
    *,
    nesterov: bool = False,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Rescale gradients by AdaBelief.

    Take a `scale_by_*` transformation to put something between the rescaling and the learning rate,
    as in `optax.chain(ao.scale_by_belief(), ..., optax.scale_by_learning_rate(1e-3))`; else take
    `adabelief`, which does both in one pass over memory.

    Step: `μ̂ / (√ν̂ + eps), ν = b2 ν + (1-b2) |g - μ|² + eps_root`, with `μ = b1 μ + (1-b1) g`,
    `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)` for the gradient `g` and the step `t`, 1 at the
    first.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the mean squared surprise `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to `nu` at every step, in units of the squared gradient.
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
        >>> tx = ao.scale_by_belief()
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        1.111

    References:
        Zhuang et al., [AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed
        Gradients](https://arxiv.org/abs/2010.07468), NeurIPS 2020, Algorithm 2.
    """
    rule = rules.adabelief(b1, b2, eps, eps_root, nesterov)
    return scale_by(rule, mu_dtype=mu_dtype, **known(scale_by_belief, options))


@optimizer_function
def yogi(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-3,
    *,
    eps_root: Hyperparameter | None = None,
    initial_accumulator_value: float | None = None,
    nesterov: bool = False,
    weight_decay: Hyperparameter | None = None,
    mask: Mask = None,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with Yogi: Adam whose second moment moves by steps of the squared gradient.

    Take Yogi where gradients are sparse or bursty and Adam's effective learning rate rises too
    fast: its second moment falls no faster than by small squares.

    Step: `μ̂ / (√(ν̂ + eps_root) + eps), ν = ν - (1-b2) sign(ν - |g|²) |g|²`, times
    `-learning_rate`, with `μ = b1 μ + (1-b1) g`, `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)`
    for the gradient `g` and the step `t`, 1 at the first. Start and bias corrections are optax's.
    With decay, `λ p` is added to the step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: `1 - b2` is the share of the squared gradient by which `nu` moves; in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient; None,
            which `optax.inject_hyperparams` does not keep in its state: 0.
        initial_accumulator_value: where `mu` and `nu` start; None: 1e-6.
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
        >>> tx = ao.yogi(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.100

    References:
        Zaheer et al., [Adaptive Methods for Nonconvex
        Optimization](https://papers.nips.cc/paper/2018/hash/90365351ccc7437a1309dc64e4db32a3-Abstract.html),
        NeurIPS 2018, Algorithm 2.
    """
    root = 0.0 if eps_root is None else eps_root
    start = 1e-6 if initial_accumulator_value is None else initial_accumulator_value
    rule = rules.yogi(b1, b2, eps, root, start, nesterov)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(yogi, options)
    )


@optimizer_function
def scale_by_yogi(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-3,
    eps_root: Hyperparameter = 0.0,
    initial_accumulator_value: float = 1e-6,
    *,
    nesterov: bool = False,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Rescale gradients by Yogi.

    Take a `scale_by_*` transformation to put something between the rescaling and the learning rate,
    as in `optax.chain(ao.scale_by_yogi(), ..., optax.scale_by_learning_rate(1e-3))`; else take
    `yogi`, which does both in one pass over memory.

    Step: `μ̂ / (√(ν̂ + eps_root) + eps), ν = ν - (1-b2) sign(ν - |g|²) |g|²`, with
    `μ = b1 μ + (1-b1) g`, `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)` for the gradient `g` and
    the step `t`, 1 at the first.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: `1 - b2` is the share of the squared gradient by which `nu` moves; in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        initial_accumulator_value: where `mu` and `nu` start.
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
        >>> tx = ao.scale_by_yogi()
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        0.999

    References:
        Zaheer et al., [Adaptive Methods for Nonconvex
        Optimization](https://papers.nips.cc/paper/2018/hash/90365351ccc7437a1309dc64e4db32a3-Abstract.html),
        NeurIPS 2018, Algorithm 2.
    """
    rule = rules.yogi(b1, b2, eps, eps_root, initial_accumulator_value, nesterov)
    return scale_by(rule, mu_dtype=mu_dtype, **known(scale_by_yogi, options))
