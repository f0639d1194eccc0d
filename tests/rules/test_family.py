"""Test the rest of the family by one battery: numbers, states and transformations."""

from typing import Any

import chex
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from adam_optax._engine.states import states_with_moments, unpack
from tests.support.cases import run, witness
from tests.support.family import GRADS, MEMBERS, ONE_EACH, SHAPE, START, Member, by_id
from tests.support.oracle import relative_rms

EVERY = pytest.mark.parametrize("member", **by_id(MEMBERS))
EACH = pytest.mark.parametrize("member", **by_id(ONE_EACH))
PARAMS = {"w": jnp.asarray(START, jnp.float32), "b": jnp.ones(4)}
SLOPES = jax.tree.map(jnp.cos, PARAMS)


@pytest.mark.matrix(keep=5)
@EVERY
def test_float32_run_equals_the_oracle(member: Member) -> None:
    updates, params, _ = run(member.ours(), jnp.float32(GRADS), jnp.float32(START))
    expected = member.oracle(GRADS, START)
    assert relative_rms(updates, expected["updates"]) < member.rounding
    assert relative_rms(params, expected["params"][-1]) < 1e-5  # 500 of them added up


@pytest.mark.matrix(keep=6)
@EVERY
def test_float64_run_equals_the_oracle_and_optax(member: Member, x64: None) -> None:
    grads, start = jnp.float64(GRADS), jnp.float64(START)
    updates, _, _ = run(member.ours(), grads, start)
    assert relative_rms(updates, member.oracle(GRADS, START)["updates"]) < 1e-12  # rounding
    if member.witness is None:
        assert member.why
    else:
        assert relative_rms(updates, witness(member.optax(), grads, start)) < 1e-12


@pytest.mark.quick
@EACH
def test_a_short_run_equals_the_oracle_step_by_step(member: Member) -> None:
    updates, _, _ = run(member.ours(), jnp.float32(GRADS[:12]), jnp.float32(START))
    for ours, right in zip(updates, member.oracle(GRADS[:12], START)["updates"], strict=True):
        assert relative_rms(ours, right) < member.rounding


@pytest.mark.quick
def test_radam_is_right_where_optax_is_off_by_half_a_per_cent() -> None:
    member = next(m for m in MEMBERS if m.name == "radam")
    grads, start = jnp.float32(GRADS[:10]), jnp.float32(START)
    right = member.oracle(GRADS[:10], START)["updates"]
    theirs = witness(optax.radam(0.01), grads, start)
    assert max(map(relative_rms, theirs, right)) > 0.005
    updates, _, _ = run(member.ours(), grads, start)
    assert max(map(relative_rms, updates, right)) < 2e-6


@pytest.mark.heavy
@EACH
@pytest.mark.parametrize("params_dtype", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.parametrize("grads_dtype", ["bfloat16", "float16", "float32"])
def test_state_never_changes_its_structure_or_dtypes(
    member: Member, params_dtype: str, grads_dtype: str, x64: None
) -> None:
    params = jax.ShapeDtypeStruct(SHAPE, jnp.dtype(params_dtype))
    grads = jax.ShapeDtypeStruct(SHAPE, jnp.dtype(grads_dtype))
    tx = member.ours()
    state = jax.eval_shape(tx.init, params)
    _, after = jax.eval_shape(tx.update, grads, state, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)


@pytest.mark.matrix(keep=5)
@EACH
def test_none_keeps_its_moments_and_gives_no_update(member: Member) -> None:
    tx = member.ours()
    state = tx.init(PARAMS)
    _, state = tx.update(SLOPES, state, PARAMS)
    updates, after = tx.update({"w": SLOPES["w"], "b": None}, state, PARAMS)
    assert updates["b"] is None
    for name, tree in ao.read_moments(state).items():
        np.testing.assert_array_equal(tree["b"], ao.read_moments(after)[name]["b"])


@pytest.mark.heavy
@EACH
def test_scan_vmap_and_checkpoint(member: Member) -> None:
    tx = member.ours()

    def final(rate: Any) -> Any:
        slow = optax.chain(tx, optax.scale(rate))
        return run(slow, jnp.float32(GRADS[:6]), jnp.float32(START))[1]

    rates = jnp.array([0.5, 1.0])
    together = jax.vmap(final)(rates)
    for rate, params in zip(rates, together, strict=True):
        np.testing.assert_allclose(params, final(rate), rtol=1e-6)  # fused otherwise
    _, _, state = run(tx, jnp.float32(GRADS[:6]), jnp.float32(START))
    blank = tx.init(jnp.float32(START))
    restored = flax.serialization.from_bytes(blank, flax.serialization.to_bytes(state))
    chex.assert_trees_all_equal(restored, state)


@pytest.mark.heavy
@EACH
def test_second_step_compiles_nothing(member: Member) -> None:
    chex.clear_trace_counter()  # it counts by name
    tx = member.ours()
    step = jax.jit(chex.assert_max_traces(tx.update, n=1))
    state = tx.init(PARAMS)
    for _ in range(3):
        _, state = step(SLOPES, state, PARAMS)


@pytest.mark.heavy
@EACH
def test_zero_gradients_and_derivatives_are_finite(member: Member) -> None:
    # A row of zeros has CAME's eps for its nu, and a derivative divides by nu: 1e-33 underflows.
    # (The table's Adafactor has 1e-6, too.)
    more = {"eps": 1e-6} if member.name == "came" else {}
    tx, grads = member.ours(**more), jnp.float32(GRADS[:10]).at[:, 0].set(0.0)

    def final(start: Any, scale: Any) -> Any:
        return jnp.sum(run(tx, grads * scale, start)[1])

    with jax.debug_nans(True):
        slopes = jax.grad(final, argnums=(0, 1))(jnp.float32(START), jnp.float32(1.0))
    assert all(np.all(np.isfinite(s)) for s in slopes)


@pytest.mark.heavy
@EACH
def test_numbers_may_be_injected(member: Member) -> None:
    injected = optax.inject_hyperparams(getattr(ao, member.name), static_args=member.static)
    with jax.numpy_dtype_promotion("standard"):
        tx = injected(0.01, **member.options)
        updates, _, _ = run(tx, jnp.float32(GRADS[:20]), jnp.float32(START))
    assert np.all(np.isfinite(updates))
    assert relative_rms(updates, member.oracle(GRADS[:20], START)["updates"]) < 1e-3  # rounded b


@pytest.mark.matrix(keep=5)
@pytest.mark.parametrize(
    "member",
    **by_id([m for m in ONE_EACH if m.name not in ("adafactor", "came")]),  # storage of their own
)
def test_storage_is_taken_or_refused(member: Member) -> None:
    tx = member.ours(storage=ao.storage.dense("bfloat16"))
    _, state = tx.update(SLOPES, tx.init(PARAMS), PARAMS)
    moments = [unpack(one) for one in states_with_moments(state)]
    assert moments
    found = {n: jax.tree.leaves(tree) for one in moments for n, tree in one.items()}
    exact = found.pop("radius", [])  # one number for a leaf, which no format rounds
    assert all(m.dtype == jnp.bfloat16 for leaves in found.values() for m in leaves)
    assert all(m.dtype == jnp.float32 for m in exact)
