"""The average of parameters with a warm-up, in any storage, and swapped with the parameters."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.rules.test_averaging import GRADS, START, walk
from tests.support.oracle import relative_rms
from tests.support.oracle_other import warming_average

S = ao.storage


@pytest.mark.quick
@pytest.mark.parametrize("b2", [0.9, 0.999])
def test_the_warm_up_equals_the_oracle(b2: float, x64: None) -> None:
    tx = optax.chain(ao.adam(0.05), ao.temporal_average(b2, warmup=True))
    trajectory, averages, _ = walk(tx, jnp.float64(GRADS), jnp.float64(START))
    assert relative_rms(averages, warming_average(START, trajectory, b2)) < 1e-13  # roundings
    plain = optax.chain(ao.adam(0.05), ao.temporal_average(b2))
    _, others, _ = walk(plain, jnp.float64(GRADS), jnp.float64(START))
    assert relative_rms(averages[:20], others[:20]) > 1e-3


def test_its_rate_may_follow_a_schedule(x64: None) -> None:
    rates = np.linspace(0.2, 0.99, 60)
    tx = optax.chain(
        ao.adam(0.05), ao.temporal_average(lambda n: jnp.asarray(rates)[n], warmup=True)
    )
    trajectory, averages, _ = walk(tx, jnp.float64(GRADS[:60]), jnp.float64(START))
    shadow = START
    for t, (theta, mine) in enumerate(zip(trajectory, averages, strict=True), 1):
        d = min(rates[t - 1], (1 + t) / (10 + t))
        shadow = d * shadow + (1 - d) * np.asarray(theta)
        assert relative_rms(mine, shadow) < 1e-13  # roundings


# By what a format rounds a number (2^-9, 2^-9, a code book of two digits, 2^-4), right on average
# but for dense(), over some 1 / (1 - b2) = 20 steps. At random, float8's codes, 1/16 to 1/8 apart,
# are off by the root of 1/6 of that at each step, and by 3.2 times as much after 20: by .08 to .16.
FORMATS: dict[str, tuple[Any, float]] = {
    "stochastic()": (S.stochastic(), 8e-3),
    'dense("bfloat16")': (S.dense("bfloat16"), 2e-2),
    "int8()": (S.int8(), 5e-2),
    "float8()": (S.float8(), 0.16),
}


@pytest.mark.parametrize("warmup", [True, False])
@pytest.mark.matrix(keep=2, quick=["int8()-True"])
@pytest.mark.parametrize("name", FORMATS)
def test_any_storage_keeps_the_average(name: str, warmup: bool) -> None:
    storage, bound = FORMATS[name]
    inner = ao.adam(0.02)
    tx = optax.chain(inner, ao.temporal_average(0.95, warmup=warmup, storage=storage))
    exact = optax.chain(inner, ao.temporal_average(0.95, warmup=warmup))
    start = jnp.float32(np.linspace(0.5, 2.0, 64))
    grads = jnp.float32(np.random.default_rng(0).standard_normal((200, 64)) + 0.3)
    ends = []
    for each in (tx, exact):

        def body(carry: Any, g: Any, each: Any = each) -> Any:
            updates, state = each.update(g, carry[1], carry[0])
            return (optax.apply_updates(carry[0], updates), state), None

        run = jax.jit(lambda p, s, body=body: jax.lax.scan(body, (p, s), grads)[0])
        params, state = run(start, each.init(start))
        ends.append(ao.read_average(state, params, each))
    assert relative_rms(ends[0], ends[1]) < bound


@pytest.mark.quick
def test_codes_are_read_by_the_transformation_that_made_them() -> None:
    tx = optax.chain(ao.sgd(0.25), ao.temporal_average(storage=S.int8()))
    params = {"w": jnp.ones(8)}
    state = tx.init(params)
    with pytest.raises(ValueError, match=r"kept in codes: write read_average\(state, params, tx\)"):
        ao.read_average(state, params)
    with pytest.raises(ValueError, match=r"the average of params\['w'\] is kept as codes, the"):
        ao.swap_average(state, params)
    params, state = ao.step(tx, params, state, params)
    average = ao.read_average(state, params, tx)
    np.testing.assert_allclose(average["w"], 0.75, rtol=1 / 127)


@pytest.mark.quick
def test_parameters_and_average_change_places_and_back() -> None:
    tx = optax.chain(ao.adam(0.1), optax.chain(ao.temporal_average(0.9, warmup=True)))
    params = {"w": jnp.float32(START), "n": None, "s": jnp.float32(1.0)}
    state = tx.init(params)
    for _ in range(3):
        params, state = ao.step(tx, params, state, params)
    average, swapped = jax.jit(ao.swap_average)(state, params)
    chex.assert_trees_all_equal(average, ao.read_average(state, params))
    chex.assert_trees_all_equal(ao.read_average(swapped, params), params)
    back = ao.swap_average(swapped, average)
    chex.assert_trees_all_equal(back, (params, state))
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    with pytest.raises(
        ValueError, match=r"is kept as float32, the parameter is bfloat16: swapping"
    ):
        ao.swap_average(tx.init(half), half)
    with pytest.raises(ValueError, match="expected one state of temporal_average, found 0"):
        ao.swap_average(ao.adam(0.1).init(params), params)


def test_it_is_offloaded_with_the_rest() -> None:
    """On a CPU, whose memory is the host's, no array is moved; the state is the same."""
    tx = optax.chain(ao.adam(0.1), ao.temporal_average(warmup=True))
    away = ao.offload(tx)
    params = jnp.float32(START)
    one, two = (each.update(params, each.init(params), params) for each in (tx, away))
    chex.assert_trees_all_equal(one, two)
    np.testing.assert_array_equal(ao.read_average(two[1], params), ao.read_average(one[1], params))
