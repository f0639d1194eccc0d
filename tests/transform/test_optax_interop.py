"""What is found inside optax's closures is found, and a warning says so where it is not."""

import types
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from adam_optax._engine.tree import Engine
from adam_optax._optax_interop import chain_links, find_optax_updates, find_tags, injected

G = jnp.array([1.0, -2.0])


def disguised(function: Any, maker: Any, name: str) -> Any:
    """Return a function that says it is a closure of optax's, without the variables of one."""
    found = types.FunctionType(function.__code__, function.__globals__, name, (), None)
    found.__kwdefaults__, found.__defaults__ = function.__kwdefaults__, function.__defaults__
    found.__module__, found.__qualname__ = maker.__module__, name
    return found


@pytest.mark.quick
def test_this_release_of_optax_is_known() -> None:
    tx = optax.chain(ao.clip_by_global_norm(1.0), optax.scale_by_adam(b1=0.8), ao.adamw(1e-3))
    links = chain_links(tx.update)
    assert links is not None
    assert len(links) == 3
    assert chain_links(ao.adam(1e-3).update) is None
    (clip, engine) = find_tags(tx)
    assert clip == "clip_by_global_norm"
    assert isinstance(engine, Engine)
    held = dict(find_optax_updates(tx))
    assert held["scale_by_adam"]["b1"] == 0.8
    hyper = optax.inject_hyperparams(ao.adam)(1e-3)
    held = dict(find_optax_updates(hyper))["inject_hyperparams"]
    assert isinstance(injected(held, {"learning_rate": 0.1}), ao.Transformation)


@pytest.mark.quick
def test_a_chain_of_another_layout_is_taken_apart_by_optax_itself_with_a_warning() -> None:
    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return updates, state

    tx = optax.GradientTransformation(
        lambda params: (), disguised(update, optax.chain, "chain.<locals>.update_fn")
    )
    with pytest.warns(RuntimeWarning, match=r"optax.chain of optax .* is not laid out as"):
        params, _ = ao.step(tx, G, (), G)
    np.testing.assert_array_equal(params, G + G)


def test_an_injected_optimiser_of_another_layout_is_told_with_a_warning() -> None:
    with pytest.warns(RuntimeWarning, match=r"optax.inject_hyperparams of optax .* is not laid"):
        assert injected({}, {"learning_rate": 0.1}) is not None
