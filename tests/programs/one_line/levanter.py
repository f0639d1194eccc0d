"""Train as Levanter does: an `OptimizerConfig` that files name, stacked layers of Equinox."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import adam_optax as ao
from tests.programs.program import STEPS, X, Y

FILE: dict[str, Any] = {
    "type": "adam",
    "learning_rate": 1e-2,
    "weight_decay": 0.1,
    "warmup": 4,
    "epsilon": 1e-8,
}
"""The section `optimizer:` of a run's file."""


@dataclasses.dataclass(frozen=True)
class OptimizerConfig(abc.ABC):
    """Be the base of Levanter's configurations, which draccus knows by names."""

    known: ClassVar[dict[str, type]] = {}
    learning_rate: float = 6e-4
    weight_decay: float = 0.1
    min_lr_ratio: float = 0.1
    warmup: int = 0

    @classmethod
    def register_subclass(cls, name: str) -> Callable[[type], type]:
        """Return the decorator that gives a configuration its name."""

        def register(config: type) -> type:
            cls.known[name] = config
            return config

        return register

    @abc.abstractmethod
    def build(self, num_train_steps: int) -> Any:
        """Return the optimiser of a run."""

    def build_weight_decay_mask(self) -> Any:
        """Return the function that says which parameters of a model decay."""

        def mask_fn(model: Any) -> Any:
            decays = lambda path, _: not jax.tree_util.keystr(path).endswith("bias")  # noqa: E731
            return jax.tree_util.tree_map_with_path(decays, model)

        return mask_fn

    def lr_scheduler(self, num_train_steps: int) -> Any:
        """Return a warm-up, and a cosine after it."""
        rate, steps = self.learning_rate, num_train_steps - self.warmup
        cosine = optax.cosine_decay_schedule(rate, steps, self.min_lr_ratio)
        warmup = optax.linear_schedule(0.0, rate, self.warmup)
        return optax.join_schedules([warmup, cosine], [self.warmup])


@OptimizerConfig.register_subclass("adam")
@dataclasses.dataclass(frozen=True)
class AdamConfig(OptimizerConfig):
    """Build AdamW, in which the learning rate can be logged."""

    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    max_grad_norm: float = 1.0

    def build(self, num_train_steps: int) -> Any:
        """Return the optimiser of a run."""

        def _optimizer(learning_rate: Any) -> Any:
            components = [optax.clip_by_global_norm(self.max_grad_norm)]
            components.append(optax.scale_by_adam(self.beta1, self.beta2, self.epsilon))
            if self.weight_decay > 0:
                decay = self.weight_decay, self.build_weight_decay_mask()
                components.append(optax.add_decayed_weights(*decay))
            components.append(optax.scale(-learning_rate))
            return optax.chain(*components)

        rate = self.lr_scheduler(num_train_steps)
        return optax.inject_hyperparams(_optimizer)(learning_rate=rate)


def clipped_adamw(rate: Any, *, epsilon: float, max_grad_norm: float, **options: Any) -> Any:
    """Return AdamW behind the clip that Levanter's has."""
    adamw = ao.adamw(rate, b2=0.95, eps=epsilon, **options)
    return optax.chain(ao.clip_by_global_norm(max_grad_norm), adamw)


OptimizerConfig.register_subclass("adam_optax")(
    ao.adapters.levanter_config(OptimizerConfig, clipped_adamw, epsilon=1e-8, max_grad_norm=1.0)
)


class Model(eqx.Module):
    """Layers in one array, as in Levanter's `Stacked`."""

    layers: eqx.nn.Linear
    head: eqx.nn.Linear
    activation: Callable[[Any], Any]

    def __init__(self, key: Any) -> None:
        self.activation = jnp.tanh
        self.layers = eqx.filter_vmap(lambda key: eqx.nn.Linear(6, 6, key=key))(
            jax.random.split(key, 3)
        )
        self.head = eqx.nn.Linear(6, 2, key=key)

    def __call__(self, x: Any) -> Any:
        """Return the output for one example."""
        arrays, static = eqx.partition(self.layers, eqx.is_array)
        layer = lambda x, one: (x + self.activation(eqx.combine(one, static)(x)), None)  # noqa: E731
        return self.head(jax.lax.scan(layer, x, arrays)[0])


def main() -> tuple[list[float], Any]:
    """Return the losses of a run, and the state of the optimiser."""
    fields = dict(FILE)
    optimizer = OptimizerConfig.known[fields.pop("type")](**fields).build(STEPS)
    model = Model(jax.random.key(0))
    opt_state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def train_step(model: Any, opt_state: Any) -> tuple[Any, Any, Any]:
        loss_fn = lambda model: jnp.mean((jax.vmap(model)(X) - Y) ** 2)  # noqa: E731
        loss, grads = eqx.filter_value_and_grad(loss_fn)(model)
        trainable = eqx.filter(model, eqx.is_inexact_array)
        updates, opt_state = optimizer.update(grads, opt_state, params=trainable, obj_fn=loss_fn)
        return loss, eqx.apply_updates(model, updates), opt_state

    losses = []
    for _ in range(STEPS):
        loss, model, opt_state = train_step(model, opt_state)
        losses.append(float(loss))
    return losses, opt_state
