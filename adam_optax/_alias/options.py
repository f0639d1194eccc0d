"""Describe the keyword arguments that all optimisers share and optax does not have.

An optimiser takes them as `**options: Unpack[MomentOptions]`, or `DecayOptions` where it has weight
decay. A new option of all optimisers is one line here. All optimisers have in common, too:

* Every number may be a Python number, a scalar array (traced ones too) or a schedule
  `count -> value`, or differ among parameters: `by_path`.
* The state is that of optax's chain: `state[0]` holds `count` and the moments.
* Moments are kept in float32 if no option says otherwise, also for bfloat16 and float16 parameters
  (in float64 for float64 parameters).
* Gradients are promoted to float32 before they are squared. Updates have the gradient's dtype, or
  the parameter's where the parameter's is wider.
* A decay rate given as a schedule is corrected by the weight that its average has seen,
  `1 - b_1 b_2 ... b_t`. The state then also holds `log_decays`, and is a `ScaleByScheduledState`. A
  rate given as an array (by `optax.inject_hyperparams`, say) is taken as constant, since nobody
  tells the optimiser what the array was before: give the schedule to the optimiser itself.
* A decay rate given as a Python number acts as that number. Given as a float32 array (by
  `optax.inject_hyperparams`, say) it acts as the rounded one: 0.999 is then 0.99900001. From
  bfloat16 arrays, rates above 0.998 are taken as 0.99902.
"""

from __future__ import annotations  # so that `help` shows the names of types

from typing import TypedDict

from adam_optax._core.types import DTypeLike
from adam_optax._engine.stacked import Stacked
from adam_optax.couplings import Coupling
from adam_optax.storage._plan import StorageSpec


class StorageOptions(TypedDict, total=False):
    """Say in which format moments are kept.

    Attributes:
        storage: a format of `adam_optax.storage` for all moments, a mapping from the names of
            moments to formats, or a function from a parameter's path (`"dense/kernel"`) and the
            parameter or its gradient to one of these, or `by_path`. None, the default, and what a
            mapping leaves out: `storage.dense()`, float32.
        stacked: how many leading axes of a parameter are layers, as under `nn.scan`: each layer is
            then a parameter by itself, with its own norms, means, factors and blocks. A number, a
            tree of numbers or a prefix of one, a function `(path, parameter)`, `by_path`, or the
            name of the layers' axis in Flax's metadata. None, the default: there are no layers.
    """

    stacked: Stacked | None
    storage: StorageSpec


class MomentOptions(StorageOptions, total=False):
    """Say how moments are kept.

    Attributes:
        nu_dtype: dtype of the moments that cannot be negative (second moments); None, the default:
            float32. Short for `storage.dense(nu_dtype)` for each of these moments.
        stacked: see `StorageOptions`.
        storage: see `StorageOptions`.
    """

    nu_dtype: DTypeLike | None


class DecayOptions(MomentOptions, total=False):
    """Say how moments are kept, and how the weight decay goes with the learning rate.

    Attributes:
        coupling: how the weight decay goes with the learning rate, one of `adam_optax.couplings`;
            None, the default: `couplings.RATE`, times the learning rate.
        nu_dtype: see `MomentOptions`.
        stacked: see `StorageOptions`.
        storage: see `StorageOptions`.
    """

    coupling: Coupling | None
