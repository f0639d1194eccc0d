"""Take the parts of a state that hold moments apart, and find the engines that made them."""

import functools as ft
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec

from adam_optax._core.by_path import path_name
from adam_optax._core.numerics import compute_dtype, real_dtype
from adam_optax._engine import sharding
from adam_optax._engine.groups import Group
from adam_optax._engine.outside_step import compile_decode, compile_encode, compile_frames
from adam_optax._engine.states import (
    count_of,
    frames_of,
    is_split,
    log_decays_of,
    repack,
    states_with_moments,
    unpack,
)
from adam_optax._engine.step_scalars import NO_FRAMES
from adam_optax._engine.tree import Engine, join_trace, pack
from adam_optax.convert._checks import ConversionError, join_key, join_names
from adam_optax.moments import Moment
from adam_optax.rules.base import dynamic_hyperparams
from adam_optax.storage._base import MASKED, Frame

Path: TypeAlias = tuple[Any, ...]
"""The path of a parameter in its tree, as JAX has it."""
Columns: TypeAlias = dict[str, dict[Path, Any]]
"""Arrays by name of a moment or of a state's entry, and then by the parameter's path."""


def map_nodes(f: Callable[[Any], Any], state: Any) -> Any:
    """Return a state, of whose parts those that hold moments are what a function makes of them."""
    is_own = is_among(states_with_moments(state))
    return jax.tree.map(lambda x: f(x) if is_own(x) else x, state, is_leaf=is_own)


def is_among(nodes: list[Any]) -> Callable[[Any], bool]:
    """Return a function that tells whether something is one of these very parts of a state."""
    return lambda x: any(x is node for node in nodes)


def join_traces(state: Any) -> Any:
    """Return a state in which no chain keeps moments in two of its links.

    optax's RMSProp keeps the trace of its momentum in the last link, and with codes it does not.
    """
    is_own = is_among([node for node in states_with_moments(state) if is_split(node)])
    join = lambda x: (join_trace(x), *x[1:-1], optax.EmptyState()) if is_own(x) else x  # noqa: E731
    return jax.tree.map(join, state, is_leaf=is_own)


def split_traces(joined: Any, template: Any) -> Any:
    """Return a state in which those chains keep moments in two links that do so in a template."""
    own = states_with_moments(template)
    is_own = is_among(own)

    def split(like: Any, x: Any) -> Any:
        if not (is_own(like) and is_split(like)):
            return x
        first, *_, last = repack(like, unpack(x[0]), lambda _: x[0].count)
        first = with_scalars(first, log_decays_of(x[0]), frames_of(x[0]))
        return (first, *x[1:-1], last)

    return jax.tree.map(split, template, joined, is_leaf=is_own)


class Maker(NamedTuple):
    """Hold an engine that can have made one state, and how each leaf of the state is kept.

    Attributes:
        engine: the engine.
        groups: the group of each parameter whose moments the state keeps, by path.
    """

    engine: Engine
    groups: dict[Path, Group]


class Own(NamedTuple):
    """Hold the parameters whose moments one state keeps: not the masked or frozen ones.

    Attributes:
        trees: what `init` was called with: the tree of parameters, or that with a placeholder for
            each parameter that is not the state's.
        leaves: the state's parameters by path.
    """

    trees: tuple[Any, ...]
    leaves: dict[Path, Any]

    @classmethod
    def of(cls, node: Any, params: Any) -> "Own":
        """Find the parameters of one state."""
        held = {path for tree in unpack(node).values() for path in by_path(tree)}
        own = {path: p for path, p in jax.tree.leaves_with_path(params) if path in held}
        pick = lambda path, p: p if path in held else MASKED  # noqa: E731
        masked = jax.tree.map_with_path(pick, params)
        return cls((params,) if len(own) == len(by_path(params)) else (params, masked), own)

    def makers(self, engines: list[Engine], node: Any) -> list[Maker]:
        """Return the engines that keep these parameters' moments as a state does."""
        found = []
        for engine in engines:
            for tree in self.trees:
                if shapes_of(_init(engine, tree)) == shapes_of(node):
                    paths = [path for path, _ in jax.tree.leaves_with_path(tree)]
                    groups = dict(zip(paths, engine.grouping.of_leaves(tree), strict=True))
                    found.append(Maker(engine, {path: groups[path] for path in self.leaves}))
                    break
        return found


def _init(engine: Engine, tree: Any) -> Any:
    try:
        return jax.eval_shape(engine.init, tree)
    except (TypeError, ValueError):  # the engine of other parameters, whose storage refuses these
        return None


def by_path(tree: Any) -> dict[Path, Any]:
    """Return the arrays of a tree by path, without placeholders."""
    return dict(jax.tree.leaves_with_path(tree))


def steps_of(node: Any) -> Array:
    """Return the steps that a state has counted; 0 where it counts none, and begins to."""
    count = count_of(node)
    return jnp.zeros((), jnp.int32) if count is None else count


def dense_state(node: Any, columns: Columns) -> Any:
    """Return a state of this library's class with other entries over the same parameters."""
    return pack(steps_of(node), _trees(node, columns), None, log_decays_of(node))


def with_scalars(node: Any, log_decays: Mapping[str, Array], frames: Mapping[str, Frame]) -> Any:
    """Return a state with these log decays and frames, where it has any."""
    told = {"log_decays": dict(log_decays), "frames": dict(frames)}
    return node._replace(**{n: x for n, x in told.items() if x})


def filled_state(
    template: Any, node: Any, columns: Columns, frames: Mapping[str, Frame] = NO_FRAMES
) -> Any:
    """Return a template with entries and frames, and with count and log decays of a state."""
    # Flax may have wrapped the count, of which some of optax's classes have two.
    copy = lambda _: jax.tree.map(jnp.copy, steps_of(node))  # noqa: E731
    filled = repack(template, _trees(node, columns), copy)
    as_count = lambda x: jax.tree.map(lambda _: x, steps_of(node))  # noqa: E731
    wrapped = {n: tuple(map(as_count, frame)) for n, frame in frames.items()}
    return with_scalars(filled, log_decays_of(node), wrapped)


def _trees(node: Any, columns: Columns) -> dict[str, Any]:
    """Return entries by name as trees of the structure that a state's have."""
    like = next(iter(unpack(node).values()))
    is_masked = lambda x: isinstance(x, optax.MaskedNode)  # noqa: E731

    def tree(column: Mapping[Path, Any]) -> Any:
        pick = lambda path, _: column.get(path, MASKED)  # noqa: E731
        return jax.tree.map_with_path(pick, like, is_leaf=is_masked)

    return {n: tree(column) for n, column in columns.items()}


def shapes_of(node: Any) -> dict[tuple[str, Path], tuple[Any, ...]]:
    """Return shape and dtype of each array of a state's moments."""
    return {
        (n, path): (x.shape, jnp.result_type(x))
        for n, tree in ({} if node is None else unpack(node)).items()
        for path, x in by_path(tree).items()
    }


def describe_entries(node: Any) -> str:
    """Describe the entries of a state: `mu_nu (uint16)`."""
    first = {n: next(iter(by_path(tree).values()), None) for n, tree in unpack(node).items()}
    return join_names(f"{n} ({getattr(x, 'dtype', 'nothing')})" for n, x in first.items())


def is_dense(node: Any, own: Own) -> bool:
    """Return whether each moment is one floating array of its parameter's shape, or a scalar."""
    return all(
        jnp.issubdtype(dtype, jnp.inexact) and shape in ((), jnp.shape(own.leaves[path]))
        for (_, path), (shape, dtype) in shapes_of(node).items()
    )


def agreed(results: list[Columns]) -> Columns:
    """Return what all engines that could have made a state say, if they say the same."""
    first = results[0]
    for other in results[1:]:
        if not all(
            np.array_equal(x, other[n][path]) for n, col in first.items() for path, x in col.items()
        ):
            raise ConversionError(
                "several optimisers in the transformation could have made one of the states, and "
                "read it differently; convert one group at a time, with the group's own state and "
                "transformation"
            )
    return first


def check_finite(columns: Columns, hint: str) -> None:
    """Refuse numbers that are not finite, at the first path that has some."""
    for n, column in columns.items():
        for path, x in column.items():
            floating = jnp.issubdtype(x.dtype, jnp.inexact)
            if floating and (wrong := int(jnp.sum(~jnp.isfinite(x)))):
                key = join_key(n, path_name(path))
                raise ConversionError(
                    f"{key} has {wrong} of {x.size} values that are not finite; {hint}"
                )


# --- One state, leaf by leaf -------------------------------------------------------------------


def decode_columns(maker: Maker, entries: Columns, node: Any, own: Own) -> Columns:
    """Return the moments, by name, that an engine keeps under the entries of its state."""
    moments: Columns = {n: {} for n in maker.engine.rule.moments}
    for path, p in own.leaves.items():
        group = maker.groups[path]
        run = compile_decode(group.recipe, group.storage, group.layers)
        read = ft.partial(run, shape=jnp.shape(p))
        kept = {n: entries[n].get(path, MASKED) for n in group.storage.entries}
        hyperparams = dynamic_hyperparams(group.rule, steps_of(node))
        frames = group.own_frames(frames_of(node))
        for n, m in sharding.encode_sharded(read, p, kept, hyperparams, frames).items():
            moments[n][path] = m
    return moments


def frames_at(maker: Maker, node: Any) -> dict[str, Frame]:
    """Return the frames of codes that an engine writes at a state's count, by name in a state."""
    frames: dict[str, Frame] = {}
    for group in maker.groups.values():
        if not {*group.frames.values()} <= frames.keys():
            decays = group.own_log_decays(log_decays_of(node))
            hyperparams = dynamic_hyperparams(group.rule, steps_of(node))
            make = compile_frames(group.recipe, group.storage)
            made = make(hyperparams, steps_of(node), decays)
            frames |= {kept: made[name] for name, kept in group.frames.items()}
    return frames


def encode_columns(
    maker: Maker, moments: Columns, node: Any, own: Own, frames: Mapping[str, Frame]
) -> Columns:
    """Return the entries, by name, under which an engine keeps moments in its state."""
    count = steps_of(node)
    encoded: Columns = {n: {} for group in maker.groups.values() for n in group.storage.entries}
    for path, p in own.leaves.items():
        group = maker.groups[path]
        run = compile_encode(group.recipe, group.storage, group.layers)
        write = ft.partial(run, shape=jnp.shape(p))
        values = {
            n: moments[n][path].astype(dense_shape(p, moment, group.layers).dtype)
            for n, moment in group.rule.moments.items()
        }
        step = dynamic_hyperparams(group.rule, count), count, group.own_frames(frames)
        for n, x in sharding.encode_sharded(write, p, values, *step).items():
            if not isinstance(x, optax.MaskedNode):
                encoded[n][path] = x
    return encoded


def dense_shape(p: Any, moment: Moment, layers: int) -> jax.ShapeDtypeStruct:
    """Return shape, dtype and place of a dense moment of a parameter, as `init` makes it."""
    dtype = compute_dtype(p) if moment.signed else real_dtype(compute_dtype(p))
    shape = (*jnp.shape(p)[:layers], *moment.kept_shape(jnp.shape(p)[layers:]))
    place = getattr(p, "sharding", None) if getattr(p, "committed", True) else None
    if isinstance(place, NamedSharding) and moment.over is not None:
        place = NamedSharding(place.mesh, PartitionSpec())
    return jax.ShapeDtypeStruct(shape, dtype, sharding=place)
