"""Test factored storage of second moments, with any rule."""

from collections.abc import Callable
from typing import Any

import chex
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.support import oracle, oracle_factored
from tests.support.cases import run
from tests.support.oracle import relative_rms
from tests.support.oracle_factored import FactoredAdam, FactoredRMSProp, factored_axes
from tests.support.shapes import SHAPES, STEPS, data

FEW = ("tall", "tied", "1-D")
HEAVY = pytest.mark.heavy
EVERY = pytest.mark.parametrize(
    "shape", [pytest.param(s, marks=[] if s == "tall" else [HEAVY]) for s in SHAPES]
)
FACTORED = {"nu": ao.storage.factored(0)}


def adam(shape: tuple[int, ...], steps: int, least: int = 0) -> dict[str, Any]:
    """Return the oracle's run of Adam."""
    return oracle.optimise(FactoredAdam(least=least), *data(shape, steps), 0.01)


@EVERY
def test_adam_in_float64_equals_the_oracle(shape: str, x64: None) -> None:
    grads, start = data(SHAPES[shape])
    tx = ao.adam(0.01, storage=FACTORED)
    updates, _, state = run(tx, jnp.float64(grads), jnp.float64(start))
    expected = adam(SHAPES[shape], STEPS)
    assert relative_rms(updates, expected["updates"]) < 1e-12  # 500 roundings of 1e-16
    assert relative_rms(ao.read_moments(state, tx, start)["nu"], expected["nu"]) < 1e-12


@pytest.mark.quick
@pytest.mark.parametrize("shape", ["tall", "tied", "1-D"])
def test_adam_in_float32_equals_the_oracle_step_by_step(shape: str) -> None:
    grads, start = data(SHAPES[shape], 20)
    updates, _, _ = run(ao.adam(0.01, storage=FACTORED), jnp.float32(grads), jnp.float32(start))
    for mine, theirs in zip(updates, adam(SHAPES[shape], 20)["updates"], strict=True):
        assert relative_rms(mine, theirs) < 2e-6  # a few dozen roundings of 6e-8


@HEAVY
@EVERY
def test_adam_in_float32_equals_the_oracle(shape: str) -> None:
    grads, start = data(SHAPES[shape])
    tx = ao.adam(0.01, storage=FACTORED)
    updates, _, _ = run(tx, jnp.float32(grads), jnp.float32(start))
    # A few dozen roundings of 6e-8, and those by which row and column drift apart in 500 steps.
    assert relative_rms(updates, adam(SHAPES[shape], STEPS)["updates"]) < 5e-6


Made = Callable[[], Any]
OTHERS: dict[str, tuple[Made, Made]] = {
    "adamw": (
        lambda: ao.adamw(0.01, weight_decay=0.0, nesterov=True, storage=FACTORED),
        lambda: FactoredAdam(nesterov=True),
    ),
    "adam-eps_root": (
        lambda: ao.adam(0.01, 0.8, 0.95, 1e-3, 1e-4, storage=FACTORED),
        lambda: FactoredAdam(0.8, 0.95, 1e-3, 1e-4),
    ),
    "rmsprop": (
        lambda: ao.rmsprop(0.01, initial_scale=0.3, storage=FACTORED),
        lambda: FactoredRMSProp(initial_scale=0.3),
    ),
}


@HEAVY
@pytest.mark.parametrize("name", OTHERS)
def test_any_rule_may_have_it(name: str, x64: None) -> None:
    grads, start = data((3, 6), 60)
    ours, theirs = OTHERS[name]
    updates, _, _ = run(ours(), jnp.float64(grads), jnp.float64(start))
    expected = oracle.optimise(theirs(), grads, start, 0.01)["updates"]
    assert relative_rms(updates, expected) < 1e-12  # roundings


@pytest.mark.quick
def test_of_one_row_or_rank_one_nothing_is_lost(x64: None) -> None:
    rng = np.random.default_rng(0)
    sides = np.abs(rng.standard_normal((2, 4)))
    grads = jnp.asarray(np.tile(np.outer(*sides), (30, 1, 1)) * rng.choice([-1, 1], (30, 4, 4)))
    dense, factored = (
        run(ao.adam(0.01, storage=how), grads, jnp.ones((4, 4)))[0] for how in (None, FACTORED)
    )
    assert relative_rms(factored, dense) < 1e-12  # roundings
    rough = jnp.asarray(rng.standard_normal((30, 4, 4)))
    dense, factored = (
        run(ao.adam(0.01, storage=how), rough, jnp.ones((4, 4)))[0] for how in (None, FACTORED)
    )
    assert relative_rms(factored, dense) > 1e-2  # or nothing was factored


@pytest.mark.quick
@pytest.mark.parametrize("least", [0, 3, 4, 128])
def test_what_is_factored_is_what_optax_factors(least: int) -> None:
    params = {name: jnp.zeros(shape) for name, shape in SHAPES.items()}
    state = ao.adam(0.01, storage={"nu": ao.storage.factored(least)}).init(params)[0]
    theirs = optax.scale_by_factored_rms(min_dim_size_to_factor=least).init(params)
    for name, shape in SHAPES.items():
        if factored_axes(shape, least) is None:
            assert state.nu[name].shape == shape
            assert isinstance(state.nu_row[name], optax.MaskedNode)
            assert isinstance(state.nu_col[name], optax.MaskedNode)
        else:
            assert isinstance(state.nu[name], optax.MaskedNode)
            assert state.nu_row[name].shape == theirs.v_row[name].shape
            assert state.nu_col[name].shape == theirs.v_col[name].shape


def test_128_is_the_default() -> None:
    params = {"big": jnp.zeros((128, 200)), "small": jnp.zeros((127, 200))}
    state = ao.adam(0.01, storage={"nu": ao.storage.factored()}).init(params)[0]
    assert {m.shape for m in jax.tree.leaves(state.nu)} == {(127, 200)}
    assert state.nu_row["big"].shape == (128,)
    assert state.nu_col["big"].shape == (200,)


@pytest.mark.quick
@pytest.mark.parametrize("storage", [{"mu": ao.storage.factored(0)}, ao.storage.factored(0)])
def test_a_signed_moment_refuses_it(storage: Any) -> None:
    with pytest.raises(ValueError, match="mu"):
        ao.adam(0.01, storage=storage)


@pytest.mark.quick
def test_moments_are_read_in_full() -> None:
    params = {name: jnp.zeros(SHAPES[name], jnp.bfloat16) for name in FEW}
    tx = ao.adam(0.01, storage=FACTORED)
    grads = jax.tree.map(lambda p: jnp.full(p.shape, 2.0, p.dtype), params)
    _, state = tx.update(grads, tx.init(params), params)
    moments = ao.read_moments(state, tx, params)
    assert sorted(moments) == ["mu", "nu"]
    for name in FEW:
        shape = SHAPES[name]
        assert moments["nu"][name].shape == shape
        assert moments["nu"][name].dtype == jnp.float32
        np.testing.assert_allclose(moments["nu"][name], np.full(shape, 4e-3), rtol=1e-6)  # float32


TREE = {"w": jnp.float32(data((6, 3), 1)[1]), "b": jnp.ones(4), "none": jnp.zeros((0, 3))}
SLOPES = jax.tree.map(jnp.cos, TREE)
MADE = {
    "adam": lambda: ao.adam(0.01, storage=FACTORED),
    "adafactor": lambda: ao.adafactor(0.01, 0, momentum=0.9, weight_decay_rate=1e-3),
}
BOTH = pytest.mark.parametrize("name", MADE)
ONE = pytest.mark.parametrize("name", [pytest.param("adam", marks=HEAVY), "adafactor"])


@ONE
@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float16", marks=HEAVY)])
def test_the_state_stays_as_it_is_and_updates_have_the_parameters_dtype(
    name: str, dtype: str
) -> None:
    tx, params = MADE[name](), jax.tree.map(lambda p: p.astype(dtype), TREE)
    state = tx.init(params)
    updates, after = tx.update(params, state, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)
    chex.assert_tree_all_finite((updates, after))
    floats = [m.dtype for m in jax.tree.leaves(after) if jnp.issubdtype(m.dtype, jnp.floating)]
    assert set(floats) == {jnp.dtype("float32")}


@pytest.mark.quick
@ONE
def test_zero_gradients_are_finite(name: str) -> None:
    tx, zeros = MADE[name](), jax.tree.map(jnp.zeros_like, TREE)
    with jax.debug_nans(True):
        done = jax.jit(tx.update)(zeros, tx.init(TREE), TREE)
    chex.assert_tree_all_finite(done)


@HEAVY
@BOTH
def test_derivatives_are_finite(name: str) -> None:
    tx, zeros = MADE[name](), jax.tree.map(jnp.zeros_like, TREE)

    @jax.jit
    def final(params: Any, scale: Any) -> Any:
        state = tx.init(params)
        for g in (zeros, jax.tree.map(lambda s: s * scale, SLOPES), zeros):
            updates, state = tx.update(g, state, params)
            params = optax.apply_updates(params, updates)
        return sum(jnp.sum(p) for p in jax.tree.leaves(params))

    with jax.debug_nans(True):
        slopes = jax.grad(final, argnums=(0, 1))(TREE, jnp.float32(1.0))
    chex.assert_tree_all_finite(slopes)


def test_a_row_of_zeros_does_not_move() -> None:
    grads = jnp.ones((3, 4)).at[1].set(0.0)
    tx = ao.adam(0.1, storage=FACTORED)
    updates, _ = tx.update(grads, tx.init(grads), grads)
    np.testing.assert_array_equal(updates[1], np.zeros(4))
    np.testing.assert_allclose(updates[0], np.full(4, -0.1), rtol=1e-6)  # eps, float32


def test_large_and_small_gradients_neither_overflow_nor_vanish() -> None:
    for size in (1e-16, 1e18):  # a nu of 1e-35 and of 1e33: row times column is no float32
        grads = jnp.full((3, 4), size)
        tx = ao.adam(0.1, eps=0.0, storage=FACTORED)
        updates, _ = tx.update(grads, tx.init(grads), grads)
        np.testing.assert_allclose(updates, np.full((3, 4), -0.1), rtol=1e-5)  # float32


@ONE
def test_scan_vmap_and_a_second_step(name: str) -> None:
    chex.clear_trace_counter()  # it counts by name
    tx = MADE[name]()
    step = jax.jit(chex.assert_max_traces(tx.update, n=1))
    state = tx.init(TREE)
    for _ in range(3):
        _, state = step(SLOPES, state, TREE)
    grads, start = data((6, 3), 6)

    def final(scale: Any) -> Any:
        return run(tx, scale * jnp.float32(grads), jnp.float32(start))[1]

    scales = jnp.array([0.5, -2.0])
    for scale, params in zip(scales, jax.vmap(final)(scales), strict=True):
        np.testing.assert_allclose(params, final(scale), rtol=2e-6)  # fused otherwise


@BOTH
def test_checkpoints_come_back(name: str) -> None:
    tx = MADE[name]()
    _, state = tx.update(SLOPES, tx.init(TREE), TREE)
    blank = tx.init(TREE)
    restored = flax.serialization.from_bytes(blank, flax.serialization.to_bytes(state))
    chex.assert_trees_all_equal(restored, state)
    saved = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(state)}
    assert len(saved) == len(jax.tree.leaves(state))  # no two of one name
    loaded = jax.tree_util.tree_map_with_path(
        lambda path, _: saved[jax.tree_util.keystr(path)], blank
    )
    chex.assert_trees_all_equal(loaded, state)
    ours, theirs = tx.update(SLOPES, loaded, TREE), tx.update(SLOPES, state, TREE)
    chex.assert_trees_all_equal(ours, theirs)


@BOTH
def test_optax_maps_over_it(name: str) -> None:
    tx = MADE[name]()
    state = tx.init(TREE)
    seen = optax.tree_utils.tree_map_params(
        tx, lambda m: m + 1, state, transform_non_params=lambda m: m
    )
    chex.assert_trees_all_equal_shapes_and_dtypes(seen, state)
    factored = seen[0].nu_row["w"]
    np.testing.assert_array_equal(factored, np.ones(factored.shape))
    assert int(seen[0].count) == 0
    paired = optax.tree_utils.tree_map_params(
        tx,
        lambda m, p: m if isinstance(m, optax.MaskedNode) else m + p.size,
        state,
        TREE,
        is_leaf=lambda m: isinstance(m, optax.MaskedNode),
    )
    np.testing.assert_array_equal(paired[0].nu_row["w"], np.full(factored.shape, 18.0))


def test_a_gradient_that_is_none_leaves_both_parts() -> None:
    tx = MADE["adam"]()
    _, state = tx.update(SLOPES, tx.init(TREE), TREE)
    updates, after = tx.update({**SLOPES, "w": None}, state, TREE)
    assert updates["w"] is None
    for part in ("nu_row", "nu_col"):
        np.testing.assert_array_equal(getattr(after[0], part)["w"], getattr(state[0], part)["w"])


def test_complex_leaves_have_a_real_nu(x64: None) -> None:
    rng = np.random.default_rng(3)
    grads = rng.standard_normal((20, 3, 4)) + 1j * rng.standard_normal((20, 3, 4))
    tx = ao.adam(0.01, storage=FACTORED)
    updates, _, state = run(tx, jnp.asarray(grads), jnp.zeros((3, 4), complex))
    expected = oracle.optimise(FactoredAdam(), grads, np.zeros((3, 4), complex), 0.01)
    assert relative_rms(updates, expected["updates"]) < 1e-12  # roundings
    assert jnp.isrealobj(state[0].nu_row)


def test_the_oracle_factors_where_optax_does() -> None:
    for shape in [*SHAPES.values(), (4, 1, 4, 4), (2, 2, 7)]:
        axes = oracle_factored.factored_axes(shape)
        theirs = optax.scale_by_factored_rms(min_dim_size_to_factor=0).init(jnp.zeros(shape))
        if axes is not None:
            assert theirs.v_row.shape == tuple(np.delete(shape, axes[1]))
            assert theirs.v_col.shape == tuple(np.delete(shape, axes[0]))
