"""Where moments and counts are in a state: the only module here that walks one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adam_optax._engine.tree import STATES, ScaleByState, unpack
from adam_optax.convert._errors import ConversionError

_STORAGE = "adam_optax.storage"


def walk(state: Any, moments: Callable[[str, Any], Any], count: Callable[[Any], Any]) -> Any:
    """The state with other moments and counts.

    Args:
        state: any tree.
        moments: from the name of an entry and its tree over the parameters to the new tree.
        count: from a count of steps, an integer scalar, to the new one.
    """

    def replace(node: Any) -> Any:
        if not _is_counted(node):
            return node
        new = jax.tree.map(count, node.count)  # Flax may have wrapped it
        if isinstance(node, ScaleByState):
            return ScaleByState(new, {n: moments(n, tree) for n, tree in node.moments.items()})
        if isinstance(node, STATES):
            return node._replace(count=new, **{n: moments(n, t) for n, t in unpack(node).items()})
        rest = {n: getattr(node, n) for n in node._fields if n != "count"}
        return node._replace(count=new, **{n: walk(x, moments, count) for n, x in rest.items()})

    return jax.tree.map(replace, state, is_leaf=_is_counted)


def _is_counted(node: Any) -> bool:
    """A state of ours, or a NamedTuple whose `count` is a number of steps."""
    if isinstance(node, STATES):
        return True
    if not isinstance(node, tuple) or "count" not in getattr(node, "_fields", ()):
        return False
    counts = jax.tree.leaves(node.count)
    return [_is_integer(c) and np.ndim(c) == 0 for c in counts] == [True]


def _is_integer(x: Any) -> bool:
    return bool(jnp.issubdtype(getattr(x, "dtype", type(x)), jnp.integer))


def key(entry: str, path: Any) -> str:
    """The name of a moment of a parameter: `mu/dense/kernel`."""
    where = jax.tree_util.keystr(path, simple=True, separator="/")
    return f"{entry}/{where}" if where else entry


def parameter(name: str) -> str:
    """The parameter's part of such a name."""
    return name.partition("/")[2]


def slots(state: Any) -> tuple[dict[str, Any], list[Any]]:
    """The moments of a state by name, and all its counts, those of the moments first.

    Raises:
        ConversionError: if there are none, two of one name, or some that are not dense arrays.
    """
    found: dict[str, Any] = {}
    counts: list[Any] = []

    def collect(entry: str, tree: Any) -> Any:
        for path, leaf in jax.tree.leaves_with_path(tree, is_leaf=_is_packed):
            _add(found, key(entry, path), leaf)
        return tree

    def step(count: Any) -> Any:
        counts.append(count)
        return count

    walk(state, collect, step)
    is_state = lambda x: isinstance(x, STATES)  # noqa: E731
    if not any(map(is_state, jax.tree.leaves(state, is_leaf=is_state))):
        raise ConversionError(
            f"no moments in this {type(state).__name__}; pass the state that tx.init(params) of an "
            "optimiser of adam_optax makes, alone or inside optax's chains and wrappers"
        )
    _check_counts(counts)
    _check_shapes(found)
    return found, counts


def _add(found: dict[str, Any], name: str, leaf: Any) -> None:
    if name in found:
        raise ConversionError(
            f"two moments of the state are called {name}; pass one of the states that hold them, "
            "or give the parameters paths that differ"
        )
    dense = hasattr(leaf, "shape") and jnp.issubdtype(leaf.dtype, jnp.inexact)
    if _is_packed(leaf) or not dense:
        kept = "packed" if _is_packed(leaf) else getattr(leaf, "dtype", type(leaf).__name__)
        raise ConversionError(_packed(name, f"({kept})"))
    found[name] = leaf


def _is_packed(node: Any) -> bool:
    return type(node).__module__.startswith(_STORAGE)


def _packed(name: str, how: str) -> str:
    return (
        f"{name} is not kept as one floating array of the parameter's shape {how}; convert with "
        "dense storage: make tx without storage="
    )


def _check_counts(counts: list[Any]) -> None:
    for count in counts:
        if np.shape(count) != () or not _is_integer(count):
            raise ConversionError(
                f"a count of steps is {getattr(count, 'dtype', type(count).__name__)}"
                f"{list(np.shape(count))} where an integer scalar is expected; of vmapped "
                "states, convert one at a time"
            )


def _check_shapes(found: dict[str, Any]) -> None:
    """Entries of a parameter have one shape; scalars are a number per parameter."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, leaf in found.items():
        if leaf.shape and shapes.setdefault(parameter(name), leaf.shape) != leaf.shape:
            other = shapes[parameter(name)]
            raise ConversionError(_packed(name, f"({list(leaf.shape)} beside {list(other)})"))
