"""Train as MaxText does: a configuration, `get_optimizer`, scanned layers, a Flax train state."""

import re
import types
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.training import train_state

import adam_optax as ao  # noqa: F401  # for the line that is switched
from tests.programs.program import STEPS, X, Y

config = types.SimpleNamespace(
    opt_type="adamw",
    adam_b1=0.9,
    adam_b2=0.95,
    adam_eps=1e-8,
    adam_eps_root=0.0,
    adam_weight_decay=0.1,
    adamw_mask=["bias", "scale"],
    mu_dtype="float32",
    gradient_clipping_threshold=1.0,
    learning_rate=1e-2,
    warmup_steps=4,
    steps=STEPS,
)


def create_learning_rate_schedule(config: Any) -> Any:
    """Return a warm-up, and a cosine after it."""
    rate, first = config.learning_rate, config.warmup_steps
    warmup = optax.linear_schedule(0.0, rate, first)
    cosine = optax.cosine_decay_schedule(rate, config.steps - first, alpha=0.1)
    return optax.join_schedules([warmup, cosine], [first])


def get_adamw_mask(config: Any) -> Callable[[Any], Any]:
    """Return the function that says which parameters decay."""

    def mask_fn(params: Any) -> Any:
        def decays(path: Any, _: Any) -> bool:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            return not any(re.search(pattern, name) for pattern in config.adamw_mask)

        return jax.tree_util.tree_map_with_path(decays, params)

    return mask_fn


def get_optimizer(config: Any, learning_rate_schedule: Any) -> Any:
    """Return the optimiser that the configuration names."""
    if config.opt_type == "adamw":
        return optax.adamw(
            learning_rate_schedule,
            b1=config.adam_b1,
            b2=config.adam_b2,
            eps=config.adam_eps,
            eps_root=config.adam_eps_root,
            weight_decay=config.adam_weight_decay,
            mu_dtype=config.mu_dtype,
            mask=get_adamw_mask(config),
        )
    raise ValueError(f"{config.opt_type=} is not supported")


class Block(nn.Module):
    """A layer of the decoder."""

    @nn.compact
    def __call__(self, x: Any, _: None) -> tuple[Any, None]:
        """Return the carry of the next layer."""
        return x + nn.Dense(8, name="mlp")(jnp.tanh(nn.RMSNorm(name="norm")(x))), None


class Decoder(nn.Module):
    """Layers in one array, along axis 1 as in MaxText."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """Return the outputs."""
        scanned = nn.scan(Block, variable_axes={"params": 1}, split_rngs={"params": True}, length=3)
        x, _ = scanned(name="layers")(nn.Dense(8, use_bias=False, name="embed")(x), None)
        return nn.Dense(2, name="head")(x)


def main() -> tuple[list[float], Any]:
    """Return the losses of a run, and the state of the optimiser."""
    model, tx = Decoder(), get_optimizer(config, create_learning_rate_schedule(config))
    params = jax.jit(model.init)(jax.random.key(0), X)["params"]
    state = train_state.TrainState.create(apply_fn=model.apply, params=params, tx=tx)

    @jax.jit
    def train_step(state: Any) -> tuple[Any, Any]:
        loss_fn = lambda params: jnp.mean((state.apply_fn({"params": params}, X) - Y) ** 2)  # noqa: E731
        loss, grads = jax.value_and_grad(loss_fn)(state.params)
        clip = optax.clip_by_global_norm(config.gradient_clipping_threshold)
        grads, _ = clip.update(grads, clip.init(grads))
        return state.apply_gradients(grads=grads), loss

    losses = []
    for _ in range(config.steps):
        state, loss = train_step(state)
        losses.append(float(loss))
    return losses, state.opt_state
