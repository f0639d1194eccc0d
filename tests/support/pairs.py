"""The optimisers that both libraries have, with options of which the state depends."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import adam_optax as ao

PARAMS = {"w": jnp.linspace(-1.0, 1.0, 6).reshape(2, 3), "b": jnp.full(3, 0.5)}
MASK = {"w": True, "b": False}


def fading(n: Any) -> Any:
    return 0.01 / (1.0 + jnp.asarray(n, jnp.float32) / 50)


class Pair(NamedTuple):
    """Name an optimiser of both libraries, with options that both take."""

    name: str
    options: dict[str, Any]
    home: Any = optax

    @property
    def id(self) -> str:
        """Return the name and options, for pytest."""
        return "-".join([self.name, *(f"{n}={v}" for n, v in self.options.items())])

    def both(self, wrap: Callable[[Any], Any] = lambda make: make, **more: Any) -> tuple[Any, Any]:
        """Return our optimiser and optax's, each made by what `wrap` makes of the function."""
        options = {"learning_rate": 0.01, **self.options, **more}
        ours, theirs = getattr(ao, self.name), getattr(self.home, self.name)
        return wrap(ours)(**options), wrap(theirs)(**options)


DECAYING = [
    Pair("adamw", {"weight_decay": 0.1, "mask": MASK}),
    Pair("nadamw", {}),
    Pair("adamaxw", {}),
    Pair("lion", {}),
    Pair("lion", {"mask": MASK, "mu_dtype": "bfloat16"}),
    Pair("adan", {}),
    Pair("adan", {"weight_decay": 0.1, "mask": MASK}),
    Pair("lamb", {}),
    Pair("lamb", {"weight_decay": 0.1, "mask": MASK}),
    Pair("novograd", {}),
    Pair("novograd", {"weight_decay": 0.1}),
    Pair("adadelta", {}),
    Pair("adadelta", {"weight_decay": 0.1}),
    Pair("adadelta", {"weight_decay": 0.1, "weight_decay_mask": MASK}),
    Pair("ademamix", {}, optax.contrib),
    Pair("simplified_ademamix", {"weight_decay": 0.1}, optax.contrib),
]
PLAIN = [
    Pair("adam", {}),
    Pair("nadam", {}),
    Pair("adamax", {}),
    Pair("amsgrad", {}),
    Pair("adabelief", {}),
    Pair("radam", {}),
    Pair("yogi", {}),
    Pair("adopt", {}, optax.contrib),
    Pair("adagrad", {"initial_accumulator_value": 0.2}),
    Pair("rmsprop", {"initial_scale": 0.3}),
    Pair("rmsprop", {"bias_correction": True}),
    Pair("rmsprop", {"momentum": 0.8, "nesterov": True}),
    Pair("rmsprop", {"momentum": 0.8, "bias_correction": True}),
    Pair("sgd", {}),
    Pair("sgd", {"momentum": 0.8}),
    Pair("sgd", {"momentum": 0.8, "nesterov": True, "accumulator_dtype": "bfloat16"}),
]
EVERY = PLAIN + DECAYING


def injected(make: Any) -> Any:
    """Inject the hyper-parameters, except for what optax would take for a number or a schedule."""
    static = ("mu_dtype", "accumulator_dtype", "clip_value_fn")
    known = inspect.signature(make).parameters
    return optax.inject_hyperparams(make, static_args=[n for n in static if n in known])


def losses(tx: Any, state: Any, params: Any, steps: int) -> tuple[list[float], Any, Any]:
    """Return the losses of a small regression, and the state and parameters after it."""
    x = jnp.linspace(-1.0, 1.0, 8).reshape(4, 2)
    y = jnp.cos(jnp.arange(12.0)).reshape(4, 3)

    def loss(p: Any) -> Any:
        return jnp.mean((jnp.tanh(x @ p["w"] + p["b"][None]) - y) ** 2)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params)
        with jax.numpy_dtype_promotion("standard"):  # optax's arithmetic needs it
            updates, state = tx.update(grads, state, params)
        return value, optax.apply_updates(params, updates), state

    found = []
    for _ in range(steps):
        value, params, state = step(params, state)
        found.append(float(value))
    return found, params, state
