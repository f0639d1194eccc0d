"""Keep a state beside its parameters, under each of JAX's ways of saying where an array is.

Under automatic sharding a tracer does not know its place, and moments that begin as constants
would be on every device in full; XLA is told that they are laid out as the parameter. A user may
say what a tracer does not know (`known_places`). Under
explicit sharding each type carries its place, and a format's own arrays (a dither, a table) have
none; the step of a leaf is left to XLA, and its results are put where the arguments were.
"""

import functools as ft
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding
from jax.tree_util import PyTreeDef
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


def known_places(
    shardings: PyTree, leaves: Sequence[PyTree], treedef: PyTreeDef
) -> list[NamedSharding | None]:
    """Return where the leaves of a tree are, as a user says it; None for one device or unknown.

    Args:
        shardings: a tree of `jax.sharding.Sharding`s, `PartitionSpec`s of the mesh that is set, and
            None where nothing is known; or a prefix of such a tree.
        leaves: the parameters, or None.
        treedef: the structure of the parameters, in which None is a leaf.

    Raises:
        TypeError: if something else is in the tree.
        ValueError: if the tree has another structure, or a sharding does not fit its leaf; the
            message names the path.
    """
    tree = jax.tree.unflatten(treedef, range(len(leaves)))
    try:
        said = jax.tree.leaves(
            jax.tree.broadcast(shardings, tree, is_leaf=_is_place), is_leaf=_is_place
        )
    except ValueError as error:
        raise ValueError(
            f"shardings must be a tree like the parameters, or a prefix of it: {error}"
        ) from error
    found: list[NamedSharding | None] = []
    for (path, _), place, p in zip(jax.tree.leaves_with_path(tree), said, leaves, strict=True):
        try:
            found.append(None if place is None or p is None else _known_place(place, p))
        except (TypeError, ValueError) as error:
            raise type(error)(f"shardings{jax.tree_util.keystr(path)}: {error}") from error
    return found


def _is_place(x: object) -> bool:
    return x is None or isinstance(x, Sharding | PartitionSpec)


def _known_place(place: object, p: Array) -> NamedSharding | None:
    """Return a place as a `NamedSharding` that fits a parameter; None for one device."""
    here = jax.sharding.get_abstract_mesh()
    if isinstance(place, PartitionSpec):
        if here.empty:
            raise ValueError(
                f"{place} names axes of a mesh, and none is set: write "
                f"NamedSharding(mesh, {place}), or set the mesh with jax.set_mesh(mesh)"
            )
        place = NamedSharding(here, place)
    if isinstance(place, SingleDeviceSharding):
        return None
    if not isinstance(place, NamedSharding):
        raise TypeError(
            "a sharding must be a jax.sharding.NamedSharding, a PartitionSpec or None, not "
            f"{type(place).__name__}"
        )
    if not here.empty and place.mesh.abstract_mesh != here:
        raise ValueError(f"the mesh is {place.mesh.abstract_mesh}, but {here} is set")
    if len(place.spec) > p.ndim:
        raise ValueError(f"{place.spec} is for {len(place.spec)} axes, the parameter has {p.ndim}")
    parts = [shards(place, axis) for axis in range(p.ndim)]
    for axis, (length, n) in enumerate(zip(p.shape, parts, strict=True)):
        if length % n:
            raise ValueError(f"axis {axis} has {length} elements, not a multiple of {n} shards")
    if has_explicit_sharding(p):
        there = jax.typeof(p).sharding
        agree = parts == [shards(there, axis) for axis in range(p.ndim)]
    else:
        there = None if isinstance(p, jax.core.Tracer) else getattr(p, "sharding", None)
        agree = there is None or (
            there.num_devices == place.mesh.size
            and (isinstance(place.mesh, AbstractMesh) or place.is_equivalent_to(there, p.ndim))
        )
    if not agree:
        raise ValueError(f"the parameter is on devices as {there} says, not as {place}")
    return place


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
    spec = [next((name for n, name in axes if same or n == length), None) for length in shape]
    kept = NamedSharding(place.mesh, PartitionSpec(*spec))
    fits = [
        s if n % shards(kept, i) == 0 else None
        for i, (n, s) in enumerate(zip(shape, spec, strict=True))
    ]
    return NamedSharding(place.mesh, PartitionSpec(*fits))
