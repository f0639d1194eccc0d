"""Any tree of parameters: None, empty, scalar, complex and mixed leaves, modules, and masks."""

import functools as ft
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.support.cases import DEFAULTS, Case, by_id, gradients, run, witness
from tests.support.oracle import relative_rms

STEPS, SIZE = 20, 6
GRADS = gradients(STEPS, SIZE)
START = np.linspace(-1.0, 1.0, SIZE).astype(np.float32).astype(np.float64)
G32, P32 = jnp.asarray(GRADS, jnp.float32), jnp.asarray(START, jnp.float32)
CLOSE = 1e-6  # a dozen float32 roundings of 6e-8 in each update
SOME = [case for case in DEFAULTS if case.name in ("nadamw", "amsgrad", "adamaxw")]
EACH = pytest.mark.parametrize("case", **by_id(SOME))
DECAYING = pytest.mark.parametrize("case", **by_id([c for c in SOME if c.name[-1] == "w"]))


def identical(one: Any, other: Any) -> None:
    """Of one structure, dtypes and values; chex's `strict` alone takes bfloat16 for float32."""
    chex.assert_trees_all_equal_shapes_and_dtypes(one, other)
    chex.assert_trees_all_equal(one, other)


class Pair(NamedTuple):
    """A NamedTuple of leaves."""

    w: Any
    b: Any


@chex.dataclass
class Box:
    """A dataclass of leaves."""

    w: Any
    b: Any


def halves(make: Callable[[Any, Any], Any], x: Any) -> Any:
    """A tree with the first coordinates in one leaf and the last in another."""
    return make(x[..., :2], x[..., 2:])


NODES: dict[str, Callable[[Any, Any], Any]] = {
    "tuple": lambda w, b: (w, b),
    "list": lambda w, b: [w, b],
    "named tuple": Pair,
    "dataclass": lambda w, b: Box(w=w, b=b),  # type: ignore[call-arg]  # chex has no types
    "nested": lambda w, b: {"a": [(w,), {}], "b": Pair(None, {"c": b})},
}


@pytest.mark.quick
@EACH
@pytest.mark.parametrize("node", NODES)
def test_any_node_holds_the_leaves(case: Case, node: str) -> None:
    make = NODES[node]
    updates, params, state = run(case.ours(), halves(make, G32), halves(make, P32))
    expected = halves(make, case.oracle(GRADS, START)["updates"])
    chex.assert_trees_all_equal_structs(updates, expected, params, state[0].mu, state[0].nu)
    for ours, right in zip(jax.tree.leaves(updates), jax.tree.leaves(expected), strict=True):
        assert relative_rms(ours, right) < CLOSE


@EACH
def test_none_in_parameters_and_gradients_stays_none(case: Case) -> None:
    updates, params, state = run(case.ours(), {"a": None, "b": G32}, {"a": None, "b": P32})
    assert updates["a"] is params["a"] is state[0].mu["a"] is None
    assert relative_rms(updates["b"], case.oracle(GRADS, START)["updates"]) < CLOSE


@EACH
@pytest.mark.parametrize("jit", [False, True])
def test_a_gradient_of_none_leaves_leaf_or_subtree_as_it_is(case: Case, jit: bool) -> None:
    tx = case.ours()
    update = jax.jit(tx.update) if jit else tx.update
    params = {"frozen": {"x": P32, "y": [P32]}, "leaf": P32, "on": P32}
    full = lambda g: jax.tree.map(lambda _: g, params)  # noqa: E731
    updates, state = update(full(G32[0]), tx.init(params), params)
    before = state[0]
    params = optax.apply_updates(params, updates)
    updates, state = update({"frozen": None, "leaf": None, "on": G32[1]}, state, params)
    assert updates["frozen"] is None
    assert updates["leaf"] is None
    for name, moment in ao.read_moments(before).items():
        for part in ("frozen", "leaf"):
            identical(getattr(state[0], name)[part], moment[part])
    assert relative_rms(updates["on"], case.oracle(GRADS[:2], START)["updates"][1]) < CLOSE
    assert int(state[0].count) == 2


class Net(eqx.Module):
    """A module with arrays, a missing leaf and a function."""

    w: Any
    b: Any
    missing: Any = None
    activation: Any = jax.nn.relu

    def __call__(self, x: Any) -> Any:
        """What makes the module look like a function."""
        return self.activation(self.w @ x)


@EACH
def test_equinox_modules_train(case: Case) -> None:
    tx, model = case.ours(), halves(Net, P32)
    state = tx.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(model: Any, state: Any, g: Any) -> Any:
        loss = lambda m: g[:2] @ m.w + g[2:] @ m.b  # noqa: E731
        grads = eqx.filter_grad(loss)(model)
        updates, state = tx.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), state

    for g in G32:
        model, state = step(model, state, g)
    params = case.oracle(GRADS, START)["params"][-1]
    assert relative_rms(jnp.concatenate([model.w, model.b]), params) < CLOSE
    assert model.activation is jax.nn.relu


@pytest.mark.matrix(keep=5)
@EACH
@pytest.mark.parametrize("shape", [(0,), (3, 0), (), (1,), (1, 1, 1)])
def test_zero_size_and_scalar_leaves(case: Case, shape: tuple[int, ...]) -> None:
    size = int(np.prod(shape))
    grads, params = GRADS[:, :size], START[:size]
    tree = {"a": jnp.asarray(params, jnp.float32).reshape(shape), "b": P32}
    stacked = {"a": jnp.asarray(grads, jnp.float32).reshape(STEPS, *shape), "b": G32}
    updates, _, state = run(case.ours(), stacked, tree)
    expected = case.oracle(grads, params)["updates"].reshape(STEPS, *shape)
    assert relative_rms(updates["a"], expected) < CLOSE
    assert state[0].mu["a"].shape == shape


@EACH
def test_empty_tree(case: Case) -> None:
    tx = case.ours()
    updates, state = tx.update({}, tx.init({}), {})
    assert updates == {}
    assert [int(leaf) for leaf in jax.tree.leaves(state)] == [1]


@EACH
def test_python_floats_and_numpy_arrays_are_leaves(case: Case) -> None:
    tx = case.ours()
    params = {"float": 0.5, "numpy": P32.__array__(), "scalar": np.float32(0.25)}
    grads = {"float": 3.0, "numpy": G32[0].__array__(), "scalar": np.float32(-2)}
    updates, state = tx.update(grads, tx.init(params), params)
    for name, update in updates.items():
        g, p = (np.asarray(tree[name], np.float64) for tree in (grads, params))
        assert update.dtype == jnp.float32
        assert relative_rms(update, case.oracle([g], p)["updates"][0]) < CLOSE
    assert jax.tree.map(jnp.shape, state[0].mu) == {"float": (), "numpy": (SIZE,), "scalar": ()}


@EACH
def test_init_from_shapes_alone(case: Case) -> None:
    dtypes = {"a": jnp.bfloat16, "b": jnp.float32, "c": jnp.complex64}
    shapes = {n: jax.ShapeDtypeStruct((2, 3), d) for n, d in dtypes.items()}
    state = case.ours().init(shapes)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    identical(state, case.ours().init(zeros))


@EACH
def test_complex_leaves_have_a_real_nu(case: Case) -> None:
    grads, start = GRADS + 1j * gradients(STEPS, SIZE, seed=1), START * (1 - 0.5j)
    g, p = jnp.asarray(grads, jnp.complex64), jnp.asarray(start, jnp.complex64)
    updates, _, state = run(case.ours(), g, p)
    expected = case.oracle(grads, start)
    assert relative_rms(updates, expected["updates"]) < CLOSE
    moments = ao.read_moments(state)
    assert moments.pop("mu").dtype == updates.dtype == jnp.complex64
    for name, moment in moments.items():
        assert moment.dtype == jnp.float32
        assert relative_rms(moment, expected[name]) < CLOSE
    theirs = witness(case.optax(), g, p)
    its_error = relative_rms(theirs, expected["updates"])
    assert relative_rms(updates, theirs) < its_error + CLOSE  # the triangle inequality


@EACH
def test_float64_and_complex128_leaves_are_right_to_rounding(case: Case, x64: None) -> None:
    grads, start = GRADS + 1j * gradients(STEPS, SIZE, seed=1), START * (1 - 0.5j)
    tree = {"real": (GRADS, START), "complex": (grads, start)}
    stacked, params = ({n: jnp.asarray(pair[i]) for n, pair in tree.items()} for i in (0, 1))
    updates, _, state = run(case.ours(), stacked, params)
    for name, (g, p) in tree.items():
        assert updates[name].dtype == p.dtype
        # Twenty steps of averages, each rounded to 1e-16.
        assert relative_rms(updates[name], case.oracle(g, p)["updates"]) < 1e-13
    assert {leaf.dtype for leaf in jax.tree.leaves(state[0].nu)} == {np.dtype(np.float64)}


@EACH
def test_leaves_of_several_dtypes_train_side_by_side(case: Case) -> None:
    dtypes: dict[str, Any] = {"a": jnp.float32, "b": jnp.bfloat16, "c": jnp.float16}
    rounded = {n: np.clip(GRADS, -6e4, 6e4).astype(d).astype(float) for n, d in dtypes.items()}
    grads = {n: jnp.asarray(rounded[n], d) for n, d in dtypes.items()}
    updates, _, _ = run(case.ours(), grads, {n: jnp.zeros(SIZE, d) for n, d in dtypes.items()})
    for name, tolerance in {"a": CLOSE, "b": 4e-3, "c": 1e-3}.items():  # 24, 8 and 11 bits
        assert updates[name].dtype == dtypes[name]
        expected = case.oracle(rounded[name], np.zeros(SIZE))["updates"]
        assert relative_rms(updates[name], expected) < tolerance


class Flags(eqx.Module):
    """A module of bools that, like its twin of parameters, can be called."""

    a: Any
    b: Any

    def __call__(self, x: Any) -> Any:
        """Not what a mask is for."""
        raise AssertionError("the mask was called")


def by_rank(params: Any) -> Any:
    return jax.tree.map(lambda p: p.ndim > 1, params)


A, B = jnp.stack([P32, -P32]), P32
MASKS: dict[str, tuple[Any, Any, list[bool]]] = {  # the mask, the parameters, which of them decay
    "none": (None, {"a": A, "b": B}, [True, True]),
    "true": (True, {"a": A, "b": B}, [True, True]),
    "false": (False, {"a": A, "b": B}, [False, False]),
    "tree": ({"a": True, "b": False}, {"a": A, "b": B}, [True, False]),
    "numpy bools": ({"a": np.False_, "b": np.True_}, {"a": A, "b": B}, [False, True]),
    "function": (by_rank, {"a": A, "b": B, "c": None}, [True, False]),
    "partial": (ft.partial(by_rank), {"a": B, "b": A}, [False, True]),
    "jax partial": (jax.tree_util.Partial(by_rank), {"a": A, "b": B}, [True, False]),
    "prefix": ([False, True], [{"a": A, "b": B}, (A, [B])], [False, False, True, True]),
    "function to a prefix": (lambda p: [True, False], [[A, B], [B]], [True, True, False]),
    "module": (Flags(True, False), Flags(A, B), [True, False]),
}


@DECAYING
@pytest.mark.parametrize("kind", MASKS)
def test_masks_say_which_leaves_decay(case: Case, kind: str) -> None:
    mask, params, decays = MASKS[kind]
    grads = jax.tree.map(lambda p: jnp.cos(7 * p), params)
    tx = case.ours(mask=mask)
    updates, _ = tx.update(grads, tx.init(params), params)
    leaves = (jax.tree.leaves(tree) for tree in (updates, grads, params))
    for update, g, p, decay in zip(*leaves, decays, strict=True):
        options = {} if decay else {"weight_decay": 0.0}
        assert relative_rms(update, case.oracle([g], p, **options)["updates"][0]) < CLOSE
