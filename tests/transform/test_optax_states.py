"""States are optax's own for every optimiser that optax has: class, fields, length of the chain."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import serialization

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
IDS = [pair.id for pair in EVERY]
RESCALINGS: dict[str, list[dict[str, Any]]] = {
    "scale_by_rss": [{}],
    "scale_by_adadelta": [{}],
    "scale_by_adan": [{}],
    "scale_by_belief": [{}],
    "scale_by_yogi": [{}],
    "scale_by_lion": [{}],
    "scale_by_novograd": [{}, {"weight_decay": 0.1}],
}


def assert_same_kind(one: Any, other: Any) -> None:
    """Check classes, fields, lengths, and each array's shape and dtype."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)


@pytest.mark.quick
@pytest.mark.parametrize("pair", EVERY, ids=IDS)
@pytest.mark.parametrize("rate", [0.01, fading], ids=["number", "schedule"])
def test_states_are_optax_s_before_and_after_a_step(pair: Pair, rate: Any) -> None:
    ours, theirs = pair.both(learning_rate=rate)
    state = jax.eval_shape(ours.init, PARAMS)
    assert_same_kind(state, jax.eval_shape(theirs.init, PARAMS))
    _, after = jax.eval_shape(ours.update, PARAMS, state, PARAMS)
    assert_same_kind(after, state)


@pytest.mark.parametrize("name", RESCALINGS)
def test_states_of_rescalings_are_optax_s(name: str) -> None:
    for options in RESCALINGS[name]:
        ours, theirs = (getattr(kind, name)(**options).init(PARAMS) for kind in (ao, optax))
        assert_same_kind(ours, theirs)
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_array_equal(a, b)


def injected(make: Any) -> Any:
    """Inject the hyper-parameters, except for what optax would take for a number or a schedule."""
    static = ("mu_dtype", "accumulator_dtype", "clip_value_fn")
    known = inspect.signature(make).parameters
    return optax.inject_hyperparams(make, static_args=[n for n in static if n in known])


@pytest.mark.parametrize("pair", EVERY, ids=IDS)
def test_injected_hyper_parameters_are_those_of_optax(pair: Pair) -> None:
    ours, theirs = pair.both(injected)
    state = ours.init(PARAMS)
    assert_same_kind(state, theirs.init(PARAMS))
    _, after = jax.eval_shape(ours.update, PARAMS, state, PARAMS)
    assert_same_kind(after, state)


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


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "injected"])
@pytest.mark.parametrize("pair", EVERY, ids=IDS)
def test_a_run_of_optax_goes_on_here_and_back(pair: Pair, wrapped: bool) -> None:
    ours, theirs = pair.both(injected) if wrapped else pair.both()
    _, params, state = losses(theirs, theirs.init(PARAMS), PARAMS, 5)
    alone, _, _ = losses(theirs, state, params, 6)
    for before, after in [(theirs, ours), (ours, theirs)]:
        _, params, state = losses(before, before.init(PARAMS), PARAMS, 5)
        # As Flax's checkpoints do: field names alone, into a template.
        told = serialization.to_bytes(state)
        state = serialization.from_bytes(jax.tree.map(jnp.zeros_like, after.init(PARAMS)), told)
        found, _, _ = losses(after, state, params, 6)
        # Roundings of eleven steps in float32, and optax's rho of RAdam, which cancels; a bfloat16
        # moment is rounded at each step.
        rtol = 1e-2 if "bfloat16" in pair.options.values() else 3e-5
        np.testing.assert_allclose(found, alone, rtol=rtol)
