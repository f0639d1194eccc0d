"""Minimise with CAME, which keeps two squared moments as rows' and columns' means."""

from __future__ import annotations  # so that `help` shows the names of types

from collections.abc import Mapping
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
from adam_optax.storage import factored as by_factors


@optimizer_function
def came(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    b3: Hyperparameter = 0.9999,
    eps: Hyperparameter = 1e-30,
    eps_res: Hyperparameter = 1e-16,
    clipping_threshold: Hyperparameter | None = 1.0,
    weight_decay: Hyperparameter | None = 0.0,
    mask: Mask = None,
    *,
    min_dim_size_to_factor: int = 0,
    factored: bool = True,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with CAME: Adafactor with a mean of its steps, over how far a step is from the mean.

    Take CAME for Adafactor's memory with a first moment, 4 B for a parameter, where Adafactor's
    factors are too rough: steps that vary from one to the next are trusted less. It costs the means
    of rows and columns of two squares, and one norm: three passes over memory more than Adam.

    Step: `μ / √ρ, μ = b1 μ + (1-b1) u, u = d / max(1, rms(d) / threshold), d = g / √ν`, times
    `-learning_rate`, with `ν = b2 ν + (1-b2) (|g|² + eps)` and
    `ρ = b3 ρ + (1-b3) (|u - μ|² + eps_res)`, both as `row col / mean(row)`, for the gradient `g`.
    Parameters of one axis take `μ`. With decay, `λ p` is added to the step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the mean `mu` of steps, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        b3: decay rate of the mean squared distance `res` of a step from `mu`, in [0, 1).
        eps: added to the squared gradients, in units of the squared gradient.
        eps_res: added to the squared distances, which are in units of a step.
        clipping_threshold: the largest root mean square of a step before the mean; None: no bound.
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        min_dim_size_to_factor: least length of the two longest axes of a parameter for its squared
            moments to be factored.
        factored: whether the squared moments are factored.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `nu` and `res`, as
        `nu_row`, `nu_col`, `res_row` and `res_col` where they are factored, and `mu`.

    Raises:
        ValueError: if a number is out of range, or if `storage` and `factored` both say how `nu` or
            `res` is kept.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.came(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.010

    References:
        Luo et al., [CAME: Confidence-guided Adaptive Memory Efficient
        Optimization](https://arxiv.org/abs/2307.02047), ACL 2023, Algorithm 2.
    """
    rule = rules.came(b1, b2, b3, eps, eps_res, clipping_threshold)
    given = known(came, options)
    if factored:
        storage = given.get("storage") or {}
        if not isinstance(storage, Mapping) or {"nu", "res"} & storage.keys():
            raise ValueError(
                "storage and factored both say how nu and res are kept; set factored=False"
            )
        small = by_factors(min_dim_size_to_factor)
        given = {**given, "storage": {"nu": small, "res": small, **storage}}
    return optimizer_with_decay(rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **given)
