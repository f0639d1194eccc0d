"""The optimisers: name, rule, optax's order of arguments, and optax's defaults.

All take schedules (`count -> value`) and traced arrays for their numbers, and have in common:

* `mu_dtype`, `nu_dtype`, `storage`: how the moments are kept; float32 if not said, also for
  bfloat16 and float16 parameters (float64 for float64).
* The state is that of optax's chain: `state[0]` holds `count` and the moments.
* Gradients are promoted to float32 before they are squared; updates have the gradient's dtype, or
  the parameter's where that is wider.
* A decay rate given as a Python number acts as that number. Given as a float32 array (by
  `optax.inject_hyperparams`, say) it acts as the rounded one: .999 is then .99900001, and from
  bfloat16 arrays rates above .998 are taken as .99902.

Type checkers read `family.pyi`, which `python -m tests.support.stubs` writes.
"""

from adam_optax import rules
from adam_optax._alias.made import made, scaled

DECAY = "weight_decay mask"
ADAM = "learning_rate b1 b2 eps eps_root mu_dtype"
ADAMAX = "learning_rate b1 b2 eps"
AMSGRAD = f"{ADAM} bias_correction_mu bias_correction_nu"

adam = made("adam", rules.adam, ADAM, decays=False)
adamw = made("adamw", rules.adam, f"{ADAM} {DECAY}", weight_decay=1e-4)
nadam = made("nadam", rules.adam, ADAM, decays=False, nesterov=True)
nadamw = made("nadamw", rules.adam, f"{ADAM} {DECAY}", weight_decay=1e-4, nesterov=True)
amsgrad = made("amsgrad", rules.amsgrad, AMSGRAD)
adamax = made("adamax", rules.adamax, ADAMAX, decays=False)
adamaxw = made("adamaxw", rules.adamax, f"{ADAMAX} {DECAY}", weight_decay=1e-4)

adabelief = made("adabelief", rules.adabelief, "learning_rate b1 b2 eps eps_root")
yogi = made("yogi", rules.yogi, "learning_rate b1 b2 eps")
radam = made("radam", rules.radam, "learning_rate b1 b2 eps eps_root threshold")
adan = made("adan", rules.adan, f"learning_rate b1 b2 b3 eps eps_root {DECAY}", weight_decay=0.0)
lamb = made("lamb", rules.lamb, f"learning_rate b1 b2 eps eps_root {DECAY}", weight_decay=0.0)
novograd = made(
    "novograd", rules.novograd, "learning_rate b1 b2 eps eps_root weight_decay", weight_decay=0.0
)
lion = made("lion", rules.lion, f"learning_rate b1 b2 mu_dtype {DECAY}", weight_decay=1e-3)
adopt = made("adopt", rules.adopt, "learning_rate b1 b2 eps mu_dtype")
ademamix = made(
    "ademamix",
    rules.ademamix,
    f"learning_rate b1 b2 b3 alpha eps eps_root mu_dtype {DECAY}",
    weight_decay=0.0,
)
simplified_ademamix = made(
    "simplified_ademamix",
    rules.simplified_ademamix,
    f"learning_rate b1 b2 alpha eps eps_root {DECAY}",
    weight_decay=0.0,
)
laprop = made("laprop", rules.laprop, "learning_rate b1 b2 eps eps_root")
stable_adamw = made(
    "stable_adamw", rules.stable_adam, f"learning_rate b1 b2 eps {DECAY}", weight_decay=0.01
)

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

scale_by_adam = scaled("scale_by_adam", rules.adam, "b1 b2 eps eps_root mu_dtype")
scale_by_amsgrad = scaled("scale_by_amsgrad", rules.amsgrad, AMSGRAD.removeprefix("learning_rate "))
scale_by_adamax = scaled("scale_by_adamax", rules.adamax, "b1 b2 eps")
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
temporal_average = scaled("temporal_average", rules.temporal_average, "b2")
