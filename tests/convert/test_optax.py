"""A state of any optimiser of optax's goes over to ours, and back, where the trees differ, too."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.support.pairs import EVERY, MASK, PARAMS, Pair, fading, injected, losses

IDS = [pair.id for pair in EVERY]
MIXED = {
    "b16": jnp.linspace(-3, 3, 5, dtype=jnp.bfloat16),
    "f32": jnp.linspace(-1, 1, 5, dtype=jnp.float32),
    "c64": jnp.linspace(-1, 1 + 2j, 5, dtype=jnp.complex64),
}
CENTRED = {"centered": True, "eps": 1e-4}
OTHER_FORM = [
    Pair("rmsprop", CENTRED),
    Pair("rmsprop", {**CENTRED, "initial_scale": 0.3, "momentum": 0.8}),
    Pair("rmsprop", {**CENTRED, "bias_correction": True}),
    Pair("rmsprop", {**CENTRED, "bias_correction": True, "momentum": 0.8, "nesterov": True}),
    Pair("adafactor", {}),
    Pair("adafactor", {"min_dim_size_to_factor": 2, "weight_decay_rate": 1e-3}),
    Pair("adafactor", {"min_dim_size_to_factor": 2, "momentum": 0.9}),
    Pair("adafactor", {"factored": False, "weight_decay_rate": 1e-3}),
]
"""What optax keeps as other quantities, or in other links."""


def same(one: Any, other: Any) -> None:
    """Check classes, shapes, dtypes and values."""
    chex.assert_trees_all_equal_structs(one, other)
    chex.assert_trees_all_equal_shapes_and_dtypes(one, other)
    chex.assert_trees_all_equal(one, other)


@pytest.mark.matrix(keep=6, quick=["adam"])
@pytest.mark.parametrize("pair", EVERY, ids=IDS)
def test_every_state_of_optax_is_taken_over_in_our_dtypes(pair: Pair) -> None:
    # optax has no complex moment of lower precision, and orders complex numbers by their real part.
    real_only = pair.name == "adopt" or "bfloat16" in pair.options.values()
    params = {n: p for n, p in MIXED.items() if not (real_only and n == "c64")}
    mask = {n: n != "f32" for n in params}
    options: Any = {n: mask for n in ("mask", "weight_decay_mask") if n in pair.options}
    ours, theirs = pair.both(**options)
    blank = theirs.init(params)
    state = ao.convert.from_optax(blank, ours, params)
    fresh = ours.init(params)
    chex.assert_trees_all_equal_structs(state, fresh)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, fresh)
    chex.assert_trees_all_close(state, fresh, rtol=4e-3)  # accumulators that start in bfloat16
    same(ao.convert.to_optax(state, params, tx=theirs), blank)
    if not real_only:  # of which the dtypes follow from the parameters alone
        same(ao.convert.from_optax(blank), state)
        same(ao.convert.to_optax(fresh, params), blank)


# optax cannot inject into its own adafactor: shapes depend on its numbers.
WAYS = [(pair, False) for pair in OTHER_FORM] + [(pair, True) for pair in OTHER_FORM[:4]]


@pytest.mark.matrix(keep=2)
@pytest.mark.parametrize(
    ("pair", "wrapped"), WAYS, ids=[f"{p.id}{'-injected' * w}" for p, w in WAYS]
)
def test_a_run_goes_on_where_moments_have_another_form(pair: Pair, wrapped: bool) -> None:
    ours, theirs = pair.both(injected) if wrapped else pair.both()
    # optax's variance is rounded to below 0 where gradients vary little; eps makes that invisible.
    _, params, state = losses(theirs, theirs.init(PARAMS), PARAMS, 5)
    alone, _, _ = losses(theirs, state, params, 6)
    here, _, _ = losses(ours, ao.convert.from_optax(state, ours, params), params, 6)
    np.testing.assert_allclose(here, alone, rtol=1e-4)  # the cancellation in optax's variance
    _, params, state = losses(ours, ours.init(PARAMS), PARAMS, 5)
    there, _, _ = losses(theirs, ao.convert.to_optax(state, params, tx=theirs), params, 6)
    np.testing.assert_allclose(there, alone, rtol=1e-4)
    back = ao.convert.from_optax(ao.convert.to_optax(state, params, tx=theirs), ours, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(back, state)
    # A variance is a difference of numbers of about 1, each rounded to 6e-8.
    close = {"rtol": 1e-5, "atol": 3e-7}
    chex.assert_trees_all_close(ao.read_moments(back), ao.read_moments(state), **close)


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "chain": lambda tx: optax.chain(optax.clip_by_global_norm(1.0), optax.chain(tx)),
    "masked": lambda tx: optax.masked(tx, MASK),
    "partition": lambda tx: optax.partition({True: tx, False: optax.set_to_zero()}, MASK),
    "multi steps": lambda tx: optax.MultiSteps(tx, 2),
    "finite": lambda tx: optax.apply_if_finite(tx, 3),
    "trace": lambda tx: optax.chain(optax.trace(0.5), tx),
}


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_wrappers_are_seen_through(wrap: str) -> None:
    ours, theirs = (WRAPPERS[wrap](tx) for tx in OTHER_FORM[3].both())
    blank = ours.init(PARAMS)
    chex.assert_trees_all_equal(ao.convert.from_optax(theirs.init(PARAMS), ours, PARAMS), blank)


def test_links_of_numbers_and_schedules_come_and_go() -> None:
    _, params, state = losses(tx := optax.adam(0.01), tx.init(PARAMS), PARAMS, 5)
    decaying = ao.adamw(fading, weight_decay=fading, mask=MASK)
    taken = ao.convert.from_optax(state, decaying, params)
    assert [int(n) for n in (taken[0].count, taken[1].inner_state.count, taken[2].count)] == [5] * 3
    losses(decaying, taken, params, 1)
    same(ao.convert.from_optax(taken, tx, params), state)
    buffers = {count.unsafe_buffer_pointer() for count in jax.tree.leaves(taken) if not count.ndim}
    assert len(buffers) == 3  # so that the state can be donated


@pytest.mark.quick
def test_what_cannot_be_carried_over_is_refused() -> None:
    state = optax.adam(0.01).init(PARAMS)
    rms, centred = optax.rmsprop(0.01).init(PARAMS), optax.rmsprop(0.01, **CENTRED).init(PARAMS)
    factored = optax.adafactor(0.01, min_dim_size_to_factor=2).init(PARAMS)
    to: Callable[..., Any] = ao.convert.from_optax
    refused: list[tuple[str, Callable[[], Any]]] = [
        (
            r"^state\[0\]: tx keeps nu_max, the state holds mu, nu; make tx with the optimiser",
            lambda: to(state, ao.amsgrad(0.01), PARAMS),
        ),
        (
            "^state is ScaleByAdamState in the state and a tuple of 2 in tx; make tx of the same",
            lambda: to(state[0], ao.adam(0.01), PARAMS),
        ),
        (
            r"^state\[0\]: tx counts steps, and the state does not; make tx with numbers",
            lambda: to(rms, ao.rmsprop(0.01, bias_correction=True), PARAMS),
        ),
        (
            r"^state\[0\]: mu has shape \(2, 3\) in the state and \(3, 2\) in tx; pass the param",
            lambda: to(state, ao.adam(0.01), {**PARAMS, "w": PARAMS["w"].T}),
        ),
        (
            r"^state\[0\]: mu is of other parameters than tx's: ",
            lambda: to(state, ao.adam(0.01), {"w": PARAMS["w"]}),
        ),
        (
            r"^state: tx has schedules as decay rates of nu, the state of none: what its averages",
            lambda: to(state, ao.adam(0.01, b2=lambda n: 0.99), PARAMS),
        ),
        (
            r"^state\[0\]: nu is factored in one of the state and tx, and not in the ot",
            lambda: to(factored, ao.adafactor(0.01), PARAMS),
        ),
        (
            "^ScaleByRStdDevState holds other moments than this library's optimiser; pass what",
            lambda: to(centred),
        ),
        ("^tx and params go together: from", lambda: to(state, ao.adam(0.01))),
        (
            "^tx says in which dtypes moments are kept; leave out mu_dtype",
            lambda: to(state, ao.adam(0.01), PARAMS, mu_dtype="bfloat16"),
        ),
    ]
    for text, call in refused:
        with pytest.raises(ValueError, match=text):
            call()


# --- The moments that a chain has in two links ---------------------------------------------------


def test_the_moments_of_two_links_are_read_as_one_state() -> None:
    tx = ao.rmsprop(0.01, momentum=0.8, bias_correction=True)
    _, params, state = losses(tx, tx.init(PARAMS), PARAMS, 3)
    for found in (ao.read_moments(state), ao.read_moments(state, tx, params)):
        assert sorted(found) == ["nu", "trace"]
        chex.assert_trees_all_equal(found["trace"], state[-1].trace)
    named = ao.convert.to_named(state)
    assert sorted(named) == ["count", "nu/b", "nu/w", "trace/b", "trace/w"]
    same(ao.convert.from_named(named, tx.init(PARAMS)), state)


def test_states_without_a_count_go_through_named_arrays() -> None:
    tx = ao.sgd(0.01, momentum=0.8)
    _, _, state = losses(tx, tx.init(PARAMS), PARAMS, 3)
    named = ao.convert.to_named(state)
    assert sorted(named) == ["trace/b", "trace/w"]
    same(ao.convert.from_named(named, tx.init(PARAMS)), state)


def test_a_trace_before_another_optimiser_is_not_its_moment() -> None:
    tx = optax.chain(optax.trace(0.5), ao.adam(0.01))
    _, params, state = losses(tx, tx.init(PARAMS), PARAMS, 3)
    assert sorted(ao.read_moments(state)) == ["mu", "nu"]
    assert sorted(ao.read_moments(state, tx, params)) == ["mu", "nu"]
    assert not any(key.startswith("trace") for key in ao.convert.to_named(state))


def test_a_state_without_a_count_is_refused_where_steps_are_counted() -> None:
    tx = ao.rmsprop(0.01, bias_correction=True)
    state = optax.rmsprop(0.01).init(PARAMS)
    with pytest.raises(TypeError, match=r"^the state must count steps, "):
        tx.update(PARAMS, state, PARAMS)


def test_every_count_is_an_array_of_its_own() -> None:
    """A buffer that is there twice could not be donated."""
    tx = ao.ademamix(0.01)
    update = jax.jit(tx.update, donate_argnums=1)
    _, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    for given in (tx.init(PARAMS), state):
        places = [x.unsafe_buffer_pointer() for x in jax.tree.leaves(given)]
        assert len(set(places)) == len(places) > 4
        _, after = update(PARAMS, given, PARAMS)
        update(PARAMS, after, PARAMS)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("ours", "theirs"), [(ao.adamw, optax.adamw), (ao.lion, optax.lion)], ids=["adamw", "lion"]
)
def test_a_run_of_optax_goes_on_in_few_bytes(ours: Any, theirs: Any) -> None:
    params = {"w": jnp.cos(jnp.arange(600.0)).reshape(2, 300)}
    other = theirs(1e-3)
    with jax.numpy_dtype_promotion("standard"):
        _, state = other.update(params, other.init(params), params)
    tx = ours(1e-3, storage=ao.storage.int8())
    taken = ao.convert.from_optax(state, tx, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(taken, tx.init(params))
    assert taken[0].count == 1
    found = ao.read_moments(taken, tx, params)["mu"]["w"]
    # int8's code book has steps of 1 % of a block's largest number, rounded to one or the other
    np.testing.assert_allclose(found, state[0].mu["w"], atol=0.02 * float(state[0].mu["w"].max()))
    tx.update(params, taken, params)


@pytest.mark.quick
def test_a_state_with_scheduled_decay_rates_is_not_handed_to_optax() -> None:
    params = {"w": jnp.ones(2)}
    state = ao.adam(1e-3, b2=lambda n: jnp.float32(0.9) * jnp.ones(())).init(params)
    with pytest.raises(ao.convert.ConversionError, match="decay rates follow a schedule here"):
        ao.convert.to_optax(state, params)
