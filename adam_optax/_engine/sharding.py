"""Where a state is: beside its parameters, under each of JAX's ways of saying where that is.

Under automatic sharding a tracer does not know its place, and moments that begin as constants
would be on every device in full; XLA is told that they are laid out as the parameter. Under
explicit sharding each type carries its place, and a format's own arrays (a dither, a table) have
none; the step of a leaf is left to XLA, and its results are put where the arguments were.
"""

import functools as ft
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import AxisType, NamedSharding, PartitionSpec


def beside(x: Array, like: Any) -> Array:
    """An array of the same shape, laid out over devices as another is."""
    if not isinstance(like, jax.core.Tracer):
        return x
    # Of no effect but that XLA lays the two out alike. (`shard_alike` takes leaves of one shape
    # for one group, and JAX caches its lowering.)
    return jnp.where(like == like, x, x)


def is_explicit(x: Any) -> bool:
    """Whether the type of an array says where it is."""
    place = getattr(jax.typeof(x), "sharding", None)
    return place is not None and AxisType.Explicit in place.mesh.axis_types


def left_to_xla(step: Callable[..., Any], outputs: Any) -> Callable[..., Any]:
    """The same function, whose results are laid out as these arrays are.

    It is told as `where` how the first of them is.
    """
    places = jax.tree.map(lambda x: jax.typeof(x).sharding, outputs)
    told = ft.partial(step, where=jax.tree.leaves(places)[0])
    run: Callable[..., Any] = jax.sharding.auto_axes(told, out_sharding=places)
    return run


def parts(place: NamedSharding, axis: int) -> int:
    """Into how many parts an axis of an array is divided."""
    names = (*place.spec, *[None] * (axis + 1))[axis]
    return math.prod(
        place.mesh.shape[n] for n in ([names] if isinstance(names, str) else names or ())
    )


def encoded(encode: Callable[..., Any], p: Any, *arguments: Any) -> Any:
    """What a function keeps of a parameter's moments, beside it."""
    if not is_explicit(p):
        return encode(*arguments)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arguments)
    kept = jax.eval_shape(encode, *shapes)
    places = jax.tree.map(lambda x: _beside(x.shape, p), kept)
    return jax.sharding.auto_axes(encode, out_sharding=places)(*arguments)


def _beside(shape: tuple[int, ...], p: Any) -> NamedSharding:
    """The place of what is kept of a parameter: its axes' own, where they are divisible.

    Blocks divide the last axis, factors drop some axes and keep the order of the others.
    """
    place = jax.typeof(p).sharding
    same = len(shape) == p.ndim
    axes = iter(zip(p.shape, (*place.spec, *[None] * p.ndim), strict=False))
    spec = [next(name for n, name in axes if same or n == length) for length in shape]
    kept = NamedSharding(place.mesh, PartitionSpec(*spec))
    fits = [
        s if n % parts(kept, i) == 0 else None
        for i, (n, s) in enumerate(zip(shape, spec, strict=True))
    ]
    return NamedSharding(place.mesh, PartitionSpec(*fits))
