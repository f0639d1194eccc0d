"""Minimise with AdEMAMix and its simplified form."""

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
def ademamix(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    b3: Hyperparameter = 0.9999,
    alpha: Hyperparameter = 5.0,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: DTypeLike | None = None,
    weight_decay: Hyperparameter | None = 0.0,
    mask: Mask = None,
    *,
    nesterov: bool = False,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with AdEMAMix: Adam with a fast and a slow mean of the gradients.

    Take AdEMAMix for long runs on much data, such as language models: gradients of ten thousand
    steps ago still help, if they stand beside a fast mean. AdEMAMix keeps a third moment.

    Step: `(μ̂ + alpha μ_slow) / (√(ν̂ + eps_root) + eps) + λ p`, times `-learning_rate`, with
    `μ = b1 μ + (1-b1) g`, `μ_slow = b3 μ_slow + (1-b3) g`, `ν = b2 ν + (1-b2) |g|²`,
    `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)` for the gradient `g`, the parameter `p` and the
    step `t`, 1 at the first.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the fast mean `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        b3: decay rate of the slow mean `mu_slow`, in [0, 1); warm it up by a schedule in long runs.
        alpha: weight of the slow mean.
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        mu_dtype: dtype in which `mu` and `mu_slow` are kept; None: float32 (float64 for float64
            parameters).
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        nesterov: whether the fast mean is read one step ahead (Dozat 2016).
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` is optax's: it holds `count` twice, and the moments `mu`,
        `mu_slow` and `nu` as `m1`, `m2` and `nu`.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.ademamix(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.100

    References:
        Pagliardini et al., [The AdEMAMix Optimizer: Better, Faster,
        Older](https://arxiv.org/abs/2409.03137), ICLR 2025, Algorithm 1.
    """
    rule = rules.ademamix(b1, b2, b3, alpha, eps, eps_root, nesterov)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(ademamix, options)
    )


@optimizer_function
def scale_by_ademamix(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    b3: Hyperparameter = 0.9999,
    alpha: Hyperparameter = 6.0,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Rescale gradients by AdEMAMix.

    Take a `scale_by_*` transformation to put something between the rescaling and the learning rate,
    as in `optax.chain(ao.scale_by_ademamix(), ..., optax.scale_by_learning_rate(1e-3))`; else take
    `ademamix`, which does both in one pass over memory. As in optax, `alpha` is 6 here by default,
    and 5 in `ademamix`.

    Step: `(μ̂ + alpha μ_slow) / (√(ν̂ + eps_root) + eps)`, with `μ = b1 μ + (1-b1) g`,
    `μ_slow = b3 μ_slow + (1-b3) g`, `ν = b2 ν + (1-b2) |g|²`, `μ̂ = μ / (1 - b1^t)` and
    `ν̂ = ν / (1 - b2^t)` for the gradient `g` and the step `t`, 1 at the first.

    Args:
        b1: decay rate of the fast mean `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        b3: decay rate of the slow mean `mu_slow`, in [0, 1); warm it up by a schedule in long runs.
        alpha: weight of the slow mean.
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        mu_dtype: dtype in which `mu` and `mu_slow` are kept; None: float32 (float64 for float64
            parameters).
        nesterov: whether the fast mean is read one step ahead (Dozat 2016).
        **options: `nu_dtype`, `storage` and `stacked`, how the moments are kept; see
            `ao.MomentOptions`.

    Returns:
        A transformation that rescales gradients, before learning rate and sign; its state is
        optax's: it holds `count` twice, and the moments `mu`, `mu_slow` and `nu` as `m1`, `m2` and
        `nu`.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.scale_by_ademamix()
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        1.001

    References:
        Pagliardini et al., [The AdEMAMix Optimizer: Better, Faster,
        Older](https://arxiv.org/abs/2409.03137), ICLR 2025, Algorithm 1.
    """
    rule = rules.ademamix(b1, b2, b3, alpha, eps, eps_root, nesterov)
    return scale_by(rule, mu_dtype=mu_dtype, **known(scale_by_ademamix, options))


@optimizer_function
def simplified_ademamix(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.99,
    b2: Hyperparameter = 0.95,
    alpha: Hyperparameter = 0.0,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    weight_decay: Hyperparameter | None = 0.0,
    mask: Mask = None,
    *,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with Simplified AdEMAMix: a sum of gradients and the newest one.

    Take Simplified AdEMAMix where AdEMAMix is right but there is memory for two moments only. Its
    sum is some `1 / (1 - b1)` times Adam's mean: the learning rate must be smaller by as much.

    Step: `(μ + alpha g) / (√(ν̂ + eps_root) + eps) + λ p, μ = b1 μ + g`, times `-learning_rate`,
    with `ν = b2 ν + (1-b2) |g|²` and `ν̂ = ν / (1 - b2^t)` for the gradient `g`, the parameter `p`
    and the step `t`, 1 at the first.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the sum `mu` of gradients, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        alpha: weight of the newest gradient.
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
        The optimiser; `state[0]` is optax's: it holds the count `t` and the moments `mu` and `nu`
        as `m` and `n`.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.simplified_ademamix(0.1, alpha=2.0)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.300

    References:
        Morwani et al., [Connections between Schedule-Free Optimizers, AdEMAMix, and Accelerated SGD
        Variants](https://arxiv.org/abs/2502.02431), 2025.
    """
    rule = rules.simplified_ademamix(b1, b2, alpha, eps, eps_root)
    return optimizer_with_decay(
        rule,
        learning_rate,
        weight_decay,
        mask,
        mu_dtype=mu_dtype,
        **known(simplified_ademamix, options),
    )


@optimizer_function
def scale_by_simplified_ademamix(
    b1: Hyperparameter = 0.99,
    b2: Hyperparameter = 0.95,
    alpha: Hyperparameter = 0.0,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    *,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Rescale gradients by Simplified AdEMAMix.

    Take a `scale_by_*` transformation to put something between the rescaling and the learning rate,
    as in `optax.chain(ao.scale_by_simplified_ademamix(), ...,
    optax.scale_by_learning_rate(1e-3))`; else take `simplified_ademamix`, which does both in one
    pass over memory.

    Step: `(μ + alpha g) / (√(ν̂ + eps_root) + eps), μ = b1 μ + g`, with `ν = b2 ν + (1-b2) |g|²`
    and `ν̂ = ν / (1 - b2^t)` for the gradient `g` and the step `t`, 1 at the first.

    Args:
        b1: decay rate of the sum `mu` of gradients, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        alpha: weight of the newest gradient.
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        **options: `nu_dtype`, `storage` and `stacked`, how the moments are kept; see
            `ao.MomentOptions`.

    Returns:
        A transformation that rescales gradients, before learning rate and sign; its state is
        optax's: it holds the count `t` and the moments `mu` and `nu` as `m` and `n`.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.scale_by_simplified_ademamix(alpha=2.0)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        3.000

    References:
        Morwani et al., [Connections between Schedule-Free Optimizers, AdEMAMix, and Accelerated SGD
        Variants](https://arxiv.org/abs/2502.02431), 2025.
    """
    rule = rules.simplified_ademamix(b1, b2, alpha, eps, eps_root)
    return scale_by(rule, mu_dtype=mu_dtype, **known(scale_by_simplified_ademamix, options))
