"""Test centred RMSProp where the mean is far above the deviation, so that a difference cancels."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.support import oracle, oracle_other
from tests.support.cases import gradients, run, witness
from tests.support.oracle import relative_rms

STEPS, SIZE = 300, 8
SETTLED = 200  # where 1000² 0.9^t is far below the variance


def far(deviation: float, steps: int = STEPS) -> Any:
    """Make gradients around 1000, exact in float32."""
    rng = np.random.default_rng(4)
    g = 1000.0 + deviation * rng.standard_normal((steps, SIZE))
    return g.astype(np.float32).astype(np.float64)


def right(grads: Any, **options: Any) -> Any:
    """Return the oracle's updates."""
    rule = oracle_other.RMSProp(centered=True, **options)
    return oracle.optimise(rule, grads, np.zeros(SIZE), 0.01)["updates"]


def worst(updates: Any, expected: Any, first: int = 0) -> float:
    """Return the largest error of any step from `first` on; nan if one is."""
    pairs = zip(updates[first:], expected[first:], strict=True)
    return float(np.max([relative_rms(mine, theirs) for mine, theirs in pairs]))


WAYS = [
    pytest.param(
        {"bias_correction": corrected, "eps_in_sqrt": inside},
        id=f"{corrected=}-{inside=}",
        marks=[] if corrected != inside else [pytest.mark.heavy],
    )
    for corrected, inside in itertools.product([True, False], repeat=2)
]


@pytest.mark.quick
@pytest.mark.parametrize("options", WAYS)
def test_a_small_deviation_is_kept_where_optax_loses_it(options: Any) -> None:
    grads, zeros = far(4.0), jnp.zeros(SIZE)
    updates, _, _ = run(ao.rmsprop(0.01, centered=True, **options), jnp.float32(grads), zeros)
    expected = right(grads, **options)
    theirs = witness(optax.rmsprop(0.01, centered=True, **options), jnp.float32(grads), zeros)
    # mu is a float32, so a few times 3e-5 off, of a deviation of 4; ten of them average.
    assert worst(updates, expected) < 4e-5
    assert worst(theirs, expected, SETTLED) > 0.01  # 1000² rounds by 0.03, and over ten steps


@pytest.mark.parametrize("options", WAYS)
def test_a_deviation_of_a_ten_thousandth_is_kept_where_optax_has_nan(options: Any) -> None:
    grads, zeros = far(0.1), jnp.zeros(SIZE)
    updates, _, _ = run(ao.rmsprop(0.01, centered=True, **options), jnp.float32(grads), zeros)
    theirs = witness(optax.rmsprop(0.01, centered=True, **options), jnp.float32(grads), zeros)
    assert worst(updates, right(grads, **options)) < 1.5e-3  # as above, of a deviation of 0.1
    assert np.isnan(theirs).any()  # the root of a negative difference


@pytest.mark.parametrize("options", WAYS)
def test_small_numbers_too_equal_the_oracle(options: Any, x64: None) -> None:
    grads = gradients(200, SIZE)
    moving: dict[str, Any] = {"momentum": 0.9, "decay": 0.7, "eps": 1e-3, "initial_scale": 0.3}
    for more in ({}, moving):
        tx = ao.rmsprop(0.01, centered=True, **options, **more)
        updates, _, _ = run(tx, jnp.float64(grads), jnp.zeros(SIZE))
        lr = {"learning_rate": 0.01} if "momentum" in more else {}
        assert worst(updates, right(grads, **options, **more, **lr)) < 1e-11  # 1e-16 over 1 - .9


@pytest.mark.quick
@pytest.mark.parametrize("options", WAYS)
def test_constant_gradients_have_no_variance(options: Any) -> None:
    tx = ao.rmsprop(1.0, centered=True, **options)
    g = jnp.full(3, 1000.1)
    update = jax.jit(tx.update)
    state: Any = tx.init(g)
    for _ in range(300):
        with jax.debug_nans(True):
            updates, state = update(g, state, g)
        variance = ao.read_moments(state)["variance"]
        assert np.all(variance >= 0)
    assert np.all(np.isfinite(updates))
    # What mu's last digits, 6e-5 each, leave of 1000²; a difference of squares leaves 0.1.
    assert np.all(variance < 1e-6)


def test_the_state_has_mu_and_variance() -> None:
    state = ao.rmsprop(0.01, centered=True).init(jnp.ones(3))
    assert sorted(ao.read_moments(state)) == ["mu", "variance"]
    plain = ao.rmsprop(0.01).init(jnp.ones(3))
    assert sorted(ao.read_moments(plain)) == ["nu"]


@pytest.mark.heavy
def test_derivatives_are_finite() -> None:
    grads = jnp.float32(far(1.0, 10)).at[:, 0].set(0.0)
    tx = ao.rmsprop(0.01, centered=True)
    final = lambda scale: jnp.sum(run(tx, grads * scale, jnp.zeros(SIZE))[1])  # noqa: E731
    with jax.debug_nans(True):
        assert np.isfinite(jax.grad(final)(jnp.float32(1.0)))


def test_complex_gradients_have_one_variance(x64: None) -> None:
    rng = np.random.default_rng(5)
    grads = 100 + rng.standard_normal((60, SIZE)) + 1j * rng.standard_normal((60, SIZE))
    tx = ao.rmsprop(0.01, centered=True, eps=1e-3)
    updates, _, state = run(tx, jnp.asarray(grads), jnp.zeros(SIZE, complex))
    assert worst(updates, right(grads, eps=1e-3)) < 1e-12  # roundings
    assert jnp.isrealobj(ao.read_moments(state)["variance"])
