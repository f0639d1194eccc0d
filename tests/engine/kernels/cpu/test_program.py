"""Each primitive and conversion as a loop, beside JAX op by op."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array, lax

from adam_optax._engine.kernels.cpu.loop import Loop, make_loop
from adam_optax._engine.kernels.cpu.program import UntranslatableError
from adam_optax._engine.kernels.layout import LEAF, SCALAR, SHARED
from tests.engine.kernels.cpu.looping import apart
from tests.support.versions import SINCE_0_10_2

F32, I32, U32 = jnp.float32, jnp.int32, jnp.uint32
N = 1041  # no multiple of a vector


def loop_of(step: Callable[..., Any], arrays: Any, block: int = 1, **how: Any) -> Loop:
    """Return the loop of a function of arrays to one array or a list of them."""
    leaf = next(x for x in arrays if x.ndim)
    shared = (*leaf.shape[:-1], -(-leaf.shape[-1] // block))
    known = {shared: SHARED, leaf.shape: LEAF, (): SCALAR}
    roles = [known[x.shape] for x in arrays]

    def flat(*operands: Array) -> list[Array]:
        return jax.tree.leaves(step(*operands[:-1]))

    types = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays]
    return make_loop(flat, roles, types, leaf.ndim, block, **{"contract": False, **how})


def through_a_loop(step: Callable[..., Any], *arrays: Any, block: int = 1, **how: Any) -> Any:
    """Return the results of a function, computed by a loop."""
    loop = loop_of(step, arrays, block, **how)
    results = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in jax.eval_shape(whole(step), *arrays)]
    return jax.jit(lambda *operands: loop.run(operands, results, {}, whole(step)))(*arrays)


def whole(step: Callable[..., Any]) -> Callable[..., list[Array]]:
    return lambda *arrays: jax.tree.leaves(step(*arrays))


def is_so(step: Callable[..., Any], *arrays: Any) -> None:
    """Assert that a loop has XLA's bits, where no product is added: XLA may fuse that."""
    arrays = tuple(map(jnp.asarray, arrays))
    assert apart(through_a_loop(step, *arrays), jax.jit(whole(step))(*arrays)) == 0


def floats(seed: int = 0, size: int = N) -> np.ndarray[Any, Any]:
    """Return any float32: of random bits, near integers and bounds, and special ones."""
    rng = np.random.default_rng(seed)
    special = [
        0,
        -0.0,
        1,
        -1,
        0.5,
        -2.5,
        1.5,
        1e-40,
        -1e-45,
        2**-126,
        3.4028235e38,
        np.inf,
        -np.inf,
    ]
    bounds = [127.5, 128, 255, 256, 448, 464, 465, 480, 65504, 65520, 2**31, -(2**31), 2**32, 3e9]
    tiny = [2**-6, 2**-9, 2**-10, 1.5 * 2**-10, 2.0**-14, 2.0**-24, 2.0**-25]
    found = rng.integers(0, 2**32, size, dtype=np.uint32).view(np.float32)
    found[: size // 2] = rng.standard_normal(size // 2) * 10.0 ** rng.uniform(-9, 9, size // 2)
    some = np.array([*special, np.nan, *bounds, *tiny], np.float32)
    found[: some.size] = some
    found[some.size : 2 * some.size] = -some[::-1]
    return rng.permutation(found)


def integers(dtype: Any, seed: int = 0) -> np.ndarray[Any, Any]:
    """Return any integers, with the least and the largest."""
    info = np.iinfo(dtype)
    found = np.random.default_rng(seed).integers(info.min, info.max, N, dtype, endpoint=True)
    found[:4] = [info.min, info.max, 0, 1]
    return found


X, Y, Z = floats(0), floats(1), floats(2)
MASK = np.random.default_rng(0).random(N) < 0.5
ONE: dict[str, Callable[[Any], Any]] = {
    "neg": lax.neg,
    "abs": lax.abs,
    "sign": lax.sign,
    "square": lax.square,
    "integer_pow 2": lambda x: lax.integer_pow(x, 2),
    "integer_pow 3": lambda x: lax.integer_pow(x, 3),
    "integer_pow 4": lambda x: lax.integer_pow(x, 4),
    "sqrt": lax.sqrt,
    "floor": lax.floor,
    "ceil": lax.ceil,
    "is_finite": lax.is_finite,
    "bits": lambda x: lax.bitcast_convert_type(x, U32),
    "int32": lambda x: lax.convert_element_type(x, I32),
    "bool": lambda x: lax.convert_element_type(x, jnp.bool_),
    "bfloat16": lambda x: lax.convert_element_type(x, jnp.bfloat16),
    "float16": lambda x: lax.convert_element_type(x, jnp.float16),
    "float8": lambda x: lax.convert_element_type(x, jnp.float8_e4m3fn),
    "by a constant": lambda x: x / np.float32(3),
    "of a constant": lambda x: np.float32(3) / x,
}
TWO: dict[str, Callable[[Any, Any], Any]] = {
    "add": lax.add,
    "sub": lax.sub,
    "mul": lax.mul,
    "div": lax.div,
    "max": lax.max,
    "min": lax.min,
    "eq": lax.eq,
    "ne": lax.ne,
    "lt": lax.lt,
    "le": lax.le,
    "gt": lax.gt,
    "ge": lax.ge,
}
EXTREMES = [0.0, -0.0, 1.5, -1.5, np.nan]


@pytest.mark.quick
@pytest.mark.parametrize("name", ONE)
def test_functions_of_a_float(name: str) -> None:
    is_so(ONE[name], X)


@pytest.mark.quick
@pytest.mark.parametrize("name", TWO)
def test_functions_of_two_floats(name: str) -> None:
    is_so(TWO[name], X, Y)
    is_so(TWO[name], X, X)


@pytest.mark.quick
def test_products_are_rounded_before_they_are_added_unless_contracted() -> None:
    def step(x: Any, y: Any) -> Any:
        return x * y + y * np.float32(0.1)

    arrays = jnp.asarray(X), jnp.asarray(Y)
    with jax.disable_jit():
        wanted = whole(step)(*arrays)
    assert apart(through_a_loop(step, *arrays), wanted) == 0
    assert apart(through_a_loop(step, *arrays, contract=True), wanted) > 0


def test_what_xla_approximates_is_xla_s() -> None:
    with pytest.raises(UntranslatableError, match="rsqrt"):
        through_a_loop(lax.rsqrt, jnp.ones(5))


@pytest.mark.quick
@pytest.mark.parametrize("function", [lax.max, lax.min])
def test_the_larger_of_a_float_and_a_constant(function: Any) -> None:
    """One loop for all: zeros of both signs and NaN, and constants on either side."""
    constants = [np.float32(c) for c in EXTREMES]

    def step(x: Any) -> list[Any]:
        return [f(x, jnp.full_like(x, c)) for c in constants for f in (function, swapped)]

    def swapped(x: Any, y: Any) -> Any:
        return function(y, x)

    is_so(step, X)


@pytest.mark.quick
@pytest.mark.parametrize("dtype", ["int32", "uint32", "uint8", "int8", "uint16", "int16"])
def test_functions_of_integers(dtype: str) -> None:
    x, y = integers(dtype), integers(dtype, 1)

    def step(x: Any, y: Any) -> list[Any]:
        both: tuple[Any, ...] = (
            lax.add,
            lax.sub,
            lax.mul,
            lax.max,
            lax.min,
            lax.eq,
            lax.ne,
            lax.lt,
            lax.le,
        )
        both += (lax.gt, lax.ge, lax.bitwise_and, lax.bitwise_or, lax.bitwise_xor)
        own = [lax.bitwise_not(x), lax.neg(x)]
        own += [lax.abs(x)] if jnp.issubdtype(x.dtype, jnp.signedinteger) else []
        return [*(f(x, y) for f in both), *own]

    is_so(step, x, y)


@pytest.mark.quick
@pytest.mark.parametrize("dtype", ["int32", "uint32", "uint8", "uint16"])
def test_shifts_by_as_many_bits_as_there_are_and_more(dtype: str) -> None:
    by = np.random.default_rng(0).integers(0, 70, N).astype(dtype)

    def step(x: Any, by: Any) -> list[Any]:
        shifts = (lax.shift_left, lax.shift_right_logical, lax.shift_right_arithmetic)
        fixed = [f(x, jnp.full_like(x, n)) for f in shifts for n in (0, 3, 31, 32)]
        return [*(f(x, by) for f in shifts), *fixed]

    is_so(step, integers(dtype), by)


@pytest.mark.quick
def test_conversions_of_integers() -> None:
    kinds = ("int32", "uint32", "uint8", "int8", "uint16", "int16")

    def step(*arrays: Any) -> list[Any]:
        to = [lax.convert_element_type(x, k) for x in arrays for k in kinds if x.dtype != k]
        return [*to, *(lax.convert_element_type(x, F32) for x in arrays)]

    is_so(step, *(integers(k) for k in kinds), MASK)


@pytest.mark.quick
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn"])
def test_every_short_float_is_read(dtype: str) -> None:
    bits = 8 * jnp.dtype(dtype).itemsize
    every = np.arange(2**bits, dtype=f"uint{bits}").view(jnp.dtype(dtype))
    is_so(lambda x: lax.convert_element_type(x, F32), every)


@pytest.mark.quick
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_short_floats_are_computed_with_in_float32_and_rounded_once(dtype: str) -> None:
    x, y = (jnp.asarray(z).astype(dtype) for z in (X, Y))

    def step(x: Any, y: Any) -> list[Any]:
        return [x + y, x * y, x / y, lax.max(x, y), x < y, lax.select(x < y, x, y)]

    is_so(step, x, y)


@pytest.mark.quick
def test_choices_and_masks() -> None:
    def step(mask: Any, x: Any, y: Any) -> list[Any]:
        other = x < y
        masks = [mask & other, mask | other, ~mask, mask ^ other, lax.eq(mask, other)]
        return [jnp.where(mask, x, y), jnp.where(mask, x, np.float32(0)), *masks]

    is_so(step, MASK, X, Y)


@pytest.mark.quick
def test_scalars_are_read_or_computed_outside() -> None:
    def step(x: Any, s: Any, n: Any) -> list[Any]:
        # A logarithm and a power have no instruction; the rest of what is scalar is in the loop.
        outside = jnp.log1p(s) * jnp.exp(s * np.float32(0.1))
        inside = lax.convert_element_type(n, F32) + s
        return [x * outside, x + inside, jnp.where(s > 1, x, -x)]

    arrays = jnp.asarray(X), jnp.asarray(1.7, F32), jnp.asarray(-3, I32)
    found, wanted = through_a_loop(step, *arrays), jax.jit(whole(step))(*arrays)
    assert apart(found[1:], wanted[1:]) == 0
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-6)  # two approximations, a few ulp each
    loop = loop_of(step, arrays)
    assert {x.primitive for x in loop.outside} >= {"log1p", "exp"}


@SINCE_0_10_2
@pytest.mark.quick
def test_what_all_elements_are_divided_by_is_inverted_once() -> None:
    is_so(lambda x, s: x / s, X, np.float32(1.7))


@pytest.mark.quick
@pytest.mark.parametrize("block", [64, 100])
@pytest.mark.parametrize("columns", [300, 257, 63])
def test_the_largest_and_least_number_of_each_block(block: int, columns: int) -> None:
    """Blocks that end with a row count what is in the row; -0 is no larger than a number."""
    x = np.random.default_rng(3).uniform(1e-4, 1e4, (5, columns)).astype(np.float32)
    x[1:3, 10:] = -0.0
    units = -(-columns // block)

    def unit(x: Any) -> list[Any]:
        inner = x.reshape(*x.shape[:-1], 1, x.shape[-1])
        most, least = jnp.max(inner, -1, initial=0), jnp.min(abs(inner), -1, initial=np.inf)
        return [most, least, x / (most + 1)]

    loop = loop_of(unit, (x,), block)
    results = [jax.ShapeDtypeStruct(s, F32) for s in ((5, units), (5, units), x.shape)]
    found = jax.jit(lambda x: loop.run([x], results, {}, unit))(x)
    starts = range(0, columns, block)
    most = np.stack([np.max(x[:, i : i + block], -1) for i in starts], -1) + np.float32(0)
    least = np.stack([np.min(np.abs(x[:, i : i + block]), -1) for i in starts], -1)
    spread = np.repeat(most, block, 1)[:, :columns]
    assert apart(found, [most, least, x / (spread + np.float32(1))]) == 0


UNTRANSLATABLE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "sine": (jnp.sin, "sin"),
    "power": (lambda x: x**1.5, "pow"),
    "reversed": (lambda x: x[::-1], "rev"),
    "sorted": (jnp.sort, "sort"),
    "sums so far": (jnp.cumsum, "cumsum"),
    "a table": (
        lambda x: x * jnp.arange(7.0)[3] + jnp.asarray(np.arange(3.0, dtype="f"))[0],
        "an array that is no argument",
    ),
    "two of them": (lambda x: x[:2].sum() + x, r"an array of shape \(2,\)"),
    "a loop": (lambda x: lax.fori_loop(0, 3, lambda _, y: y * 2, x), "scan"),
    "a fifth power": (lambda x: lax.integer_pow(x, 5), "integer_pow 5 of float32"),
    "an int8": (lambda x: lax.convert_element_type(x, jnp.int8), "float32 to int8"),
}


@pytest.mark.quick
@pytest.mark.parametrize("name", UNTRANSLATABLE)
def test_what_has_no_instruction_is_said(name: str) -> None:
    step, said = UNTRANSLATABLE[name]
    with pytest.raises(UntranslatableError, match=f"^{said}$"):
        loop_of(step, (jnp.asarray(X),))


def test_equal_operations_are_done_once_and_unused_ones_never() -> None:
    def step(x: Any) -> list[Any]:
        unused = jnp.sin(x)
        del unused
        return [(x + 1) * (x + 1), x + 1]

    program = loop_of(step, (jnp.asarray(X),)).program
    assert [x.primitive for x in program.operations] == ["add", "mul"]
