"""Test that a user's own variant of ten lines has all that the others have."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.typing import NDArray

import adam_optax as ao
from adam_optax import moments
from tests.support.cases import gradients, run
from tests.support.oracle import relative_rms


@ao.variant
def softsign(b1: float = 0.9, b2: float = 0.99, eps: float = 1e-3) -> ao.Rule:
    """Build a rule: the mean gradient over the mean magnitude."""
    size = moments.ema(b2, lambda x: jnp.abs(x.g), signed=False)
    return ao.Rule(
        {"mu": moments.ema(b1), "size": size}, lambda x: x.hat["mu"] / (x.hat["size"] + eps)
    )


def expected(grads: NDArray[np.float64], b1: float = 0.9, b2: float = 0.99) -> Any:
    """Compute the steps of `softsign` in NumPy."""
    mu, size, out = 0.0, 0.0, []
    for t, g in enumerate(grads, 1):
        mu, size = b1 * mu + (1 - b1) * g, b2 * size + (1 - b2) * np.abs(g)
        out.append(mu / (1 - b1**t) / (size / (1 - b2**t) + 1e-3))
    return np.stack(out)


GRADS = gradients(50, 8)


@pytest.mark.quick
def test_it_runs_with_python_numbers_schedules_and_traced_arrays() -> None:
    grads, zeros = jnp.asarray(GRADS, jnp.float32), jnp.zeros(8)
    right = expected(GRADS, 0.8)
    for b1 in (0.8, lambda count: 0.8, jnp.float32(0.8)):
        updates, _, _ = run(ao.scale_by(softsign(b1=b1)), grads, zeros)
        assert relative_rms(updates, right) < 1e-5  # a float32 0.8 is off by 1.5e-8 a step
    traced = jax.jit(lambda b: run(ao.scale_by(softsign(b1=b)), grads, zeros)[0])(jnp.float32(0.8))
    assert relative_rms(traced, right) < 1e-5


def test_its_state_names_its_moments() -> None:
    state = ao.scale_by(softsign()).init({"w": jnp.ones(3)})
    assert isinstance(state, ao.ScaleByState)
    assert list(state.moments) == ["mu", "size"]
    assert optax.tree.get(state, "size")["w"].shape == (3,)
    assert sorted(ao.read_moments(state)) == ["mu", "size"]


def test_a_rule_without_the_decorator_works_too() -> None:
    rule = ao.Rule({"mu": moments.ema(0.9)}, lambda x: jnp.sign(x.hat["mu"]))
    tx = ao.optimizer(rule, 0.1, decay=ao.Decay(0.5))
    params = jnp.ones(2)
    update, _ = tx.update(jnp.array([3.0, -3.0]), tx.init(params), params)
    np.testing.assert_allclose(update, [-0.15, 0.05], rtol=1e-6)  # a rounding or two


def test_a_moment_may_use_the_ones_before_it_and_the_parameters() -> None:
    surprise = moments.ema(0.5, lambda x: x.g - x.current["mu"])
    rule = ao.Rule(
        {"mu": moments.ema(0.5), "surprise": surprise}, lambda x: x.current["surprise"] * x.p
    )
    update, state = (tx := ao.scale_by(rule)).update(
        jnp.full(1, 4.0), tx.init(jnp.ones(1)), jnp.full(1, 3.0)
    )
    np.testing.assert_array_equal(state.moments["surprise"], [1.0])
    np.testing.assert_array_equal(update, [3.0])


@pytest.mark.quick
def test_storage_is_chosen_apart_from_the_rule() -> None:
    dense = ao.storage.dense
    tx = ao.scale_by(softsign(), storage={"size": dense("bfloat16"), "mu": dense("float16")})
    _, _, state = run(tx, jnp.asarray(GRADS, jnp.float32), jnp.zeros(8))
    assert state.moments["mu"].dtype == jnp.float16
    assert state.moments["size"].dtype == jnp.bfloat16
    both = ao.scale_by(softsign(), storage=dense("bfloat16")).init(jnp.zeros(8))
    assert {m.dtype for m in both.moments.values()} == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize("decorated", [True, False])
def test_updates_outside_jit_trace_the_rule_once(decorated: bool) -> None:
    seen = []

    def make() -> ao.Rule:
        def direction(x: ao.Leaf) -> jax.Array:
            seen.append(x)
            return x.hat["mu"]

        return ao.Rule({"mu": moments.ema(0.9)}, direction)

    tx = ao.scale_by(ao.variant(make)() if decorated else make())
    state = tx.init(params := {"a": jnp.ones(3), "b": jnp.ones(3)})
    for _ in range(3):
        _, state = tx.update(params, state)
    assert len(seen) == 1


def test_other_parameters_of_a_variant_must_be_hashable() -> None:
    make = ao.variant(lambda sizes: ao.Rule({"mu": moments.ema(0.9)}, lambda x: x.hat["mu"]))
    with pytest.raises(TypeError, match=r"^sizes must be hashable, not list: use a tuple, say$"):
        make(sizes=[1, 2])
