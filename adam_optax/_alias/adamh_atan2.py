"""Minimise with AdamH and Adam-atan2: Adam without weight decay, and without epsilon."""

from __future__ import annotations  # so that `help` shows the names of types

import math
from typing import Unpack

from adam_optax import rules
from adam_optax._alias._build import (
    Transformation,
    known,
    optimizer_function,
    optimizer_with_decay,
)
from adam_optax._alias.options import DecayOptions, MomentOptions
from adam_optax._core.by_path import Hyperparameter
from adam_optax._core.types import DTypeLike, Mask


@optimizer_function
def adamh(
    learning_rate: Hyperparameter,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.95,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    *,
    nesterov: bool = False,
    fixed_norm: Hyperparameter = True,
    weight_decay: Hyperparameter | None = None,
    mask: Mask = None,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Minimise with AdamH (Adam-Hyperball): Adam that turns a parameter and keeps its norm.

    Take AdamH in the place of AdamW for the matrices of a normalised network, whose output does not
    depend on a matrix's size: the learning rate is the angle of a step, in radians, which stays
    right for other widths and depths, and no weight decay has to be found. To come from AdamW,
    begin with `sqrt(learning_rate * weight_decay)` of the run with AdamW. Each step takes three
    norms of each parameter.

    Step: `R unit(p - η R unit(d)), d = μ̂ / (√(ν̂ + eps_root) + eps) + λ p`, the new parameter,
    with `unit(x) = x / |x|`, the learning rate η, the norm `R` of the parameter at first,
    `μ = b1 μ + (1-b1) g`, `ν = b2 ν + (1-b2) |g|²`, `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)`
    for the gradient `g`, the parameter `p` and the step `t`, 1 at the first. A parameter that is 0
    at first has no direction: it takes the step `-η d`.

    Args:
        learning_rate: the angle of a step: a number, a scalar array or a schedule `count -> value`,
            as may be every other number below.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        nesterov: whether the first moment is read one step ahead (Dozat 2016).
        fixed_norm: which parameters keep their norm; False is AdamW. By path, for vectors and
            embeddings: `ao.by_path(lambda path, p: p.ndim > 1)`, with a learning rate by path.
        weight_decay: strength λ of the weight decay in `d`, where the norm is not fixed that of
            AdamW; None, as in the paper: no decay.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        **options: `nu_dtype`, `storage` and `stacked`, how the moments are kept; see
            `ao.MomentOptions`.

    Returns:
        The optimiser; `state[0]` holds `count`, the moments `mu` and `nu`, and for each parameter
        one `radius` in float32, 0 where the norm is not fixed.

    Raises:
        ValueError: if a number is out of range, or if `mask` is given without `weight_decay`.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones((2, 2)), jnp.array([[2.0, 2.0], [-2.0, -2.0]])
        >>> tx = ao.adamh(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0, 0]:.3f}, norm {jnp.linalg.norm(params + updates):.3f}")
        -0.104, norm 2.000

    References:
        Wen et al., [Fantastic Pretraining Optimizers and Where to Find Them II: Hyperball
        Optimization](https://arxiv.org/abs/2606.16899), 2026.
    """
    if learning_rate is None:
        raise TypeError(
            "learning_rate must be a number, a schedule (count -> value) or a scalar array: the "
            "step of adamh ends on a sphere, which no later factor could do"
        )
    rule = rules.adamh(b1, b2, eps, eps_root, nesterov, fixed_norm)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(adamh, options)
    )


@optimizer_function
def adam_atan2(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    a: Hyperparameter = 4 / math.pi,
    b: Hyperparameter = 1.0,
    *,
    nesterov: bool = False,
    weight_decay: Hyperparameter | None = None,
    mask: Mask = None,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with Adam-atan2: Adam whose quotient is an angle, which needs no epsilon.

    Take Adam-atan2 where gradients are so small that Adam's epsilon would be felt, as in wide
    networks under muP, or where a step must be bounded. It costs what Adam costs; with
    `directions.atan2` every other rule can have its quotient.

    Step: `a atan2(μ̂, b √ν̂) + λ p`, times `-learning_rate`, with `μ = b1 μ + (1-b1) g`,
    `ν = b2 ν + (1-b2) |g|²`, `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)` for the gradient `g`,
    the parameter `p` and the step `t`, 1 at the first.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        a: factor of the angle. The default, 4/π, makes a first step 1, as Adam's is
            (adam-atan2-pytorch rounds it to 1.27); `a=b` makes small steps Adam's.
        b: factor of the root of the second moment.
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
        >>> tx = ao.adam_atan2(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.100

    References:
        Everett et al., [Scaling Exponents Across Parameterizations and
        Optimizers](https://arxiv.org/abs/2407.05872), ICML 2024.
    """
    rule = rules.adam_atan2(b1, b2, a, b, nesterov)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(adam_atan2, options)
    )
