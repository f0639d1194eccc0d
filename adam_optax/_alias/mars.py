"""Minimise with MARS: AdamW and Lion on gradients that the last gradients correct."""

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
def mars(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.95,
    b2: Hyperparameter = 0.99,
    gamma: Hyperparameter = 0.025,
    max_norm: Hyperparameter = 1.0,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    *,
    zero_start: bool = False,
    weight_decay: Hyperparameter | None = None,
    mask: Mask = None,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with MARS: AdamW on gradients that the last gradients correct.

    Take MARS for pretraining on much data: its authors train GPT-2 at ten times AdamW's learning
    rate. MARS keeps a third moment, the last gradient, and reads each gradient a second time, for
    its norm.

    Step: `μ̂ / (√(ν̂ + eps_root) + eps) + λ p, μ of c, ν of |c|², c = d min(1, max_norm / |d|)`,
    times `-learning_rate`, with `d = g + gamma b1 / (1 - b1) Δ`, `Δ = g - g_{t-1}`, 0 at the first
    step, the norm over the parameter, `μ = b1 μ + (1-b1) c`, `ν = b2 ν + (1-b2) |c|²`,
    `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)` for the gradient `g`, the parameter `p` and the
    step `t`, 1 at the first.

    This is the paper's Algorithm 2 (MARS-approx). To have what others have: `zero_start=True` for
    the authors' code and pytorch-optimizer; `max_norm=math.inf` for no clipping, as HeavyBall; for
    one norm of all parameters, as Levanter, `rules.mars_correction` before `clip_by_global_norm`
    and `adamw`. The authors and timm give vectors plain AdamW:
    `gamma=ao.by_path(lambda path, p: 0.025 * (p.ndim > 1))`, and the same for `max_norm`.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the mean `mu` of corrected gradients, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        gamma: how much of the change of the gradient is added to it; 0: none.
        max_norm: largest norm of a parameter's corrected gradient; `math.inf` clips nothing.
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        zero_start: whether the gradient before the first counts as 0, as in the authors' code,
            instead of as the first, as in the paper.
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise; None: no decay.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        mu_dtype: dtype in which `mu` and `g` are kept; None: float32 (float64 for float64
            parameters).
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count`, the moments `mu` and `nu`, and the last gradient
        `g`.

    Raises:
        ValueError: if a number is out of range, or if `mask` or `coupling` is given without
            `weight_decay`.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.mars(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.100

    References:
        Yuan et al., [MARS: Unleashing the Power of Variance Reduction for Training Large
        Models](https://arxiv.org/abs/2411.10438), ICML 2025, Algorithm 2.
    """
    rule = rules.mars(b1, b2, gamma, max_norm, eps, eps_root, zero_start)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(mars, options)
    )


@optimizer_function
def mars_lion(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.95,
    gamma: Hyperparameter = 0.025,
    max_norm: Hyperparameter = 1.0,
    *,
    zero_start: bool = False,
    weight_decay: Hyperparameter | None = None,
    mask: Mask = None,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with MARS-Lion: the sign of the mean of gradients that the last ones correct.

    Take MARS-Lion where Lion is right and there is memory for one more moment. As with Lion, the
    learning rate should be 3 to 10 times smaller than AdamW's, and the weight decay 3 to 10 times
    larger. MARS-Lion keeps the last gradient beside the mean.

    Step: `sign(μ) + λ p, μ of c, c = d min(1, max_norm / |d|)`, times `-learning_rate`, with
    `d = g + gamma b1 / (1 - b1) Δ`, `Δ = g - g_{t-1}`, 0 at the first step, the norm over the
    parameter, and `μ = b1 μ + (1-b1) c` for the gradient `g` and the parameter `p`. What others do
    otherwise, and how to have it, says `mars`.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the mean `mu` of corrected gradients, in [0, 1).
        gamma: how much of the change of the gradient is added to it; 0: none.
        max_norm: largest norm of a parameter's corrected gradient; `math.inf` clips nothing.
        zero_start: whether the gradient before the first counts as 0, as in the authors' code,
            instead of as the first, as in the paper.
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise; None: no decay.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        mu_dtype: dtype in which `mu` and `g` are kept; None: float32 (float64 for float64
            parameters).
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count`, the moment `mu` and the last gradient `g`.

    Raises:
        ValueError: if a number is out of range, or if `mask` or `coupling` is given without
            `weight_decay`.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.mars_lion(0.1, weight_decay=0.01)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.101

    References:
        Yuan et al., [MARS: Unleashing the Power of Variance Reduction for Training Large
        Models](https://arxiv.org/abs/2411.10438), ICML 2025, Algorithm 3.
    """
    rule = rules.mars_lion(b1, gamma, max_norm, zero_start)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(mars_lion, options)
    )
