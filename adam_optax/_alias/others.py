"""Optimisers with arguments of their own: AdaDelta's coupled decay, Adafactor's factored nu."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import optax

from adam_optax import rules
from adam_optax._alias.made import explained
from adam_optax._core.types import ScalarOrSchedule as Hyper
from adam_optax._transform import Transformation, optimizer
from adam_optax._transform import decay_from_arguments as decoupled
from adam_optax.couplings import INDEPENDENT, Coupling
from adam_optax.storage import factored as by_factors


@explained
def adadelta(
    learning_rate: Hyper = None,
    rho: Hyper = 0.9,
    eps: Hyper = 1e-6,
    weight_decay: Hyper = 0.0,
    weight_decay_mask: Any = None,
    *,
    nu_dtype: Any = None,
    storage: Any = None,
) -> Transformation:
    """AdaDelta (Zeiler 2012, Algorithm 1); its weight decay is added to the gradient, as in optax.

    Step: `d = g √(e_x + eps) / √(e_g + eps), e_g of |g|², e_x of |d|²`.

    Args:
        learning_rate: as elsewhere; None, the default, points uphill as in optax. Zeiler's is 1.
        rho: decay rate of both averages.
        eps: added under both roots.
        weight_decay: times the parameter, added to the gradient (L2).
        weight_decay_mask: which parameters decay.
        nu_dtype: the dtype of both averages.
        storage: as elsewhere; the moments are `e_g` and `e_x`.
    """
    tx = optimizer(rules.adadelta(rho, eps), learning_rate, storage=storage, nu_dtype=nu_dtype)
    if isinstance(weight_decay, int | float) and weight_decay == 0:
        return tx
    return optax.chain(optax.add_decayed_weights(weight_decay, weight_decay_mask), tx)


@explained
def adafactor(
    learning_rate: Hyper = None,
    min_dim_size_to_factor: int = 128,
    decay_rate: Hyper = 0.8,
    decay_offset: int = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: Hyper = 1.0,
    momentum: Hyper = None,
    dtype_momentum: Any = jnp.float32,
    weight_decay_rate: Hyper = None,
    eps: Hyper = 1e-30,
    factored: bool = True,
    weight_decay_mask: Any = None,
    *,
    coupling: Coupling | None = None,
    storage: Any = None,
) -> Transformation:
    """Adafactor (Shazeer & Stern 2018): RMSProp whose nu is kept as its rows' and columns' means.

    Step: `max(rms(p), 1e-3) d / max(1, rms(d) / threshold), d = g / √ν`,
    with `ν = row col / mean(row)`, both averages of `|g|² + eps` that fade by `1 - t^-decay_rate`.

    Args:
        learning_rate: as elsewhere, relative to the parameter's size; None: 1.
        min_dim_size_to_factor: how long both axes of a leaf must be for nu to be factored.
        decay_rate: nu's decay rate is `1 - t^-decay_rate` at step `t`.
        decay_offset: the step from which `t` counts.
        multiply_by_parameter_scale: whether steps are in units of `max(rms(p), 1e-3)`.
        clipping_threshold: the largest root mean square of a step in such units; None: no bound.
        momentum: decay rate of an average of the steps; None: none.
        dtype_momentum: the dtype in which that average is kept.
        weight_decay_rate: decoupled weight decay, as it is: not times the learning rate.
        eps: added to the squared gradients.
        factored: whether nu is factored.
        weight_decay_mask: which parameters decay.
        coupling: how the decay goes with the learning rate; None: independent.
        storage: as elsewhere, with `factored=False` or for `mu`.

    Raises:
        ValueError: if `storage` and `factored` both say how nu is kept.

    >>> import adam_optax as ao
    >>> tx = ao.adafactor(1e-2, momentum=0.9)
    """
    if factored:
        given = {} if storage is None else storage
        if not isinstance(given, Mapping) or "nu" in given:
            raise ValueError("storage and factored both say how nu is kept; set factored=False")
        storage = {"nu": by_factors(min_dim_size_to_factor), **given}
    decay = decoupled(weight_decay_rate, weight_decay_mask, coupling)
    if decay is not None and coupling is None:
        decay = decay._replace(coupling=INDEPENDENT)
    scales = multiply_by_parameter_scale, clipping_threshold
    return optimizer(
        rules.adafactor(decay_rate, decay_offset, *scales, momentum, eps),
        1.0 if learning_rate is None else learning_rate,
        decay=decay,
        storage=storage,
        mu_dtype=None if momentum is None else dtype_momentum,
    )
