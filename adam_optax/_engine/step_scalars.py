"""Hold what a step computes once for all leaves: its scalars, log decays and frames."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from jax import Array

from adam_optax._core.numerics import Number
from adam_optax.storage._base import Frame

NO_LOG_DECAYS: dict[str, Array] = {}
"""The log decays of a rule whose decay rates follow no schedule."""

NO_FRAMES: dict[str, Frame] = {}
"""The frames of formats whose codes need none to be read."""


class StepScalars(NamedTuple):
    """Hold all that depends on the step alone, in one precision: computed once for all leaves.

    Attributes:
        t: the step, 1 at the first.
        ages: for each moment, `t`, or its effective age where its decay rate follows a schedule.
        hyperparams: the rule's schedules and arrays at this step, by name.
        moments: what each moment's `precompute` returned, by name.
        rule: what the rule's `precompute` returned.
        weight_decay: the factor that multiplies a parameter beside its step; None: no decay.
        learning_rate: the learning rate; None: none.
        storage: for each slot of a leaf's storage, what its format's `scalars` returned for the
            frame of the codes and for that of this step.
        factor: what the gradient is multiplied by first, as `scaled` does; None: nothing.
        taken: 1 if the step is taken, 0 if all shall stay as it is; None: it is taken.
        base: the place of the leaf's first element in the array whose slice it is; None: 0.
    """

    t: Array
    ages: dict[str, Array]
    hyperparams: dict[str, Array]
    moments: dict[str, Any]
    rule: Any
    weight_decay: Number | None
    learning_rate: Array | None
    storage: tuple[tuple[Any, ...], ...] = ((), ())
    factor: Array | None = None
    taken: Array | None = None
    base: Array | None = None


ByPrecision: TypeAlias = dict[str, StepScalars]
"""The scalars of a step by the name of the real dtype in which a leaf is computed."""

LogDecays: TypeAlias = Mapping[str, Array]
"""The log decays of the moments whose decay rate follows a schedule, by name."""

Frames: TypeAlias = Mapping[str, Frame]
"""The numbers with which codes are read (`storage.Format.frame`), by the name of their slot."""
