"""Minimise with Adafactor, whose second moment of a matrix is kept as a row and a column."""

from __future__ import annotations  # so that `help` shows the names of types

from collections.abc import Mapping
from typing import Unpack

import jax.numpy as jnp

from adam_optax import rules
from adam_optax._alias._build import (
    Transformation,
    decay_from_arguments,
    known,
    optimizer,
    optimizer_function,
)
from adam_optax._alias.options import StorageOptions
from adam_optax._core.by_path import Hyperparameter
from adam_optax._core.types import DTypeLike, Mask
from adam_optax.couplings import INDEPENDENT, Coupling
from adam_optax.storage import factored as by_factors


@optimizer_function
def adafactor(
    learning_rate: Hyperparameter | None = None,
    min_dim_size_to_factor: int = 128,
    decay_rate: Hyperparameter = 0.8,
    decay_offset: int = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: Hyperparameter | None = 1.0,
    momentum: Hyperparameter | None = None,
    dtype_momentum: DTypeLike = jnp.float32,
    weight_decay_rate: Hyperparameter | None = None,
    eps: Hyperparameter = 1e-30,
    factored: bool = True,
    weight_decay_mask: Mask = None,
    *,
    coupling: Coupling | None = None,
    **options: Unpack[StorageOptions],
) -> Transformation:
    """Minimise with Adafactor: RMSProp whose second moment is kept as its rows' and columns' means.

    Take Adafactor where the optimiser's memory is what limits the model: its second moment of an m
    by n matrix is m + n numbers, and there is no first moment unless `momentum` is given. Its steps
    are relative to the size of the parameter.

    Step: `max(rms(p), 1e-3) d / max(1, rms(d) / threshold), d = g / √ν`, times `-learning_rate`,
    with `ν = row col / mean(row)`, both averages of `|g|² + eps` that fade by `1 - t^-decay_rate`,
    for the gradient `g`, the parameter `p` and the step `t`, 1 at the first.

    Args:
        learning_rate: step size, a number, a scalar array or a schedule, relative to the
            parameter's size; None: 1.
        min_dim_size_to_factor: least length of the two longest axes of a parameter for its second
            moment to be factored.
        decay_rate: the second moment's decay rate is `1 - t^-decay_rate` at step `t`.
        decay_offset: the step from which `t` counts.
        multiply_by_parameter_scale: whether steps are in units of `max(rms(p), 1e-3)`.
        clipping_threshold: the largest root mean square of a step in such units; None: no bound.
        momentum: decay rate of an average `mu` of the steps, in [0, 1); None: no average.
        dtype_momentum: dtype in which `mu` is kept, if there is one.
        weight_decay_rate: strength of the decoupled weight decay, not times the learning rate;
            None: no decay.
        eps: added to the squared gradients, in their units.
        factored: whether the second moment is factored.
        weight_decay_mask: which parameters decay: a tree of bools, a prefix of such a tree, or a
            function from the parameters to one; None: all parameters.
        coupling: how the decay goes with the learning rate, one of `adam_optax.couplings`; None:
            `couplings.INDEPENDENT`.
        **options: `storage`, how the moments are kept that are not factored, and `stacked`, which
            axes are layers; see `ao.MomentOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `nu`, as `nu_row` and `nu_col` where
        it is factored, and `mu` with momentum.

    Raises:
        ValueError: if a number is out of range, if `storage` and `factored` both say how `nu` is
            kept, or if `weight_decay_mask` or `coupling` is given without `weight_decay_rate`.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.adafactor(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.100

    References:
        Shazeer & Stern, [Adafactor: Adaptive Learning Rates with Sublinear Memory
        Cost](https://arxiv.org/abs/1804.04235), ICML 2018, Algorithm 4.
    """
    storage = known(adafactor, options).get("storage")
    if factored:
        given = {} if storage is None else storage
        if not isinstance(given, Mapping) or "nu" in given:
            raise ValueError("storage and factored both say how nu is kept; set factored=False")
        storage = {"nu": by_factors(min_dim_size_to_factor), **given}
    if weight_decay_rate is not None and coupling is None:
        coupling = INDEPENDENT
    scales = multiply_by_parameter_scale, clipping_threshold
    return optimizer(
        rules.adafactor(decay_rate, decay_offset, *scales, momentum, eps),
        1.0 if learning_rate is None else learning_rate,
        decay=decay_from_arguments(weight_decay_rate, weight_decay_mask, coupling),
        storage=storage,
        stacked=options.get("stacked"),
        mu_dtype=None if momentum is None else dtype_momentum,
        name="adafactor",
    )
