"""Dtypes never move: the state's whatever the gradients', the updates' whatever the numbers'."""

import itertools as it
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.support.cases import DEFAULTS, Case, by_id, gradients, run
from tests.support.oracle import relative_rms

EVERY = pytest.mark.parametrize("case", **by_id(DEFAULTS))
SOME = pytest.mark.parametrize(
    "case", **by_id([c for c in DEFAULTS if c.name in ("adamw", "amsgrad", "adamax")])
)
BITS = {"bfloat16": 16, "float16": 16, "float32": 32, "float64": 64}
PAIRS = list(it.product(BITS, ["bfloat16", "float16", "float32"]))
"""Dtypes of a parameter and of its gradient."""

ROUNDING = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 1e-6, "float64": 1e-14}
"""Of an update: one unit in the last place of 16 bits, a dozen in those of 32 and more."""

STEPS, SIZE = 20, 6
GRADS = gradients(STEPS, SIZE)
START = np.linspace(-1.0, 1.0, SIZE).astype(np.float32).astype(np.float64)


def weak(tree: Any) -> list[Any]:
    """The leaves of weak type: they would change the dtypes, and the traces, of what they meet."""
    return [leaf for leaf in jax.tree.leaves(tree) if leaf.weak_type]


@pytest.mark.matrix(keep=20)
@pytest.mark.parametrize("mu_dtype", [None, "bfloat16", "float32"])
@pytest.mark.parametrize("nu_dtype", [None, "bfloat16", "float32"])
@EVERY
def test_state_keeps_its_dtypes_under_every_pair(
    case: Case, mu_dtype: Any, nu_dtype: Any, x64: None
) -> None:
    tx = case.ours(mu_dtype=mu_dtype, nu_dtype=nu_dtype)
    params = {(p, g): jax.ShapeDtypeStruct((2, 3), p) for p, g in PAIRS}
    grads = {(p, g): jax.ShapeDtypeStruct((2, 3), g) for p, g in PAIRS}
    state = jax.eval_shape(tx.init, params)
    updates, after = jax.eval_shape(tx.update, grads, state, params)
    chex.assert_trees_all_equal_structs(after, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    assert not weak((state, updates, after))
    chosen = {"mu": mu_dtype, "nu": nu_dtype, "nu_max": nu_dtype}
    for (p, g), update in updates.items():
        assert update.dtype == wider(g, p)
        for name in state[0]._fields[1:]:
            wide = "float64" if p == "float64" else "float32"
            assert getattr(state[0], name)[p, g].dtype == (chosen[name] or wide)
    assert [leaf.dtype for leaf in jax.tree.leaves(after) if not leaf.ndim] == ["int32"]


@pytest.mark.quick
@EVERY
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_gradients_of_16_bits_are_promoted_before_they_are_squared(case: Case, dtype: Any) -> None:
    # Squares of the smallest vanish in float16, and those of the largest overflow.
    grads = np.clip(GRADS, -6e4, 6e4).astype(dtype)
    updates, _, state = run(case.ours(), jnp.asarray(grads), jnp.asarray(START, jnp.float32))
    expected = case.oracle(grads.astype(np.float64), START)
    assert updates.dtype == jnp.float32
    # A dozen float32 roundings of 6e-8.
    assert relative_rms(updates, expected["updates"]) < 1e-6
    assert relative_rms(state[0].nu, expected["nu"]) < 1e-6


def scanned(tx: Any, grads: Any, params: Any) -> Any:
    """The updates of parameters that stay where they are, and the state."""

    def body(state: Any, g: Any) -> Any:
        updates, state = tx.update(g, state, params)
        return state, updates

    return jax.lax.scan(body, tx.init(params), grads)[::-1]


@EVERY
def test_float32_gradients_of_bfloat16_parameters_can_be_scanned(case: Case) -> None:
    start = START.astype(jnp.bfloat16)
    updates, state = scanned(case.ours(), jnp.asarray(GRADS, jnp.float32), jnp.asarray(start))
    assert updates.dtype == state[0].mu.dtype == jnp.float32
    decay = case.options.get("weight_decay", 1e-4 if case.name == "adamw" else 0.0)
    directions = case.oracle(GRADS, start, weight_decay=0.0)["updates"]
    expected = directions - 0.01 * decay * start.astype(np.float64)
    assert relative_rms(updates, expected) < 1e-6  # a dozen float32 roundings of 6e-8


def test_why_that_is_not_left_to_optax() -> None:
    start, grads = jnp.zeros(SIZE, jnp.bfloat16), jnp.asarray(GRADS, jnp.float32)
    with jax.numpy_dtype_promotion("standard"), pytest.raises(TypeError, match="carry"):
        scanned(optax.adam(0.1), grads, start)


@SOME
def test_mu_kept_in_bfloat16_costs_no_more_than_its_rounding(case: Case) -> None:
    grads, start = jnp.asarray(GRADS, jnp.float32), jnp.asarray(START, jnp.float32)
    updates, _, state = run(case.ours(mu_dtype="bfloat16"), grads, start)
    expected = case.oracle(GRADS, START)
    # Ten steps' worth of roundings to 8 bits are in a mean at b1 = .9; nu has none of them.
    assert 1e-4 < relative_rms(updates, expected["updates"]) < 6e-3
    assert relative_rms(state[0].nu, expected["nu"]) < 1e-6


def wider(one: str, other: str) -> str:
    return one if BITS[one] >= BITS[other] else other


def numbers(value: float) -> dict[str, Any]:
    """One number in every guise in which it can be given, in a test under x64."""
    guises = {
        "python": value,
        "numpy bfloat16": np.asarray(value, jnp.bfloat16)[()],
        "numpy float32": np.float32(value),
        "numpy float64": np.float64(value),
        "numpy array": np.asarray(value, np.float32),
        "bfloat16": jnp.asarray(value, jnp.bfloat16),
        "float32": jnp.float32(value),
        "float64": jnp.float64(value),
        "weak": jnp.asarray(value),
    }
    schedules = {f"schedule of {n}": lambda count, v=v: v for n, v in guises.items()}
    return guises | schedules


@pytest.mark.matrix(keep=3)
@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("name", ["adamw", "adamaxw"])
def test_the_learning_rate_s_dtype_is_not_the_update_s(name: str, dtype: Any, x64: None) -> None:
    g, p = jnp.asarray(GRADS[0], dtype).clip(-6e4, 6e4), jnp.asarray(START, dtype)
    case = next(c for c in DEFAULTS if c.name == name)
    for rate, decay in zip(numbers(0.125).values(), numbers(0.25).values(), strict=True):
        tx = case.ours(rate, weight_decay=decay)
        updates, state = tx.update(g, tx.init(p), p)
        assert updates.dtype == dtype
        assert state[0].mu.dtype == state[0].nu.dtype == wider("float32", dtype)
        assert not weak((updates, state))
        # Both numbers are exact in every dtype, so only the update is rounded.
        expected = case.oracle([g], p, 0.125, weight_decay=0.25)["updates"][0]
        assert relative_rms(updates, expected) < ROUNDING[dtype]


@pytest.mark.parametrize("dtype", BITS)
def test_the_decay_rates_dtype_is_not_the_state_s(dtype: Any, x64: None) -> None:
    g, p = jnp.asarray(GRADS[0], dtype).clip(-6e4, 6e4), jnp.asarray(START, dtype)
    for half, small in zip(numbers(0.5).values(), numbers(0.0625).values(), strict=True):
        tx = ao.adam(1.0, b1=half, b2=half, eps=small, eps_root=small)
        updates, state = tx.update(g, tx.init(p), p)
        assert updates.dtype == dtype
        assert state[0].mu.dtype == state[0].nu.dtype == wider("float32", dtype)
        assert not weak((updates, state))
        wide = np.asarray(g, np.float64)
        expected = -wide / (np.sqrt(wide**2 + 0.0625) + 0.0625)  # at the first step, for any b
        assert relative_rms(updates, expected) < ROUNDING[dtype]


@pytest.mark.matrix(keep=3)
@EVERY
def test_weak_parameters_and_gradients_leave_no_weak_type(case: Case) -> None:
    tx, params = case.ours(), {"python": 0.5, "weak": jnp.asarray(0.5)}
    grads = {"python": -3.0, "weak": jnp.asarray(-3.0)}
    state = tx.init(params)
    for update in (tx.update, jax.jit(tx.update)):
        updates, after = update(grads, state, params)
        assert not weak((state, updates, after))
        expected = case.oracle([-3.0], 0.5)["updates"][0]
        for leaf in updates.values():
            assert relative_rms(leaf, expected) < 1e-6  # a dozen float32 roundings
