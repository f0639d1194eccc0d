"""Train with the Adam family in JAX: optax-compatible, right to the last digits.

    >>> import adam_optax as ao
    >>> tx = ao.adamw(1e-3, weight_decay=1e-2)

The optimisers carry optax's names and stand at the top: `adam`, `adamw`, `scale_by_adam` and so on.
Below them, from the outside in:

- `optimizer` and `scale_by` turn a rule into an optax transformation; `step` applies one.
- `rules` holds the variants, `moments` and `directions` the parts that a variant is made of.
- `by_path` gives any hyper-parameter a value by the parameter's path, `parameter_groups` several of
  them; `FROZEN` parameters are not trained.
- `couplings` says how decoupled weight decay depends on the learning rate.
- `schedules` has those of papers for other numbers than the learning rate.
- `storage` holds the formats in which moments are kept between steps.

Around them: `precision` (updates of sixteen-bit parameters), `rows` (embedding tables of which a
batch touches few rows), `release` (each layer's step inside the backward pass), `watch` (records of
what an optimiser does to each layer), `convert` (states from and to optax, PyTorch and Keras),
`conventions` (Adam as other frameworks write it) and `adapters` (optimisers for Keras, Levanter).
"""

import importlib.metadata as _metadata

from adam_optax import adapters as adapters
from adam_optax import conventions as conventions
from adam_optax import convert as convert
from adam_optax import couplings as couplings
from adam_optax import directions as directions
from adam_optax import moments as moments
from adam_optax import precision as precision
from adam_optax import release as release
from adam_optax import rows as rows
from adam_optax import rules as rules
from adam_optax import schedules as schedules
from adam_optax import storage as storage
from adam_optax._alias.acprop import acprop as acprop
from adam_optax._alias.acprop import scale_by_acprop as scale_by_acprop
from adam_optax._alias.adabelief_yogi import adabelief as adabelief
from adam_optax._alias.adabelief_yogi import scale_by_belief as scale_by_belief
from adam_optax._alias.adabelief_yogi import scale_by_yogi as scale_by_yogi
from adam_optax._alias.adabelief_yogi import yogi as yogi
from adam_optax._alias.adafactor import adafactor as adafactor
from adam_optax._alias.adagrad_rmsprop import adadelta as adadelta
from adam_optax._alias.adagrad_rmsprop import adagrad as adagrad
from adam_optax._alias.adagrad_rmsprop import rmsprop as rmsprop
from adam_optax._alias.adagrad_rmsprop import scale_by_adadelta as scale_by_adadelta
from adam_optax._alias.adagrad_rmsprop import scale_by_rss as scale_by_rss
from adam_optax._alias.adagrad_rmsprop import sgd as sgd
from adam_optax._alias.adam import adam as adam
from adam_optax._alias.adam import adamw as adamw
from adam_optax._alias.adam import nadam as nadam
from adam_optax._alias.adam import nadamw as nadamw
from adam_optax._alias.adam import scale_by_adam as scale_by_adam
from adam_optax._alias.adam import temporal_average as temporal_average
from adam_optax._alias.adam_mini import adam_mini as adam_mini
from adam_optax._alias.adamh_atan2 import adam_atan2 as adam_atan2
from adam_optax._alias.adamh_atan2 import adamh as adamh
from adam_optax._alias.adamp import adamp as adamp
from adam_optax._alias.adan_lion import adan as adan
from adam_optax._alias.adan_lion import lion as lion
from adam_optax._alias.adan_lion import scale_by_adan as scale_by_adan
from adam_optax._alias.adan_lion import scale_by_lion as scale_by_lion
from adam_optax._alias.ademamix import ademamix as ademamix
from adam_optax._alias.ademamix import scale_by_ademamix as scale_by_ademamix
from adam_optax._alias.ademamix import scale_by_simplified_ademamix as scale_by_simplified_ademamix
from adam_optax._alias.ademamix import simplified_ademamix as simplified_ademamix
from adam_optax._alias.amsgrad_adamax import adamax as adamax
from adam_optax._alias.amsgrad_adamax import adamaxw as adamaxw
from adam_optax._alias.amsgrad_adamax import amsgrad as amsgrad
from adam_optax._alias.amsgrad_adamax import scale_by_adamax as scale_by_adamax
from adam_optax._alias.amsgrad_adamax import scale_by_amsgrad as scale_by_amsgrad
from adam_optax._alias.came import came as came
from adam_optax._alias.laprop_adopt import adopt as adopt
from adam_optax._alias.laprop_adopt import laprop as laprop
from adam_optax._alias.laprop_adopt import scale_by_adopt as scale_by_adopt
from adam_optax._alias.laprop_adopt import scale_by_laprop as scale_by_laprop
from adam_optax._alias.layerwise import lamb as lamb
from adam_optax._alias.layerwise import novograd as novograd
from adam_optax._alias.layerwise import scale_by_novograd as scale_by_novograd
from adam_optax._alias.layerwise import stable_adamw as stable_adamw
from adam_optax._alias.mars import mars as mars
from adam_optax._alias.mars import mars_lion as mars_lion
from adam_optax._alias.options import DecayOptions as DecayOptions
from adam_optax._alias.options import MomentOptions as MomentOptions
from adam_optax._alias.qhadam_grams import grams as grams
from adam_optax._alias.qhadam_grams import qhadam as qhadam
from adam_optax._alias.radam_adabound import adabound as adabound
from adam_optax._alias.radam_adabound import amsbound as amsbound
from adam_optax._alias.radam_adabound import radam as radam
from adam_optax._alias.radam_adabound import scale_by_radam as scale_by_radam
from adam_optax._core.by_path import FROZEN as FROZEN
from adam_optax._core.by_path import ByPath as ByPath
from adam_optax._core.by_path import by_depth as by_depth
from adam_optax._core.by_path import by_path as by_path
from adam_optax._engine.kernels.cpu.choice import cpu_loops as cpu_loops
from adam_optax._engine.states import ScaleByScheduledState as ScaleByScheduledState
from adam_optax._engine.states import ScaleByState as ScaleByState
from adam_optax._step import step as step
from adam_optax._transform import Decay as Decay
from adam_optax._transform import Transformation as Transformation
from adam_optax._transform import optimizer as optimizer
from adam_optax._transform import scale_by as scale_by
from adam_optax._watch import watch as watch
from adam_optax._wrappers.catalogue import available as available
from adam_optax._wrappers.catalogue import create as create
from adam_optax._wrappers.citation import citation as citation
from adam_optax._wrappers.clip import clip_by_block_rms as clip_by_block_rms
from adam_optax._wrappers.clip import clip_by_global_norm as clip_by_global_norm
from adam_optax._wrappers.clip_by_history import AdaGCState as AdaGCState
from adam_optax._wrappers.clip_by_history import ZClipState as ZClipState
from adam_optax._wrappers.clip_by_history import adagc as adagc
from adam_optax._wrappers.clip_by_history import zclip as zclip
from adam_optax._wrappers.fingerprint import check_fingerprint as check_fingerprint
from adam_optax._wrappers.fingerprint import fingerprint as fingerprint
from adam_optax._wrappers.half_life import half_life as half_life
from adam_optax._wrappers.hyperparameters import hyperparameters as hyperparameters
from adam_optax._wrappers.memory import Memory as Memory
from adam_optax._wrappers.memory import memory as memory
from adam_optax._wrappers.micro_batches import fold_micro_batches as fold_micro_batches
from adam_optax._wrappers.offload import offload as offload
from adam_optax._wrappers.offload_step import offload_step as offload_step
from adam_optax._wrappers.parameter_groups import parameter_groups as parameter_groups
from adam_optax._wrappers.read_state import read_average as read_average
from adam_optax._wrappers.read_state import read_moments as read_moments
from adam_optax._wrappers.read_state import swap_average as swap_average
from adam_optax._wrappers.skip_spikes import SkipSpikesState as SkipSpikesState
from adam_optax._wrappers.skip_spikes import skip_spikes as skip_spikes
from adam_optax.directions import Direction as Direction
from adam_optax.moments import Leaf as Leaf
from adam_optax.moments import Moment as Moment
from adam_optax.rules.base import Rule as Rule
from adam_optax.rules.base import variant as variant

__all__ = [
    "FROZEN",
    "AdaGCState",
    "ByPath",
    "Decay",
    "DecayOptions",
    "Direction",
    "Leaf",
    "Memory",
    "Moment",
    "MomentOptions",
    "Rule",
    "ScaleByScheduledState",
    "ScaleByState",
    "SkipSpikesState",
    "Transformation",
    "ZClipState",
    "__version__",
    "acprop",
    "adabelief",
    "adabound",
    "adadelta",
    "adafactor",
    "adagc",
    "adagrad",
    "adam",
    "adam_atan2",
    "adam_mini",
    "adamax",
    "adamaxw",
    "adamh",
    "adamp",
    "adamw",
    "adan",
    "adapters",
    "ademamix",
    "adopt",
    "amsbound",
    "amsgrad",
    "available",
    "by_depth",
    "by_path",
    "came",
    "check_fingerprint",
    "citation",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "conventions",
    "convert",
    "couplings",
    "cpu_loops",
    "create",
    "directions",
    "fingerprint",
    "fold_micro_batches",
    "grams",
    "half_life",
    "hyperparameters",
    "lamb",
    "laprop",
    "lion",
    "mars",
    "mars_lion",
    "memory",
    "moments",
    "nadam",
    "nadamw",
    "novograd",
    "offload",
    "offload_step",
    "optimizer",
    "parameter_groups",
    "precision",
    "qhadam",
    "radam",
    "read_average",
    "read_moments",
    "release",
    "rmsprop",
    "rows",
    "rules",
    "scale_by",
    "scale_by_acprop",
    "scale_by_adadelta",
    "scale_by_adam",
    "scale_by_adamax",
    "scale_by_adan",
    "scale_by_ademamix",
    "scale_by_adopt",
    "scale_by_amsgrad",
    "scale_by_belief",
    "scale_by_laprop",
    "scale_by_lion",
    "scale_by_novograd",
    "scale_by_radam",
    "scale_by_rss",
    "scale_by_simplified_ademamix",
    "scale_by_yogi",
    "schedules",
    "sgd",
    "simplified_ademamix",
    "skip_spikes",
    "stable_adamw",
    "step",
    "storage",
    "swap_average",
    "temporal_average",
    "variant",
    "watch",
    "yogi",
    "zclip",
]

try:
    __version__ = _metadata.version("adam-optax")
except _metadata.PackageNotFoundError:  # imported from a source tree that was never installed
    __version__ = "0+unknown"
"""Version of the installed package: `major.minor.patch`."""


def __dir__() -> list[str]:
    """List what users call."""
    return sorted(__all__)
