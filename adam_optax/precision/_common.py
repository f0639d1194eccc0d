"""What the links share: the walk over the leaves, what passes through and what is refused."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from adam_optax._core import checks

LOW = ("bfloat16", "float16")


def is_low(p: Any) -> bool:
    """Whether a parameter is of sixteen bits."""
    return jnp.result_type(p).name in LOW


def accept(params: Any, link: str, low: tuple[str, ...] = LOW, why: str = "round") -> None:
    """Hold parameters to those that a link updates and those that it lets pass.

    Raises:
        TypeError: naming the tree path of one that it can do neither with.
    """
    checks.check_parameters(params)
    for path, p in jax.tree.leaves_with_path(params):
        dtype = jnp.result_type(p)
        if jnp.finfo(dtype).bits < 32 and dtype.name not in low:
            raise TypeError(
                f"params{jax.tree_util.keystr(path)} has dtype {dtype}, which {link} cannot {why}; "
                f"use {' or '.join(low)}, or leave it out with optax.masked"
            )


def beside(make: Callable[[Any], Any], params: Any) -> Any:
    """What is kept of each sixteen-bit parameter; nothing of the others."""
    return jax.tree.map(lambda p: make(p) if is_low(p) else optax.MaskedNode(), params)


def walk(
    link: str, leaf: Callable[..., tuple[Any, Any]], updates: Any, params: Any, **kept: Any
) -> tuple[Any, Any]:
    """New updates, and a tree of what is kept.

    Args:
        link: its name.
        leaf: from the path, update, parameter and what is kept of it to a new update and that.
        updates: the tree of updates; None leaves what is kept as it is.
        params: the parameters.
        **kept: the tree of what is kept, by its name, if there is one.

    Raises:
        ValueError, TypeError: for what does not fit, naming the tree path.
    """
    if params is None:
        raise ValueError(f"{link} needs the parameters: tx.update(updates, state, params)")
    rows, treedef = jax.tree.flatten_with_path(updates, is_leaf=lambda x: x is None)
    columns = checks.flatten_like(treedef, updates, {"params": params, **kept})
    olds = [columns[n] for n in kept] or [[None] * len(rows)]
    done = [_one(leaf, *row) for row in zip(rows, columns["params"], *olds, strict=True)]
    new, keep = ([pair[i] for pair in done] for i in (0, 1))
    return jax.tree.unflatten(treedef, new), jax.tree.unflatten(treedef, keep)


def _one(leaf: Callable[..., Any], row: tuple[Any, Any], p: Any, old: Any) -> tuple[Any, Any]:
    path, u = row
    if u is None:
        return None, old
    with _at(path):
        checks.check_present({"params": p})
        if not is_low(p):
            return u, old
        checks.check_shapes(u, p, {})
        checks.check_kinds(u, p, {})
        return leaf(path, u, p, old)  # type: ignore[no-any-return]


@contextlib.contextmanager
def _at(path: Any) -> Iterator[None]:
    place = f"updates{jax.tree_util.keystr(path)}"
    try:
        yield
    except Exception as error:
        if type(error) in (TypeError, ValueError):
            raise type(error)(f"{place}: {error}") from error
        error.add_note(f"at {place}")
        raise


def present(old: Any, link: str, u: Array) -> None:
    """Hold what is kept of a sixteen-bit parameter to an array of its shape.

    Raises:
        ValueError: if there is none, or it has another shape.
    """
    shape, wanted = getattr(old, "shape", None), jnp.shape(u)
    if shape != wanted:
        found = "nothing" if shape is None else f"an array of shape {shape}"
        raise ValueError(
            f"{link} kept {found} of this parameter of shape {wanted}; its dtype or shape is not "
            "what tx.init saw: make the state anew with tx.init(params)"
        )
