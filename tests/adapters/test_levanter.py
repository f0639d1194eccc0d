"""A configuration as Levanter's makes the optimiser with its schedule, mask and decay."""

import abc
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao

pytestmark = pytest.mark.quick


class Shared(abc.ABC):
    """Have the methods of `levanter.optim.OptimizerConfig` that a subclass calls."""

    learning_rate: float

    @abc.abstractmethod
    def build(self, num_train_steps: int) -> Any:
        """Return the optimiser of a run."""

    def lr_scheduler(self, num_train_steps: int) -> Any:
        """Return the learning rate by the step."""
        return optax.linear_schedule(0.0, self.learning_rate, num_train_steps)

    def build_weight_decay_mask(self) -> Any:
        """Return which parameters decay."""
        return lambda params: {name: name == "weight" for name in params}


@dataclasses.dataclass(frozen=True)
class OptimizerConfig(Shared):
    """Have fields of the configuration, which is frozen in newer versions."""

    learning_rate: float = 6e-4
    weight_decay: float = 0.1
    warmup: int = 2


@dataclasses.dataclass
class BeforeConfig(Shared):
    """Have fields of the configuration as it was before, which can be set."""

    learning_rate: float = 6e-4
    weight_decay: float = 0.1
    warmup: int = 2


@pytest.mark.parametrize("base", [OptimizerConfig, BeforeConfig])
def test_the_optimiser_is_that_of_the_fields(base: type) -> None:
    formats = {"mu": ao.storage.stochastic()}
    config = ao.adapters.levanter_config(base, ao.adamw, b2=0.95, storage=formats)
    made: Any = config(learning_rate=1e-2, b2=0.99)
    assert {f.name for f in dataclasses.fields(made)} >= {"learning_rate", "warmup", "b2"}
    ours, schedule = made.build(10), optax.linear_schedule(0.0, 1e-2, 10)
    mask = {"weight": True, "bias": False}
    direct = ao.adamw(schedule, b2=0.99, weight_decay=0.1, mask=mask, storage=formats)
    runs = []
    for tx in (ours, direct):
        params = {"weight": jnp.ones((2, 3)), "bias": jnp.ones(3)}
        state = tx.init(params)
        with jax.numpy_dtype_promotion("standard"):  # of optax's schedule
            for _ in range(2):
                params, state = ao.step(tx, params, state, params)
        runs.append(params)
    for a, b in zip(*map(jax.tree.leaves, runs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_no_configuration_is_refused() -> None:
    with pytest.raises(TypeError, match=r"base must be levanter.optim.OptimizerConfig, not <class"):
        ao.adapters.levanter_config(dict, ao.adamw)
    with pytest.raises(TypeError, match=r"make must be an optimiser, such as ao\.adamw, not 3"):
        ao.adapters.levanter_config(OptimizerConfig, 3)  # type: ignore[arg-type]
