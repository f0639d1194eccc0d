"""Minimise with Adan and Lion: Adam with another first moment."""

from __future__ import annotations  # so that `help` shows the names of types

from typing import Literal, Unpack

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
def adan(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.98,
    b2: Hyperparameter = 0.92,
    b3: Hyperparameter = 0.99,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter | None = 0.0,
    mask: Mask = None,
    *,
    paper: bool = False,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with Adan: Adam on the gradient and its change.

    Take Adan for vision models and large batches, at learning rates several times Adam's: the
    change of the gradient is Nesterov's look-ahead without a second gradient. Adan keeps four
    arrays for each parameter.

    Step: `(μ̂ + k δ̂) / (√(ν̂ + eps_root) + eps) + λ p`, times `-learning_rate`, with `μ`, `δ` and
    `ν` the averages by b1, b2 and b3 of `g`, of its change `Δ = g - g_{t-1}` and of `|g + k Δ|²`,
    `μ̂`, `δ̂` and `ν̂` these corrected for their start, and `k = 1 - b2`. (The paper's b's are 1
    minus these.)

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the mean gradient `mu`, in [0, 1).
        b2: decay rate of the mean change `delta` of the gradient, in [0, 1).
        b3: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        paper: whether `k` is the paper's `b2` instead of optax's `1 - b2`.
        mu_dtype: dtype in which `mu`, `delta` and `g` are kept; None: float32 (float64 for float64
            parameters).
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `mu`, `delta` and `nu` and the last
        gradient `g`.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.adan(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.100

    References:
        Xie et al., [Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep
        Models](https://arxiv.org/abs/2208.06677), 2022, Algorithm 1.
    """
    rule = rules.adan(b1, b2, b3, eps, eps_root, paper)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(adan, options)
    )


@optimizer_function
def scale_by_adan(
    b1: Hyperparameter = 0.98,
    b2: Hyperparameter = 0.92,
    b3: Hyperparameter = 0.99,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    *,
    paper: bool = False,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Rescale gradients by Adan.

    Take a `scale_by_*` transformation to put something between the rescaling and the learning rate,
    as in `optax.chain(ao.scale_by_adan(), ..., optax.scale_by_learning_rate(1e-3))`; else take
    `adan`, which does both in one pass over memory. As in optax, `eps_root` is 0 here by default,
    and 1e-8 in `adan`.

    Step: `(μ̂ + k δ̂) / (√(ν̂ + eps_root) + eps)`, with `μ`, `δ` and `ν` the averages by b1, b2 and
    b3 of `g`, of its change `Δ = g - g_{t-1}` and of `|g + k Δ|²`, `μ̂`, `δ̂` and `ν̂` these
    corrected for their start, and `k = 1 - b2`. (The paper's b's are 1 minus these.)

    Args:
        b1: decay rate of the mean gradient `mu`, in [0, 1).
        b2: decay rate of the mean change `delta` of the gradient, in [0, 1).
        b3: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        paper: whether `k` is the paper's `b2` instead of optax's `1 - b2`.
        mu_dtype: dtype in which `mu`, `delta` and `g` are kept; None: float32 (float64 for float64
            parameters).
        **options: `nu_dtype`, `storage` and `stacked`, how the moments are kept; see
            `ao.MomentOptions`.

    Returns:
        A transformation that rescales gradients, before learning rate and sign; its state holds
        `count` and the moments `mu`, `delta` and `nu` and the last gradient `g`.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.scale_by_adan()
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        1.000

    References:
        Xie et al., [Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep
        Models](https://arxiv.org/abs/2208.06677), 2022, Algorithm 1.
    """
    rule = rules.adan(b1, b2, b3, eps, eps_root, paper)
    return scale_by(rule, mu_dtype=mu_dtype, **known(scale_by_adan, options))


@optimizer_function
def lion(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.99,
    mu_dtype: DTypeLike | None = None,
    weight_decay: Hyperparameter | None = 1e-3,
    mask: Mask = None,
    *,
    mode: Literal["hard", "smooth", "refined"] = "hard",
    smooth_beta: Hyperparameter | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with Lion: the sign of a mean of gradients.

    Take Lion to save memory: Lion keeps one moment. Its learning rate should be 3 to 10 times
    smaller than AdamW's, and its weight decay 3 to 10 times larger, because every parameter moves
    by the whole learning rate in every step.

    Step: `sign(b1 μ_{t-1} + (1-b1) g) + λ p`, times `-learning_rate`, with `μ = b2 μ + (1-b2) g`
    for the gradient `g` and the parameter `p`.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: share of the mean in the direction, in [0, 1).
        b2: decay rate of the mean `mu`, in [0, 1).
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        mode: what stands for the sign of `c = b1 μ_{t-1} + (1-b1) g`, as in `optax.scale_by_lion`:
            "hard": the sign; "smooth": `tanh(smooth_beta c)`, for real gradients only; "refined":
            `c` itself where `|c| < 1`, else the sign.
        smooth_beta: how steep the smooth sign is, in units of 1 over the gradient; None: 1. Only
            for `mode="smooth"`.
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moment `mu`.

    Raises:
        ValueError: if a number is out of range, or if `mode` is none of the three.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.lion(0.1, weight_decay=0.01)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.101

    References:
        Chen et al., [Symbolic Discovery of Optimization
        Algorithms](https://arxiv.org/abs/2302.06675), NeurIPS 2023, Algorithm 2.
    """
    rule = rules.lion(b1, b2, mode, 1.0 if smooth_beta is None else smooth_beta)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(lion, options)
    )


@optimizer_function
def scale_by_lion(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.99,
    mu_dtype: DTypeLike | None = None,
    *,
    mode: Literal["hard", "smooth", "refined"] = "hard",
    smooth_beta: Hyperparameter = 1.0,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Rescale gradients by Lion.

    Take a `scale_by_*` transformation to put something between the rescaling and the learning rate,
    as in `optax.chain(ao.scale_by_lion(), ..., optax.scale_by_learning_rate(1e-3))`; else take
    `lion`, which does both in one pass over memory.

    Step: `sign(c)`, with `c = b1 μ_{t-1} + (1-b1) g` and `μ = b2 μ + (1-b2) g` for the gradient
    `g`.

    Args:
        b1: share of the mean in the direction, in [0, 1).
        b2: decay rate of the mean `mu`, in [0, 1).
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        mode: what stands for the sign of `c`, as in optax: "hard": the sign; "smooth":
            `tanh(smooth_beta c)`, for real gradients only; "refined": `c` itself where `|c| < 1`,
            else the sign.
        smooth_beta: how steep the smooth sign is, in units of 1 over the gradient; only for
            `mode="smooth"`.
        **options: `nu_dtype`, `storage` and `stacked`, how the moments are kept; see
            `ao.MomentOptions`.

    Returns:
        A transformation that rescales gradients, before learning rate and sign; its state holds
        `count` and the moment `mu`.

    Raises:
        ValueError: if a number is out of range, or if `mode` is none of the three.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.scale_by_lion()
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        1.000

    References:
        Chen et al., [Symbolic Discovery of Optimization
        Algorithms](https://arxiv.org/abs/2302.06675), NeurIPS 2023, Algorithm 2.
    """
    rule = rules.lion(b1, b2, mode, smooth_beta)
    return scale_by(rule, mu_dtype=mu_dtype, **known(scale_by_lion, options))
