"""Clip gradients by their global norm, or each leaf by its size."""

import functools as ft
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from adam_optax._core.by_path import ByPath, path_name
from adam_optax._core.checks import Kind, check_layers, hyperparameter
from adam_optax._core.numerics import abs_sq, compute_dtype, safe_sqrt, scaled
from adam_optax._engine import parts
from adam_optax._engine.stacked import Stacked, layers_by_path
from adam_optax._engine.tree import FACTOR, tag_update
from adam_optax._transform import Transformation, named


def clip_by_global_norm(max_norm: float | Array) -> Transformation:
    """Scale all gradients by `min(1, max_norm / norm)`, `norm = sqrt(sum |g|^2)` over all leaves.

    Use it before an optimiser, in `optax.chain`, where rare gradients are very large. Adam divides
    by the size of its gradients, but one huge gradient spoils its second moment for a long time.

    The result has a norm of at most `max_norm`, up to rounding, whatever the gradients are: a
    gradient whose norm is not finite, because it holds NaN or inf or its squares overflow, becomes
    zero (optax's becomes NaN, or zero with NaN in it). A zero gradient stays zero. Squares are
    summed in at least float32, the factor is one scalar, and each gradient keeps its dtype. In
    `adam_optax.step`, right before an optimiser of this library, no clipped gradient is written:
    the optimiser's step multiplies by the factor.

    Args:
        max_norm: the largest norm, a positive number or a scalar array.

    Returns:
        A transformation without state.

    Raises:
        ValueError: if `max_norm` is not positive and finite.
        TypeError: if `max_norm` is neither a number nor a scalar array.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.clip_by_global_norm(1.0)
    >>> updates, _ = tx.update(jnp.array([3.0, 4.0]), tx.init(None))
    >>> updates
    Array([0.6, 0.8], dtype=float32)

    Reference: Pascanu et al. 2013, "On the difficulty of training recurrent neural networks".
    """
    limit = hyperparameter("max_norm", max_norm, Kind.POSITIVE, schedule=False)

    def init(params: Any) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def factor(updates: Any, state: Any) -> tuple[Array, Any]:
        return _clip_factor(global_norm(updates), limit), state

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        del params, extra_args
        by, state = factor(updates, state)
        return jax.tree.map(lambda g: _scaled(g, by), updates), state

    setattr(tag_update(update, "clip_by_global_norm"), FACTOR, factor)
    tx = Transformation(init, update)
    return named(tx, "clip_by_global_norm", max_norm=max_norm)


def clip_by_block_rms(
    threshold: float | Array, *, stacked: Stacked | None = None
) -> Transformation:
    """Divide each gradient by `max(1, rms / threshold)`, with the root mean square of its leaf.

    Use it before an optimiser, in `optax.chain`, where single layers have gradients that are too
    large; the global norm makes all layers' gradients shorter for the sake of one. optax has a link
    of the same name, which differs in what follows.

    A leaf whose root mean square is not finite becomes zero, a zero leaf stays zero. Squares are
    summed in at least float32, and each gradient keeps its dtype. `ao.release` accepts this clip,
    because it needs no other leaf's gradient.

    Args:
        threshold: the largest root mean square of a leaf, a positive number or a scalar array.
        stacked: how many leading axes are layers, each of which is clipped by itself; see
            `ao.scale_by`.

    Returns:
        A transformation without state.

    Raises:
        ValueError: if `threshold` is not positive and finite; if a leaf has too few axes.
        TypeError: if `threshold` is neither a number nor a scalar array.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.clip_by_block_rms(1.0)
    >>> grads = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([0.5])}
    >>> updates, _ = tx.update(grads, tx.init(None))
    >>> print(updates["a"], updates["b"])
    [0.84852815 1.1313709 ] [0.5]

    Reference: Shazeer & Stern 2018, "Adafactor", section 6, of updates.
    """
    limit = hyperparameter("threshold", threshold, Kind.POSITIVE, schedule=False)
    layers = layers_by_path(stacked)

    def init(params: Any) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        del params, extra_args
        clip = lambda g, n: scale_layers(g, _clip_factor(layer_rms(g, n), limit))  # noqa: E731
        return map_with_layers("clip_by_block_rms", clip, updates, layers), state

    tx = Transformation(init, tag_update(update, "clip_by_block_rms"))
    return named(tx, "clip_by_block_rms", threshold=threshold, stacked=stacked)


_scaled = jax.jit(scaled)


def global_norm(updates: Any) -> Array:
    """Return `sqrt(sum |g|^2)` over all leaves, in at least float32; 0 without leaves."""
    norm: Array = _root_of_sum([sum_of_squares(g) for g in jax.tree.leaves(updates)])
    return norm


@jax.jit
def sum_of_squares(g: Array) -> Array:
    """Return `sum |g|^2` over a leaf, in at least float32."""
    # XLA would write the squares to memory, where the step needs the same ones for nu.
    half = 0.5 * g.astype(compute_dtype(g))
    return 4 * jnp.sum(abs_sq(half))


# --- Leaf by leaf --------------------------------------------------------------------------------


def map_with_layers(
    link: str, f: Callable[..., Any], tree: Any, layers: ByPath | None, *rest: Any
) -> Any:
    """Map a function of a leaf, and of how many of the leaf's leading axes are layers.

    Args:
        link: the name of the link, for errors.
        f: takes the leaf, the number, and the leaves of `rest`.
        tree: the tree.
        layers: the numbers by path; None: 0.
        *rest: further trees of the same structure.
    """
    treedef: Any
    leaves, treedef = jax.tree.flatten(tree)
    others = [treedef.flatten_up_to(other) for other in rest]
    found = []
    for i, (leaf, n) in enumerate(zip(leaves, _numbers(link, tree, layers), strict=True)):
        check_layers(leaf, n)
        found.append(f(leaf, n, *(other[i] for other in others)))
    return jax.tree.unflatten(treedef, found)


def _numbers(link: str, tree: Any, layers: ByPath | None) -> list[int]:
    """Return for each leaf how many of its leading axes are layers.

    Raises:
        ValueError: if the step is taken layer by layer, and a leaf's layers are not known as such.
    """
    part = parts.current.get()  # None but where a part of the whole tree takes its step
    whole = tree if part is None else part.widened(tree)
    numbers = iter([] if layers is None else layers.resolve(whole, None, False))
    is_none = lambda x: x is None  # noqa: E731
    here = jax.tree.leaves(tree, is_leaf=is_none)
    found = []
    for (path, x), leaf in zip(
        jax.tree.leaves_with_path(whole, is_leaf=is_none), here, strict=True
    ):
        n = 0 if x is None or layers is None else next(numbers)
        if leaf is None:
            continue
        if part is not None and part.layer is not None and n == 0:
            raise ValueError(f"{link} of {path_name(path)}: {parts.MIXES}")
        found.append(n)
    return found


@ft.partial(jax.jit, static_argnums=1)
def layer_norm(g: Array, layers: int) -> Array:
    """Return `sqrt(sum |g|^2)` of each layer of a leaf, in at least float32."""
    wide = g.astype(compute_dtype(g))
    norm: Array = safe_sqrt(jnp.sum(abs_sq(wide), axis=tuple(range(layers, g.ndim))))
    return norm


def layer_rms(g: Array, layers: int) -> Array:
    """Return the root mean square of each layer of a leaf."""
    rms: Array = layer_norm(g, layers) / max(math.prod(g.shape[layers:]), 1) ** 0.5
    return rms


@jax.jit
def scale_layers(g: Array, by: Array) -> Array:
    """Return a leaf whose layers are each multiplied by a factor; zero for a factor of 0."""
    return scaled(g, jnp.expand_dims(by, tuple(range(by.ndim, g.ndim))))


@jax.jit
def _root_of_sum(sums: list[Array]) -> Array:
    if not sums:
        return jnp.zeros(())
    dtype = compute_dtype(*sums)
    return safe_sqrt(sum((s.astype(dtype) for s in sums), jnp.zeros((), dtype)))


@jax.jit
def _clip_factor(norm: Array, limit: Array | float) -> Array:
    """Return `min(1, limit / norm)`, and 0 if the norm is not finite."""
    limit = jnp.asarray(limit, norm.dtype)
    return jnp.where(jnp.isfinite(norm), limit / jnp.maximum(norm, limit), 0)
