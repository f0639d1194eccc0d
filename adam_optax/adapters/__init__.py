"""Hand this library's optimisers to frameworks that take no optax transformation.

| framework | what to write |
|---|---|
| Keras on the JAX backend | `model.compile(ao.adapters.keras_optimizer(ao.adamw, 1e-3))` |
| Levanter | `ao.adapters.levanter_config(OptimizerConfig, ao.adamw)`, registered by a name |

Flax, Equinox, NumPyro, MaxText and tunix take any optax transformation, and need no adapter
(`docs/move/from_maxtext_and_levanter.md`). No framework is imported before a function here is
called.
"""

from adam_optax.adapters._keras import keras_optimizer
from adam_optax.adapters._levanter import levanter_config

__all__ = ["keras_optimizer", "levanter_config"]
