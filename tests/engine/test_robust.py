"""Places where an optimiser might quietly go wrong, and does not."""

import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.support.cases import run
from tests.support.family import GRADS, START
from tests.support.oracle import relative_rms

P = jnp.ones(3)
G = jnp.full(3, 0.5)
MEAN = ao.moments.ema(0.9)


def one(tx: Any, g: Any = G, p: Any = P) -> Any:
    """The first update."""
    return tx.update(g, tx.init(p), p)[0]


@pytest.mark.parametrize("name", ["adam", "amsgrad", "adamax", "radam", "lion", "ademamix"])
def test_gradients_that_jump_across_the_range_of_float32_stay_finite(name: str) -> None:
    grads = jnp.concatenate([jnp.full((30, 1), 3e38), jnp.full((1, 1), -3e38), jnp.ones((2, 1))])
    updates, _, _ = run(getattr(ao, name)(1e-3), grads, jnp.zeros(1))
    assert np.all(np.isfinite(updates))


@pytest.mark.quick
def test_constants_that_are_equal_but_not_alike_are_not_confused() -> None:
    @ao.variant
    def kind(k: Any = 3) -> ao.Rule:
        scale = 10.0 if isinstance(k, bool) else 1.0
        return ao.Rule({"mu": MEAN}, lambda x: x.hat["mu"] * scale)

    np.testing.assert_allclose(one(ao.scale_by(kind(k=1))), 0.5, rtol=1e-6)
    np.testing.assert_allclose(one(ao.scale_by(kind(k=True))), 5.0, rtol=1e-6)


def test_errors_of_a_rule_arrive_as_they_are_with_the_place() -> None:
    branch = ao.Rule({"mu": MEAN}, lambda x: x.g if jnp.any(x.g > 0) else x.hat["mu"])
    with pytest.raises(jax.errors.TracerBoolConversionError) as caught:
        one(ao.scale_by(branch))
    assert "at updates" in caught.value.__notes__
    with pytest.raises(KeyError) as missing:
        one(ao.scale_by(ao.Rule({"mu": MEAN}, lambda x: x.hat["nu"])))
    assert "at updates" in missing.value.__notes__


def test_a_step_of_another_shape_is_refused() -> None:
    rule = ao.Rule({"mu": MEAN}, lambda x: x.hat["mu"].sum())
    with pytest.raises(ValueError, match=r"the rule's step has shape \(\), its gradient \(3,\)"):
        one(ao.scale_by(rule))


def test_clipping_by_rms_survives_huge_and_zero_gradients() -> None:
    assert np.all(np.isfinite(one(ao.stable_adamw(1e-3), G * 2e20)))
    for tx in (ao.stable_adamw(1e-3, eps=1e-20, weight_decay=0.0), ao.adadelta(1.0, eps=0.0)):
        np.testing.assert_array_equal(one(tx, G * 0), np.zeros(3))


def test_radam_has_derivatives_where_its_window_never_opens() -> None:
    slope = jax.grad(lambda x: one(ao.radam(1e-2, b2=0.6), G * x).sum())(1.0)
    assert np.isfinite(slope)


@pytest.mark.parametrize(("name", "rate"), [("rmsprop", "decay"), ("adadelta", "rho")])
def test_rates_of_other_names_survive_bfloat16_too(name: str, rate: str) -> None:
    p = jnp.ones(1, jnp.bfloat16)
    grads = jnp.full((5, 1), 0.5, jnp.bfloat16)
    with jax.numpy_dtype_promotion("standard"):
        injected = optax.inject_hyperparams(getattr(ao, name))(1e-2, **{rate: 0.999})
        updates, _, _ = run(injected, grads, p)
        plain, _, _ = run(getattr(ao, name)(1e-2, **{rate: 0.999}), grads, p)
    assert relative_rms(updates, plain) < 0.03  # .99902 for .999, and bfloat16 rates and updates


@pytest.mark.parametrize(
    ("name", "options", "theirs"),
    [
        ("adan", {"b2": lambda n: 0.92}, {"b2": 0.92}),
        ("adabound", {"final_lr": lambda n: 0.2}, {"final_lr": 0.2}),
        ("adam", {"b1": lambda n: 0}, {"b1": 0.0}),
        ("adam", {"b1": jnp.array(0)}, {"b1": 0.0}),
        ("sgd", {"momentum": lambda n: 0.9}, {"momentum": 0.9}),
    ],
)
def test_schedules_and_integers_are_numbers(
    name: str, options: dict[str, Any], theirs: dict[str, Any]
) -> None:
    make, grads = getattr(ao, name), jnp.float32(GRADS[:10])
    updates, _, _ = run(make(0.01, **options), grads, jnp.float32(START))
    right, _, _ = run(make(0.01, **theirs), grads, jnp.float32(START))
    assert relative_rms(updates, right) < 1e-5  # a float32 rate for a double one


@pytest.mark.parametrize("name", ["decay", "momentum"])
def test_rates_of_other_names_are_checked(name: str) -> None:
    make: Any = ao.rmsprop
    with pytest.raises(ValueError, match=rf"{name} must be in \[0, 1\)"):
        make(1e-3, **{name: 2.0})


def test_a_start_is_no_schedule() -> None:
    with pytest.raises(TypeError, match="initial_scale must be a number, not a schedule"):
        ao.rmsprop(1e-3, initial_scale=lambda n: 0.1)  # type: ignore[arg-type]


def test_a_mask_with_nothing_to_restrict_is_refused() -> None:
    for make in (ao.yogi, ao.amsgrad):
        with pytest.raises(ValueError, match="mask restricts weight_decay, which is not given"):
            make(1e-3, mask=True)


@pytest.mark.parametrize("name", ["adam", "lion", "adabelief", "scale_by_lion", "nadam"])
def test_optimisers_can_be_pickled(name: str) -> None:
    again = pickle.loads(pickle.dumps(getattr(ao, name)))
    np.testing.assert_array_equal(
        one(again()) if "scale" in name else one(again(0.1)),
        one(getattr(ao, name)() if "scale" in name else getattr(ao, name)(0.1)),
    )


def test_a_state_filled_with_anything_answers_hasattr() -> None:
    for moments in (None, 0, (1, 2), {"mu": P}):
        state = ao.ScaleByState(jnp.int32(0), moments)  # type: ignore[arg-type]
        assert not hasattr(state, "nu")
    assert state.mu is P


@pytest.mark.parametrize("name", ["adan", "novograd", "ademamix"])
def test_defaults_of_transformations_are_optaxs(name: str) -> None:
    theirs = getattr(optax, f"scale_by_{name}", None) or getattr(optax.contrib, f"scale_by_{name}")
    with jax.numpy_dtype_promotion("standard"):
        right = one(theirs(), G * 1e-6)
    np.testing.assert_allclose(one(getattr(ao, f"scale_by_{name}")(), G * 1e-6), right, rtol=1e-4)
