"""Inside optax's chains and wrappers the variants give the oracle's numbers, as if alone."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.support.cases import DEFAULTS, LEARNING_RATE, Case, by_id, gradients, run, witness
from tests.support.oracle import relative_rms

STEPS, SIZE = 50, 6
GRADS = gradients(STEPS, SIZE)
START = np.linspace(-1.0, 1.0, SIZE).astype(np.float32).astype(np.float64)
G32, P32 = jnp.asarray(GRADS, jnp.float32), jnp.asarray(START, jnp.float32)
CLOSE = 1e-6  # a dozen float32 roundings of 6e-8 in each update
SOME = [case for case in DEFAULTS if case.name in ("nadamw", "amsgrad", "adamaxw")]
EACH = pytest.mark.parametrize("case", **by_id(SOME))


def strictly(tx: Any) -> Any:
    """Hold ours to strict promotion inside a wrapper of optax's that mixes dtypes itself."""

    def update(*args: Any, **kwargs: Any) -> Any:
        with jax.numpy_dtype_promotion("strict"):
            return tx.update(*args, **kwargs)

    return optax.GradientTransformationExtraArgs(tx.init, update)


def resumed(tx: Any, state: Any) -> Any:
    """The transformation, starting from a state."""
    return optax.GradientTransformationExtraArgs(lambda params: state, tx.update)


def injected(case: Case) -> Any:
    return optax.inject_hyperparams(getattr(ao, case.name))(LEARNING_RATE, **case.options)


@pytest.mark.quick
@EACH
def test_chain_clips_before_and_scales_behind(case: Case) -> None:
    fading = lambda n: 1.0 / (1.0 + jnp.asarray(n, float))  # noqa: E731
    tx = optax.chain(optax.clip(1.0), case.ours(), optax.scale_by_schedule(fading))
    updates, _, state = run(tx, G32, P32)
    expected = case.oracle(np.clip(GRADS, -1, 1), START, lambda n: LEARNING_RATE / (1.0 + n))
    assert relative_rms(updates, expected["updates"]) < CLOSE
    assert int(state[1][0].count) == STEPS


@pytest.mark.parametrize("name", ["adam", "amsgrad", "adamax"])
def test_a_rule_alone_joins_optax_s_decay_and_rate(name: str) -> None:
    case = next(c for c in DEFAULTS if c.name == name)
    scale = getattr(ao, f"scale_by_{name}")()
    tx = optax.chain(scale, optax.add_decayed_weights(0.1), optax.scale_by_learning_rate(0.02))
    expected = case.oracle(GRADS, START, 0.02, weight_decay=0.1)
    assert relative_rms(run(tx, G32, P32)[0], expected["updates"]) < CLOSE


@EACH
def test_masked_trains_one_leaf_and_passes_the_other_on(case: Case) -> None:
    tx = optax.masked(case.ours(), {"on": True, "off": False})
    updates, _, state = run(tx, {"on": G32, "off": G32}, {"on": P32, "off": P32})
    assert relative_rms(updates["on"], case.oracle(GRADS, START)["updates"]) < CLOSE
    np.testing.assert_array_equal(updates["off"], G32)
    assert state.inner_state[0].mu["off"] == optax.MaskedNode()


@EACH
def test_partition_gives_each_group_its_own_optimiser(case: Case) -> None:
    groups = {"slow": case.ours(0.001), "fast": case.ours(0.1, b1=0.5), "off": optax.set_to_zero()}
    tx = optax.partition(groups, {"a": "slow", "b": "fast", "c": "off"})
    updates, _, _ = run(tx, dict.fromkeys("abc", G32), dict.fromkeys("abc", P32))
    slow, fast = case.oracle(GRADS, START, 0.001), case.oracle(GRADS, START, 0.1, b1=0.5)
    assert relative_rms(updates["a"], slow["updates"]) < CLOSE
    assert relative_rms(updates["b"], fast["updates"]) < CLOSE
    assert not updates["c"].any()


@EACH
def test_injected_learning_rate_can_be_read_and_changed(case: Case) -> None:
    tx = injected(case)
    before, params, state = run(tx, G32[:20], P32)
    numbers = {n: float(v) for n, v in state.hyperparams.items()}  # as float32 rounds them
    assert numbers.pop("learning_rate") == np.float32(LEARNING_RATE)
    state.hyperparams["learning_rate"] = jnp.float32(0.25)
    after, _, state = run(resumed(tx, state), G32[20:], params)
    assert float(state.hyperparams["learning_rate"]) == 0.25
    rate = lambda n: np.float32(LEARNING_RATE) if n < 20 else 0.25  # noqa: E731
    expected = case.oracle(GRADS, START, rate, **numbers)["updates"]
    assert relative_rms(before, expected[:20]) < CLOSE
    assert relative_rms(after, expected[20:]) < CLOSE


@EACH
def test_injection_under_bfloat16_acts_as_the_rates_it_can_hold(case: Case) -> None:
    grads = np.asarray(GRADS.astype(jnp.bfloat16), np.float64)
    params = jnp.zeros(SIZE, jnp.bfloat16)
    updates, _, state = run(injected(case), jnp.asarray(grads, jnp.bfloat16), params)
    numbers = {n: float(v) for n, v in state.hyperparams.items()}
    assert numbers["b2"] == 1.0  # the nearest to .999 in bfloat16: taken as the interval's middle
    rate, numbers = numbers.pop("learning_rate"), numbers | {"b2": 1 - 2.0**-10}
    expected = case.oracle(grads, np.zeros(SIZE), rate, **numbers)["updates"]
    assert relative_rms(updates, expected) < 4e-3  # rounded to 8 bits, 2e-3 at most, twice


@pytest.mark.parametrize("case", **by_id([c for c in SOME if c.name != "adamaxw"]))
def test_why_optax_s_own_injection_under_bfloat16_is_no_witness(case: Case) -> None:
    tx = optax.inject_hyperparams(getattr(optax, case.name))(LEARNING_RATE, **case.options)
    updates = witness(tx, G32.astype(jnp.bfloat16), jnp.zeros(SIZE, jnp.bfloat16))
    assert jnp.isnan(updates).all()


@EACH
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_multi_steps_takes_the_mean_of_each_two_gradients(case: Case, dtype: Any) -> None:
    grads = GRADS.astype(dtype)
    updates = witness(optax.MultiSteps(strictly(case.ours()), 2), jnp.asarray(grads), P32)
    assert updates.dtype == jnp.float32
    assert not updates[::2].any()
    means = grads.astype(np.float64).reshape(-1, 2, SIZE).mean(1).astype(dtype)  # as optax casts
    expected = case.oracle(means.astype(np.float64), START)["updates"]
    assert relative_rms(updates[1::2], expected) < CLOSE


@EACH
def test_apply_if_finite_is_as_if_the_bad_steps_had_not_been(case: Case) -> None:
    bad = {3: np.nan, 7: np.inf, 8: -np.inf}
    grads = G32
    for step, value in bad.items():
        grads = grads.at[step, 0].set(value)
    updates, _, state = run(optax.apply_if_finite(case.ours(), 5), grads, P32)
    good = np.delete(np.arange(STEPS), list(bad))
    assert not updates[np.array(list(bad))].any()
    assert relative_rms(updates[good], case.oracle(GRADS[good], START)["updates"]) < CLOSE
    assert int(state.inner_state[0].count) == len(good)


@pytest.mark.matrix(keep=2)
@EACH
def test_schedule_free_runs_on_ours_as_on_optax_s(case: Case, x64: None) -> None:
    ours, theirs = (optax.contrib.schedule_free(f(b1=0.0), 0.01) for f in (case.ours, case.optax))
    updates, _, _ = run(ours, jnp.asarray(GRADS), jnp.asarray(START))
    expected = witness(theirs, jnp.asarray(GRADS), jnp.asarray(START))
    assert relative_rms(updates, expected) < 1e-12  # float64, summed over 50 steps


@EACH
def test_flatten_joins_the_leaves_and_gives_them_back(case: Case) -> None:
    split = lambda x: {"a": x[..., :2], "b": x[..., 2:].reshape(*x.shape[:-1], 2, 2)}  # noqa: E731
    updates, _, state = run(optax.flatten(case.ours()), split(G32), split(P32))
    expected = case.oracle(GRADS, START)["updates"]
    assert relative_rms(updates["a"], expected[:, :2]) < CLOSE
    assert relative_rms(updates["b"].reshape(STEPS, 4), expected[:, 2:]) < CLOSE
    assert ao.read_moments(state)["mu"].shape == (SIZE,)


@EACH
def test_tree_get_and_set_reach_the_moments(case: Case) -> None:
    first, _, state = run(case.ours(), G32[:9], P32)
    moment = case.oracle(GRADS[:9], START)["mu"]
    assert relative_rms(optax.tree.get(state, "mu"), moment) < CLOSE
    blank = jnp.zeros(SIZE)
    state = optax.tree.set(state, count=jnp.int32(0), mu=blank, nu=blank)
    if case.name == "amsgrad":
        state = optax.tree.set(state, nu_max=blank)
    again, _, _ = run(resumed(case.ours(), state), G32[:9], P32)
    np.testing.assert_array_equal(again, first)


@EACH
def test_map_params_maps_the_moments_and_nothing_else(case: Case) -> None:
    schedules = {"weight_decay": lambda n: 0.1, "mask": {"w": True}} if case.name[-1] == "w" else {}
    tx = case.ours(lambda n: 0.1, **schedules)
    _, _, state = run(tx, {"w": G32[:9]}, {"w": P32})
    for source in (tx, tx.init):  # optax calls init with a placeholder in the tree's place
        doubled = optax.tree.map_params(source, lambda m, p: 2 * m + p, state, {"w": P32})
        for name, tree in ao.read_moments(state).items():
            np.testing.assert_array_equal(optax.tree.get(doubled, name)["w"], 2 * tree["w"] + P32)
        counts = [leaf for leaf in jax.tree.leaves(doubled) if leaf.dtype == jnp.int32]
        assert counts == [9] * (3 if schedules else 2)


@EACH
def test_update_takes_params_by_name_and_ignores_what_it_does_not_know(case: Case) -> None:
    tx = case.ours()
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    assert optax.with_extra_args_support(tx) is tx
    plain, _ = tx.update(G32[0], tx.init(P32), P32)
    named, _ = optax.chain(tx).update(
        G32[0], (tx.init(P32),), params=P32, value=jnp.float32(3), grad_fn=None
    )
    np.testing.assert_array_equal(named, plain)
    assert relative_rms(plain, case.oracle(GRADS[:1], START)["updates"][0]) < CLOSE
