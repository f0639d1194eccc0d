"""States are optax's own for every optimiser that optax has: class, fields, length of the chain."""

from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import serialization

import adam_optax as ao
from tests.support.pairs import EVERY, PARAMS, Pair, fading, injected, losses
from tests.transform.test_checkpoint import by_orbax

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
    chex.assert_trees_all_equal_structs(one, other)
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


@pytest.mark.matrix(keep=10)
@pytest.mark.parametrize("pair", EVERY, ids=IDS)
def test_injected_hyper_parameters_are_those_of_optax(pair: Pair) -> None:
    ours, theirs = pair.both(injected)
    state = ours.init(PARAMS)
    assert_same_kind(state, theirs.init(PARAMS))
    _, after = jax.eval_shape(ours.update, PARAMS, state, PARAMS)
    assert_same_kind(after, state)


@pytest.mark.matrix(keep=6)
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


@pytest.mark.parametrize("name", ["lion", "adan", "lamb", "novograd", "adadelta", "rmsprop"])
def test_orbax_restores_a_state_of_optax_here(name: str, tmp_path: Path) -> None:
    pair = next(p for p in reversed(EVERY) if p.name == name)
    ours, theirs = pair.both(learning_rate=fading)
    _, _, state = losses(theirs, theirs.init(PARAMS), PARAMS, 3)
    restored = by_orbax(state, ours.init(PARAMS), tmp_path)
    chex.assert_trees_all_equal_structs(restored, ours.init(PARAMS))
    chex.assert_trees_all_equal(restored, state)
