"""Check arguments, trees and arrays; say what is wrong and what to write instead.

Arguments are checked where a transformation is made; trees, shapes and dtypes while it is traced,
once per distinct leaf, so that the compiled step contains no check.
"""

import enum
import functools as ft
import sys
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeGuard

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType
from jax.tree_util import PyTreeDef
from jax.typing import ArrayLike

from adam_optax._core.by_path import FROZEN, ByPath
from adam_optax._core.types import PyTree


class Kind(enum.Enum):
    """Tell what values a hyper-parameter may have."""

    ANY = "any"
    DECAY_RATE = "decay rate"
    NON_NEGATIVE = "non-negative"
    POSITIVE = "positive"


def hyperparameter(
    name: str,
    value: object,
    kind: Kind,
    *,
    optional: bool = False,
    schedule: bool = True,
    frozen: bool = False,
) -> Any:
    """Return a hyper-parameter as it will be used: in range, NumPy's scalars as Python numbers.

    Args:
        name: the argument's name, for messages.
        value: what the user gave.
        kind: the values that are allowed; `Kind.ANY` checks only that compiled steps can be shared.
        optional: whether None is allowed.
        schedule: whether a function of the count is allowed.
        frozen: whether some of its values by path may be `FROZEN`.

    Raises:
        ValueError: if a known number is out of range, or an array is not a scalar.
        TypeError: if a known number is not a number, a schedule or a real scalar array, or another
            parameter of a variant is not hashable, as the constants of compiled steps must be.
    """
    if isinstance(value, ByPath):
        check = ft.partial(hyperparameter, name, kind=kind, schedule=schedule)
        return value.map(lambda v: v if frozen and v is FROZEN else check(v))
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a real number, not {_kind(value)}")
    if isinstance(value, np.generic | np.ndarray) and np.ndim(value) == 0:
        value = value.item()
    if kind is Kind.ANY and callable(value) and not schedule:
        raise TypeError(f"{name} must be a number, not a schedule: it is where the moments start")
    if optional and value is None:
        return value
    if kind is Kind.ANY or (callable(value) and schedule):
        if isinstance(value, Hashable | Array):
            return value
        raise TypeError(f"{name} must be hashable, not {type(value).__name__}: use a tuple, say")
    if isinstance(value, Array):
        return scalar(name, value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        wanted = "a number, a schedule (count -> value)" if schedule else "a number"
        raise TypeError(f"{name} must be {wanted} or a scalar array, not {type(value).__name__}")
    if abs(value) > sys.float_info.max and isinstance(value, int):
        raise ValueError(f"{name} must fit a float, which an integer of so many digits does not")
    if kind is Kind.DECAY_RATE and not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1), not {value}: it is the share of the past kept")
    if kind is not Kind.DECAY_RATE and not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be finite and not negative, not {value}")
    if kind is Kind.POSITIVE and value == 0:
        raise ValueError(f"{name} must be positive: 0 would stop the training")
    return value


def steps(name: str, value: int, least: int = 0) -> int:
    """Return a number of steps.

    Raises:
        TypeError: if the value is no integer.
        ValueError: if the value is below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    return value


def scalar(name: str, value: ArrayLike) -> Array:
    """Return a number of the current step as a scalar array.

    Args:
        name: the argument's name, for messages.
        value: what a schedule returned, or an array that was given.

    Raises:
        TypeError: if the value is not a real number or an array that JAX takes.
        ValueError: if the number has a shape.
    """
    try:
        number = jnp.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name} must be a real number, not {_kind(value)}") from error
    if number.dtype == bool or not jnp.isrealobj(number):
        raise TypeError(f"{name} must be a real number, not {number.dtype}")
    if number.shape != ():
        raise ValueError(
            f"{name} must be a scalar, not an array of shape {number.shape}; for a value per "
            "parameter use adam_optax.by_path"
        )
    return number


def _kind(value: object) -> str:
    """Describe a value that is no JAX array, in a few words."""
    if isinstance(value, np.ma.MaskedArray):
        return "a masked array"
    if isinstance(value, np.ndarray):
        order = "" if value.dtype.isnative else " in the other byte order"
        return f"an array of dtype {value.dtype.name}{order}"
    return "so long an integer" if isinstance(value, int) else type(value).__name__


def check_transformation(tx: object) -> None:
    """Hold what a wrapper was given to be a transformation.

    Raises:
        TypeError: if it is none.
    """
    if not (callable(getattr(tx, "init", None)) and callable(getattr(tx, "update", None))):
        raise TypeError(f"tx must be an optax transformation, not {type(tx).__name__}")


def check_count(value: Array) -> None:
    """Hold the count of steps to an integer scalar.

    Raises:
        TypeError: if the count is another array.
    """
    try:
        chex.assert_rank(value, 0)
        chex.assert_type(value, int)
    except AssertionError as error:
        raise TypeError(
            f"the state's count must be an integer scalar, not {_describe(value)}; to vmap over "
            "states, vmap tx.update"
        ) from error


def split_entries(
    entries: Mapping[str, PyTree], own: tuple[str, ...]
) -> tuple[dict[str, PyTree], dict[str, PyTree]]:
    """Return a leaf's own entries, and those of other leaves, which must be empty here.

    Raises:
        ValueError: if the leaf has arrays under an entry that is not its own, or lacks its own.
    """
    others = {n: entry for n, entry in entries.items() if n not in own}
    for name, entry in others.items():
        if jax.tree.leaves(entry):
            raise ValueError(
                f"the state holds {name} {_describe(entry)} for this leaf, which storage now keeps "
                f"as {', '.join(own)}; storage must give a leaf the same format at every step"
            )
    if missing := [n for n in own if n not in entries]:
        raise ValueError(
            f"the state holds no {', '.join(missing)}, as which storage keeps this leaf; storage "
            "must give a leaf the same format at every step"
        )
    return {n: entries[n] for n in own}, others


def check_present(entries: Mapping[str, PyTree]) -> None:
    """Refuse a gradient whose parameter is None.

    Raises:
        ValueError: if nothing is kept for the gradient.
    """
    if any(entry is None for entry in entries.values()):
        raise ValueError("the parameter was None at tx.init, but this gradient is not")


def check_layers(arrays: PyTree, layers: int) -> None:
    """Hold the arrays of a leaf to their leading axes that are layers.

    Raises:
        ValueError: if an array has fewer axes, or other layers than the others.
    """
    leading = {jnp.shape(x)[:layers] for x in jax.tree.leaves(arrays)}
    if len(leading) > 1 or any(len(shape) < layers for shape in leading):
        shapes = ", ".join(str(jnp.shape(x)) for x in jax.tree.leaves(arrays))
        raise ValueError(
            f"stacked says that the first {layers} axes are layers, but the arrays of this leaf "
            f"have shapes {shapes}"
        )


def check_shapes(g: Array, p: Array | None, others: Mapping[str, Array]) -> None:
    """Hold a gradient, its parameter and other arrays to one shape.

    Raises:
        ValueError: if shapes differ.
    """
    named = {"the gradient": g, **({} if p is None else {"the parameter": p}), **others}
    try:
        chex.assert_equal_shape(list(named.values()))
    except AssertionError as error:
        shapes = ", ".join(f"{n} {a.shape}" for n, a in named.items())
        raise ValueError(
            f"shapes differ: {shapes}; pass gradients of the parameters that tx.init saw"
        ) from error


def check_kinds(g: Array, p: Array | None, others: Mapping[str, Array]) -> None:
    """Hold a gradient, its parameter and other arrays to be all real or all complex.

    Raises:
        TypeError: if real and complex meet, for an imaginary part would be lost.
    """
    named = {"the gradient": g, **({} if p is None else {"the parameter": p}), **others}
    if len({jnp.iscomplexobj(a) for a in named.values()}) > 1:
        dtypes = ", ".join(f"{n} {a.dtype}" for n, a in named.items())
        raise TypeError(f"real and complex meet: {dtypes}; make them all real or all complex")


def check_leaf(
    g: Array,
    p: Array | None,
    decoded: Mapping[str, Array],
    moments: Mapping[str, Any],
    floors: Mapping[str, float | None],
    dtype: np.dtype[Any],
) -> None:
    """Hold a gradient, its parameter, its moments and the rule's constants to one another.

    Args:
        g: the gradient.
        p: the parameter, or None.
        decoded: the moments before the step.
        moments: the rule's `Moment`s.
        floors: the rule's constants that keep a quotient finite, such as `eps`, by name.
        dtype: the real dtype in which the rule computes.

    Raises:
        ValueError: if shapes differ, or a constant such as `eps` is positive but vanishes.
        TypeError: if real and complex meet, for an imaginary part would be lost.
    """
    check_shapes(g, p, {n: m for n, m in decoded.items() if moments[n].over is None})
    for name, m in decoded.items():
        if moments[name].over is not None and m.shape != (own := moments[name].kept_shape(g.shape)):
            raise ValueError(
                f"{name} has shape {m.shape}, and of a gradient of shape {g.shape} it has {own}; "
                "pass gradients of the parameters that tx.init saw"
            )
    check_kinds(g, p, {n: m for n, m in decoded.items() if moments[n].signed})
    tiny = float(jnp.finfo(dtype).tiny)
    for name, value in floors.items():
        if value is not None and 0 < value < tiny:
            raise ValueError(
                f"{name}={value} is 0 in {dtype}, in which it would be added; "
                f"use at least {tiny:.3g}, or {name}=0 if none is wanted"
            )


def check_step(
    update: Array, g: Array, kept: Mapping[str, PyTree], encoded: Mapping[str, PyTree]
) -> None:
    """Hold a step to its gradient's shape, and what will be stored to what was stored.

    Raises:
        ValueError: if the rule's step has another shape, or a state from elsewhere has other
            entries, shapes or dtypes than the storage writes.
    """
    try:
        chex.assert_trees_all_equal_shapes_and_dtypes(kept, encoded)
    except AssertionError as error:
        say = lambda tree: ", ".join(f"{n} {_describe(a)}" for n, a in tree.items())  # noqa: E731
        raise ValueError(
            f"the state holds {say(encoded)}, but this optimiser stores {say(kept)}; convert an "
            "optax state with adam_optax.convert.from_optax(state), take a state to another "
            "storage with adam_optax.convert.change_storage, or set mu_dtype, nu_dtype or storage"
        ) from error
    if update.shape != g.shape:
        raise ValueError(f"the rule's step has shape {update.shape}, its gradient {g.shape}")


def has_explicit_sharding(x: ArrayLike) -> TypeGuard[Array]:
    """Tell whether the type of an array says where the array is."""
    place = getattr(jax.typeof(x), "sharding", None)
    return place is not None and AxisType.Explicit in place.mesh.axis_types


def _describe(entry: PyTree) -> str:
    return "+".join(f"{a.dtype}{list(a.shape)}" for a in jax.tree.leaves(entry))


def check_parameters(params: PyTree, frozen: Sequence[bool] | None = None) -> None:
    """Hold every parameter that is trained to a dtype that can be optimised.

    Args:
        params: the parameters.
        frozen: which of their leaves are not trained; None: none of them.

    Raises:
        TypeError: if a parameter is neither floating nor complex.
    """
    leaves = jax.tree.leaves(params)
    frozen = [False] * len(leaves) if frozen is None else frozen
    if all(still or _trainable(p) for p, still in zip(leaves, frozen, strict=True)):
        return  # without paths: they are slow to make and seldom needed
    for (path, p), still in zip(jax.tree.leaves_with_path(params), frozen, strict=True):
        if not (still or _trainable(p)):
            what = f"is {_kind(p)}" if not isinstance(p, Array) else f"has dtype {p.dtype}"
            raise TypeError(
                f"params{jax.tree_util.keystr(path)} {what}, which has no gradient; "
                "make it floating, or leave it out with optax.masked or adam_optax.FROZEN"
            )


def _trainable(p: ArrayLike) -> bool:
    """Tell whether JAX takes a parameter, and the parameter's dtype has a gradient."""
    try:
        return not isinstance(p, np.ma.MaskedArray) and bool(
            jnp.issubdtype(jnp.result_type(p), jnp.inexact)
        )
    except TypeError:  # of a byte order or a dtype that JAX does not have
        return False


def flatten_like(
    treedef: PyTreeDef, updates: PyTree, trees: Mapping[str, PyTree]
) -> dict[str, list[Any]]:
    """Return each tree's entries at the leaves of `updates`, where None counts as a leaf.

    Raises:
        ValueError: if a tree has another structure; the message names the first path that differs.
    """
    try:
        return {name: treedef.flatten_up_to(tree) for name, tree in trees.items()}
    except ValueError as error:
        raise ValueError(_difference(updates, trees)) from error


def _difference(updates: PyTree, trees: Mapping[str, PyTree]) -> str:
    here = _paths(updates)
    for name, tree in trees.items():
        there = _paths(tree)
        for path in sorted(here ^ there):
            one, other = ("updates", name) if path in here else (name, "updates")
            if not _below_none(path, updates):
                return (
                    f"updates and {name} are different trees: {path or 'the root'} is in {one} "
                    f"but not in {other}; pass gradients of the parameters that tx.init saw"
                )
    kinds = {"updates": updates, **trees}
    named = ", ".join(f"{name} {jax.tree.structure(tree)}" for name, tree in kinds.items())
    return f"these trees have the same paths but different nodes: {named}"


def _paths(tree: PyTree) -> set[str]:
    is_none = lambda x: x is None  # noqa: E731
    leaves = jax.tree.leaves_with_path(tree, is_leaf=is_none)
    return {jax.tree_util.keystr(path) for path, _ in leaves}


def _below_none(path: str, updates: PyTree) -> bool:
    is_none = lambda x: x is None  # noqa: E731
    nones = [p for p, x in jax.tree.leaves_with_path(updates, is_leaf=is_none) if x is None]
    return any(path.startswith(jax.tree_util.keystr(p)) for p in nones)


def refuse_complex(m: Array, what: str) -> None:
    """Refuse complex moments.

    Raises:
        TypeError: if the moment is complex.
    """
    if jnp.iscomplexobj(m):
        raise TypeError(f"{what} cannot hold a complex moment; use adam_optax.storage.dense()")


def check_seed(seed: int) -> int:
    """Return a seed, or refuse it.

    Raises:
        TypeError: if the seed is no int.
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed must be an int, not {seed!r}")
    return seed
