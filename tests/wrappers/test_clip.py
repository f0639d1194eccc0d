"""Test clipping by the global norm."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

import adam_optax as ao
from tests.support.versions import SINCE_0_10_2

ANY = st.floats(width=32)


def clip(updates: Any, max_norm: Any = 1.0) -> Any:
    """Return the clipped updates."""
    tx = ao.clip_by_global_norm(max_norm)
    return tx.update(updates, tx.init(updates))[0]


@pytest.mark.quick
@pytest.mark.parametrize("max_norm", [0.01, 1.0, 100.0])
def test_equals_the_formula_in_float64_and_optax(max_norm: float) -> None:
    rng = np.random.default_rng(0)
    grads = {"w": rng.standard_normal((5, 7)), "b": [rng.standard_normal(3), None]}
    norm = np.sqrt(sum(np.sum(g**2) for g in jax.tree.leaves(grads)))
    expected = jax.tree.map(lambda g: g * min(1.0, max_norm / norm), grads)
    ours = clip(jax.tree.map(jnp.float32, grads), max_norm)
    with jax.numpy_dtype_promotion("standard"):
        tx = optax.clip_by_global_norm(max_norm)
        theirs = tx.update(jax.tree.map(jnp.float32, grads), tx.init(None))[0]
    for one, witness, right in zip(*map(jax.tree.leaves, (ours, theirs, expected)), strict=True):
        np.testing.assert_allclose(one, right, rtol=1e-6)  # a sum of 38 squares in float32
        np.testing.assert_allclose(one, witness, rtol=1e-6)


@given(st.lists(ANY, min_size=1, max_size=9), st.sampled_from(["float32", "bfloat16", "float16"]))
def test_what_comes_out_is_never_longer_and_never_nan(values: list[float], dtype: str) -> None:
    with np.errstate(over="ignore"):  # to inf, in sixteen bits, is part of the test
        grads = jnp.asarray(np.asarray(values, np.float32).astype(jnp.dtype(dtype)))
    out = np.asarray(clip(grads, 0.5), np.float64)
    assert np.all(np.isfinite(out))
    assert np.linalg.norm(out) <= 0.5 * 1.01  # bfloat16 rounds each by at most 2**-9


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_a_norm_that_is_not_finite_gives_zero(bad: float) -> None:
    out = clip({"a": jnp.ones(3), "b": jnp.array([bad, 1.0])})
    jax.tree.map(lambda g: np.testing.assert_array_equal(g, np.zeros_like(g)), out)


def test_zero_stays_zero_and_has_a_derivative() -> None:
    np.testing.assert_array_equal(clip(jnp.zeros(3)), np.zeros(3))
    slope = jax.jacobian(clip)(jnp.zeros(3))
    np.testing.assert_array_equal(slope, np.eye(3))


def test_dtypes_scalars_complex_and_empty_trees() -> None:
    grads = {
        "half": jnp.full(2, 3, jnp.bfloat16),
        "scalar": jnp.float32(4.0),
        "complex": jnp.full(1, 3 + 4j, jnp.complex64),
        "empty": jnp.zeros((0, 3)),
    }
    out = clip(grads, 1.0)
    norm = np.sqrt(2 * 9 + 16 + 25)
    assert jax.tree.map(lambda x: x.dtype, out) == jax.tree.map(lambda x: x.dtype, grads)
    np.testing.assert_allclose(out["scalar"], 4 / norm, rtol=1e-6)
    np.testing.assert_allclose(out["complex"], np.array([3 + 4j]) / norm, rtol=1e-6)
    np.testing.assert_allclose(np.float32(out["half"]), 3 / norm, rtol=4e-3)  # bfloat16
    assert clip({}) == {}


def test_max_norm_may_be_traced() -> None:
    clipped = jax.vmap(lambda m: clip(jnp.array([3.0, 4.0]), m))(jnp.array([1.0, 10.0]))
    np.testing.assert_allclose(clipped, [[0.6, 0.8], [3.0, 4.0]], rtol=1e-6)


def test_float16_gradients_whose_squares_overflow_float16() -> None:
    out = clip(jnp.full(4, 3e4, jnp.float16))
    np.testing.assert_allclose(np.float32(out), 0.5, rtol=1e-3)  # float16


@pytest.mark.quick
@pytest.mark.parametrize("storage", [None, ao.storage.pair()], ids=["float32", "pair()"])
def test_a_step_clips_as_the_chain_does(storage: Any) -> None:
    tx = optax.chain(ao.clip_by_global_norm(0.5), ao.adamw(1e-2, storage=storage))
    params = {"w": jnp.linspace(-1, 1, 60).reshape(3, 20), "b": jnp.ones(7)}
    grads = {"w": jnp.cos(params["w"]), "b": jnp.array([1e-30, 3, 0, -2, 1, 5, -1.0])}
    for g in (grads, jax.tree.map(lambda x: x * jnp.inf, grads)):
        state = tx.init(params)
        new, kept = ao.step(tx, g, state, params)
        updates, twin = tx.update(g, state, params)
        chex.assert_trees_all_equal(kept, twin)  # what is clipped in the step has the same bits
        # The product with the rate is rounded before the parameter is added, or with it: half a
        # unit of either.
        chex.assert_trees_all_close(new, optax.apply_updates(params, updates), rtol=3e-7)


@SINCE_0_10_2
def test_a_step_writes_no_clipped_gradient() -> None:
    tx = optax.chain(ao.clip_by_global_norm(0.5), ao.adam(1e-2))
    p = jnp.ones((64, 64))
    step = jax.jit(lambda p, s, g: ao.step(tx, g, s, p), donate_argnums=(0, 1))  # nothing is copied
    memory = step.lower(p, tx.init(p), p).compile().memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < p.nbytes
