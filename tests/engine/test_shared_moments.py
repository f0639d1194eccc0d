"""Test moments of which axes, or blocks along them, have one number together (`over=`)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from adam_optax._core.sharing import any_over, kept_shape, mean_over, spread
from tests.support import oracle
from tests.support.cases import gradients, run
from tests.support.formats import FORMATS
from tests.support.oracle import Array, relative_rms
from tests.support.oracle_mars_adamh import Mars
from tests.support.oracle_shared import AdamMini, block_means

SETTINGS: dict[str, tuple[tuple[int, ...], Any, tuple[int, ...]]] = {
    "all": ((4, 6), "all", ()),
    "rows": ((4, 6), (-1,), (4,)),
    "columns": ((4, 6), (0,), (6,)),
    "both axes": ((4, 6), (0, 1), ()),
    "blocks": ((4, 6), ((1, 3),), (4, 2)),
    "blocks along both": ((4, 6), ((0, 2), (1, 3)), (2, 2)),
    "blocks of columns": ((4, 6), ((0, 2), 1), (2,)),
    "blocks of one": ((4, 6), ((0, 1), 1), (4,)),
    "heads": ((4, 2, 3), (0, 2), (2,)),
    "nothing": ((4, 6), (), (4, 6)),
    "a number": ((), "all", ()),
    "an int": ((4, 6), 0, (6,)),
}
"""By name: a leaf's shape, what is shared, and the shape of what is kept."""

EVERY = pytest.mark.parametrize(("shape", "over", "kept"), SETTINGS.values(), ids=SETTINGS.keys())
TREE = {
    "embed": {"embedding": (8, 6)},
    "block": {
        "query": {"kernel": (6, 2, 3), "bias": (2, 3)},
        "value": {"kernel": (6, 2, 3)},
        "out": {"kernel": (2, 3, 6)},
        "mlp": {"kernel": (6, 10)},
    },
    "norm": {"scale": (6,)},
}
IS_SHAPE: Any = lambda x: isinstance(x, tuple)  # noqa: E731
PARAMS = jax.tree.map(jnp.ones, TREE, is_leaf=IS_SHAPE)


@pytest.mark.quick
def test_the_mean_of_nothing_is_zero() -> None:
    np.testing.assert_array_equal(mean_over(jnp.zeros((0, 3)), (0,)), np.zeros(3))
    assert mean_over(jnp.zeros((0, 3)), "all") == 0


@pytest.mark.matrix(keep=3, quick=["blocks of columns"])
@EVERY
def test_means_are_of_groups_and_spread_over_them(
    shape: tuple[int, ...], over: Any, kept: tuple[int, ...]
) -> None:
    x = np.random.default_rng(0).standard_normal(shape)
    means = mean_over(jnp.float32(x), over)
    assert means.shape == kept_shape(shape, over) == kept
    assert np.all(np.isfinite(means))
    axes = (over,) if isinstance(over, int) else over
    right = block_means(x, axes)
    back = jnp.broadcast_to(spread(means, shape, over), shape)
    np.testing.assert_allclose(back, right, rtol=1e-5, atol=1e-6)  # float32, sums that cancel
    marked = any_over(jnp.float32(x) > 1, over)
    expected = (
        block_means((x > 1).astype(np.float64), (over,) if isinstance(over, int) else over) > 0
    )
    back = jnp.broadcast_to(spread(marked, shape, over), shape)
    np.testing.assert_array_equal(back, expected)


@pytest.mark.matrix(keep=3)
@EVERY
def test_the_state_is_smaller_and_the_step_is_the_oracles(
    shape: tuple[int, ...], over: Any, kept: tuple[int, ...], x64: None
) -> None:
    size = int(np.prod(shape))
    grads, start = gradients(50, size).reshape(50, *shape), np.ones(shape)
    tx = ao.adam_mini(0.01, over=over)
    updates, _, state = run(tx, jnp.asarray(grads), jnp.asarray(start))
    assert state[0].nu.shape == kept
    assert ao.memory(tx, jnp.asarray(start)).total == 8 * size + 8 * int(np.prod(kept)) + 4
    rule = AdamMini(over=(over,) if isinstance(over, int) else over)
    right = oracle.optimise(rule, grads, start, 0.01)["updates"]
    assert relative_rms(updates, right) < 1e-12  # roundings


@pytest.mark.quick
def test_the_papers_partition_of_a_transformer() -> None:
    state = ao.adam_mini(1e-3).init(PARAMS)
    assert jax.tree.map(jnp.shape, state[0].nu) == {
        "embed": {"embedding": (8,)},
        "block": {
            "query": {"kernel": (2,), "bias": (2, 3)},
            "value": {"kernel": (2, 3)},
            "out": {"kernel": (6,)},
            "mlp": {"kernel": (10,)},
        },
        "norm": {"scale": ()},
    }


@pytest.mark.quick
def test_a_large_matrix_has_half_of_adams_bytes() -> None:
    matrix = {"kernel": jax.ShapeDtypeStruct((1024, 4096), jnp.float32)}
    assert ao.memory(ao.adamw(1e-3), matrix).per_parameter == pytest.approx(8, abs=1e-5)
    assert ao.memory(ao.adam_mini(1e-3), matrix).per_parameter == pytest.approx(4 + 4 / 1024)
    small = ao.adam_mini(1e-3, storage={"mu": ao.storage.int8(), "nu": ao.storage.dense()})
    assert ao.memory(small, matrix).per_parameter < 1.03


@pytest.mark.quick
def test_axes_and_functions_are_those_of_one_layer() -> None:
    stack = jax.tree.map(lambda p: jnp.stack([p, 2 * p, 3 * p]), PARAMS)
    for over in ({}, {"over": lambda path, p: (0,) if p.ndim > 1 else "all"}, {"over": (-1,)}):
        single = ao.adam_mini(1e-3, **over)
        layered = ao.adam_mini(1e-3, stacked=1, **over)
        _, one = single.update(PARAMS, single.init(PARAMS), PARAMS)
        _, all_of_them = layered.update(stack, layered.init(stack), stack)
        for kept, stacked in zip(
            jax.tree.leaves(one[0].nu), jax.tree.leaves(all_of_them[0].nu), strict=True
        ):
            assert stacked.shape == (3, *kept.shape)
            np.testing.assert_allclose(stacked[2], 9 * kept, rtol=1e-6)  # roundings


@pytest.mark.quick
def test_novograd_is_a_setting() -> None:
    assert ao.rules.novograd().moments["nu"].over == "all"
    assert ao.rules.novograd().moments["nu"].kept_shape((3, 4)) == ()


JOINED = [name for name in FORMATS if name.startswith(("pair", "int4"))]


@pytest.mark.quick
@pytest.mark.parametrize("name", JOINED)
def test_formats_of_two_moments_of_an_element_refuse_it(name: str) -> None:
    with pytest.raises(ValueError, match=r"this rule's moments \(mu, nu\) are no"):
        ao.adam_mini(1e-3, storage=FORMATS[name])


@pytest.mark.matrix(keep=2, quick=["int8()"])
@pytest.mark.parametrize("name", [n for n in FORMATS if n not in (*JOINED, "factored()")])
def test_each_format_keeps_it(name: str) -> None:
    """Keep what is shared in a format: the steps are float32's but for the format's rounding."""
    shape, storage = (16, 96), {"nu": FORMATS[name]}
    grads = jnp.float32(np.random.default_rng(2).standard_normal((60, *shape)))
    for over in ((0,), (-1,), ((1, 32),)):
        dense, rounded = (
            run(ao.adam_mini(0.01, over=over, storage=how), grads, jnp.ones(shape))[0]
            for how in (None, storage)
        )
        # Roundings of 60 steps of a nu that grows by less than a code of float8 (an eighth) each.
        most = 0.6 if name == "float8()" else 0.04
        np.testing.assert_allclose(rounded[-1], dense[-1], rtol=most, atol=1e-6)
        far = jnp.sqrt(jnp.mean(jnp.square(rounded[-1] / dense[-1] - 1)))
        assert far < most / 2


def test_means_of_rows_and_columns_are_of_what_is_shared() -> None:
    tx = ao.adam_mini(0.01, over=((0, 2),), storage={"nu": ao.storage.factored(2)})
    params = jnp.ones((8, 6))
    state = tx.init(params)
    assert state[0].nu_row.shape == (4,)
    assert state[0].nu_col.shape == (6,)
    for _ in range(2):
        updates, state = tx.update(2 * params, state, params)
    np.testing.assert_allclose(updates, -0.01, rtol=1e-6)  # float32


@pytest.mark.quick
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_a_group_rests_where_one_of_its_gradients_is_not_finite(bad: float) -> None:
    tx = ao.adam_mini(0.1, over=(0,), storage=ao.storage.int8())
    params = jnp.ones((4, 3))
    _, state = tx.update(params, tx.init(params), params)
    updates, after = tx.update(params.at[1, 2].set(bad), state, params)
    np.testing.assert_array_equal(updates[:, 2], np.zeros(4))
    np.testing.assert_allclose(updates[:, :2], np.full((4, 2), -0.1), rtol=0.01)  # int8
    before, now = (ao.read_moments(s, tx, params) for s in (state, after))
    for name in ("mu", "nu"):
        # The codes are written anew, by the dither of the step: within a code's width of int8.
        np.testing.assert_allclose(before[name][..., 2], now[name][..., 2], rtol=0.05)
        assert np.all(now[name][..., :2] > 1.5 * before[name][..., :2])


@pytest.mark.quick
def test_a_leaf_without_gradient_keeps_its_codes_over_frames() -> None:
    tx = ao.adam_mini(0.1, storage=ao.storage.float8())
    _, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    kept = ao.read_moments(state, tx, PARAMS)["nu"]
    for _ in range(5):
        _, state = tx.update({**PARAMS, "block": None}, state, PARAMS)
    now = ao.read_moments(state, tx, PARAMS)["nu"]
    for a, b in zip(jax.tree.leaves(kept["block"]), jax.tree.leaves(now["block"]), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0.13)  # three bits of a fraction


@pytest.mark.quick
def test_a_schedule_of_b2_is_corrected_by_its_weight() -> None:
    tx = ao.adam_mini(0.1, b2=optax.linear_schedule(0.5, 0.9, 10), eps=0.0)
    state = tx.init(PARAMS)
    for _ in range(10):  # of a constant gradient each step is the learning rate
        updates, state = tx.update(PARAMS, state, PARAMS)
    for u in jax.tree.leaves(updates):
        np.testing.assert_allclose(u, -0.1, rtol=1e-5)  # float32


def test_a_state_goes_to_another_storage() -> None:
    c, plain = ao.convert, ao.adam_mini(0.1)
    _, state = plain.update(PARAMS, plain.init(PARAMS), PARAMS)
    small = ao.adam_mini(0.1, storage=ao.storage.dense("bfloat16"))
    there = c.change_storage(state, plain, small, PARAMS)
    assert there[0].nu["block"]["mlp"]["kernel"].shape == (10,)
    assert there[0].nu["block"]["mlp"]["kernel"].dtype == jnp.bfloat16


def test_watch_reads_what_is_shared() -> None:
    tx = ao.watch(ao.adam_mini(0.1, over=((0, 2),)))
    params = {"w": jnp.ones((4, 3)), "v": jnp.ones((2, 2, 2))}
    _, state = tx.update(params, tx.init(params), params)
    record = ao.watch.read(state)["w"]
    np.testing.assert_allclose(record["signal_to_noise"], 1, rtol=1e-5)  # float32
    np.testing.assert_allclose(record["root_nu"], 1, rtol=1e-5)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("over", "error", "text"),
    [
        (2.0, TypeError, "over must be 'all', an axis, a tuple of axes and of pairs"),
        ("rows", TypeError, "not 'rows'; what differs among parameters is by path"),
        ((True,), TypeError, "over must be 'all'"),
        (((0, 1, 2),), TypeError, "over must be 'all'"),
        (lambda path, p: [0], TypeError, "over must be 'all'"),
        (((0, 0),), ValueError, r"over=\(\(0, 0\),\): a block must have at least one element"),
        ((2,), ValueError, r"params\['w'\]: over=\(2,\): there is no axis 2 in the shape \(4, 6\)"),
        (
            ((1, 4),),
            ValueError,
            r"params\['w'\]: .*: blocks of 4 do not divide axis 1 of the shape",
        ),
        ((0, -2), ValueError, r"params\['w'\]: over=\(0, -2\) names axis 0 of \(4, 6\) twice"),
    ],
)
def test_what_cannot_be_shared_is_refused(over: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        ao.adam_mini(1e-3, over=over).init({"w": jnp.ones((4, 6))})


@pytest.mark.quick
def test_gradients_of_another_shape_are_refused() -> None:
    tx = ao.scale_by(
        ao.Rule({"nu": ao.moments.ema(0.9, ao.moments.square, over=(0,))}, ao.moments.grad)
    )
    state = tx.init({"w": jnp.ones((4, 6))})
    text = (
        r"updates\['w'\]: nu has shape \(6,\), and of a gradient of .* \(4, 5\) it has \(5,\); pass"
    )
    with pytest.raises(ValueError, match=text):
        tx.update({"w": jnp.ones((4, 5))}, state)


@pytest.mark.parametrize("over", [(0,), ((0, 2), 1), (1,)])
def test_what_is_shared_has_a_place_under_explicit_sharding(over: Any) -> None:
    explicit = (jax.sharding.AxisType.Explicit,)
    mesh = jax.make_mesh((1,), ("d",), axis_types=explicit, devices=jax.devices()[:1])
    with jax.set_mesh(mesh):
        params = jax.device_put(jnp.ones((8, 6)), jax.NamedSharding(mesh, jax.P("d", None)))
        tx = ao.adam_mini(0.1, over=over)
        updates, state = tx.update(params, tx.init(params), params)
    np.testing.assert_allclose(updates, -0.1, rtol=1e-6)  # float32
    assert state[0].nu.shape == kept_shape((8, 6), over)


@dataclasses.dataclass
class SharedMars(Mars):
    """Compute MARS with one nu for each column: the mean of the clipped gradient's squares."""

    def _average(self, name: str, x: Array, b: float, start: float = 0.0) -> Array:
        return super()._average(name, block_means(x, (0,)) if name == "nu" else x, b, start)


@pytest.mark.quick
def test_a_clipped_gradient_has_the_norm_of_its_layer_whatever_is_shared(x64: None) -> None:
    """Clipped group by group, or by the norm of the stack, steps would be others."""
    mars = ao.rules.mars(gamma=0.5)
    nu = mars.moments["nu"]
    shared = ao.moments.ema(0.99, nu.observe, signed=False, over=(0,))
    rule = dataclasses.replace(mars, moments={**mars.moments, "nu": shared}, origin=None)
    grads, start = gradients(20, 48).reshape(20, 2, 4, 6), np.ones((2, 4, 6))
    grads[:, 1] *= 100  # the norm of the stack is that of its second layer
    updates, _, state = run(
        ao.optimizer(rule, 0.01, stacked=1), jnp.asarray(grads), jnp.asarray(start)
    )
    assert state[0].nu.shape == (2, 6)
    for i in range(2):
        right = oracle.optimise(SharedMars(gamma=0.5), grads[:, i], start[i], 0.01)["updates"]
        assert relative_rms(np.asarray(updates)[:, i], right) < 1e-12  # roundings
