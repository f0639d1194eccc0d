"""Test that Adam is right to the last digits, where optax is and where optax fails."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.support import oracle
from tests.support.cases import run, witness

STEPS, SIZE = 2000, 64
GRADS = np.random.default_rng(1).standard_normal((STEPS, SIZE)).astype(np.float32)
RATES = [0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99999]


def _rms(updates: Any, expected: Any) -> Any:
    """Return the relative RMS error at every step."""
    error, size = np.float64(updates) - expected, np.float64(expected)
    return np.sqrt(np.mean(error**2, axis=1) / np.mean(size**2, axis=1))


@pytest.fixture(params=RATES)
def errors(request: pytest.FixtureRequest) -> tuple[float, Any, Any]:
    """Return b2, our error and optax's at every step."""
    b2 = request.param
    zeros = jnp.zeros(SIZE)
    expected = oracle.optimise(oracle.Adam(b2=b2), GRADS, np.zeros(SIZE), 1.0)["updates"]
    ours, _, _ = run(ao.adam(1.0, b2=b2), jnp.asarray(GRADS), zeros)
    theirs = witness(optax.adam(1.0, b2=b2), jnp.asarray(GRADS), zeros)
    return b2, _rms(ours, expected), _rms(theirs, expected)


@pytest.mark.matrix(keep=2)
def test_error_never_exceeds_optax_and_is_a_tenth_while_it_matters(errors: Any) -> None:
    b2, ours, theirs = errors
    # Where both are at float32's rounding (a few 1e-8 a step) neither is better than the other.
    assert np.all(ours <= np.maximum(theirs, 3e-7))
    assert np.sqrt(np.mean(ours**2)) <= np.sqrt(np.mean(theirs**2))
    if b2 >= 0.999:
        assert np.all(ours[:100] <= theirs[:100] / 10)


@pytest.mark.parametrize("b2", RATES)
def test_numbers_injected_as_arrays_are_no_worse_than_optax(b2: float) -> None:
    zeros = jnp.zeros(SIZE)
    rounded = float(np.float32(b2))  # an array holds this rate, and no other can be meant
    rule = oracle.Adam(b1=float(np.float32(0.9)), b2=rounded)
    expected = oracle.optimise(rule, GRADS, np.zeros(SIZE), 1.0)["updates"]
    with jax.numpy_dtype_promotion("standard"):
        ours, _, _ = run(optax.inject_hyperparams(ao.adam)(1.0, b2=b2), jnp.asarray(GRADS), zeros)
        theirs, _, _ = run(
            optax.inject_hyperparams(optax.adam)(1.0, b2=b2), jnp.asarray(GRADS), zeros
        )
    mine, its = _rms(ours, expected), _rms(theirs, expected)
    # At .99 both are at float32's rounding, which differs among processors by less than 1 %.
    assert np.sqrt(np.mean(mine**2)) <= 1.01 * np.sqrt(np.mean(its**2))
    assert mine.max() < 2e-6  # rounding alone


@pytest.mark.quick
def test_the_average_of_a_constant_is_that_constant() -> None:
    updates, _, _ = run(ao.adam(1.0, b1=0.99999, b2=0.9999), jnp.ones((2000, 1)), jnp.zeros(1))
    np.testing.assert_allclose(updates, -1, rtol=1e-6)  # with b itself in float32: 1e-5


@pytest.mark.quick
def test_nu_of_bfloat16_parameters_follows_a_fall_of_the_gradients() -> None:
    falling = np.concatenate([np.full((1000, 4), 1.0), np.full((4000, 4), 0.01)])
    grads = np.asarray(jnp.asarray(falling, jnp.bfloat16), np.float64)
    expected = oracle.optimise(oracle.Adam(), grads, np.zeros(4), 1e-3)["nu"]
    params = jnp.zeros(4, jnp.bfloat16)
    _, _, state = run(ao.adam(1e-3), jnp.asarray(grads, jnp.bfloat16), params)
    np.testing.assert_allclose(state[0].nu, expected, rtol=0.01)
    with jax.numpy_dtype_promotion("standard"):
        _, _, frozen = run(optax.adam(1e-3), jnp.asarray(grads, jnp.bfloat16), params)
    assert np.all(np.float64(frozen[0].nu) > 10 * expected)


@pytest.mark.parametrize("params_dtype", ["float32", "float16"])
@pytest.mark.parametrize("size", [1e-3, 300.0, 0.0, 1e-7, 6e4])
def test_float16_gradients_give_the_update_of_float64(size: float, params_dtype: str) -> None:
    g = jnp.full(3, size, jnp.float16)
    grads = np.asarray(g, np.float64)[None].repeat(10, 0)
    expected = oracle.optimise(oracle.Adam(), grads, np.zeros(3), 1e-3)["updates"]
    updates, _, _ = run(ao.adam(1e-3), jnp.asarray(grads, jnp.float16), jnp.zeros(3, params_dtype))
    # float16 rounds what it returns by half of 2**-10
    np.testing.assert_allclose(updates, expected, rtol=5e-4 if params_dtype == "float16" else 1e-6)


def test_optax_fails_on_float16_gradients_where_ours_do_not() -> None:
    """Show the witness's fault, so that what README says of it stays true."""
    with jax.numpy_dtype_promotion("standard"):
        tx, params = optax.adam(1e-3), jnp.zeros(1)
        update, _ = tx.update(jnp.full(1, 1e-3, jnp.float16), tx.init(params), params)
    assert update[0] < -99  # 100,000 times the learning rate


def test_gradients_whose_squares_overflow_stop_a_weight_and_never_make_nan() -> None:
    grads = jnp.asarray([[1.0], [1e25], [1.0], [-1.0]])
    updates, _, state = run(ao.adam(1e-3), grads, jnp.zeros(1))
    np.testing.assert_array_equal(updates[1:], np.zeros((3, 1)))  # as in optax: mu / inf
    assert np.isfinite(state[0].mu).all()


def test_a_zero_gradient_gives_a_zero_step_even_without_eps() -> None:
    for tx in (ao.adam(1e-3, eps=0.0), ao.adamax(1e-3, eps=0.0), ao.amsgrad(1e-3, eps=0.0)):
        updates, _, _ = run(tx, jnp.zeros((3, 2)), jnp.ones(2))
        np.testing.assert_array_equal(updates, np.zeros((3, 2)))


def test_a_long_run_keeps_its_bias_factor() -> None:
    """Pass step 2**31 - 2, from which the count stands still and the bias factors stay 1."""
    tx = ao.adam(1.0, b2=1 - 1e-7)
    state = tx.init(jnp.zeros(2))
    count = jnp.int32(2**31 - 2)
    state = (state[0]._replace(count=count, mu=jnp.full(2, 0.5), nu=jnp.full(2, 0.25)), state[1])
    for _ in range(3):
        update, state = tx.update(jnp.full(2, 0.5), state)
        np.testing.assert_allclose(update, [-1.0, -1.0], rtol=1e-6)  # rounding of a few operations
    assert state[0].count == 2**31 - 1
