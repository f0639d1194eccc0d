"""Directions and finishes around rules: cautious steps, clipped ones, bounded ones."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adam_optax as ao
from tests.support import oracle, oracle_decay, oracle_family, oracle_other, oracle_shared
from tests.support.cases import gradients, run
from tests.support.oracle import relative_rms

STEPS, SHAPE = 200, (3, 5)
GRADS = gradients(STEPS, 15, seed=9).reshape(STEPS, *SHAPE)
START = (np.linspace(-1.0, 1.0, 15) + 0.03).astype(np.float32).astype(np.float64).reshape(SHAPE)


@ao.variant
def cautious_adam(b1: float = 0.9, b2: float = 0.999, least: float = 1e-3) -> ao.Rule:
    """Adam where it agrees with the gradient."""
    rule = ao.rules.adam(b1, b2)
    return dataclasses.replace(rule, direction=ao.directions.cautious(rule.direction, least))


@ao.variant
def cautious_lion(b1: float = 0.9, b2: float = 0.99) -> ao.Rule:
    """Lion where it agrees with the gradient."""
    rule = ao.rules.lion(b1, b2)
    return dataclasses.replace(rule, direction=ao.directions.cautious(rule.direction))


@ao.variant
def cautious_radam(b2: float = 0.999) -> ao.Rule:
    """RAdam where it agrees with the gradient."""
    rule = ao.rules.radam(b2=b2)
    return dataclasses.replace(rule, direction=ao.directions.cautious(rule.direction))


@ao.variant
def clipped_adam(threshold: float = 1.0, b1: float = 0.9) -> ao.Rule:
    """Adam under a bound on its RMS."""
    rule = ao.rules.adam(b1)
    return dataclasses.replace(rule, postprocess=ao.directions.clip_by_rms(threshold))


@ao.variant
def clipped_adagrad(threshold: float = 0.3) -> ao.Rule:
    """AdaGrad under a bound on its RMS."""
    return dataclasses.replace(ao.rules.adagrad(), postprocess=ao.directions.clip_by_rms(threshold))


@ao.variant
def limited_adam(threshold: float = 0.5) -> ao.Rule:
    """Adam whose direction has a bounded RMS."""
    rule = ao.rules.adam()
    return dataclasses.replace(rule, direction=ao.directions.rms_clipped(rule.direction, threshold))


HISTORY: Any = {"beta": 0.9, "relative": 1.01, "warmup_steps": 4}
Made = Callable[[], Any]
WRAPPED: dict[str, tuple[Made, Made]] = {
    "cautious adam": (cautious_adam, lambda: oracle_other.Cautious(oracle.Adam())),
    "cautious adam, least": (
        lambda: cautious_adam(least=0.9),
        lambda: oracle_other.Cautious(oracle.Adam(), 0.9),
    ),
    "cautious lion": (cautious_lion, lambda: oracle_other.Cautious(oracle_family.Lion())),
    "cautious radam": (cautious_radam, lambda: oracle_other.Cautious(oracle_family.RAdam())),
    "cautious radam, short": (
        lambda: cautious_radam(b2=0.9),
        lambda: oracle_other.Cautious(oracle_family.RAdam(b2=0.9)),
    ),
    "clipped adam": (
        lambda: clipped_adam(threshold=0.5),
        lambda: oracle_other.RmsClipped(oracle.Adam(), 0.5),
    ),
    "clipped adam, tight": (
        lambda: clipped_adam(threshold=0.05),
        lambda: oracle_other.RmsClipped(oracle.Adam(), 0.05),
    ),
    "clipped adagrad": (
        clipped_adagrad,
        lambda: oracle_other.RmsClipped(oracle_other.AdaGrad(), 0.3),
    ),
    "adam, direction clipped": (limited_adam, lambda: oracle_other.RmsClipped(oracle.Adam(), 0.5)),
    "adam, clipped by history": (
        lambda: ao.rules.clip_step_by_history(ao.rules.adam(), **HISTORY),
        lambda: oracle_shared.HistoryClipped(oracle.Adam(), **HISTORY),
    ),
    "adopt, clipped by history": (
        lambda: ao.rules.clip_step_by_history(ao.rules.adopt(), 0.95, 1.02, 11),
        lambda: oracle_shared.HistoryClipped(oracle_family.Adopt(), 0.95, 1.02, 11),
    ),
}
EACH = pytest.mark.parametrize("name", WRAPPED)
FEW = ("cautious adam", "clipped adagrad")
MORE = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in FEW else [pytest.mark.heavy]) for n in WRAPPED]
)


def right(name: str, steps: int, decay: float = 0.0) -> Any:
    """The oracle's updates."""
    return oracle.optimise(WRAPPED[name][1](), GRADS[:steps], START, 0.01, decay)["updates"]


@MORE
def test_a_float64_run_equals_the_oracle(name: str, x64: None) -> None:
    tx = ao.optimizer(WRAPPED[name][0](), 0.01)
    updates, _, _ = run(tx, jnp.float64(GRADS), jnp.float64(START))
    assert relative_rms(updates, right(name, STEPS)) < 1e-12  # 200 roundings of 1e-16


@pytest.mark.quick
@EACH
def test_a_short_float32_run_equals_the_oracle_step_by_step(name: str) -> None:
    tx = ao.optimizer(WRAPPED[name][0](), 0.01)
    updates, _, _ = run(tx, jnp.float32(GRADS[:12]), jnp.float32(START))
    for mine, theirs in zip(updates, right(name, 12), strict=True):
        assert relative_rms(mine, theirs) < 3e-6  # a few dozen roundings of 6e-8


@EACH
def test_the_wrapper_matters(name: str) -> None:
    made = WRAPPED[name][1]()
    bare = oracle.optimise(made.rule, GRADS[:50], START, 0.01)["updates"]
    assert relative_rms(right(name, 50), bare) > 1e-2


@pytest.mark.quick
@pytest.mark.parametrize(
    "name",
    ["cautious adam", "cautious lion", "adam, direction clipped", "adam, clipped by history"],
)
def test_decoupled_decay_is_outside_the_direction(name: str, x64: None) -> None:
    tx = ao.optimizer(WRAPPED[name][0](), 0.01, decay=ao.Decay(0.1))
    updates, _, _ = run(tx, jnp.float64(GRADS[:20]), jnp.float64(START))
    assert relative_rms(updates, right(name, 20, 0.1)) < 1e-12  # roundings


@pytest.mark.parametrize("threshold", [0.05])
def test_a_finish_clips_the_decay_too(threshold: float, x64: None) -> None:
    tx = ao.optimizer(clipped_adam(threshold=threshold), 0.01, decay=ao.Decay(0.1))
    updates, _, _ = run(tx, jnp.float64(GRADS[:50]), jnp.float64(START))

    def finish(step: Any, g: Any, p: Any, rule: Any) -> Any:
        return step / max(1.0, oracle_other.rms(step) / threshold)

    expected = oracle_decay.optimise(oracle.Adam(), GRADS[:50], START, 0.01, 0.1, finish=finish)
    assert relative_rms(updates, expected["updates"]) < 1e-12  # roundings


@pytest.mark.quick
@pytest.mark.parametrize("name", ["direction", "postprocess"])
def test_a_rule_with_a_part_replaced_has_the_new_part(name: str) -> None:
    rule = ao.rules.adam()
    parts: dict[str, dict[str, Any]] = {
        "direction": {"direction": ao.directions.cautious(rule.direction)},
        "postprocess": {"postprocess": ao.directions.clip_by_rms(0.05)},
    }
    model = {"direction": "cautious adam", "postprocess": "clipped adam, tight"}[name]
    tx = ao.optimizer(dataclasses.replace(rule, **parts[name]), 0.01)
    updates, _, _ = run(tx, jnp.float32(GRADS[:12]), jnp.float32(START))
    assert relative_rms(updates, right(model, 12)) < 3e-6  # a few dozen roundings of 6e-8


def test_schedules_and_traced_numbers_reach_the_rule_inside(x64: None) -> None:
    rates = np.linspace(0.5, 0.95, 50)
    grads, start = jnp.float64(GRADS[:50]), jnp.float64(START)
    tx = ao.optimizer(cautious_adam(b1=lambda n: jnp.asarray(rates)[n]), 0.01)
    made = oracle_other.Cautious(oracle.Adam(b1=lambda n: rates[n]))
    expected = oracle.optimise(made, GRADS[:50], START, 0.01)["updates"]
    assert relative_rms(run(tx, grads, start)[0], expected) < 1e-12  # roundings

    @jax.jit
    def traced(threshold: Any) -> Any:
        return run(ao.optimizer(clipped_adam(threshold=threshold), 0.01), grads, start)[0]

    assert relative_rms(traced(jnp.float64(0.05)), right("clipped adam, tight", 50)) < 1e-12


@pytest.mark.quick
def test_cautious_by_hand() -> None:
    @ao.variant
    def against(least: float = 1e-3) -> ao.Rule:
        return ao.Rule({}, ao.directions.cautious(lambda x: jnp.abs(x.g), least))

    tx = ao.scale_by(against())
    g = jnp.array([2.0, -2.0, 0.0, 4.0])
    update, _ = tx.update(g, tx.init(g))
    np.testing.assert_allclose(update, [4.0, 0.0, 0.0, 8.0], rtol=1e-6)  # half of them is kept
    none, _ = tx.update(-jnp.abs(g), tx.init(g))
    np.testing.assert_array_equal(none, np.zeros(4))


def test_complex_steps_agree_by_the_real_part(x64: None) -> None:
    rng = np.random.default_rng(2)
    grads = rng.standard_normal((40, 8)) + 1j * rng.standard_normal((40, 8))
    tx = ao.optimizer(cautious_adam(), 0.01)
    updates, _, _ = run(tx, jnp.asarray(grads), jnp.zeros(8, complex))
    made = oracle_other.Cautious(oracle.Adam())
    expected = oracle.optimise(made, grads, np.zeros(8, complex), 0.01)["updates"]
    assert relative_rms(updates, expected) < 1e-12  # roundings


@MORE
def test_zero_gradients_and_empty_leaves_are_finite(name: str) -> None:
    tx = ao.optimizer(WRAPPED[name][0](), 0.01)
    params = {"w": jnp.ones(3), "none": jnp.zeros((0, 2)), "s": jnp.float32(1.0)}
    zeros = jax.tree.map(jnp.zeros_like, params)
    with jax.debug_nans(True):
        updates, _ = tx.update(zeros, tx.init(params), params)
    assert all(np.all(np.asarray(u) == 0) for u in jax.tree.leaves(updates))


@pytest.mark.parametrize("name", ["cautious adam"])
@pytest.mark.heavy
def test_the_state_is_that_of_the_rule_inside(name: str) -> None:
    _, _, state = run(
        ao.optimizer(WRAPPED[name][0](), 0.01), jnp.float32(GRADS[:5]), jnp.float32(START)
    )
    _, _, plain = run(ao.adam(0.01), jnp.float32(GRADS[:5]), jnp.float32(START))
    for mine, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(plain), strict=True):
        np.testing.assert_array_equal(mine, theirs)


# --- Clipping by history ------------------------------------------------------------------------

clip = ao.rules.clip_step_by_history


@pytest.mark.quick
def test_the_history_is_one_number_of_each_layer_in_any_storage() -> None:
    params = {"w": jnp.ones((3, 4, 130)), "b": jnp.ones((3, 5))}
    for storage in (None, ao.storage.int8(), ao.storage.pair()):
        tx = ao.optimizer(clip(ao.rules.adam()), 1e-3, storage=storage, stacked=1)
        state = tx.init(params)
        _, state = tx.update(params, state, params)
        norms = ao.read_moments(state, tx, params)["step_norm"]
        assert norms["w"].shape == norms["b"].shape == (3,)
        # Adam's first step is 1 for each element, and the mean has seen 2 % of its weights.
        np.testing.assert_allclose(norms["w"], 0.02 * np.sqrt(4 * 130), rtol=0.01)  # 8 bits


@pytest.mark.quick
def test_layers_are_clipped_apart() -> None:
    rule = clip(ao.rules.adam(), **HISTORY)
    grads = np.stack([GRADS[:12], GRADS[12:24], GRADS[24:36]], 1)
    start = np.stack([START, 2 * START, 3 * START])
    together, _, _ = run(
        ao.optimizer(rule, 0.01, stacked=1), jnp.float32(grads), jnp.float32(start)
    )
    for i in range(3):
        alone, _, _ = run(ao.optimizer(rule, 0.01), jnp.float32(grads[:, i]), jnp.float32(start[i]))
        assert relative_rms(together[:, i], alone) < 1e-6  # roundings


@pytest.mark.quick
def test_a_clipped_rule_follows_its_schedules_and_values_by_path() -> None:
    rates = np.linspace(0.5, 0.9, 20)
    made = clip(ao.rules.adam(b1=lambda n: jnp.asarray(rates, jnp.float32)[n]), **HISTORY)
    updates, _, _ = run(ao.optimizer(made, 0.01), jnp.float32(GRADS[:20]), jnp.float32(START))
    oracles = oracle_shared.HistoryClipped(oracle.Adam(b1=lambda n: rates[n]), **HISTORY)
    expected = oracle.optimise(oracles, GRADS[:20], START, 0.01)["updates"]
    assert relative_rms(updates, expected) < 1e-5  # the schedule is float32
    by_path = clip(ao.rules.adam(b1=ao.by_path({"a": 0.5, "b": 0.9})), **HISTORY)
    tx = ao.optimizer(by_path, 0.01)
    state = tx.init({"a": jnp.ones(3), "b": jnp.ones(3)})
    _, state = tx.update({"a": jnp.ones(3), "b": jnp.ones(3)}, state)
    mu = ao.read_moments(state)["mu"]
    np.testing.assert_allclose([mu["a"][0], mu["b"][0]], [0.5, 0.1], rtol=1e-6)


@pytest.mark.quick
def test_zeros_and_nan_do_not_stop_a_clipped_rule() -> None:
    tx = ao.optimizer(clip(ao.rules.adam(), warmup_steps=0), 0.1)
    params = jnp.ones(3)
    state = tx.init(params)
    for g in (jnp.zeros(3), jnp.full(3, jnp.nan)):
        _, state = tx.update(g, state, params)
        np.testing.assert_array_equal(state[0].step_norm, 0.0)
    state = tx.init(params)
    _, state = tx.update(jnp.zeros(3), state, params)
    updates, _ = tx.update(params, state, params)
    assert np.all(updates < -0.01)


@pytest.mark.quick
def test_a_replaced_part_is_not_lost_by_clipping() -> None:
    adam = ao.rules.adam()
    rule = dataclasses.replace(adam, direction=lambda x: 0 * x.g)
    tx = ao.optimizer(clip(rule), 0.1)
    updates, _ = tx.update(jnp.ones(3), tx.init(jnp.ones(3)))
    np.testing.assert_array_equal(updates, np.zeros(3))


@pytest.mark.quick
@pytest.mark.parametrize(
    ("how", "error", "text"),
    [
        ({"relative": 0.0}, ValueError, "relative must be positive"),
        ({"beta": 1.0}, ValueError, r"beta must be in \[0, 1\)"),
        ({"warmup_steps": -1}, ValueError, "warmup_steps must be at least 0, not -1"),
        ({"beta": lambda n: 0.9}, TypeError, "beta must be a Python number here, not function"),
        ({"beta": np.float32(0.9)}, TypeError, "beta must be a Python number here, not float32"),
    ],
)
def test_a_history_that_cannot_be_is_refused(how: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        clip(ao.rules.adam(), **how)


@pytest.mark.quick
def test_steps_are_clipped_once() -> None:
    with pytest.raises(ValueError, match="adam has a moment 'step_norm' already"):
        clip(clip(ao.rules.adam()))
