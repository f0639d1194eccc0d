"""Tell whether a run that comes back from a checkpoint has the bits that were saved."""

import contextlib
import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.tree_util import keystr
from numpy.typing import NDArray

from adam_optax._core.dither import GOLDEN, hash_key

_COLUMNS = 4
"""Of the row of a leaf: a hash of its path, one of its dtype and shape, two of its bits."""
_MARK = 0xADA40001
"""The first number of a fingerprint; another one means that rows are made in another way."""
_NEWEST = "take the checkpoint before it"


def fingerprint(tree: Any) -> Array | NDArray[np.uint32]:
    """Return a few numbers that change if any bit of a tree of arrays does.

    Save them in the checkpoint beside the tree, and give both to `check_fingerprint` when they are
    restored. Orbax keeps most arrays without a checksum: a bit that flips on a disk or in a copy is
    restored as another number, without an error.

    Each leaf has one row, made from its path, dtype, shape and bits. Every element is hashed with
    its indices, and the hashes are added as integers. So the sum does not depend on the order of
    its terms: one device and many give the same fingerprint, however a leaf is sharded, and no
    array is gathered. Damage within 32 bits of one element always changes the sums; other damage
    goes unseen with a probability of about 2^-64. It tells damage, not forgery.

    A leaf's path is made of names, such as `state/0/mu/w`. A named tuple that comes back as a
    dictionary, or a tuple as a list, keeps its fingerprint.

    Formula: `h(x) = sum_i mix(bits(x_i) ^ mix(place(i))) mod 2^32`, for two counts of
    places; `mix` is MurmurHash3's finaliser, a permutation.

    Args:
        tree: arrays of JAX or NumPy of any dtype, typed random keys, numbers, `None`. A number of
            Python's counts as the array that JAX makes of it: a float has 32 bits, unless JAX was
            told to use 64. A number of NumPy's, such as `np.float64(0.1)`, counts with all of its
            bits. In a run of several processes every process makes the call.

    Returns:
        An array of uint32 with a row of four numbers for each leaf, and one for the array itself:
        NumPy's, or a traced one while JAX traces. `jax.eval_shape(ao.fingerprint, tree)` has its
        shape, to restore into.

    Raises:
        TypeError: if a leaf is neither an array nor a number.
        ValueError: if JAX makes another number of one of Python's, as of `2**40` in 32 bits.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params = {"w": jnp.ones((3, 4)), "b": jnp.zeros(4)}
        >>> run = {"params": params, "state": ao.adamw(1e-3).init(params)}
        >>> kept = {"run": run, "fingerprint": ao.fingerprint(run)}  # save this
        >>> ao.check_fingerprint(kept["run"], kept["fingerprint"])  # once it is restored
    """
    return _of_leaves(_sorted_leaves(tree))


def check_fingerprint(tree: Any, fingerprint: Any) -> None:
    """Raise an error if a tree is not the one of which a fingerprint was taken.

    Call it on what a checkpoint gave back, before the first step. A program that goes on by itself
    catches the error, and takes the checkpoint before.

    Args:
        tree: what was restored. Leaves that came back without a target, as dictionaries and lists,
            are found by their names.
        fingerprint: what `adam_optax.fingerprint` returned, restored from the same checkpoint.

    Raises:
        ValueError: if the fingerprint itself is damaged, if the tree has other leaves, or if a
            leaf has another dtype, shape or other bits, with the path of the first.
        TypeError: if a leaf is neither an array nor a number.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> saved = ao.fingerprint({"w": jnp.ones(3)})
        >>> ao.check_fingerprint({"w": jnp.array([1.0, 1.0, 1.0000001])}, saved)
        Traceback (most recent call last):
        ...
        ValueError: w has other bits than were saved: the checkpoint is damaged; take the checkpoint before it
    """  # noqa: E501  the message is one line
    leaves = _sorted_leaves(tree)
    found = _of_leaves(leaves)
    if isinstance(found, jax.core.Tracer) or isinstance(fingerprint, jax.core.Tracer):
        raise ValueError("inside jax.jit no bits are known: call check_fingerprint outside")
    saved = _checked(fingerprint)
    known = {int(number) for number in saved[1:, 0]}
    here = {int(row[0]): name for name, row in zip(leaves, found[1:], strict=True)}
    if len(saved) != len(found) or known != here.keys():
        raise ValueError(_other_leaves(known, here))
    for name, old, new in zip(leaves, saved[1:], found[1:], strict=True):
        if old[1] != new[1]:
            raise ValueError(
                f"{name or 'the array'} is {_form(leaves[name])}, which is not what was saved: "
                f"restore with the dtypes and shapes of the run, or {_NEWEST}"
            )
    changed = [
        name or "the array"
        for name, old, new in zip(leaves, saved[1:], found[1:], strict=True)
        if (old != new).any()
    ]
    if changed:
        more = f" and {len(changed) - 1} more leaves have" if len(changed) > 1 else " has"
        raise ValueError(
            f"{changed[0]}{more} other bits than were saved: the checkpoint is damaged; {_NEWEST}"
        )


def _of_leaves(leaves: Mapping[str, Any]) -> Array | NDArray[np.uint32]:
    """Return the fingerprint of leaves by their paths."""
    known = np.array([_known(*each) for each in leaves.items()], np.uint32).reshape(-1, 2)
    bits = [_hash_bits(_readable(leaf)) for leaf in leaves.values()]  # all begin, none is awaited
    if any(isinstance(each, jax.core.Tracer) for each in bits):
        return _with_header(jnp.concatenate([known, jnp.stack(bits)], axis=1))
    fetched = np.array(jax.device_get(bits), np.uint32).reshape(-1, 2)
    return _with_header(np.concatenate([known, fetched], axis=1))


def _checked(fingerprint: Any) -> NDArray[np.uint32]:
    """Return a fingerprint as an array, if it is whole."""
    saved = np.asarray(fingerprint)
    if saved.dtype == np.uint32 and saved.ndim == 2 and saved.shape[1:] == (_COLUMNS,):
        if len(saved) and (saved == _with_header(saved[1:])).all():
            return saved
        raise ValueError(f"the fingerprint itself is damaged; {_NEWEST}")
    raise ValueError(
        f"fingerprint must be what adam_optax.fingerprint returned, "
        f"not {saved.dtype}{list(saved.shape)}; "
        f"if it was restored so, the checkpoint is damaged: {_NEWEST}"
    )


def _other_leaves(known: set[int], here: Mapping[int, str]) -> str:
    """Return the message about a tree whose leaves are not those of a fingerprint."""
    new = [name or "an array" for number, name in here.items() if number not in known]
    said = f"the fingerprint is of {len(known)} leaves, and the tree has {len(here)}"
    if new:
        said += f", among them {new[0]}, which it does not know"
    return f"{said}; give check_fingerprint the tree of which the fingerprint was taken"


def _sorted_leaves(tree: Any) -> dict[str, Any]:
    """Return the leaves by the names on their way, in the order of these."""
    leaves: dict[str, Any] = {}
    for path, leaf in jax.tree.leaves_with_path(tree):
        name = keystr(path, simple=True, separator="/")
        while name in leaves:  # {"a/b": x, "a": {"b": y}}
            name += "'"
        leaves[name] = _as_array(name, leaf)
    return dict(sorted(leaves.items()))


def _as_array(path: str, leaf: Any) -> Any:
    """Return a number of Python's as the array that JAX makes of it, any other leaf as it is."""
    kind = next((k for k in (bool, int, float, complex) if isinstance(leaf, k)), None)
    if kind is None or isinstance(leaf, np.generic):
        return leaf  # `np.float64` is a `float` of Python's, too, and keeps its 64 bits
    dtype = jnp.result_type(kind)
    with np.errstate(over="ignore"), contextlib.suppress(OverflowError):
        made = np.asarray(leaf, dtype)
        if np.isfinite(made) or not np.isfinite(leaf):
            return made
    raise ValueError(
        f"{path or 'the tree'} is {leaf}, which JAX cannot hold as {dtype}: "
        "write it as an array of NumPy, such as numpy.int64(...) or numpy.float64(...)"
    )


def _known(path: str, leaf: Any) -> tuple[int, int]:
    """Return the numbers of a leaf that do not depend on its bits."""
    dtype, shape = _dtype_and_shape(path, leaf)
    return _of_text(path), _of_text(f"{dtype}{list(shape)}")


def _with_header(rows: Array | NDArray[np.uint32]) -> Array | NDArray[np.uint32]:
    """Return the rows below one by which damage to the fingerprint itself is seen."""
    first = np.array([_MARK, len(rows)], np.uint32)
    bits = _hash_bits(rows)
    if isinstance(bits, jax.core.Tracer):
        return jnp.concatenate([jnp.concatenate([first, bits])[None], rows])
    return np.concatenate([np.concatenate([first, np.asarray(bits)])[None], np.asarray(rows)])


def _dtype_and_shape(path: str, leaf: Any) -> tuple[str, tuple[int, ...]]:
    """Return what a leaf is, if it is one that has a fingerprint."""
    dtype = getattr(leaf, "dtype", None)
    if not hasattr(leaf, "shape") or not (_has_bits(dtype) or _is_key(leaf)):
        raise TypeError(
            f"{path or 'the tree'} is {type(leaf).__name__} ({dtype}), and a fingerprint is of "
            "arrays that JAX can hold, and of numbers; leave it out of the tree"
        )
    name = dtype.name if isinstance(dtype, np.dtype) else str(dtype)  # without the bytes' order
    return name, tuple(leaf.shape)


def _has_bits(dtype: Any) -> bool:
    """Tell whether a dtype is one of JAX's; NumPy's widest have bits that say nothing."""
    if not isinstance(dtype, np.dtype):
        return False
    known = dtype.kind in "biufc" or dtype.type is not np.void
    wide = dtype.itemsize > (16 if dtype.kind == "c" else 8)
    return dtype == jax.dtypes.float0 or (known and not wide and dtype.kind not in "OSUMmT")


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _form(leaf: Any) -> str:
    dtype, shape = _dtype_and_shape("", leaf)
    return f"{dtype}{list(shape)}"


def _of_text(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little")


def _readable(leaf: Any) -> Any:
    """Return what `_hash_bits` can read: no keys, nothing in the host's memory, no 64 bits lost."""
    if isinstance(leaf, jax.Array):
        if _is_key(leaf):
            leaf = jax.random.key_data(leaf)
        traced = isinstance(leaf, jax.core.Tracer)
        if not traced and leaf.sharding.memory_kind == "pinned_host":
            leaf = jax.device_put(leaf, jax.memory.Space.Device)
        return leaf
    x = np.asarray(leaf)
    if x.dtype == jax.dtypes.float0:
        return np.zeros((0,), np.uint32)  # such an array has no bits
    x = x.astype(x.dtype.newbyteorder("="), copy=False)
    if x.dtype.kind in "iufc" and x.dtype.itemsize in (8, 16) and x.dtype != np.complex64:
        parts = (2, 2) if x.dtype.kind == "c" else (2,)
        return np.ascontiguousarray(x).view(np.uint32).reshape(*x.shape, *parts)
    return x


def _words(x: Array) -> Array:
    """Return the bits of each element as uint32, with an axis at the end where there are more."""
    if x.dtype == jnp.bool_:
        return x.astype(jnp.uint32)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        x = jnp.stack([jnp.real(x), jnp.imag(x)], axis=-1)
    width = jax.dtypes.itemsize_bits(x.dtype)
    if width == 64:
        return lax.bitcast_convert_type(x, jnp.uint32)
    return lax.bitcast_convert_type(x, f"uint{width}").astype(jnp.uint32)


@jax.jit
def _hash_bits(x: Array) -> Array:
    """Return two numbers that depend on the bits of an array and on their order.

    A sum of integers is the same in every order, and a reshape, which would gather a sharded array,
    is not needed. Elements 2^32 apart share a place in one of the two counts, and not in the other.
    """
    words = _words(x)
    in_order, mixed = jnp.zeros(words.shape, jnp.uint32), jnp.zeros(words.shape, jnp.uint32)
    for axis, length in enumerate(words.shape):
        index = lax.broadcasted_iota(jnp.uint32, words.shape, axis)
        in_order = in_order * np.uint32(length % 2**32) + index
        mixed = mixed * GOLDEN + index
    places = (hash_key(in_order), hash_key(~mixed))
    return jnp.stack([jnp.sum(hash_key(words ^ p), dtype=jnp.uint32) for p in places])
