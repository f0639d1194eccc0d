"""Define the variants, each a paper's algorithm box: what it remembers, and its step.

`adam_optax.adam(...)` and the other optimisers are made of these rules. Take a rule itself to
replace a part of it (`dataclasses.replace(rule, direction=...)`), or as the pattern of a `variant`
of your own; `adam_optax.optimizer` and `adam_optax.scale_by` turn it into a transformation.
"""

from adam_optax.rules.acprop import acprop
from adam_optax.rules.adabelief import adabelief
from adam_optax.rules.adabound import adabound
from adam_optax.rules.adadelta import adadelta
from adam_optax.rules.adafactor import adafactor
from adam_optax.rules.adagrad import adagrad
from adam_optax.rules.adam import adam
from adam_optax.rules.adam_atan2 import adam_atan2
from adam_optax.rules.adam_mini import adam_mini
from adam_optax.rules.adamax import adamax
from adam_optax.rules.adamh import adamh
from adam_optax.rules.adamp import adamp
from adam_optax.rules.adan import adan
from adam_optax.rules.ademamix import ademamix, simplified_ademamix
from adam_optax.rules.adopt import adopt
from adam_optax.rules.amsgrad import amsgrad
from adam_optax.rules.averaging import temporal_average
from adam_optax.rules.base import Rule, variant
from adam_optax.rules.came import came
from adam_optax.rules.framework_variants import (
    capped_adafactor,
    constant_adam,
    fading_adam,
    scheduled_nadam,
    simplified_nadam,
    uncorrected_adam,
)
from adam_optax.rules.grams import grams
from adam_optax.rules.lamb import lamb
from adam_optax.rules.laprop import laprop
from adam_optax.rules.lion import lion
from adam_optax.rules.mars import mars, mars_correction, mars_lion
from adam_optax.rules.novograd import novograd
from adam_optax.rules.qhadam import qhadam
from adam_optax.rules.radam import radam
from adam_optax.rules.rmsprop import rmsprop
from adam_optax.rules.sgd import momentum
from adam_optax.rules.stable_adam import stable_adam
from adam_optax.rules.step_clipping import clip_step_by_history
from adam_optax.rules.yogi import yogi

__all__ = [
    "Rule",
    "acprop",
    "adabelief",
    "adabound",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adam_atan2",
    "adam_mini",
    "adamax",
    "adamh",
    "adamp",
    "adan",
    "ademamix",
    "adopt",
    "amsgrad",
    "came",
    "capped_adafactor",
    "clip_step_by_history",
    "constant_adam",
    "fading_adam",
    "grams",
    "lamb",
    "laprop",
    "lion",
    "mars",
    "mars_correction",
    "mars_lion",
    "momentum",
    "novograd",
    "qhadam",
    "radam",
    "rmsprop",
    "scheduled_nadam",
    "simplified_ademamix",
    "simplified_nadam",
    "stable_adam",
    "temporal_average",
    "uncorrected_adam",
    "variant",
    "yogi",
]
