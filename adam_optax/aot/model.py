"""Read the shapes of a user's model from an orbax checkpoint or from the user's own function.

Of a checkpoint only the metadata is read: no array is loaded and nothing is unpickled. A training
step of the user's own is taken from a function, too.
"""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from adam_optax._core.user_code import UserCodeError, user_function


class ModelError(ValueError):
    """Report a model whose parameters cannot be read; the message says why."""


def from_function(name: str) -> optax.Params:
    """Return the shapes of the tree that the function `module:function` returns.

    The module's code is run: it is imported, from the current directory too, after all other
    places. The function is called under `jax.eval_shape`, so that a model is described and not
    allocated.

    Args:
        name: `module:function`, a function without arguments that returns a tree of arrays or of
            `jax.ShapeDtypeStruct`s.

    Raises:
        ModelError: If there is no such function, or the function does not return such a tree.
    """
    try:
        with user_function(name) as made:
            found = jax.eval_shape(lambda: jax.tree.map(_array, made()))
    except UserCodeError as error:
        raise ModelError(f"--params {name}: {error}") from error
    return _checked(found, f"--params {name}")


def step_from_function(name: str) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return the training step and the shapes of its arguments that `module:function` returns.

    The module's code is run, as in `from_function`, and so is the function.

    Args:
        name: `module:function`, a function without arguments that returns `(step, arguments)`: a
            function under `jax.jit`, and a tuple of trees of arrays or `jax.ShapeDtypeStruct`s.

    Raises:
        ModelError: If there is no such function, or the function does not return such a pair.
    """
    try:
        with user_function(name) as made:
            found = made()
            is_pair = isinstance(found, tuple) and list(map(callable, found)) == [True, False]
            step, arguments = found if is_pair else (None, ())
            shapes = jax.eval_shape(lambda: jax.tree.map(_array, tuple(arguments)))
    except UserCodeError as error:
        raise ModelError(f"--step {name}: {error}") from error
    if not isinstance(step, jax.stages.Wrapped):
        what = "returns a step without jax.jit" if is_pair else f"returns {type(found).__name__}"
        expected = "return jax.jit(step, donate_argnums=...), (params, state, grads)"
        raise ModelError(f"--step {name} {what}; write {expected}, say")
    return step, shapes


def from_checkpoint(path: Path, key: str | None = None) -> optax.Params:
    """Return the shapes of the arrays in an orbax checkpoint.

    Args:
        path: Directory of the checkpoint; for a checkpoint of a `CheckpointManager`, the directory
            of an item of a step, `10/default` say.
        key: Place of the parameters in the checkpoint, such as `params` or `model/params`; `None`:
            the whole checkpoint.

    Raises:
        ModelError: If there is no checkpoint, it has no such key, or no parameters are there.
    """
    tree = _metadata(path)
    for part in key.split("/") if key else ():
        if not (isinstance(tree, dict) and part in tree):
            known = ", ".join(map(str, tree)) if isinstance(tree, dict) else type(tree).__name__
            raise ModelError(f"{path} has no {part!r} of --key {key}; there is {known}")
        tree = tree[part]
    found = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
    return _checked(found, str(path))


def cast(params: optax.Params, dtype: jax.typing.DTypeLike | None) -> optax.Params:
    """Return the same shapes in another dtype, or unchanged if `dtype` is `None`."""
    if dtype is None:
        return params
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.dtype(dtype)), params)


def count(params: optax.Params) -> int:
    """Return the number of parameters."""
    return sum(math.prod(x.shape) for x in jax.tree.leaves(params))


def _metadata(path: Path) -> Any:
    try:
        import orbax.checkpoint as ocp
    except ModuleNotFoundError as error:
        raise ModelError(
            f"--checkpoint needs orbax: pip install orbax-checkpoint ({error})"
        ) from error
    if not path.is_dir():
        raise ModelError(f"--checkpoint {path} is no directory")
    for entry in path.iterdir():  # orbax would wait for a pipe
        if not (entry.is_file() or entry.is_dir()):
            what = "is a pipe, a socket, a device or a broken link"
            raise ModelError(f"--checkpoint {path}: {entry.name} {what}, which is not read")
    logging.getLogger("absl").setLevel(logging.ERROR)  # the errors below say what orbax warns of
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            found = checkpointer.metadata(path.absolute()).item_metadata
    except Exception as error:  # orbax raises errors of many kinds
        raise ModelError(f"--checkpoint {path} cannot be read: {error}") from error
    if found is None:
        near = sorted([*path.glob("*/_METADATA"), *path.glob("*/*/_METADATA")])
        inside = f"; there is one in {near[-1].parent}" if near else ""
        raise ModelError(f"--checkpoint {path} is no orbax checkpoint of a tree{inside}")
    return found.tree


def _checked(params: optax.Params, what: str) -> optax.Params:
    leaves = jax.tree.leaves_with_path(params)
    if not leaves:
        raise ModelError(f"{what} has no parameters")
    for path, leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            name = jax.tree_util.keystr(path)
            raise ModelError(
                f"{what} has {leaf.dtype} at {name}, which no optimiser trains; see --key"
            )
    return params


def _array(x: Any) -> jax.Array:
    if isinstance(x, jax.ShapeDtypeStruct):
        return jnp.zeros(x.shape, x.dtype)
    return jnp.asarray(x)
