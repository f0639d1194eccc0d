"""A fingerprint changes with every bit of a tree, and with nothing else."""

import math
import random
from collections import namedtuple
from enum import IntEnum
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization

import adam_optax as ao
from tests.support.formats import FORMATS

DTYPES = (
    *("bool", "int4", "uint2", "int8", "uint16", "int32", "float16", "bfloat16", "float32"),
    *("complex64", "float8_e4m3fn", "float4_e2m1fn"),
)
WIDE = ("int64", "float64", "complex128")


class Kind(IntEnum):
    """Be integers of Python that have another type."""

    ONE = 1


def array(dtype: str) -> Any:
    """Six elements of any bits, as NumPy has them."""
    x = np.arange(6).reshape(2, 3) % 2
    return x.astype(jnp.dtype(dtype)) if dtype != "bool" else x.astype(bool)


def same(one: Any, other: Any) -> bool:
    return np.array_equal(ao.fingerprint(one), ao.fingerprint(other))


@pytest.mark.quick
@pytest.mark.parametrize("dtype", DTYPES)
def test_jax_and_numpy_give_one_fingerprint_of_each_dtype(dtype: str) -> None:
    x = array(dtype)
    assert same(x, jnp.asarray(x))
    others = [array(other) for other in (*DTYPES, *WIDE) if other != dtype]
    assert not any(same(x, other) for other in others)


@pytest.mark.parametrize("dtype", WIDE)
def test_64_bits_are_read_whole_by_either_jax(dtype: str, x64: None) -> None:
    x = array(dtype)
    here = ao.fingerprint(x)
    assert np.array_equal(here, ao.fingerprint(jnp.asarray(x)))
    with jax.enable_x64(False):
        assert np.array_equal(here, ao.fingerprint(x))
    assert not same(x, x + 2.0**-50 if dtype != "int64" else x + 2**40)
    assert same(x, x.astype(x.dtype.newbyteorder(">")))


@pytest.mark.quick
@pytest.mark.parametrize("dtype", WIDE)
def test_what_jax_makes_of_64_bits_is_refused_with_the_way_out(dtype: str) -> None:
    x = array(dtype) + 2**40
    saved = ao.fingerprint({"x": x})
    narrow = x.astype(jax.dtypes.canonicalize_dtype(x.dtype))
    with pytest.raises(ValueError, match=f"^x is {narrow.dtype}.*, which is not what was saved: r"):
        ao.check_fingerprint({"x": jnp.asarray(narrow)}, saved)


@pytest.mark.quick
def test_numbers_of_numpy_count_with_all_of_their_bits() -> None:
    """`np.float64` is a `float`, of which JAX keeps half."""
    for x in (np.float64(0.1), np.complex128(0.1 + 1j), np.int64(2**40), np.float32(0.1)):
        assert same(x, np.array(x))  # as Orbax gives it back without a target
        back = serialization.msgpack_restore(serialization.to_bytes({"x": x}))
        ao.check_fingerprint(back, ao.fingerprint({"x": x}))
        for place in range(x.nbytes):
            damaged = bytearray(x.tobytes())
            damaged[place] ^= 1
            assert not same(x, np.frombuffer(damaged, x.dtype)[0])


@pytest.mark.quick
def test_numbers_of_python_are_those_that_jax_makes() -> None:
    for x in (True, 3, -(2**31), 0.1, 2e-50, math.nan, -math.inf, 1j, Kind.ONE):
        assert same(x, jnp.asarray(x))
    for x in (2**31, 2**70, 1e39, -1e300j):
        with pytest.raises(ValueError, match=r"^a/0 is .*, which JAX cannot hold as [a-z]+(32|64)"):
            ao.fingerprint({"a": [x]})


@pytest.mark.quick
def test_every_bit_counts() -> None:
    """Each of the 32, in an element drawn at random."""
    x = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
    seen = {ao.fingerprint(x).tobytes()}
    rng = random.Random(0)
    for bit in range(32):
        changed = x.copy()
        changed.view(np.uint32)[rng.randrange(5), rng.randrange(7)] ^= np.uint32(1 << bit)
        seen.add(ao.fingerprint(changed).tobytes())
    assert len(seen) == 33


@pytest.mark.quick
def test_places_shapes_and_paths_count() -> None:
    x = jnp.arange(6.0)
    others = [x[::-1], x[None], x.reshape(2, 3), x.reshape(3, 2), x[jnp.array([1, 0, 2, 3, 4, 5])]]
    assert not any(same(x, other) for other in others)
    assert not same({"a": x, "b": x + 1}, {"b": x, "a": x + 1})
    assert not same({"a": x, "b": x}, {"a": x, "b": x + 1})
    assert not same({"a": x}, {"b": x})
    assert not same(jnp.zeros((0, 3)), jnp.zeros((3, 0)))
    nan, other = (np.array([bits], np.uint32).view(np.float32) for bits in (0x7FC00000, 0x7FC00001))
    assert not same(nan, other)
    assert not same(np.zeros(1, np.float32), -np.zeros(1, np.float32))


def test_keys_nones_and_numbers_count() -> None:
    tree = {"key": jax.random.key(0), "none": None, "step": 3, "rate": 0.5, "on": True}
    assert same(tree, dict(reversed(tree.items())))
    assert not same(tree, tree | {"key": jax.random.key(1)})
    assert not same(tree, tree | {"key": jax.random.key(0, impl="rbg")})
    assert not same(tree, tree | {"step": 4})
    ao.check_fingerprint({}, ao.fingerprint(None))


Pair = namedtuple("Pair", "nu mu")


def test_names_say_what_a_leaf_is_and_not_containers() -> None:
    x, y = jnp.ones(3), jnp.zeros(2)
    one = {"state": (Pair(mu=x, nu=y), [None, x])}
    assert (
        same(one, {"state": [{"mu": x, "nu": y}, (x,)]}) is False
    )  # a None is no leaf, but counts
    assert same(one, {"state": [{"mu": x, "nu": y}, {"0": None, "1": x}]})


@pytest.mark.parametrize("name", ["pair()", "int4()", "factored()", "dense('bfloat16')"])
def test_states_in_codes_come_back(name: str) -> None:
    params = {"w": jnp.ones((4, 256)), "b": jnp.zeros(3, jnp.bfloat16)}
    tx = ao.adamw(1e-2, storage=FORMATS[name])
    _, state = ao.step(tx, params, tx.init(params), params)
    saved = ao.fingerprint(state)
    back = serialization.from_bytes(state, serialization.to_bytes(state))
    ao.check_fingerprint(back, saved)
    ao.check_fingerprint(serialization.to_state_dict(state), saved)
    leaves, structure = jax.tree.flatten(state)
    for i, leaf in enumerate(leaves):
        changed = np.asarray(leaf)
        changed = np.atleast_1d(changed).copy()
        changed.view(np.uint8).reshape(-1)[-1] ^= 1
        changed = changed.reshape(np.shape(leaf))
        with pytest.raises(ValueError, match="has other bits than were saved"):
            ao.check_fingerprint(
                jax.tree.unflatten(structure, [*leaves[:i], changed, *leaves[i + 1 :]]), saved
            )


@pytest.mark.quick
def test_a_fingerprint_is_an_array_that_jax_can_trace() -> None:
    tree = {"a": jnp.ones((2, 3)), "b": jnp.arange(3)}
    here = ao.fingerprint(tree)
    assert np.array_equal(jax.jit(ao.fingerprint)(tree), here)
    assert jax.eval_shape(ao.fingerprint, tree).shape == here.shape == (3, 4)
    assert jax.eval_shape(ao.fingerprint, {}).shape == ao.fingerprint({}).shape == (1, 4)
    assert isinstance(here, np.ndarray)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            {"a": jnp.zeros(3), "b": 1},
            "a has other bits than were saved: the checkpoint is damaged",
        ),
        ({"a": jnp.zeros(3), "b": 2}, "a and 1 more leaves have other bits"),
        ({"a": jnp.ones(2), "b": 1}, r"a is float32\[2\], which is not what was saved: restore"),
        ({"a": jnp.ones(3, int), "b": 1}, r"a is int32\[3\], which is not what was saved"),
        ({"a": jnp.ones(3)}, "is of 2 leaves, and the tree has 1; give check_fingerprint the tree"),
        ({"a": jnp.ones(3), "c": 1}, "among them c, which it does not know; give"),
    ],
)
def test_what_changed_is_named(tree: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ao.check_fingerprint(tree, ao.fingerprint({"a": jnp.ones(3), "b": 1}))


@pytest.mark.quick
def test_a_damaged_fingerprint_is_refused() -> None:
    tree = {"a": jnp.ones(3)}
    right = np.asarray(ao.fingerprint(tree))
    for i in range(right.size):
        wrong = right.copy()
        wrong.reshape(-1)[i] ^= 1 << i
        with pytest.raises(ValueError, match=r"^the fingerprint itself is damaged; take the"):
            ao.check_fingerprint(tree, wrong)
    for other in (right[0], right.astype(np.int32), right[:, :3], None, "text", 3):
        with pytest.raises(ValueError, match=r"^fingerprint must be what adam_optax.fingerprint"):
            ao.check_fingerprint(tree, other)


@pytest.mark.quick
def test_what_has_no_fingerprint_is_refused() -> None:
    for other in ("text", np.array(["a"]), np.array([None]), print, np.zeros(2, np.longdouble)):
        with pytest.raises(TypeError, match=r"^a/0 is .*a fingerprint is of arrays that JAX"):
            ao.fingerprint({"a": [other]})
    saved = ao.fingerprint({"a": 1})
    for traced in (
        lambda x: ao.check_fingerprint({"a": x}, saved),
        lambda x: ao.check_fingerprint({"a": 1}, x),
    ):
        with pytest.raises(ValueError, match=r"inside jax.jit no bits are known"):
            jax.jit(traced)(1)
