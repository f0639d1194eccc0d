"""Test every variant and option against the float64 oracle, with optax as a witness."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.cases import CASES, Case, by_id, gradients, run, witness
from tests.support.oracle import relative_rms

STEPS, SIZE = 500, 16
GRADS = gradients(STEPS, SIZE)
START = np.linspace(-1.0, 1.0, SIZE).astype(np.float32).astype(np.float64)
EVERY = pytest.mark.parametrize("case", **by_id(CASES))


def _errors(case: Case, dtype: Any) -> tuple[float, float]:
    updates, params, _ = run(case.ours(), jnp.asarray(GRADS, dtype), jnp.asarray(START, dtype))
    expected = case.oracle(GRADS, START)
    return relative_rms(updates, expected["updates"]), relative_rms(params, expected["params"][-1])


@pytest.mark.matrix(keep=4)
@EVERY
def test_float32_run_equals_the_oracle(case: Case) -> None:
    updates, params = _errors(case, jnp.float32)
    assert updates < 1e-6  # a dozen roundings of 6e-8, most of them in the averages
    assert params < 5e-6  # 500 updates of 0.01 added to parameters of 1, each rounded


@pytest.mark.matrix(keep=4)
@EVERY
def test_float64_run_equals_the_oracle_to_rounding(case: Case, x64: None) -> None:
    updates, params = _errors(case, jnp.float64)
    assert updates < 1e-12  # 500 steps of averages, each rounded to 1e-16
    assert params < 1e-12


@pytest.mark.matrix(keep=3)
@pytest.mark.parametrize("case", **by_id([c for c in CASES if not c.ours_only]))
def test_float32_run_agrees_with_optax_to_its_own_error(case: Case) -> None:
    grads, start = jnp.asarray(GRADS, jnp.float32), jnp.asarray(START, jnp.float32)
    updates, _, _ = run(case.ours(), grads, start)
    theirs = witness(case.optax(), grads, start)
    its_error = relative_rms(theirs, case.oracle(GRADS, START)["updates"])
    assert relative_rms(updates, theirs) < its_error + 1e-6  # the triangle inequality, our error


@pytest.mark.matrix(keep=3)
@pytest.mark.parametrize("case", **by_id([c for c in CASES if not c.ours_only]))
def test_float64_run_agrees_with_optax(case: Case, x64: None) -> None:
    updates, _, _ = run(case.ours(), jnp.asarray(GRADS), jnp.asarray(START))
    theirs = witness(case.optax(), jnp.asarray(GRADS), jnp.asarray(START))
    assert relative_rms(updates, theirs) < 1e-12  # both are right to rounding


@pytest.mark.quick
@EVERY
def test_every_step_of_a_short_run_equals_the_oracle(case: Case) -> None:
    updates, _, _ = run(
        case.ours(), jnp.asarray(GRADS[:20], jnp.float32), jnp.asarray(START, jnp.float32)
    )
    for ours, theirs in zip(updates, case.oracle(GRADS[:20], START)["updates"], strict=True):
        assert relative_rms(ours, theirs) < 1e-6


@pytest.mark.quick
def test_what_the_mask_leaves_out_does_not_decay() -> None:
    case = next(c for c in CASES if c.name == "adamw" and c.options)
    tree = {"kernel": jnp.asarray(START, jnp.float32), "bias": jnp.asarray(START, jnp.float32)}
    tx = case.ours(mask={"kernel": True, "bias": False})
    updates, _ = tx.update(tree, tx.init(tree), tree)
    free = case.oracle(START[None], START, weight_decay=0.0)["updates"][0]
    decayed = case.oracle(START[None], START)["updates"][0]
    assert relative_rms(updates["bias"], free) < 1e-6  # float32
    assert relative_rms(updates["kernel"], decayed) < 1e-6
    assert relative_rms(free, decayed) > 1e-2  # or the mask would not matter


@pytest.mark.quick
def test_schedules_are_read_at_the_count_before_the_step(x64: None) -> None:
    case = next(c for c in CASES if c.name == "adamw")
    schedules: dict[str, Any] = {
        "b1": lambda n: 0.9 - 0.3 * jnp.exp(-jnp.asarray(n, float)),
        "b2": lambda n: 0.99 + 0.005 * jnp.cos(jnp.asarray(n, float)),
        "eps": lambda n: 1e-3 / (1 + jnp.asarray(n, float)),
        "eps_root": lambda n: 1e-4 * jnp.exp(-jnp.asarray(n, float) / 9),
        "weight_decay": lambda n: 0.1 / (1 + jnp.asarray(n, float)),
    }
    rate = lambda n: 0.01 * jnp.cos(jnp.asarray(n, float) / 50)  # noqa: E731
    tx = case.ours(rate, **schedules)
    updates, _, _ = run(tx, jnp.asarray(GRADS[:100]), jnp.asarray(START))
    expected = case.oracle(GRADS[:100], START, rate, **schedules)
    assert relative_rms(updates, expected["updates"]) < 1e-12


def test_traced_numbers_equal_python_numbers(x64: None) -> None:
    case = next(c for c in CASES if c.name == "adamw")
    numbers = {"b1": 0.8, "b2": 0.99, "eps": 1e-4, "eps_root": 1e-5, "weight_decay": 0.1}

    @jax.jit
    def traced(rate: Any, numbers: Any) -> Any:
        return run(case.ours(rate, **numbers), jnp.asarray(GRADS[:50]), jnp.asarray(START))[0]

    arrays = jax.tree.map(jnp.float64, numbers)
    expected = case.oracle(GRADS[:50], START, 0.02, **numbers)
    assert relative_rms(traced(jnp.float64(0.02), arrays), expected["updates"]) < 1e-12
