"""The kernels for TPUs and GPUs, interpreted, beside the plain step, which is their oracle."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adam_optax as ao
from adam_optax._engine.kernels import mosaic, triton
from adam_optax._engine.kernels.layout import LEAF, SCALAR, SHARED, Layout
from tests.engine.kernels.running import FORMATS, SHAPES, arrays, engine, kernels_in, run

WIDE = {"pair": ao.storage.pair(), "int8": ao.storage.int8(128)}
EACH_WIDE = pytest.mark.parametrize(
    ("name", "rows", "columns", "memory"),
    [
        pytest.param("pair", 16, 128 * 67, 2**18, marks=pytest.mark.quick),
        pytest.param("int8", 32, 2**15 + 128, 2**24, marks=pytest.mark.heavy),
    ],
    ids=["pair", "int8"],
)
EACH = pytest.mark.parametrize("flavour", ["tpu", "cuda"])
RULES: dict[str, Any] = {
    "adam": ao.rules.adam(),
    "nadam": ao.rules.adam(b2=0.99, nesterov=True),
    "scheduled": ao.rules.adam(b1=lambda t: 0.9 - 0.01 * jnp.asarray(t, jnp.float32)),
    "amsgrad": ao.rules.amsgrad(),
    "adabelief": ao.rules.adabelief(),
    "lion": ao.rules.lion(),
    "atan2": ao.rules.adam_atan2(),
}


def alike(one: Any, other: Any, codes: int) -> None:
    """Results to a rounding, states to a few codes that the last bit of a moment has tipped."""
    (x, state), (y, twin) = one, other
    x, y = np.float32(x), np.float32(y)
    assert np.sum(~np.isclose(x, y, rtol=1e-5, atol=2e-5)) <= codes
    np.testing.assert_allclose(x, y, rtol=0.01, atol=2e-3)  # a code is a hundredth of a step of .1
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(twin), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        apart = np.abs(np.float64(np.asarray(a)) - np.float64(np.asarray(b)))
        if jnp.issubdtype(a.dtype, jnp.integer):
            assert np.sum(apart > 0) <= codes
        else:  # of float8, a unit of a block in float32
            assert np.sum(apart > 1e-6 * np.max(np.float64(np.asarray(a)))) <= codes


def both(
    rule: Any, storage: Any, flavour: str, shape: Any, dtype: Any = "float32", **how: Any
) -> Any:
    p, grads = arrays(shape, jnp.dtype(dtype))
    return [run(engine(rule, storage), p, grads, f, **how) for f in (None, flavour)]


def cases() -> list[Any]:
    """Every format and shape, the dearer of them heavy."""
    found = []
    for name in FORMATS:
        for shape in SHAPES:
            quick = name == "pair(block=128)" and shape == SHAPES[0]
            light = quick or (name in ("pair(2)", "int8") and shape == SHAPES[1])
            marks = [pytest.mark.quick] if quick else ([] if light else [pytest.mark.heavy])
            found.append(pytest.param(name, shape, marks=marks))
    return found


@pytest.mark.matrix(keep=0)
@EACH
@pytest.mark.parametrize(("name", "shape"), cases())
def test_a_kernel_is_the_plain_step(name: str, shape: tuple[int, ...], flavour: str) -> None:
    # Of 70,000 elements a few have a code that the last bit tips: more of them with longer codes.
    codes = 64 if "4" in name or "3" in name else 8
    one, other = both(RULES["adam"], FORMATS[name], flavour, shape)
    alike(one, other, codes)


@pytest.mark.heavy
@pytest.mark.skipif(
    jax.__version_info__ < (0, 12), reason="Mosaic for GPUs has no square root before jax 0.12"
)
@pytest.mark.parametrize("name", ["pair(block=128)", "pair(1, block=128)", "int8", "float8"])
def test_mosaic_s_kernel_for_gpus_is_the_plain_step(name: str) -> None:
    one, other = both(RULES["adam"], FORMATS[name], "hopper", (66, 1024))
    alike(one, other, 8)


@pytest.mark.heavy
@EACH
@pytest.mark.parametrize("rule", [n for n in RULES if n != "adam"])
def test_any_elementwise_rule_may_be_in_it(rule: str, flavour: str) -> None:
    one, other = both(RULES[rule], ao.storage.int8(128), flavour, (64, 1024))
    alike(one, other, 8)


@pytest.mark.heavy
@EACH
@pytest.mark.parametrize("applies", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_decay_updates_and_sixteen_bits(dtype: str, applies: bool, flavour: str) -> None:
    how = {"decay": 0.1, "applies": applies}
    storage = ao.storage.pair(block=128)
    (x, state), (y, twin) = both(RULES["adam"], storage, flavour, (64, 1024), dtype, **how)
    assert x.dtype == y.dtype == dtype
    if dtype == "bfloat16":  # the last bit of a step tips a unit in the last place, of .5 and less
        near = np.isclose(np.float32(x), np.float32(y), rtol=1e-6, atol=1e-7)
        assert np.mean(near) > 0.99
        np.testing.assert_allclose(np.float32(x), np.float32(y), rtol=2.0**-7, atol=2.0**-9)
    alike((0, state), (0, twin), 8) if dtype == "bfloat16" else alike((x, state), (y, twin), 8)


def update(storage: Any, dtype: Any = jnp.float32, make: Any = ao.adam) -> Any:
    tx = make(0.1, storage=storage)
    return lambda g: tx.update(g.astype(dtype), tx.init(g.astype(dtype)), g.astype(dtype))


BLOCKS = ao.storage.pair(block=128)


@pytest.mark.quick
def test_where_there_is_a_kernel() -> None:
    large, halves = jnp.zeros((256, 256)), {"mu": ao.storage.int8(128), "nu": ao.storage.int8()}
    assert kernels_in(update(BLOCKS), large) == 1
    assert kernels_in(update(BLOCKS, jnp.bfloat16), large) == 1
    assert kernels_in(update(None), large) == 0, "XLA makes one pass of it"
    assert kernels_in(update(ao.storage.pair()), large) == 0, "an update leaves the kernel"
    tx = ao.adam(0.1, storage=ao.storage.pair())
    assert kernels_in(lambda g: ao.step(tx, g, tx.init(g), g), large) == 1
    tx = ao.adam(0.1, storage=ao.storage.stochastic())
    assert kernels_in(lambda g: ao.step(tx, g, tx.init(g), g), large) == 1
    assert kernels_in(update(BLOCKS), jnp.zeros((255, 256))) == 0, "small"
    assert kernels_in(update(BLOCKS), jnp.zeros((256, 257))) == 0, "ragged"
    assert kernels_in(update(BLOCKS), jnp.zeros(2**16)) == 0, "no rows"
    assert kernels_in(update(ao.storage.pair(block=100)), jnp.zeros((1000, 200))) == 0
    assert kernels_in(update(halves), large) == 0, "blocks of two sizes"
    assert kernels_in(update(BLOCKS, make=ao.lamb), large) == 0, "a norm of the leaf"
    assert kernels_in(update(ao.storage.int8(), make=ao.novograd), large) == 0
    assert kernels_in(update(ao.storage.int8(), make=ao.stable_adamw), large) == 0


def layout(shape: tuple[int, ...], roles: str = "LLL", width: int = 128) -> Layout:
    """Return the layout of a step: `L` is an array of the leaf, `H` what blocks share."""
    kinds = tuple({"L": LEAF, "H": SHARED}[r] for r in roles) + (SCALAR,) * 99
    floats = (np.dtype("float32"),)
    return Layout(shape, width, kinds, floats * len(kinds), kinds[: len(roles)], floats * 3)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("columns", "roles", "block"),
    [
        (1024, "LLL", 1024),
        (28672, "LLL", 28672),  # 99 scalars take no room
        (53248, "LLL", 26624),  # halves
        (128256, "LLL", 42752),  # thirds, of 334 tiles
        (128 * 997, "LLL", 128 * 333),  # 997 is prime: the last of three calls has fewer
        (57344, "LLH", 57344),
        (2**17, "LLH", 2**15),  # an array of what blocks share is cut at 128 blocks
        (2**17 + 128, "LLH", 2**14 * 3),
    ],
)
def test_a_tile_for_rows_of_any_width(columns: int, roles: str, block: int) -> None:
    assert mosaic.block(layout((64, columns), roles)) == (32, block, 1)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("few", "bytes_each", "rows", "layers"),
    [
        (4, 4, 4, 8),
        (7, 4, 7, 4),
        (16, 1, 16, 2),
        (20, 1, 20, 1),
        (56, 4, 8, 1),
        (56, 1, 32, 1),  # the last call of a layer has 24 rows
        (112, 2, 16, 1),
        (128, 1, 32, 1),
    ],
)
def test_a_tile_for_layers_of_any_number_of_rows(
    few: int, bytes_each: int, rows: int, layers: int
) -> None:
    """Take all rows of a layer, or groups in which the narrowest array is stored."""
    one = layout((40, few, 4096))
    narrow = (np.dtype(f"uint{8 * bytes_each}"), *one.out_dtypes[1:])
    one = dataclasses.replace(one, out_dtypes=narrow)
    assert mosaic.block(one) == (rows, 4096, layers)
    seven = dataclasses.replace(one, shape=(7, few, 4096))
    assert mosaic.block(seven) == (rows, 4096, 7 if layers == 8 else 1)


def test_rows_that_would_leave_most_of_a_register_empty_get_no_kernel() -> None:
    assert mosaic.block(layout((64, 3, 4096))) is None


@pytest.mark.quick
@pytest.mark.parametrize(
    ("whole", "part", "rows"),
    [
        ((32, 16, 4096), (32, 16, 4096), 8),
        ((32, 12, 4096), (32, 12, 4096), 8),  # rows of a whole leaf follow on each other
        ((32, 12, 4096), (8, 12, 1024), 8),  # and so do those of whole layers
        ((32, 16, 4096), (32, 4, 4096), 4),
        ((80, 112, 1024), (80, 28, 1024), 4),
        ((58, 28, 1024), (58, 7, 1024), 1),
        ((8, 4, 64, 1024), (8, 1, 64, 1024), 8),
        ((2004, 1024), (501, 1024), 1),
    ],
)
def test_a_tile_on_gpus_has_rows_that_follow_on_each_other(
    whole: tuple[int, ...], part: tuple[int, ...], rows: int
) -> None:
    """Take rows that are neighbours in the whole leaf, whose dither begins at one place."""
    assert triton.block(layout(whole).local(part)) == (rows, 128, None)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("layers", "rows", "itemsizes", "exchanged"),
    [
        (80, 28, (4, 2), True),  # 28 rows would take the place of 32
        (80, 24, (4, 2), False),
        (61, 52, (4, 2), True),
        (61, 54, (4, 2), False),  # 61 layers would take the place of 64, which is more
        (80, 3, (4, 2), True),
        (12, 3, (4, 2), None),  # 3 rows take the place of 4, and 12 layers that of 16
        (80, 4, (4, 1), False),
        (80, 1, (4, 2), None),  # arrays of two sizes are stored in two orders
        (1, 28, (4, 2), None),
    ],
)
def test_layers_are_rows_where_a_tpu_stores_them_so(
    layers: int, rows: int, itemsizes: tuple[int, int], exchanged: bool | None
) -> None:
    """Take the order of axes that libtpu 0.0.42.1 gives arrays for v5e, v5p and v6e."""
    real, codes = (np.dtype(f"uint{8 * n}") for n in itemsizes)
    one = dataclasses.replace(layout((layers, rows, 4096)), out_dtypes=(real, codes, codes))
    found = mosaic.stored(one)
    assert (None if found is None else found.exchanged) is exchanged
    matrix = dataclasses.replace(one, shape=(layers * rows, 4096))
    assert mosaic.stored(matrix) == matrix
    deeper = dataclasses.replace(one, shape=(4, layers, rows, 4096))
    assert mosaic.stored(deeper) == (deeper if rows in (4, 24) else None)


@pytest.mark.quick
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_layers_are_rows_where_blocks_would_else_be_left_to_xla(rows: int) -> None:
    """Copy arrays, rather than leave XLA a step of ten passes and more."""
    blocks = layout((12, rows, 4096), "LLH")
    found = mosaic.stored(blocks)
    assert found == blocks.exchange()
    assert mosaic.block(found) is not None
    assert mosaic.stored(layout((12, rows, 4096))) is None
    for shape in ((4, 12, 28, 4096), (1, 28, 4096)):
        one = layout(shape, "LLH")
        one = dataclasses.replace(one, dtypes=(np.dtype("uint16"), *one.dtypes[1:]))
        assert mosaic.stored(one) == one


LAYERS = {"few": (6, 12, 1024), "ragged": (2, 56, 1024), "exchanged": (24, 12, 1024)}


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        pytest.param("pair(block=128)", "few", marks=pytest.mark.quick),
        pytest.param("pair(block=128)", "ragged", marks=pytest.mark.quick),
        pytest.param("pair(block=128)", "exchanged", marks=pytest.mark.quick),
        pytest.param("pair(1, block=128)", "few", marks=pytest.mark.heavy),
        pytest.param("pair(1, block=128)", "ragged", marks=pytest.mark.heavy),
        pytest.param("pair(1, block=128)", "exchanged", marks=pytest.mark.heavy),
    ],
)
def test_layers_of_any_number_of_rows_are_stepped_plainly(name: str, rows: str) -> None:
    """Two layers of 12 rows a call; 32 rows of a layer of 56, then 24; 24 layers as rows."""
    one, other = both(RULES["adam"], FORMATS[name], "tpu", LAYERS[rows])
    alike(one, other, 8)


def test_blocks_of_which_128_do_not_fit_get_no_kernel() -> None:
    assert mosaic.block(layout((64, 2**20), "LLH", 2048)) is None


@EACH_WIDE
def test_a_kernel_whose_last_columns_are_fewer_is_the_plain_step(
    name: str, rows: int, columns: int, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shrink the chip's memory, so that a leaf that is not large has wide rows."""
    monkeypatch.setattr(mosaic, "MEMORY", memory)
    one, other = both(RULES["adam"], WIDE[name], "tpu", (rows, columns))
    alike(one, other, 64)


@pytest.mark.usefixtures("x64")
def test_double_precision_has_no_kernel() -> None:
    assert kernels_in(update(BLOCKS, jnp.float64), jnp.zeros((256, 256))) == 0
    assert kernels_in(update(BLOCKS, jnp.float32), jnp.zeros((256, 256), jnp.float32)) == 1


def test_a_rule_of_ones_own_that_mixes_elements_has_no_kernel() -> None:
    def variant(direction: Any) -> Any:
        rule = ao.Rule({"mu": ao.moments.ema(0.9)}, direction)
        return lambda rate, storage: ao.optimizer(rule, rate, storage=storage)

    large = jnp.ones((256, 256))
    own = variant(lambda x: x.current["mu"] / (jnp.abs(x.g) + 1))
    mean = variant(lambda x: x.current["mu"] - jnp.mean(x.current["mu"], -1, keepdims=True))
    place = variant(
        lambda x: x.current["mu"] * jax.lax.iota(jnp.int32, 256)[None].astype("float32")
    )
    table = jnp.linspace(1.0, 2.0, 256)[None]
    scaled = variant(lambda x: x.current["mu"] * jnp.broadcast_to(table, x.g.shape))
    kinds = (own, mean, place, scaled)
    found = [kernels_in(update(ao.storage.int8(), make=m), large) for m in kinds]
    assert found == [1, 0, 0, 0]


@pytest.mark.heavy
def test_the_primitive_is_mapped_differentiated_and_run_as_the_plain_step() -> None:
    p, grads = arrays((64, 1024))
    tx = ao.adam(0.1, storage=BLOCKS)
    _, state = tx.update(grads[0], tx.init(p), p)

    def new(g: Any) -> Any:
        return tx.update(g, state, p)[0]

    assert kernels_in(new, grads[1]) == 1
    single = jax.jit(new)(grads[1])
    # XLA divides in two ways, and adds products that are not rounded.
    np.testing.assert_allclose(jax.vmap(new)(grads[1:])[0], single, rtol=2e-5, atol=1e-7)
    np.testing.assert_allclose(new(grads[1]), single, rtol=2e-5, atol=1e-7)
    slope = jax.grad(lambda k: jnp.sum(jnp.tanh(new(k * grads[1]))))(1.0)
    h = 1e-3  # the slope of a smooth function by its differences
    values = [jnp.sum(jnp.tanh(new(k * grads[1]))) for k in (1 - h, 1 + h)]
    np.testing.assert_allclose(slope, (values[1] - values[0]) / (2 * h), rtol=0.05, atol=0.5)
