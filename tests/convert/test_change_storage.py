"""Test a change of storage in mid-run: any state into any format, and on with the training."""

import re
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import adam_optax as ao
from adam_optax._engine.states import count_of, states_with_moments
from adam_optax.convert import ConversionError, change_storage
from tests.engine.sharding.devices import pytest_with
from tests.storage.test_properties import BLOCKED, RATIO
from tests.storage.test_streams import BARS
from tests.support.formats import FORMATS

PARAMS = {"dense": {"kernel": jnp.ones((3, 130)), "bias": jnp.ones(7)}, "scale": jnp.ones(())}
RNG = np.random.default_rng(0)
GRADS = jax.tree.map(
    lambda p: jnp.asarray(RNG.uniform(0.3, 1.0, p.shape) * RNG.choice([-1, 1], p.shape), p.dtype),
    PARAMS,
)
"""Of one order of magnitude: formats in blocks promise a relative error near the top of a block."""
KERNELS: Any = [jax.tree.leaves(tree)[1] for tree in (PARAMS, GRADS)]
"""The kernel, and its gradient."""
SCHEDULE = optax.linear_schedule(1e-3, 0.0, 10)
PAIR = ao.storage.pair()
BOUNDS = RATIO | BLOCKED | {"factored()": 1e-7, "int4()": 0.9}
"""The relative size of a format's step, with reasons; no matrix here is long enough to factor.
Codes of int4 are a fourth of the top apart, which is .85 of what is .3 of the top."""
NU_BOUNDS = {"int4()": 1.0}
"""nu is between a tenth and the top of its block, whose step of 1/15 is then up to its own size."""


def stepped(tx: Any, steps: int = 3, params: Any = PARAMS, grads: Any = GRADS) -> Any:
    """Return a state after some steps."""
    state = tx.init(params)
    for _ in range(steps):
        with jax.numpy_dtype_promotion("standard"):
            _, state = tx.update(grads, state, params)
    return state


def refused(text: str, call: Callable[[], object]) -> None:
    """Assert the whole text of the error."""
    with pytest.raises(ConversionError, match=f"^{re.escape(text)}$"):
        call()


def other_parts(state: Any) -> Any:
    """Return what a state holds beside moments."""
    nodes = states_with_moments(state)
    is_own = lambda x: any(x is node for node in nodes)  # noqa: E731
    leaves = jax.tree.leaves(state, is_leaf=is_own)
    return [count_of(x) if is_own(x) else x for x in leaves]


def check_near(state: Any, tx: Any, moments: Any, name: str, params: Any = PARAMS) -> None:
    """Assert that a state is one of `tx`, whose moments are off by a rounding of the format."""
    chex.assert_trees_all_equal_shapes_and_dtypes(state, tx.init(params))
    found = ao.read_moments(state, tx, params)
    chex.assert_trees_all_close(found["mu"], moments["mu"], rtol=BOUNDS[name])
    chex.assert_trees_all_close(found["nu"], moments["nu"], rtol=NU_BOUNDS.get(name, BOUNDS[name]))


@pytest.mark.matrix(keep=1)
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.quick if n == "pair()" else ()) for n in FORMATS],
)
def test_every_format_takes_over_and_hands_back(name: str) -> None:
    dense = ao.adamw(SCHEDULE)
    tx = ao.adamw(SCHEDULE, storage=FORMATS[name])
    state = stepped(dense)
    moments = ao.read_moments(state)
    changed = change_storage(state, dense, tx, PARAMS)
    check_near(changed, tx, moments, name)
    chex.assert_trees_all_equal(other_parts(changed), other_parts(state))
    with jax.numpy_dtype_promotion("standard"):
        tx.update(GRADS, changed, PARAMS)
    back = change_storage(changed, tx, dense, PARAMS)
    chex.assert_trees_all_equal_shapes_and_dtypes(back, state)
    chex.assert_trees_all_equal(ao.read_moments(back), ao.read_moments(changed, tx, PARAMS))


RULES: dict[str, Callable[..., Any]] = {
    "lion": lambda **more: ao.lion(1e-3, **more),
    "adan": lambda **more: ao.adan(1e-3, **more),
    "adagrad": lambda **more: ao.adagrad(1e-3, **more),
    "sgd": lambda **more: ao.sgd(1e-3, momentum=0.9, **more),
    "rmsprop": lambda **more: ao.rmsprop(SCHEDULE, momentum=0.9, **more),
    "centred": lambda **more: ao.rmsprop(1e-3, centered=True, momentum=0.9, **more),
    "ademamix": lambda **more: ao.ademamix(1e-3, **more),
    "novograd": lambda **more: ao.novograd(1e-3, **more),
}


@pytest.mark.matrix(keep=1)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.quick if n == "rmsprop" else ()) for n in RULES]
)
def test_states_of_optax_s_classes_take_codes_and_lose_them(name: str) -> None:
    """Whose class, and chain, is another one with codes; some of which count no steps."""
    dense, tx = RULES[name](), RULES[name](storage=ao.storage.stochastic())
    state = stepped(dense)
    changed = change_storage(state, dense, tx, PARAMS)
    chex.assert_trees_all_equal_shapes_and_dtypes(changed, tx.init(PARAMS))
    with jax.numpy_dtype_promotion("standard"):
        _, changed = tx.update(GRADS, changed, PARAMS)
    state = stepped(dense, 4)
    back = change_storage(changed, tx, dense, PARAMS)
    chex.assert_trees_all_equal_shapes_and_dtypes(back, state)
    # bfloat16's last place, twice: before the step, of what is left then, and after it. Adan
    # averages the differences of gradients, of which one was rounded: .08 of a last place of 1.
    found, right = ao.read_moments(back), ao.read_moments(state)
    chex.assert_trees_all_close(found, right, rtol=2.0**-6, atol=0.08 * 2.0**-7)


@pytest.mark.heavy
def test_from_one_format_to_another() -> None:
    one, two = (ao.adam(1e-3, storage=FORMATS[n]) for n in ("int8()", "pair(block=128)"))
    state = stepped(one)
    changed = change_storage(state, one, two, PARAMS)
    check_near(changed, two, ao.read_moments(state, one, PARAMS), "pair(block=128)")


def wrapped(name: str, storage: Any) -> Any:
    """Return a transformation in a chain or a wrapper."""
    adam = lambda **more: ao.adam(1e-3, storage=storage, **more)  # noqa: E731
    bias = {"dense": {"kernel": True, "bias": False}, "scale": True}
    groups = jax.tree.map(lambda flag: "one" if flag else "two", bias)
    by_path = lambda path, leaf: storage if path.endswith("kernel") else None  # noqa: E731
    rates = ao.by_path({"dense/kernel": ao.FROZEN, ".*": 1e-3})
    decays = ao.by_path({"scale": optax.linear_schedule(0.9, 0.99, 10), ".*": 0.99})
    makes: dict[str, Callable[[], Any]] = {
        "chain": lambda: optax.chain(ao.clip_by_global_norm(1.0), optax.trace(0.9), adam()),
        "masked": lambda: optax.masked(adam(), bias),
        "groups": lambda: optax.partition({"one": adam(), "two": ao.adamax(1e-3)}, groups),
        "injected": lambda: optax.inject_hyperparams(ao.adam, static_args=("storage",))(
            SCHEDULE, b2=0.99, storage=storage
        ),
        "multi-steps": lambda: optax.MultiSteps(adam(), 2),
        "if-finite": lambda: optax.apply_if_finite(adam(), 3),
        "by-path": lambda: ao.adam(1e-3, storage=by_path),
        "numbers-by-path": lambda: ao.adam(rates, b2=decays, storage=storage),
        "stacked": lambda: adam(stacked={"dense": {"kernel": 1, "bias": 0}, "scale": 0}),
        "scheduled-beta": lambda: adam(b2=optax.linear_schedule(0.9, 0.99, 10)),
    }
    return makes[name]()


WRAPPERS = (
    *("chain", "masked", "groups", "injected"),
    *("multi-steps", "if-finite", "by-path", "scheduled-beta", "numbers-by-path", "stacked"),
)


@pytest.mark.matrix(keep=1)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.quick if n in ("groups", "stacked") else ())
        for n in WRAPPERS
    ],
)
def test_through_chains_and_wrappers_all_else_stays(name: str) -> None:
    dense, tx = wrapped(name, None), wrapped(name, PAIR)
    state = stepped(dense)
    changed = change_storage(state, dense, tx, PARAMS)
    chex.assert_trees_all_equal_shapes_and_dtypes(changed, tx.init(PARAMS))
    chex.assert_trees_all_equal(other_parts(changed), other_parts(state))
    again = ao.convert.to_named(change_storage(changed, tx, dense, PARAMS))
    before = ao.convert.to_named(state)
    for key, x in before.items():
        np.testing.assert_allclose(again[key], x, rtol=RATIO["pair()"], err_msg=key)
    with jax.numpy_dtype_promotion("standard"):
        tx.update(GRADS, changed, PARAMS)


def test_numbers_injected_in_the_run_decide_the_codes() -> None:
    """Codes of `pair()` depend on b2, which is here the state's and no longer that of `tx_to`."""
    make = optax.inject_hyperparams(ao.adam, static_args=("storage",))
    dense, tx = make(1e-3, storage=None), make(1e-3, storage=PAIR)
    state = stepped(dense)
    state.hyperparams["b2"] = jnp.float32(0.9)
    changed = change_storage(state, dense, tx, PARAMS)
    own = ao.adam(1e-3, b2=jnp.float32(0.9), storage=PAIR)
    check_near(changed.inner_state, own, ao.read_moments(state), "pair()")


def test_parts_of_optax_s_keep_optax_s_dtypes() -> None:
    params = {"w": jnp.ones((3, 130), "bfloat16")}
    average = ao.temporal_average(storage=ao.storage.stochastic())
    one, two = (optax.chain(optax.adam(1e-3), last) for last in (ao.temporal_average(), average))
    state = stepped(one, params=params, grads=params)
    changed = change_storage(state, one, two, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(changed, two.init(params))
    chex.assert_trees_all_equal(changed[0], state[0])
    ours = ao.adam(1e-3)
    back = change_storage(
        stepped(ours, params=params, grads=params), ours, optax.adam(1e-3), params
    )
    chex.assert_trees_all_equal_shapes_and_dtypes(back, optax.adam(1e-3).init(params))


def test_a_state_of_optax_or_flax_is_one_too() -> None:
    dense, tx = optax.adam(1e-3), ao.adam(1e-3, storage=PAIR)
    state = stepped(dense)
    check_near(change_storage(state, dense, tx, PARAMS), tx, ao.read_moments(state), "pair()")
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    flax = nnx.Optimizer(model, ao.adam(1e-3), wrt=nnx.Param)
    params = nnx.state(model, nnx.Param)
    changed = change_storage(flax.opt_state, ao.adam(1e-3), tx, params)
    wanted = nnx.Optimizer(model, tx, wrt=nnx.Param).opt_state
    chex.assert_trees_all_equal_structs(changed, wanted)


@pytest.mark.matrix(keep=0)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.quick if n == "pair()" else ()) for n in BARS]
)
def test_a_run_goes_on_as_if_it_had_begun_in_the_format(name: str) -> None:
    """Of 300 steps the last 200: as far from float32's as the format's own run may be."""
    dense, tx = ao.adam(1.0), ao.adam(1.0, storage=FORMATS[name])
    grads = jnp.asarray(np.random.default_rng(1).standard_normal((300, 512)), jnp.float32)
    params = jnp.zeros(512)

    def run(tx: Any, state: Any, grads: Any) -> Any:
        step = lambda state, g: tx.update(g, state, params)[::-1]  # noqa: E731
        return jax.lax.scan(step, state, grads)

    half, _ = run(dense, dense.init(params), grads[:100])
    _, right = run(dense, half, grads[100:])
    _, found = run(tx, change_storage(half, dense, tx, params), grads[100:])
    _, own = run(tx, tx.init(params), grads)
    size = jnp.sqrt(jnp.mean(right**2))
    error = jnp.sqrt(jnp.mean((found - right) ** 2)) / size
    assert error <= BARS[name].rms
    # The last hundred, when the state of the change is forgotten by mu: as the format's own run.
    late = lambda steps: float(jnp.sqrt(jnp.mean((steps[-100:] - right[-100:]) ** 2)) / size)  # noqa: E731
    assert late(found) <= 1.1 * late(own)  # two samples of one error, of 50,000 numbers each


@pytest.mark.parametrize("dtype", ["bfloat16", "complex64"])
def test_dtypes_of_parameters(dtype: str) -> None:
    params, grads = ({"w": x.astype(dtype)} for x in KERNELS)
    dense = ao.adam(1e-3)
    state = stepped(dense, params=params, grads=grads)
    if dtype == "bfloat16":
        tx = ao.adam(1e-3, storage=PAIR)
        moments = ao.read_moments(state)
        check_near(change_storage(state, dense, tx, params), tx, moments, "pair()", params)
        return
    tx = ao.adam(1e-3, storage={"nu": ao.storage.stochastic()})
    changed = change_storage(state, dense, tx, params)
    chex.assert_trees_all_equal(changed[0].mu, state[0].mu)
    refused(
        "tx_to.init(params) refuses: params['w']: pair() cannot hold a complex moment; use "
        "adam_optax.storage.dense()",
        lambda: change_storage(state, dense, ao.adam(1e-3, storage=PAIR), params),
    )


def test_moments_in_double_become_so(x64: None) -> None:
    params = {"w": jnp.ones((3, 130))}
    tx, dense = ao.adam(1e-3, storage=PAIR), ao.adam(1e-3)
    state = stepped(tx, params=params, grads=params)
    changed = change_storage(state, tx, dense, params)
    assert changed[0].mu["w"].dtype == jnp.float64
    check_near(
        change_storage(changed, dense, tx, params), tx, changed[0]._asdict(), "pair()", params
    )


@pytest.mark.quick
def test_what_does_not_fit_is_refused_with_the_way_out() -> None:
    dense, tx = ao.adam(1e-3), ao.adam(1e-3, storage=PAIR)
    state = stepped(dense)
    change: Any = change_storage
    refused(
        "tx_from did not make this state, which keeps mu (float32), nu (float32); pass the "
        "transformation whose init and update made it",
        lambda: change(state, tx, dense, PARAMS),
    )
    refused(
        "tx_from is adam, temporal_average and tx_to adam; the two may differ in storage alone",
        lambda: change(state, optax.chain(dense, ao.temporal_average()), tx, PARAMS),
    )
    refused(
        "tx_from did not make this state: of parts with moments tx_from has 2, the state 1; pass "
        "the transformation whose init and update made it",
        lambda: change(state, optax.chain(optax.adam(1.0), optax.adam(1.0)), tx, PARAMS),
    )
    refused(
        "tx_to keeps other parts than this state ([1].count): a schedule, weight decay, a mask or "
        "a link each change them; tx_to may differ in storage alone",
        lambda: change(state, dense, ao.adam(SCHEDULE, storage=PAIR), PARAMS),
    )
    refused(
        "tx_from is adam and tx_to adamax; the two may differ in storage alone",
        lambda: change(state, dense, ao.adamax(1e-3), PARAMS),
    )
    refused(
        "tx_to keeps other parts than this state ([0]): a schedule, weight decay, a mask or a link "
        "each change them; tx_to may differ in storage alone",
        lambda: change(state, dense, ao.adam(1e-3, b1=SCHEDULE, storage=PAIR), PARAMS),
    )
    lost = jax.tree.map(lambda x: x.at[(0,) * x.ndim].set(jnp.nan), state[0].nu)
    refused(
        "nu/dense/bias has 1 of 7 values that are not finite; go back to a checkpoint from before "
        "they came up",
        lambda: change((state[0]._replace(nu=lost), *state[1:]), dense, tx, PARAMS),
    )
    large = jax.tree.map(lambda x: x.at[(0,) * x.ndim].set(1e6), state[0].nu)
    refused(
        "nu/dense/bias has 1 of 7 values that are not finite; they are too large for the storage "
        "of tx; take a wider one",
        lambda: change(
            (state[0]._replace(nu=large), *state[1:]),
            dense,
            ao.adam(1e-3, nu_dtype="float16"),
            PARAMS,
        ),
    )


@pytest.mark.heavy
def test_groups_that_cannot_be_told_apart_are_converted_all_the_same() -> None:
    labels = {"dense": {"kernel": "one", "bias": "two"}, "scale": "one"}

    def make(storage: Any) -> Any:
        groups = {
            n: ao.adam(1e-3, b2=b2, storage=storage) for n, b2 in (("one", 0.9), ("two", 0.999))
        }
        return optax.partition(groups, labels)

    # Codes are read with a frame, whichever group's decay rate they were written with.
    state = stepped(make(None))
    for storage in (PAIR, ao.storage.int8()):
        changed = change_storage(state, make(None), make(storage), PARAMS)
        chex.assert_trees_all_equal_shapes_and_dtypes(changed, make(storage).init(PARAMS))
        back = change_storage(changed, make(storage), make(None), PARAMS)
        for n in ("mu", "nu"):
            for one, other in zip(
                *(jax.tree.leaves(optax.tree.get(x.inner_states["one"], n)) for x in (back, state)),
                strict=True,
            ):
                np.testing.assert_allclose(one, other, rtol=0.15, atol=1e-6)


@pytest.mark.quick
def test_a_template_in_any_storage_is_filled() -> None:
    state = stepped(ao.adam(1e-3))
    named = ao.convert.to_named(state)
    tx = ao.adam(1e-3, storage=PAIR)
    filled = ao.convert.from_named(named, tx.init(PARAMS), tx=tx, params=PARAMS)
    assert int(filled[0].count) == 3
    check_near(filled, tx, ao.read_moments(state), "pair()")
    refused(
        "mu_nu/dense/bias is not kept as one floating array of the parameter's shape (uint16); "
        "pass tx= and params= as well, and the moments are written in the storage of tx",
        lambda: ao.convert.from_named(named, tx.init(PARAMS)),
    )
    refused(
        "tx and params go together: give both, or neither",
        lambda: ao.convert.from_named(named, tx.init(PARAMS), tx=tx),
    )
    refused(
        "tx did not make this state, which keeps mu_nu (uint16); pass the transformation whose "
        "init and update made it",
        lambda: ao.convert.from_named(
            named, tx.init(PARAMS), tx=ao.adam(1e-3, storage=ao.storage.int8()), params=PARAMS
        ),
    )
    refused(
        "mu_nu/dense/bias is not kept as one floating array of the parameter's shape (uint16); "
        "first make it dense: state = ao.convert.change_storage(state, tx, dense_tx, params), with "
        "dense_tx made as tx, but without storage=",
        lambda: ao.convert.to_named(filled),
    )


@pytest.mark.quick
def test_a_scheduled_decay_rate_is_told_its_past() -> None:
    tx = ao.adam(1e-3, b2=optax.linear_schedule(0.9, 0.99, 10), storage=PAIR)
    dense = ao.adam(1e-3, b2=optax.linear_schedule(0.9, 0.99, 10))
    state = stepped(dense)
    named = ao.convert.to_named(state)
    refused(
        "the template's decay rates follow a schedule, which its state must be told the past of; "
        "pass tx= and params= as well",
        lambda: ao.convert.from_named(named, dense.init(PARAMS)),
    )
    digits = 2.0 ** (-16 * np.arange(4))
    for one in (dense, tx):
        filled = ao.convert.from_named(named, one.init(PARAMS), tx=one, params=PARAMS)
        found, right = (float(digits @ np.asarray(s[0].log_decays["nu"])) for s in (filled, state))
        # The step adds logarithms of float32, of some last digits each; the past is in float64.
        np.testing.assert_allclose(found, right, rtol=1e-6)
    check_near(filled, tx, ao.read_moments(state), "pair()")


@pytest.mark.heavy
def test_moments_stay_where_their_parameters_are() -> None:
    pytest_with(8, "tests/convert/on_eight_devices.py")
