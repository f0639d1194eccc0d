"""Written by `python -m tests.support.stubs`."""

from typing import Any


from adam_optax.couplings import Coupling
from adam_optax._engine.decay import Hyper
from adam_optax._engine.tree import Transformation

def scheduled_nadam(
    learning_rate: Hyper,
    b1: Hyper = ...,
    b2: Hyper = ...,
    eps: Hyper = ...,
    momentum_decay: Hyper = ...,
    weight_decay: Hyper = ...,
    mask: Any = ...,
    *,
    coupling: Coupling | None = ...,
    mu_dtype: Any = ...,
    nu_dtype: Any = ...,
    storage: Any = ...,
) -> Transformation: ...
def fading_adam(
    learning_rate: Hyper,
    b1: Hyper = ...,
    b2: Hyper = ...,
    eps: Hyper = ...,
    decay_factor: Hyper = ...,
    *,
    weight_decay: Hyper = ...,
    mask: Any = ...,
    coupling: Coupling | None = ...,
    mu_dtype: Any = ...,
    nu_dtype: Any = ...,
    storage: Any = ...,
) -> Transformation: ...
def constant_adam(
    learning_rate: Hyper,
    b1: Hyper = ...,
    b2: Hyper = ...,
    eps: Hyper = ...,
    *,
    weight_decay: Hyper = ...,
    mask: Any = ...,
    coupling: Coupling | None = ...,
    mu_dtype: Any = ...,
    nu_dtype: Any = ...,
    storage: Any = ...,
) -> Transformation: ...
