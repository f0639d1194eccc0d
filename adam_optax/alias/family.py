"""The rest of the family: name, rule, optax's order of arguments, and its default weight decay."""

from typing import Any

import optax

from adam_optax import rules
from adam_optax.alias.made import made, scaled
from adam_optax.optimizer import Hyper, optimizer
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
