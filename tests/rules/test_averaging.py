"""Test Adam's temporal average of the parameters (Kingma & Ba 2015, section 7.2)."""

from typing import Any

import chex
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.support import oracle_other
from tests.support.cases import gradients, run
from tests.support.oracle import relative_rms

GRADS = gradients(300, 6, seed=8)
START = (np.linspace(-1.0, 1.0, 6) + 0.03).astype(np.float32).astype(np.float64)
BEFORE = {
    "ours": lambda: ao.adamw(1e-2, weight_decay=0.1),
    "optax": lambda: optax.sgd(1e-3, momentum=0.9),
    "chain": lambda: optax.chain(optax.clip_by_global_norm(1.0), ao.lion(1e-2)),
}


def averaged(before: str = "ours", b2: float = 0.99) -> Any:
    """Build an optimiser with the average behind it."""
    return optax.chain(BEFORE[before](), ao.temporal_average(b2))


def right(trajectory: Any, b2: float = 0.99) -> Any:
    """Return the oracle's averages after each step."""
    rule = oracle_other.TemporalAverage(b2)
    return np.stack([rule.step(np.asarray(theta)) for theta in trajectory])


def walk(tx: Any, grads: Any, params: Any) -> tuple[Any, Any, Any]:
    """Return parameters and averages after each step, and the last state."""

    def body(carry: Any, g: Any) -> Any:
        params, state = carry
        updates, state = tx.update(g, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), (params, ao.read_average(state, params))

    scan = jax.jit(lambda p, s, g: jax.lax.scan(body, (p, s), g))
    with jax.numpy_dtype_promotion("standard"):  # optax's
        (_, state), (trajectory, averages) = scan(params, tx.init(params), grads)
    return trajectory, averages, state


@pytest.mark.quick
@pytest.mark.parametrize(
    "before", ["chain"] + [pytest.param(b, marks=pytest.mark.heavy) for b in ("ours", "optax")]
)
def test_it_averages_what_is_there_after_each_step(before: str) -> None:
    trajectory, averages, _ = walk(averaged(before), jnp.float32(GRADS), jnp.float32(START))
    for mine, theirs in zip(averages, right(trajectory), strict=True):
        assert relative_rms(mine, theirs) < 2e-6  # a window of 100 roundings of 6e-8, at random


@pytest.mark.parametrize(
    "b2", [0.9] + [pytest.param(b, marks=pytest.mark.heavy) for b in (0.0, 0.5, 0.99999)]
)
def test_float64_equals_the_oracle(b2: float, x64: None) -> None:
    tx = averaged(b2=b2)
    trajectory, averages, _ = walk(tx, jnp.float64(GRADS), jnp.float64(START))
    assert relative_rms(averages, right(trajectory, b2)) < 1e-13  # 300 roundings of 1e-16


def test_the_default_is_adam_s(x64: None) -> None:
    tx = optax.chain(ao.adam(0.1), ao.temporal_average())
    trajectory, averages, _ = walk(tx, jnp.float64(GRADS[:50]), jnp.float64(START))
    assert relative_rms(averages, right(trajectory, 0.999)) < 1e-13  # as above


@pytest.mark.quick
def test_updates_pass_bit_for_bit() -> None:
    grads, start = jnp.float32(GRADS[:50]), jnp.float32(START)
    for name in ("ours", "chain"):
        updates, params, _ = run(averaged(name), grads, start)
        expected, end, _ = run(BEFORE[name](), grads, start)
        np.testing.assert_array_equal(updates, expected)
        np.testing.assert_array_equal(params, end)
    link = ao.temporal_average()
    odd = jnp.array([-0.0, jnp.inf, 1e-45, 3.0])
    same, _ = link.update(odd, link.init(jnp.ones(4)), jnp.ones(4))
    np.testing.assert_array_equal(np.asarray(same).view(np.int32), np.asarray(odd).view(np.int32))


@pytest.mark.quick
def test_after_one_step_it_is_the_parameters_and_of_a_constant_the_constant() -> None:
    tx, params = averaged(b2=0.9999), jnp.float32(START)
    updates, state = tx.update(jnp.ones(6), tx.init(params), params)
    first = optax.apply_updates(params, updates)
    np.testing.assert_allclose(ao.read_average(state, first), first, rtol=3e-7)  # a rounding or two
    still = optax.chain(optax.set_to_zero(), ao.temporal_average(0.9999))
    _, averages, _ = walk(still, jnp.ones((500, 6)), params)
    # Stored corrected: uncorrected, 1 - b2 in float32 would be off by 1e-4 of itself.
    np.testing.assert_allclose(averages[-1], params, rtol=1e-6)


def test_it_reads_the_parameters_dtypes_and_keeps_at_least_float32() -> None:
    params = {"w": jnp.ones((2, 3), jnp.bfloat16), "b": jnp.ones(3, jnp.float16), "s": jnp.ones(())}
    tx = averaged(b2=0.999)
    state = tx.init(params)
    floats = [m for m in jax.tree.leaves(state[-1]) if jnp.issubdtype(m.dtype, jnp.floating)]
    assert {m.dtype for m in floats} == {jnp.dtype("float32")}
    _, after = tx.update(params, state, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    average = ao.read_average(after, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(average, params)


def test_a_bfloat16_run_averages_in_float32() -> None:
    steps = 200
    grads = jnp.asarray(GRADS[:steps], jnp.bfloat16)
    trajectory, _, state = walk(averaged(b2=0.99), grads, jnp.asarray(START, jnp.bfloat16))
    average = ao.read_average(state, jnp.float32(START))
    expected = right(np.asarray(trajectory, np.float64))[-1]
    # XLA may leave out the rounding of what is averaged to bfloat16, 2e-3 at random; an average in
    # bfloat16 would not move by a hundredth of the way at all.
    assert relative_rms(average, expected) < 5e-4


@pytest.mark.heavy
def test_complex_parameters_are_averaged() -> None:
    params = jnp.array([1 + 2j, -3j], jnp.complex64)
    trajectory, averages, _ = walk(averaged("ours"), jnp.ones((20, 2), jnp.complex64), params)
    rule = oracle_other.TemporalAverage(0.99)
    for theta, mine in zip(trajectory, averages, strict=True):
        assert relative_rms(mine, rule.step(np.asarray(theta))) < 1e-6  # float32


@pytest.mark.quick
def test_it_needs_the_parameters() -> None:
    tx = ao.temporal_average()
    with pytest.raises(ValueError, match="param"):
        tx.update(jnp.ones(3), tx.init(jnp.ones(3)))


def test_there_must_be_one_average_to_read() -> None:
    params = jnp.ones(3)
    with pytest.raises(ValueError, match="average"):
        ao.read_average(ao.adam(0.1).init(params), params)


@pytest.mark.heavy
def test_it_is_found_in_wrappers(x64: None) -> None:
    params = {"w": jnp.float64(START), "n": None}
    tx = optax.MultiSteps(averaged(), every_k_schedule=2)
    state: Any = tx.init(params)
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(4):
            updates, state = tx.update({"w": jnp.ones(6), "n": None}, state, params)
            params = optax.apply_updates(params, updates)
    chex.assert_trees_all_equal_shapes_and_dtypes(ao.read_average(state, params), params)


@pytest.mark.parametrize("b2", [-0.1, 1.0, 1.5, float("nan")])
def test_decay_rates_out_of_range_are_refused(b2: float) -> None:
    with pytest.raises(ValueError, match="b2"):
        ao.temporal_average(b2)


def test_it_is_mapped_saved_and_compiled_once() -> None:
    chex.clear_trace_counter()  # it counts by name
    tx, params = averaged(), jnp.float32(START)
    step = jax.jit(chex.assert_max_traces(tx.update, n=1))
    state = tx.init(params)
    for g in jnp.float32(GRADS[:3]):
        _, state = step(g, state, params)
    saved = flax.serialization.to_bytes(state)
    chex.assert_trees_all_equal(flax.serialization.from_bytes(tx.init(params), saved), state)

    def last(scale: Any) -> Any:
        return walk(tx, scale * jnp.float32(GRADS[:5]), params)[1][-1]

    scales = jnp.array([1.0, -2.0])
    for scale, average in zip(scales, jax.vmap(last)(scales), strict=True):
        np.testing.assert_allclose(average, last(scale), rtol=1e-6)  # fused otherwise


def test_empty_and_scalar_leaves() -> None:
    params = {"none": jnp.zeros((0, 3)), "one": jnp.float32(2.0)}
    tx = averaged()
    _, state = tx.update(params, tx.init(params), params)
    chex.assert_tree_all_finite(state)
    assert ao.read_average(state, params)["none"].shape == (0, 3)
