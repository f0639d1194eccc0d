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

from adam_optax._core.numerics import compute_dtype, real_dtype
from adam_optax._engine import sharding
from adam_optax._engine.leaf import COMPILED, LogDecays, compile_decode, encode
from adam_optax._engine.tree import STATES, Engine, log_decays_of, pack, unpack
from adam_optax.convert._checks import ConversionError, join_key, join_names
from adam_optax.moments import Moment
from adam_optax.rules.base import Recipe, dynamic_hyperparams
from adam_optax.storage._base import MASKED, Entry, LeafContext
from adam_optax.storage._plan import LeafStorage, path_name

Path: TypeAlias = tuple[Any, ...]
"""The path of a parameter in its tree, as JAX has it."""
Columns: TypeAlias = dict[str, dict[Path, Any]]
"""Arrays by name of a moment or of a state's entry, and then by the parameter's path."""


def is_node(x: object) -> bool:
    """Return whether a part of a state holds the moments of a rule."""
    return isinstance(x, STATES)


def nodes_of(state: Any) -> list[Any]:
    """Return the parts of a state that hold moments, in the order of its leaves."""
    return [x for x in jax.tree.leaves(state, is_leaf=is_node) if is_node(x)]


def map_nodes(f: Callable[[Any], Any], state: Any) -> Any:
    """Return a state, of whose parts those that hold moments are what a function makes of them."""
    return jax.tree.map(lambda x: f(x) if is_node(x) else x, state, is_leaf=is_node)


class Own(NamedTuple):
    """Hold the parameters whose moments one state keeps: a group's, if the others are masked.

    Attributes:
        tree: the tree of parameters, with a placeholder for each that is not the state's.
        leaves: the state's parameters by path.
    """

    tree: Any
    leaves: dict[Path, Any]

    @classmethod
    def of(cls, node: Any, params: Any) -> "Own":
        """Find the parameters of one state."""
        held = {path for tree in unpack(node).values() for path in by_path(tree)}
        own = {path: p for path, p in jax.tree.leaves_with_path(params) if path in held}
        pick = lambda path, p: p if path in held else MASKED  # noqa: E731
        return cls(jax.tree.map_with_path(pick, params), own)

    def fitting(self, engines: list[Engine], node: Any) -> list[Engine]:
        """Return the engines that keep these parameters' moments as a state does."""
        return [engine for engine in engines if shapes_of(self._init(engine)) == shapes_of(node)]

    def _init(self, engine: Engine) -> Any:
        try:
            return jax.eval_shape(engine.init, self.tree)
        except (TypeError, ValueError):  # the engine of another group, whose storage refuses these
            return None


def by_path(tree: Any) -> dict[Path, Any]:
    """Return the arrays of a tree by path, without placeholders."""
    return dict(jax.tree.leaves_with_path(tree))


def repack(node: Any, columns: Columns) -> Any:
    """Return a state with other entries, which are trees over the same parameters."""
    like = next(iter(unpack(node).values()))
    is_masked = lambda x: isinstance(x, optax.MaskedNode)  # noqa: E731

    def tree(column: Mapping[Path, Any]) -> Any:
        pick = lambda path, _: column.get(path, MASKED)  # noqa: E731
        return jax.tree.map_with_path(pick, like, is_leaf=is_masked)

    trees = {n: tree(column) for n, column in columns.items()}
    return pack(node.count, trees, log_decays_of(node))


def shapes_of(node: Any) -> dict[tuple[str, Path], tuple[Any, ...]]:
    """Return shape and dtype of each array of a state's moments."""
    return {
        (n, path): (x.shape, jnp.result_type(x))
        for n, tree in (unpack(node) if is_node(node) else {}).items()
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


def decode_columns(engine: Engine, entries: Columns, node: Any, own: Own) -> Columns:
    """Return the moments, by name, that an engine keeps under the entries of its state."""
    step = dynamic_hyperparams(engine.rule, node.count), node.count, log_decays_of(node)
    moments: Columns = {n: {} for n in engine.rule.moments}
    for (path, p), storage in zip(own.leaves.items(), _storages(engine, own), strict=True):
        read = ft.partial(compile_decode(engine.recipe, storage), shape=jnp.shape(p))
        kept = {n: entries[n].get(path, MASKED) for n in storage.entries}
        for n, m in sharding.encode_sharded(read, p, kept, *step).items():
            moments[n][path] = m
    return moments


def encode_columns(engine: Engine, moments: Columns, node: Any, own: Own) -> Columns:
    """Return the entries, by name, under which an engine keeps moments in its state."""
    step = dynamic_hyperparams(engine.rule, node.count), node.count, log_decays_of(node)
    encoded: Columns = {}
    for (path, p), storage in zip(own.leaves.items(), _storages(engine, own), strict=True):
        write = ft.partial(_compile_encode(engine.recipe, storage), shape=jnp.shape(p))
        values = {
            n: moments[n][path].astype(dense_shape(p, moment).dtype)
            for n, moment in engine.rule.moments.items()
        }
        for n, x in sharding.encode_sharded(write, p, values, *step).items():
            column = encoded.setdefault(n, {})
            if not isinstance(x, optax.MaskedNode):
                column[path] = x
    return encoded


def _storages(engine: Engine, own: Own) -> list[LeafStorage]:
    return engine.plan.of_leaves(own.tree)


@ft.lru_cache(maxsize=COMPILED)
def _compile_encode(recipe: Recipe, storage: LeafStorage) -> Callable[..., dict[str, Entry]]:
    """Compile the function from a leaf's moments after some steps to the encoded moments."""

    def write(
        values: dict[str, Array],
        hyperparams: Mapping[str, Array],
        count: Array,
        log_decays: LogDecays,
        shape: tuple[int, ...],
    ) -> dict[str, Entry]:
        numbers = recipe.in_precision(hyperparams, jnp.float32)
        moments = recipe.factory(**recipe.constants, **numbers).moments
        context = LeafContext((), shape, count, 0, log_decays=log_decays)
        return encode(storage, values, moments, context)

    return jax.jit(write, static_argnames="shape")


def dense_shape(p: Any, moment: Moment) -> jax.ShapeDtypeStruct:
    """Return shape, dtype and place of a dense moment of a parameter, as `init` makes it."""
    dtype = compute_dtype(p) if moment.signed else real_dtype(compute_dtype(p))
    shape = () if moment.scalar else jnp.shape(p)
    place = getattr(p, "sharding", None) if getattr(p, "committed", True) else None
    if isinstance(place, NamedSharding) and moment.scalar:
        place = NamedSharding(place.mesh, PartitionSpec())
    return jax.ShapeDtypeStruct(shape, dtype, sharding=place)
