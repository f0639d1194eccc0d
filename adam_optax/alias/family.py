"""The rest of the family: name, rule, optax's order of arguments, and its default weight decay."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import optax

from adam_optax import rules
from adam_optax.alias.made import made, scaled
from adam_optax.couplings import INDEPENDENT, Coupling
from adam_optax.decay import Hyper, decoupled
from adam_optax.optimizer import optimizer
from adam_optax.storage import factored as by_factors
from adam_optax.transform import Transformation

DECAY = "weight_decay mask"

adabelief = made("adabelief", rules.adabelief, "learning_rate b1 b2 eps eps_root")
yogi = made("yogi", rules.yogi, "learning_rate b1 b2 eps")
radam = made("radam", rules.radam, "learning_rate b1 b2 eps eps_root threshold")
adan = made("adan", rules.adan, f"learning_rate b1 b2 b3 eps eps_root {DECAY}", 0.0)
lamb = made("lamb", rules.lamb, f"learning_rate b1 b2 eps eps_root {DECAY}", 0.0)
novograd = made("novograd", rules.novograd, "learning_rate b1 b2 eps eps_root weight_decay", 0.0)
lion = made("lion", rules.lion, f"learning_rate b1 b2 mu_dtype {DECAY}", 1e-3)
adopt = made("adopt", rules.adopt, "learning_rate b1 b2 eps mu_dtype")
ademamix = made(
    "ademamix",
    rules.ademamix,
    f"learning_rate b1 b2 b3 alpha eps eps_root mu_dtype {DECAY}",
    0.0,
)
simplified_ademamix = made(
    "simplified_ademamix",
    rules.simplified_ademamix,
    f"learning_rate b1 b2 alpha eps eps_root {DECAY}",
    0.0,
)
laprop = made("laprop", rules.laprop, "learning_rate b1 b2 eps eps_root")
stable_adamw = made("stable_adamw", rules.stable_adam, f"learning_rate b1 b2 eps {DECAY}", 0.01)

BOUNDS = "learning_rate b1 b2 eps final_lr gamma base_lr"
adabound = made("adabound", rules.adabound, BOUNDS, preset={"amsbound": False})
amsbound = made("amsbound", rules.adabound, BOUNDS, preset={"amsbound": True})
adagrad = made("adagrad", rules.adagrad, "learning_rate initial_accumulator_value eps")
rmsprop = made(
    "rmsprop",
    rules.rmsprop,
    "learning_rate decay eps initial_scale eps_in_sqrt centered momentum nesterov bias_correction",
)
sgd = made("sgd", rules.momentum, "learning_rate momentum nesterov mu_dtype", momentum=None)


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


scale_by_belief = scaled("scale_by_belief", rules.adabelief, "b1 b2 eps eps_root")
scale_by_yogi = scaled("scale_by_yogi", rules.yogi, "b1 b2 eps eps_root initial_accumulator_value")
scale_by_radam = scaled("scale_by_radam", rules.radam, "b1 b2 eps eps_root threshold")
scale_by_adan = scaled("scale_by_adan", rules.adan, "b1 b2 b3 eps eps_root", eps_root=0.0)
scale_by_novograd = scaled("scale_by_novograd", rules.novograd, "b1 b2 eps eps_root", eps=1e-8)
scale_by_lion = scaled("scale_by_lion", rules.lion, "b1 b2 mu_dtype")
scale_by_adopt = scaled("scale_by_adopt", rules.adopt, "b1 b2 eps mu_dtype")
scale_by_ademamix = scaled(
    "scale_by_ademamix", rules.ademamix, "b1 b2 b3 alpha eps eps_root mu_dtype", alpha=6.0
)
scale_by_simplified_ademamix = scaled(
    "scale_by_simplified_ademamix", rules.simplified_ademamix, "b1 b2 alpha eps eps_root"
)
scale_by_laprop = scaled("scale_by_laprop", rules.laprop, "b1 b2 eps eps_root")
scale_by_adadelta = scaled("scale_by_adadelta", rules.adadelta, "rho eps")
scale_by_rss = scaled("scale_by_rss", rules.adagrad, "initial_accumulator_value eps")
