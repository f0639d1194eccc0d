"""The state is optax's: same tree, same dtypes, and a run can change hands in the middle."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.support.cases import DEFAULTS, Case, by_id, gradients, run
from tests.support.oracle import relative_rms

EVERY = pytest.mark.parametrize("case", **by_id(DEFAULTS))
GRADS, HALF = gradients(150, 6), 100
START = np.linspace(-1.0, 1.0, 6).astype(np.float32).astype(np.float64)
G32, P32 = jnp.asarray(GRADS, jnp.float32), jnp.asarray(START, jnp.float32)
TREE = {"w": jnp.ones((2, 3)), "b": jnp.ones(3), "scale": jnp.ones(())}
MIXED = {
    "b16": jnp.linspace(-3, 3, 5, dtype=jnp.bfloat16),
    "f16": jnp.linspace(-2, 2, 5, dtype=jnp.float16),
    "f32": jnp.linspace(-1, 1, 5, dtype=jnp.float32),
    "c64": jnp.linspace(-1, 1 + 2j, 5, dtype=jnp.complex64),
}


def fading(first: float) -> Any:
    return lambda n: first / (1.0 + jnp.asarray(n, float) / 50)


def identical(one: Any, other: Any) -> None:
    """Of one structure, dtypes and values; chex's `strict` alone takes bfloat16 for float32."""
    chex.assert_trees_all_equal_shapes_and_dtypes(one, other)
    chex.assert_trees_all_equal(one, other)


KINDS: dict[str, dict[str, Any]] = {
    "number": {},
    "schedule": {"learning_rate": fading(0.01)},
    "decay schedule": {"weight_decay": fading(0.1)},
    "mask": {"mask": lambda params: jax.tree.map(lambda p: p.ndim > 1, params)},
    "all": {"learning_rate": fading(0.01), "weight_decay": fading(0.1), "mask": True},
}
DECAY = {"weight_decay", "mask"}
PAIRS = [
    (c, k) for c in DEFAULTS for k in KINDS if c.name[-1] == "w" or not KINDS[k].keys() & DECAY
]


@pytest.mark.quick
@pytest.mark.parametrize(("case", "kind"), PAIRS, ids=[f"{c.id}-{k}" for c, k in PAIRS])
def test_tree_shapes_and_dtypes_are_optax_s_before_and_after_a_step(case: Case, kind: str) -> None:
    tx, theirs = case.ours(**KINDS[kind]), case.optax(**KINDS[kind]).init(TREE)
    state = tx.init(TREE)
    chex.assert_trees_all_equal_structs(state, theirs)
    identical(state, theirs)  # values, shapes and dtypes
    _, state = jax.eval_shape(tx.update, TREE, state, TREE)
    chex.assert_trees_all_equal_structs(state, theirs)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, theirs)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(state))


def loosely(tx: Any) -> Any:
    """Give optax's arithmetic, and no more than that, the promotion that it needs."""

    def update(*args: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return tx.update(*args)

    return optax.GradientTransformationExtraArgs(tx.init, update)


def resumed(tx: Any, state: Any) -> Any:
    """The transformation, starting from a state."""
    return optax.GradientTransformationExtraArgs(lambda params: state, tx.update)


@pytest.mark.matrix(keep=3)
@EVERY
def test_a_run_can_change_hands_in_the_middle(case: Case) -> None:
    options = KINDS["all" if case.name[-1] == "w" else "schedule"]
    theirs, ours = loosely(case.optax(**options)), case.ours(**options)
    alone, _, _ = run(theirs, G32, P32)
    numbers = {name: value for name, value in options.items() if name != "mask"}
    right = case.oracle(GRADS, START, **numbers)["updates"]
    its_error = relative_rms(alone, right)
    for before, after in [(theirs, ours), (ours, theirs)]:
        _, params, state = run(before, G32[:HALF], P32)
        updates, _, _ = run(resumed(after, state), G32[HALF:], params)
        # At worst the state is as far off as optax's updates; our rounding comes on top.
        assert relative_rms(updates, right[HALF:]) < its_error + 1e-6
        assert relative_rms(updates, alone[HALF:]) < 2 * its_error + 1e-6  # triangle inequality


def test_golden_layout_of_paths_and_dtypes() -> None:
    """Checkpoints and users' code depend on these: a change here breaks them."""
    mu = {"[0].mu['b']": "float32", "[0].mu['w']": "float32"}
    nu = {"[0].nu['b']": "float32", "[0].nu['w']": "float32"}
    adam = {"[0].count": "int32"} | mu | nu
    decay, rate = {"[1].inner_state.count": "int32"}, {"[2].count": "int32"}
    mask = {"w": True, "b": False}
    golden = [
        (ao.adam(0.1), adam),
        (ao.adam(fading(0.1)), adam | {"[1].count": "int32"}),
        (ao.adam(0.1, mu_dtype="bfloat16"), adam | dict.fromkeys(mu, "bfloat16")),
        (ao.adam(0.1, nu_dtype="bfloat16"), adam | dict.fromkeys(nu, "bfloat16")),
        (ao.adamw(0.1, mask=mask), adam),
        (ao.adamw(0.1, weight_decay=fading(0.1)), adam | {"[1].count": "int32"}),
        (ao.adamw(fading(1.0), weight_decay=fading(0.1), mask=mask), adam | decay | rate),
        (
            ao.amsgrad(0.1),
            adam | {"[0].nu_max['b']": "float32", "[0].nu_max['w']": "float32"},
        ),
    ]
    params = {"w": jnp.ones((2, 3)), "b": jnp.ones(3, jnp.bfloat16)}
    for tx, expected in golden:
        state = jax.tree.leaves_with_path(tx.init(params))
        assert {jax.tree_util.keystr(path): str(m.dtype) for path, m in state} == expected


@EVERY
def test_moments_of_16_bit_and_complex_parameters_are_float32(case: Case) -> None:
    moments = ao.read_moments(case.ours().init(MIXED))
    for name, tree in moments.items():
        signed = "complex64" if name == "mu" else "float32"
        dtypes = {"b16": "float32", "f16": "float32", "f32": "float32", "c64": signed}
        assert jax.tree.map(lambda m: str(m.dtype), tree) == dtypes


def stateful(wrap: str, tx: Any) -> Any:
    """The optimiser alone, or under a wrapper."""
    on = {"b16": True, "f16": True, "f32": False, "c64": True}
    return {
        "alone": lambda: tx,
        "chain": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.chain(tx)),
        "masked": lambda: optax.masked(tx, on),
        "partition": lambda: optax.partition({True: tx, False: tx}, on),
        "multi steps": lambda: optax.MultiSteps(tx, 2),
    }[wrap]()


def _filled(path: Any, m: Any) -> Any:
    if jnp.iscomplexobj(m) and "mu" in jax.tree_util.keystr(path):
        return m + jnp.complex64(1.7 + 0.3j)
    return m + jnp.asarray(1.7, m.dtype)  # a count goes to 1


@pytest.mark.parametrize("wrap", ["alone", "chain", "masked", "partition", "multi steps"])
@pytest.mark.parametrize("name", ["adam", "amsgrad"])
def test_conversion_to_optax_and_back(name: str, wrap: str) -> None:
    ours, theirs = (stateful(wrap, getattr(kind, name)(0.1)) for kind in (ao, optax))
    params = {n: p for n, p in MIXED.items() if n != "c64"} if wrap == "multi steps" else MIXED
    blank = theirs.init(params)
    identical(ao.convert.from_optax(blank), ours.init(params))
    identical(ao.convert.to_optax(ours.init(params), params), blank)
    filled = jax.tree.map_with_path(_filled, blank)
    again = ao.convert.to_optax(ao.convert.from_optax(filled), params)
    identical(again, filled)  # what is widened narrows back exactly


@pytest.mark.parametrize("name", ["adam", "amsgrad", "adamax"])
def test_a_bfloat16_run_of_optax_continues_in_float32(name: str) -> None:
    case = next(c for c in DEFAULTS if c.name == name)
    grads, params = G32.astype(jnp.bfloat16), jnp.zeros(6, jnp.bfloat16)
    _, params, state = run(loosely(case.optax()), grads[:9], params)
    state = ao.convert.from_optax(state)
    rule = case.rule()
    rule.t = 9
    rule.moments = {n: np.asarray(m, np.float64) for n, m in ao.read_moments(state).items()}
    updates, _, _ = run(resumed(case.ours(), state), grads[9:20], params)
    expected = [-0.01 * rule.step(np.asarray(g, np.float64)) for g in grads[9:20]]
    assert relative_rms(updates, expected) < 2e-3  # the rounding of each update to bfloat16


def test_to_optax_keeps_the_mu_dtype_that_optax_was_given() -> None:
    theirs = optax.adam(0.1, mu_dtype="bfloat16").init(TREE)
    ours = ao.adam(0.1, mu_dtype="bfloat16").init(TREE)
    identical(ours, theirs)
    wide = ao.adam(0.1).init(TREE)
    identical(ao.convert.to_optax(wide, TREE, mu_dtype="bfloat16"), theirs)


@EVERY
def test_read_moments_are_the_oracle_s(case: Case) -> None:
    tx = optax.chain(optax.clip(1e9), case.ours(mu_dtype="bfloat16"))
    _, _, state = run(tx, G32[:1], P32)
    moments = ao.read_moments(state)
    for name, tolerance in {"mu": 4e-3, "nu": 1e-6, "nu_max": 1e-6}.items():  # bfloat16, float32
        if name in moments:
            assert moments[name].dtype == jnp.float32
            assert relative_rms(moments[name], case.oracle(GRADS[:1], START)[name]) < tolerance


@pytest.mark.parametrize("count", [0, 2])
def test_read_moments_wants_exactly_one_state(count: int) -> None:
    with pytest.raises(ValueError, match=f"expected one state with moments, found {count} in"):
        ao.read_moments([ao.adam(0.1).init(P32), ao.amsgrad(0.1).init(P32)][:count])


def test_a_bfloat16_run_of_optax_with_mu_dtype_goes_on_here() -> None:
    params = {"w": jnp.ones(3, jnp.bfloat16), "x": 1.5}
    tx = ao.adam(0.1, mu_dtype="bfloat16")
    state = ao.convert.from_optax(
        optax.adam(0.1, mu_dtype="bfloat16").init(params), mu_dtype="bfloat16"
    )
    updates, after = tx.update({"w": params["w"], "x": 1.0}, state, params)
    np.testing.assert_allclose(np.float32(updates["w"]), -0.1, rtol=4e-3)  # bfloat16
    assert after[0].mu["w"].dtype == jnp.bfloat16
    assert ao.convert.to_optax(after, params, "bfloat16")[0].nu["w"].dtype == jnp.bfloat16


def test_a_mask_may_hold_arrays() -> None:
    tx = ao.adamw(0.1, weight_decay=1.0, mask={"w": jnp.array(True), "b": jnp.array(False)})
    params = {"w": jnp.ones(1), "b": jnp.ones(1)}
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    np.testing.assert_allclose([updates["w"][0], updates["b"][0]], [-0.1, 0.0], rtol=1e-6)
