"""Map a link over the leaves of a tree, and check the parameters that the link is given."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.tree_util import KeyPath

from adam_optax._core import checks
from adam_optax._optax_interop import refuse_unless_last

SIXTEEN_BIT = ("bfloat16", "float16")
"""The dtypes of parameters that a link updates."""

LeafUpdate: TypeAlias = Callable[[KeyPath[Any], Array, Array, Any], tuple[Array, Any]]
"""A function from path, update, parameter and state entry of a leaf to a new update and entry."""


def is_16bit(x: Any) -> bool:
    """Return whether an array is bfloat16 or float16."""
    return jnp.result_type(x).name in SIXTEEN_BIT


def check_params(
    params: Any, link: str, dtypes: tuple[str, ...] = SIXTEEN_BIT, verb: str = "round"
) -> None:
    """Refuse parameters that a link can neither update nor pass through.

    Args:
        params: the parameters.
        link: the name of the link, for the message.
        dtypes: the names of the narrow dtypes that the link updates.
        verb: what the link does with them, for the message.

    Raises:
        TypeError: naming the tree path of the first such parameter.
    """
    checks.check_parameters(params)
    for path, p in jax.tree.leaves_with_path(params):
        dtype = jnp.result_type(p)
        if jnp.finfo(dtype).bits < 32 and dtype.name not in dtypes:
            raise TypeError(
                f"params{jax.tree_util.keystr(path)} has dtype {dtype}, which {link} cannot "
                f"{verb}; use {' or '.join(dtypes)}, or leave it out with optax.masked"
            )


def init_entries(init: Callable[[Array], Array], params: Any) -> Any:
    """Return the entry `init(p)` for each 16-bit parameter, `optax.MaskedNode()` for the others."""
    return jax.tree.map(lambda p: init(p) if is_16bit(p) else optax.MaskedNode(), params)


def map_leaves(
    link: str, leaf_update: LeafUpdate, updates: Any, params: Any, **entries: Any
) -> tuple[Any, Any]:
    """Apply a function to every 16-bit leaf; return the new updates and the tree of new entries.

    Args:
        link: the name of the link, for messages.
        leaf_update: computes the new update and the new state entry of one leaf.
        updates: the tree of updates; where one is None, the entry stays as it is.
        params: the parameters.
        **entries: the tree of state entries, under its name for messages; none if the link has no
            entry for each leaf.

    Raises:
        ValueError: without parameters, if a link follows that changes the updates, or, naming the
            tree path, if trees or shapes differ.
        TypeError: naming the tree path, if real and complex meet.
    """
    refuse_unless_last(link)
    if params is None:
        raise ValueError(f"{link} needs the parameters: tx.update(updates, state, params)")
    leaves, treedef = jax.tree.flatten_with_path(updates, is_leaf=lambda x: x is None)
    columns = checks.flatten_like(treedef, updates, {"params": params, **entries})
    (old,) = (columns[name] for name in entries) if entries else ([None] * len(leaves),)
    pairs = [
        _update_leaf(leaf_update, path, u, p, entry)
        for (path, u), p, entry in zip(leaves, columns["params"], old, strict=True)
    ]
    new_updates, new_entries = ([pair[i] for pair in pairs] for i in (0, 1))
    return jax.tree.unflatten(treedef, new_updates), jax.tree.unflatten(treedef, new_entries)


def _update_leaf(
    leaf_update: LeafUpdate, path: KeyPath[Any], u: Array | None, p: Array | None, entry: Any
) -> tuple[Array | None, Any]:
    if u is None:
        return None, entry
    with _raise_at(path):
        checks.check_present({"params": p})
        assert p is not None
        if not is_16bit(p):
            return u, entry
        checks.check_shapes(u, p, {})
        checks.check_kinds(u, p, {})
        return leaf_update(path, u, p, entry)


@contextlib.contextmanager
def _raise_at(path: KeyPath[Any]) -> Iterator[None]:
    """Say in every error at which path of the updates the error was raised."""
    place = f"updates{jax.tree_util.keystr(path)}"
    try:
        yield
    except Exception as error:
        if type(error) in (TypeError, ValueError):
            raise type(error)(f"{place}: {error}") from error
        error.add_note(f"at {place}")
        raise


def check_entry(entry: Any, link: str, u: Array) -> None:
    """Hold the state entry of a 16-bit parameter to an array of the parameter's shape.

    Raises:
        ValueError: if the state has no array for the parameter, or one of another shape.
    """
    shape, wanted = getattr(entry, "shape", None), jnp.shape(u)
    if shape != wanted:
        found = "nothing" if shape is None else f"an array of shape {shape}"
        raise ValueError(
            f"{link} kept {found} of this parameter of shape {wanted}; its dtype or shape is not "
            "what tx.init saw: make the state anew with tx.init(params)"
        )
