"""What users can get wrong, said in terms of what they wrote and what to write instead.

Arguments are checked where a transformation is made; trees, shapes and dtypes while it is traced,
once per distinct leaf, so that the compiled step contains no check.
"""

from collections.abc import Hashable, Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

RATES = frozenset({"b1", "b2", "b3", "decay", "rho", "momentum"})
SIZES = frozenset(
    {"eps", "eps_root", "learning_rate", "weight_decay", "max_norm", "clipping_threshold"}
)
OPTIONAL = frozenset({"momentum", "clipping_threshold"})
STARTS = frozenset({"initial_accumulator_value", "initial_scale"})
SCHEDULES = (RATES | SIZES) - {"max_norm"}


def hyper(name: str, value: Any) -> Any:
    """A hyper-parameter as it will be used: NumPy's scalars as Python numbers, in range.

    Raises:
        ValueError: if a known number is out of range, or an array is not a scalar.
        TypeError: if a known number is not a number, a schedule or a scalar array, or another
            parameter of a variant is not hashable, as the constants of compiled steps must be.
    """
    if isinstance(value, np.generic | np.ndarray) and np.ndim(value) == 0:
        value = value.item()
    if name in STARTS and callable(value):
        raise TypeError(f"{name} must be a number, not a schedule: it is where the moments start")
    if name in OPTIONAL and value is None:
        return value
    if name not in RATES | SIZES or (callable(value) and name in SCHEDULES):
        if isinstance(value, Hashable | Array):
            return value
        raise TypeError(f"{name} must be hashable, not {type(value).__name__}: use a tuple, say")
    if isinstance(value, Array):
        return scalar(name, value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(
            f"{name} must be a number, a schedule (count -> value) or a scalar array, "
            f"not {type(value).__name__}"
        )
    if name in RATES and not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1), not {value}: it is the share of the past kept")
    if name in SIZES and not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be finite and not negative, not {value}")
    if name == "max_norm" and value == 0:
        raise ValueError("max_norm must be positive: 0 would stop the training")
    return value


def scalar(name: str, value: Any) -> Array:
    """A number of the current step as a scalar array.

    Raises:
        ValueError: if it has a shape.
    """
    number = jnp.asarray(value)
    if number.shape != ():
        raise ValueError(
            f"{name} must be a scalar, not an array of shape {number.shape}; for a value per "
            "parameter group use optax.partition"
        )
    return number


def underflow(constants: Mapping[str, Any], dtype: Any) -> None:
    """Refuse an eps that vanishes in the precision in which it would be added.

    Raises:
        ValueError: if `eps` or `eps_root` is positive but not a normal number of that dtype.
    """
    tiny = float(jnp.finfo(dtype).tiny)
    for name in ("eps", "eps_root"):
        value = constants.get(name, 0)
        if 0 < value < tiny:
            raise ValueError(
                f"{name}={value} is 0 in {dtype}, in which it would be added; "
                f"use at least {tiny:.3g}, or {name}=0 if none is wanted"
            )


def count(value: Array) -> None:
    """Hold the count of steps to an integer scalar.

    Raises:
        TypeError: if it is another array.
    """
    try:
        chex.assert_rank(value, 0)
        chex.assert_type(value, int)
    except AssertionError as error:
        raise TypeError(
            f"the state's count must be an integer scalar, not {_describe(value)}; to vmap over "
            "states, vmap tx.update"
        ) from error


def split(
    entries: Mapping[str, Any], own: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A leaf's own entries, and the others', in whose place there is nothing.

    Raises:
        ValueError: if something is kept for the leaf under an entry that is not its own.
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


def present(entries: Mapping[str, Any]) -> None:
    """Refuse a gradient whose parameter is None.

    Raises:
        ValueError: if nothing is kept for it.
    """
    if any(entry is None for entry in entries.values()):
        raise ValueError("the parameter was None at tx.init, but this gradient is not")


def leaf(g: Array, p: Array | None, moments: Mapping[str, Array]) -> None:
    """Hold a gradient, its parameter and its moments to one shape.

    Raises:
        ValueError: if they differ.
    """
    named = {"the gradient": g, **({} if p is None else {"the parameter": p}), **moments}
    try:
        chex.assert_equal_shape(list(named.values()))
    except AssertionError as error:
        shapes = ", ".join(f"{n} {a.shape}" for n, a in named.items())
        raise ValueError(
            f"shapes differ: {shapes}; pass gradients of the parameters that tx.init saw"
        ) from error


def kind(g: Array, p: Array | None, signed: Mapping[str, Array]) -> None:
    """Hold a gradient, its parameter and its signed moments to be all real or all complex.

    Raises:
        TypeError: if they are not, for an imaginary part would be lost.
    """
    named = {"the gradient": g, **({} if p is None else {"the parameter": p}), **signed}
    if len({jnp.iscomplexobj(a) for a in named.values()}) > 1:
        dtypes = ", ".join(f"{n} {a.dtype}" for n, a in named.items())
        raise TypeError(f"real and complex meet: {dtypes}; make them all real or all complex")


def step(update: Array, g: Array) -> None:
    """Hold a rule's step to its gradient's shape.

    Raises:
        ValueError: if it has another.
    """
    if update.shape != g.shape:
        raise ValueError(f"the rule's step has shape {update.shape}, its gradient {g.shape}")


def kept(new: Any, old: Any) -> None:
    """Hold what will be stored to the structure, shapes and dtypes of what was stored.

    Raises:
        ValueError: if a state from elsewhere does not fit the storage.
    """
    try:
        chex.assert_trees_all_equal_shapes_and_dtypes(new, old)
    except AssertionError as error:
        say = lambda tree: ", ".join(f"{n} {_describe(a)}" for n, a in tree.items())  # noqa: E731
        raise ValueError(
            f"the state holds {say(old)}, but this optimiser stores {say(new)}; convert an optax "
            "state with adam_optax.convert.from_optax(state), or set mu_dtype, nu_dtype or storage"
        ) from error


def _describe(entry: Any) -> str:
    return "+".join(f"{a.dtype}{list(a.shape)}" for a in jax.tree.leaves(entry))


def parameters(params: Any) -> None:
    """Hold every parameter to a dtype that can be optimised.

    Raises:
        TypeError: if one is neither floating nor complex.
    """
    for p in jax.tree.leaves(params):  # no paths yet: they are slow to make and seldom needed
        if not jnp.issubdtype(jnp.result_type(p), jnp.inexact):
            break
    else:
        return
    for path, p in jax.tree.leaves_with_path(params):
        if not jnp.issubdtype(dtype := jnp.result_type(p), jnp.inexact):
            raise TypeError(
                f"params{jax.tree_util.keystr(path)} has dtype {dtype}, which has no gradient; "
                "make it floating, or leave it out with optax.masked or optax.partition"
            )


def columns(treedef: Any, updates: Any, trees: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Each tree's entries at the leaves of `updates`, a None among which is a leaf.

    Raises:
        ValueError: if a tree has another structure; it names the first path that differs.
    """
    try:
        return {name: treedef.flatten_up_to(tree) for name, tree in trees.items()}
    except ValueError as error:
        raise ValueError(_difference(updates, trees)) from error


def _difference(updates: Any, trees: Mapping[str, Any]) -> str:
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


def _paths(tree: Any) -> set[str]:
    is_none = lambda x: x is None  # noqa: E731
    leaves = jax.tree.leaves_with_path(tree, is_leaf=is_none)
    return {jax.tree_util.keystr(path) for path, _ in leaves}


def _below_none(path: str, updates: Any) -> bool:
    is_none = lambda x: x is None  # noqa: E731
    nones = [p for p, x in jax.tree.leaves_with_path(updates, is_leaf=is_none) if x is None]
    return any(path.startswith(jax.tree_util.keystr(p)) for p in nones)
