"""Gradients are clipped by their history as the papers say, layer by layer where asked."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.support import oracle_spikes

STEPS = 80


def norms_of(tx: Any, sizes: Any, like: Any) -> Any:
    """Return the norms of each leaf after the link; `sizes` has a column for each leaf."""
    leaves, treedef = jax.tree.flatten(like)

    def body(state: Any, row: Any) -> Any:
        units = [jnp.full_like(p, row[i] / np.sqrt(p.size)) for i, p in enumerate(leaves)]
        grads, state = tx.update(jax.tree.unflatten(treedef, units), state)
        return state, jnp.stack([jnp.linalg.norm(g) for g in jax.tree.leaves(grads)])

    return jax.jit(lambda s: jax.lax.scan(body, s, jnp.float32(sizes)))(tx.init(like))


def spiky(columns: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    sizes = np.exp(0.2 * rng.standard_normal((STEPS, columns)))
    sizes[[12, 40, 55], [0, columns - 1, 0]] *= 50.0
    return sizes


@pytest.mark.quick
def test_zclip_equals_the_oracle() -> None:
    like = {"a": jnp.zeros(4), "b": jnp.zeros((2, 3))}
    sizes = spiky(2)
    sizes[60, 1] = np.nan
    tx = ao.zclip(alpha=0.9, warmup_steps=10)
    state, found = norms_of(tx, sizes, like)
    whole = np.sqrt(np.sum(sizes**2, axis=1))
    right = np.asarray(oracle_spikes.zclip(whole, 0.9, warmup=10))
    assert right[40] < 0.1 * whole[40]
    assert right[60] == 0
    # The distance from a mean is a difference of float32 numbers, and a spike divides by it.
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), right, rtol=2e-5)
    assert int(state.count) == STEPS - 1


@pytest.mark.quick
def test_adagc_equals_the_oracle_leaf_by_leaf() -> None:
    like = {"a": jnp.zeros(4), "b": jnp.zeros((2, 3)), "c": jnp.zeros(())}
    sizes = spiky(3)
    tx = ao.adagc(beta=0.9, relative=1.2, absolute=2.0, warmup_steps=20)
    _, found = norms_of(tx, sizes, like)
    right = np.asarray(oracle_spikes.adagc(sizes, 0.9, 1.2, 2.0, 20))
    assert right[55, 0] < 0.1 * sizes[55, 0]
    np.testing.assert_allclose(found, right, rtol=1e-5)  # float32, along an average


@pytest.mark.quick
def test_block_rms_is_optax_s_and_finite() -> None:
    grads = {"a": jnp.array([3.0, 4.0]), "b": jnp.full((2, 2), 0.1), "c": jnp.zeros(3)}
    ours, theirs = (m.clip_by_block_rms(1.0) for m in (ao, optax))
    one, other = (tx.update(grads, tx.init(grads))[0] for tx in (ours, theirs))
    chex.assert_trees_all_close(one, other, rtol=1e-6)  # a rounding or two
    bad = {"a": jnp.array([jnp.nan, 1.0]), "b": jnp.full(2, 3.0, jnp.bfloat16)}
    found, _ = ours.update(bad, ours.init(bad))
    np.testing.assert_array_equal(found["a"], np.zeros(2))
    np.testing.assert_array_equal(np.float32(found["b"]), np.ones(2))


@pytest.mark.quick
def test_each_layer_of_a_stack_is_clipped_by_itself() -> None:
    rng = np.random.default_rng(1)
    stack = jnp.float32(rng.standard_normal((3, 2, 4)) * np.array([1.0, 5.0, 0.1])[:, None, None])
    apart = {str(i): layer for i, layer in enumerate(stack)}
    for make in (
        lambda stacked: ao.clip_by_block_rms(0.5, stacked=stacked),
        lambda stacked: ao.adagc(warmup_steps=2, absolute=1e9, stacked=stacked),
    ):
        whole, each = make(1), make(None)
        state, other = whole.init(stack), each.init(apart)
        for size in (1.0, 0.5, 4.0):
            one, state = whole.update(size * stack, state)
            layers = jax.tree.map(lambda g, size=size: size * g, apart)
            two, other = each.update(layers, other)
        chex.assert_trees_all_close(one, jnp.stack(list(two.values())), rtol=1e-6)  # a sum
        assert bool(jnp.any(one != 4.0 * stack))
    with pytest.raises(ValueError, match="stacked says that the first 1 axes are layers"):
        ao.clip_by_block_rms(1.0, stacked=1).update(jnp.float32(1.0), optax.EmptyState())


@pytest.mark.quick
def test_a_leaf_that_is_not_finite_rests_and_so_does_its_average() -> None:
    tx = ao.adagc(warmup_steps=1)
    grads = {"a": jnp.ones(4), "b": jnp.ones(2)}
    _, state = tx.update(grads, tx.init(grads))
    bad = {"a": jnp.array([jnp.inf, 1, 1, 1]), "b": jnp.full(2, 9.0)}
    found, after = tx.update(bad, state)
    np.testing.assert_array_equal(found["a"], np.zeros(4))
    assert float(after.norms["a"]) == float(state.norms["a"]) == 2.0
    np.testing.assert_allclose(found["b"], 1.05, rtol=1e-6)  # roundings


@pytest.mark.quick
def test_zclip_is_folded_into_the_step() -> None:
    tx = optax.chain(ao.zclip(warmup_steps=2), ao.adamw(1e-2))
    params = {"w": jnp.linspace(-1, 1, 60).reshape(3, 20), "b": jnp.ones(7)}
    state = twin = tx.init(params)
    for size in (1.0, 1.1, 30.0):
        grads = jax.tree.map(lambda p, size=size: size * jnp.cos(p), params)
        new, state = ao.step(tx, grads, state, params)
        updates, twin = tx.update(grads, twin, params)
        chex.assert_trees_all_equal(state, twin)  # what is clipped in the step has the same bits
        chex.assert_trees_all_close(new, optax.apply_updates(params, updates), rtol=3e-7)
    assert int(state[0].count) == 3
    assert "kumar2025zclip" in ao.citation(tx)
    assert "wang2025adagc" in ao.citation(ao.adagc())


@pytest.mark.quick
def test_numbers_out_of_range_are_refused() -> None:
    wrong: Any = 2.5
    for make, error, text in (
        (lambda: ao.zclip(1.0), ValueError, r"alpha must be in \[0, 1\), not 1.0"),
        (lambda: ao.zclip(z_threshold=0), ValueError, "z_threshold must be positive"),
        (lambda: ao.zclip(warmup_steps=1), ValueError, "warmup_steps must be at least 2, not 1"),
        (lambda: ao.adagc(warmup_steps=wrong), TypeError, "must be an integer, not 2.5"),
        (lambda: ao.adagc(relative=-1), ValueError, "relative must be finite and not negative"),
        (lambda: ao.clip_by_block_rms(0), ValueError, "threshold must be positive"),
    ):
        with pytest.raises(error, match=text):
            make()
    assert repr(ao.zclip()) == "zclip(alpha=0.97, z_threshold=2.5, warmup_steps=25)"
