"""Test named arrays: every moment and count, in any chain, and nothing that does not fit."""

import re
from typing import Any, NamedTuple

import chex
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given
from jax.sharding import NamedSharding, PartitionSpec

import adam_optax as ao
from adam_optax.conventions import scheduled_nadam
from tests.convert.layouts import BIAS, MEAN, PARAMS, named

SCHEDULE = optax.linear_schedule(1e-3, 0.0, 10)
SPLIT = {"dense": {"kernel": "one", "bias": "two"}}
TXS: dict[str, Any] = {
    "adam": ao.adam(1e-3),
    "amsgrad": ao.amsgrad(1e-3, raw_max=True),
    "schedules": ao.adamw(SCHEDULE, weight_decay=SCHEDULE, mask=True),
    "chain": optax.chain(ao.clip_by_global_norm(1.0), ao.adam(SCHEDULE)),
    "scheduled_nadam": scheduled_nadam(1e-3),
    "ademamix": ao.ademamix(1e-3),
    "novograd": ao.novograd(1e-3),
    "lion": ao.lion(1e-3),
    "bfloat16": ao.adam(1e-3, mu_dtype="bfloat16"),
    "partition": optax.partition({"one": ao.adam(SCHEDULE), "two": ao.amsgrad(1e-3)}, SPLIT),
    "masked": optax.masked(ao.adam(1e-3), {"dense": {"kernel": True, "bias": False}}),
    "injected": optax.inject_hyperparams(ao.adam)(SCHEDULE),
    "multi-steps": optax.MultiSteps(ao.adam(1e-3), 1),
}
ALL = pytest.mark.parametrize("name", TXS)


def stepped(tx: Any, steps: int = 3) -> Any:
    """Return a state after some steps."""
    state = tx.init(PARAMS)
    for step in range(steps):
        grads = jax.tree.map(lambda p, s=step: jnp.full(p.shape, 1.0 + s), PARAMS)
        with jax.numpy_dtype_promotion("standard"):
            _, state = tx.update(grads, state, PARAMS)
    return state


def refused(text: str, call: Any) -> None:
    """Assert the whole text of the error."""
    with pytest.raises(ao.convert.ConversionError, match=f"^{re.escape(text)}$"):
        call()


def into_adam(entries: Any) -> Any:
    """Convert named arrays to a state of `ao.adam`."""
    return ao.convert.from_named(entries, ao.adam(1e-3).init(PARAMS))


@pytest.mark.matrix(keep=4, quick=["schedules", "adam"])
@ALL
def test_all_moments_and_counts_survive_a_round_trip(name: str) -> None:
    tx = TXS[name]
    state = stepped(tx)
    again = ao.convert.from_named(ao.convert.to_named(state), tx.init(PARAMS))
    if name in ("injected", "multi-steps"):  # which keep numbers besides, the template's own
        again, state = (ao.convert.to_named(s) for s in (again, state))
    chex.assert_trees_all_equal_structs(again, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(again, state)
    chex.assert_trees_all_equal(again, state)


@pytest.mark.quick
def test_every_count_is_set_also_those_of_schedules() -> None:
    for name in ("schedules", "chain", "injected", "partition"):
        template = TXS[name].init(PARAMS)
        entries = {**ao.convert.to_named(template), "count": np.array(5)}
        state = ao.convert.from_named(entries, template)
        paths = [(jax.tree_util.keystr(p), x) for p, x in jax.tree.leaves_with_path(state)]
        counts = [int(x) for path, x in paths if path.endswith(".count")]
        assert len(counts) >= 2
        assert set(counts) == {5}


@pytest.mark.quick
def test_the_keys_are_entries_and_paths() -> None:
    kernel, bias = "dense/kernel", "dense/bias"
    state = ao.convert.to_named(TXS["partition"].init(PARAMS))
    moments = {f"{n}/{kernel}" for n in ("mu", "nu")} | {
        f"{n}/{bias}" for n in ("mu", "nu", "nu_max")
    }
    assert set(state) == {"count"} | moments
    assert set(ao.convert.to_named(ao.adam(1e-3).init(jnp.ones(2)))) == {"count", "mu", "nu"}


def test_flax_and_shapes_alone_are_templates_too() -> None:
    optimizer = nnx.Optimizer(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), ao.adam(1e-3), wrt=nnx.Param)
    entries = ao.convert.to_named(optimizer.opt_state)
    assert "mu/kernel/value" in entries
    state = ao.convert.from_named(entries | {"count": np.array(9)}, optimizer.opt_state)
    assert int(state[0].count[...]) == 9
    assert int(optimizer.opt_state[0].count[...]) == 0
    shapes = jax.eval_shape(ao.adam(1e-3).init, PARAMS)
    chex.assert_trees_all_equal(ao.convert.from_named(named(), shapes), into_adam(named()))


def test_dtype_and_sharding_are_the_template_s_and_inputs_stay() -> None:
    mesh = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    place = NamedSharding(mesh, PartitionSpec("x"))
    template = jax.device_put(ao.adam(1e-3, mu_dtype="bfloat16").init(PARAMS), place_all(place))
    entries = {name: x.astype(np.float64) for name, x in named().items() if name != "count"}
    entries["count"] = np.array(7)
    before = {name: x.copy() for name, x in entries.items()}
    state = ao.convert.from_named(entries, template)
    mu = state[0].mu["dense"]["kernel"]
    assert (mu.dtype, mu.sharding) == (jnp.bfloat16, place)
    assert int(template[0].count) == 0
    chex.assert_trees_all_equal(entries, before)
    assert not into_adam(named())[0].mu["dense"]["bias"].committed


def place_all(place: Any) -> Any:
    """Return a tree of shardings like a state: `place` for matrices, replicated otherwise."""
    flat = NamedSharding(place.mesh, PartitionSpec())
    state = jax.eval_shape(ao.adam(1e-3).init, PARAMS)
    return jax.tree.map(lambda x: place if x.ndim == 2 else flat, state)


@pytest.mark.heavy
@given(
    st.dictionaries(
        st.text("abc/", min_size=1, max_size=3).map(lambda s: s.replace("/", ".")),
        hnp.arrays(
            np.float32,
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
            elements=st.floats(0, 2.0**100, width=32),
        ),
        max_size=3,
    ),
    st.integers(0, 2**31 - 1),
)
def test_any_tree_of_arrays_survives(params: dict[str, Any], count: int) -> None:
    template = ao.adam(1e-3).init(jax.tree.map(jnp.asarray, params))
    moments = {f"{n}/{path}": x for path, x in params.items() for n in ("mu", "nu")}
    entries = {"count": np.array(count), **moments}
    again = ao.convert.to_named(ao.convert.from_named(entries, template))
    assert again.keys() == entries.keys()
    for name, x in entries.items():
        assert again[name].shape == x.shape
        np.testing.assert_array_equal(again[name], x)


WITHOUT = {n: x for n, x in named().items() if n != "nu/dense/bias"}
PRODUCT = {f"product/dense/{n}": np.array(0.5) for n in ("kernel", "bias")}
MAXIMUM = {"nu_max/dense/kernel": MEAN**2, "nu_max/dense/bias": BIAS**2}
HUGE = named(**{"nu/dense/bias": np.array([1e300, 1, 1])})
TEXTS: dict[str, tuple[Any, str]] = {
    "missing": (
        WITHOUT,
        "missing nu/dense/bias: the template has them, the source or its names do not; map a name "
        "to each",
    ),
    "unknown parameter": (
        named(**{"mu/dense/bais": BIAS}),
        "extra mu/dense/bais: the template has no parameter 'dense/bais' (did you mean "
        "'dense/bias'?); map its name to None to leave it out",
    ),
    "maximum": (
        named(**MAXIMUM),
        "extra nu_max/dense/bias, nu_max/dense/kernel: the source has AMSGrad's maximum; make the "
        "template with ao.amsgrad(raw_max=True)",
    ),
    "product": (
        named(**PRODUCT),
        "extra product/dense/bias, product/dense/kernel: the source is NAdam with a schedule of "
        "its momentum; make the template with ao.conventions.scheduled_nadam",
    ),
    "other entry": (
        named(**{"mu_slow/dense/bias": BIAS}),
        "extra mu_slow/dense/bias: the template keeps no such moments; make it with the optimiser "
        "of the source",
    ),
    "transposed": (
        named(**{"mu/dense/kernel": MEAN.T}),
        "mu/dense/kernel has shape (3, 2) in the source, but (2, 3) here; permute its axes in "
        "names, as in ('dense/kernel', (1, 0))",
    ),
    "shape": (
        named(**{"mu/dense/bias": BIAS[:2]}),
        "mu/dense/bias has shape (2,) in the source, but (3,) here; check names",
    ),
    "not finite": (
        named(**{"mu/dense/bias": np.array([1, np.nan, np.inf])}),
        "mu/dense/bias has 2 of 3 values that are not finite; go back to a checkpoint from before "
        "they came up",
    ),
    "swapped": (
        named(**{"nu/dense/bias": BIAS}),
        "nu/dense/bias has 1 of 3 negative values; squares have none: are two entries or two "
        "parameters swapped?",
    ),
    "complex": (
        named(**{"mu/dense/bias": BIAS + 1j}),
        "mu/dense/bias is complex64 in the source, but float32 here; the parameter is of the "
        "other kind, or PyTorch's: it keeps the squares of real and imaginary parts apart, and no "
        "optimiser here does",
    ),
    "overflow": (
        HUGE,
        "nu/dense/bias overflows float32, in which it is kept here; keep it in a wider one",
    ),
    "integers": (
        named(**{"mu/dense/bias": np.arange(3)}),
        "mu/dense/bias must be a floating array, not int64[3]",
    ),
    "an object": (
        named(**{"mu/dense/bias": None}),
        "mu/dense/bias is not an array but NoneType",
    ),
    "no mapping": (
        [1, 2],
        "named arrays are a dict such as {'count': ..., 'mu/dense/kernel': ...}, not list",
    ),
    "text": (named(count="7"), "count must be an integer scalar, not <U1[]"),
    "no count": (
        {n: x for n, x in named().items() if n != "count"},
        "count is missing",
    ),
    "count": (named(count=np.array(1.5)), "count must be an integer scalar, not float64[]"),
    "negative count": (
        named(count=np.array(-1)),
        "count is -1: a number of steps is not negative",
    ),
    "large count": (
        named(count=np.array(2**31)),
        "count is 2147483648, more than the template can hold (2147483647)",
    ),
}


@pytest.mark.quick
@pytest.mark.parametrize("case", TEXTS)
def test_what_does_not_fit_is_named_with_the_way_out(case: str) -> None:
    entries, text = TEXTS[case]
    refused(text, lambda: into_adam(entries))


def test_arrays_of_another_library_are_taken_too() -> None:
    entries = {name: jnp.asarray(x) for name, x in named(count=np.int32(7)).items()}
    chex.assert_trees_all_equal(into_adam(entries), into_adam(named()))


def test_a_template_that_keeps_more_says_so() -> None:
    amsgrad, nadam = TXS["amsgrad"].init(PARAMS), TXS["scheduled_nadam"].init(PARAMS)
    refused(
        "missing nu_max/dense/bias, nu_max/dense/kernel: the template has AMSGrad's maximum and "
        "the source has none; make the template with ao.adam, or the source with amsgrad=True",
        lambda: ao.convert.from_named(named(), amsgrad),
    )
    refused(
        "missing product/dense/bias, product/dense/kernel: the template is scheduled_nadam and the "
        "source is not NAdam; make the template with ao.adam, say",
        lambda: ao.convert.from_named(named(), nadam),
    )


def test_all_problems_are_said_at_once() -> None:
    entries = named(**{"mu/dense/bias": BIAS[:2], "nu/dense/kernel": -(MEAN**2)})
    with pytest.raises(
        ao.convert.ConversionError, match=r"2 things do not fit:\n  1. nu.*\n  2. mu"
    ):
        into_adam(entries)


class Pair(NamedTuple):
    """Hold two states with the same parameters."""

    one: Any
    two: Any


def test_states_that_cannot_be_named_are_refused() -> None:
    adam = ao.adam(1e-3).init(PARAMS)
    refused(
        "no moments in this dict; pass the state that tx.init(params) of an optimiser of "
        "adam_optax makes, alone or inside optax's chains and wrappers",
        lambda: ao.convert.to_named(PARAMS),
    )
    refused(
        "two moments of the state are called mu/dense/bias; pass one of the states that hold "
        "them, or give the parameters paths that differ",
        lambda: ao.convert.to_named(Pair(adam, adam)),
    )
    clash = {"a": {"b": jnp.ones(2)}, "a/b": jnp.ones(2)}
    with pytest.raises(ao.convert.ConversionError, match="called mu/a/b; pass one"):
        ao.convert.to_named(ao.adam(1e-3).init(clash))
    later = (adam[0]._replace(count=jnp.int32(2)), optax.ScaleByScheduleState(jnp.int32(3)))
    refused(
        "the counts of steps in the state differ: 2, 3; pass the part that holds the moments, "
        "such as state[0], one group at a time",
        lambda: ao.convert.to_named(later),
    )
    many = jax.vmap(ao.adam(1e-3).init)({"w": jnp.ones((4, 2))})
    refused(
        "a count of steps is int32[4] where an integer scalar is expected; of vmapped states, "
        "convert one at a time",
        lambda: ao.convert.to_named(many),
    )


def test_storage_that_is_not_dense_is_refused() -> None:
    codes = {"w": jnp.zeros((2, 3), jnp.int8)}
    state = ao.ScaleByState(jnp.int32(0), {"mu": {"w": jnp.ones((2, 3))}, "nu": codes})
    refused(
        "nu/w is not kept as one floating array of the parameter's shape (int8); first make it "
        "dense: state = ao.convert.change_storage(state, tx, dense_tx, params), with dense_tx made "
        "as tx, but without storage=",
        lambda: ao.convert.to_named(state),
    )
    factored = ao.ScaleByState(
        jnp.int32(0), {"mu": {"w": jnp.ones((2, 3))}, "nu": {"w": jnp.ones(3)}}
    )
    refused(
        "nu/w is not kept as one floating array of the parameter's shape ([3] beside [2, 3]); pass "
        "tx= and params= as well, and the moments are written in the storage of tx",
        lambda: ao.convert.from_named(named(), factored),
    )
