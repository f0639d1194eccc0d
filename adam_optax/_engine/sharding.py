"""Keep a state beside its parameters, under each of JAX's ways of saying where an array is.

Under automatic sharding a tracer does not know its place, and moments that begin as constants
would be on every device in full; XLA is told that they are laid out as the parameter. Under
explicit sharding each type carries its place, and a format's own arrays (a dither, a table) have
none; the step of a leaf is left to XLA, and its results are put where the arguments were.
"""

import functools as ft
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import ArrayLike

from adam_optax._core.checks import has_explicit_sharding
from adam_optax._core.types import PyTree


def with_sharding_like(x: Array, like: ArrayLike) -> Array:
    """Return an array of the same shape, laid out over devices as another array is."""
    if not isinstance(like, jax.core.Tracer):
        return x
    # Of no effect but that XLA lays the two out alike. (`shard_alike` takes leaves of one shape
    # for one group, and JAX caches its lowering.)
    return jnp.where(like == like, x, x)


def under_auto_axes(
    step: Callable[..., PyTree], outputs: PyTree, tell: bool
) -> Callable[..., PyTree]:
    """Return the same function, whose results are laid out as given arrays are.

    Args:
        step: the function.
        outputs: arrays of the results' structure, whose types say where they are.
        tell: whether to call the function with the place of the first array as `where`.
    """
    places = jax.tree.map(lambda x: jax.typeof(x).sharding, outputs)
    told = ft.partial(step, where=jax.tree.leaves(places)[0]) if tell else step
    run: Callable[..., PyTree] = jax.sharding.auto_axes(told, out_sharding=places)
    return run


def shards(place: NamedSharding, axis: int) -> int:
    """Return into how many shards an axis of an array is divided."""
    names = (*place.spec, *[None] * (axis + 1))[axis]
    return math.prod(
        place.mesh.shape[n] for n in ([names] if isinstance(names, str) else names or ())
    )


def encode_sharded(encode: Callable[..., PyTree], p: ArrayLike, *arguments: PyTree) -> PyTree:
    """Return what a function keeps of a parameter's moments, laid out beside the parameter."""
    if not has_explicit_sharding(p):
        return encode(*arguments)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arguments)
    kept = jax.eval_shape(encode, *shapes)
    places = jax.tree.map(lambda x: _place_beside(x.shape, p), kept)
    return jax.sharding.auto_axes(encode, out_sharding=places)(*arguments)


def _place_beside(shape: tuple[int, ...], p: Array) -> NamedSharding:
    """Return the place of what is kept of a parameter: the parameter's axes', where divisible.

    Blocks divide the last axis; factors drop some axes and keep the order of the others.
    """
    place = jax.typeof(p).sharding
    same = len(shape) == p.ndim
    axes = iter(zip(p.shape, (*place.spec, *[None] * p.ndim), strict=False))
    spec = [next(name for n, name in axes if same or n == length) for length in shape]
    kept = NamedSharding(place.mesh, PartitionSpec(*spec))
    fits = [
        s if n % shards(kept, i) == 0 else None
        for i, (n, s) in enumerate(zip(shape, spec, strict=True))
    ]
    return NamedSharding(place.mesh, PartitionSpec(*fits))
