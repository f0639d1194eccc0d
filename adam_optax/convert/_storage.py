"""Change how a state keeps its moments: decode them, and encode them in another format.

Between the two is a dense state: the same state, in which each moment of a rule is one array of
float32 (or wider) of its parameter's shape. The state of another library is written in any format
through the same dense state.
"""

import functools as ft
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec

from adam_optax._core.log_decay import log_decay_of
from adam_optax._core.numerics import compute_dtype, real_dtype
from adam_optax._engine import sharding
from adam_optax._engine.leaf import COMPILED, LogDecays, compile_decode, encode
from adam_optax._engine.tree import STATES, Engine, log_decays_of, pack, unpack
from adam_optax._optax_interop import find_engines
from adam_optax.convert._checks import ConversionError, join_key, join_names
from adam_optax.moments import Moment
from adam_optax.rules.base import Recipe, dynamic_hyperparams
from adam_optax.storage._base import MASKED, Entry, LeafContext
from adam_optax.storage._plan import LeafStorage, path_name

Path: TypeAlias = tuple[Any, ...]
"""The path of a parameter in its tree, as JAX has it."""
Columns: TypeAlias = dict[str, dict[Path, Any]]
"""Arrays by name of a moment or of a state's entry, and then by the parameter's path."""


def change_storage(
    state: optax.OptState,
    tx_from: optax.GradientTransformation,
    tx_to: optax.GradientTransformation,
    params: optax.Params,
) -> optax.OptState:
    """Convert a state, in the middle of a run, to the storage of another transformation.

    Use it to go on with fewer bytes, or with more: from float32 to `storage.pair()` say, or from
    codes to float32 before `to_torch` or `save`. Each moment is read in float32 and written in the
    new format at the same count of steps, so that it is off by one rounding of the new format.
    Everything else in the state (counts, schedules, clipping, injected numbers, accumulated
    gradients) stays as it is.

    Args:
        state: the state, inside whatever chain or wrapper. It is not changed.
        tx_from: the transformation that made `state`, of this library or of optax.
        tx_to: the transformation that goes on: as `tx_from`, but for `storage`, `mu_dtype` and
            `nu_dtype`.
        params: the parameters, of which only shapes, dtypes and places are read.

    Returns:
        The state for `tx_to`, with the dtypes and shapes of `tx_to.init(params)`; each array lies
        on devices as its parameter does.

    Raises:
        ConversionError: if `tx_from` did not make the state, the two transformations differ in more
            than storage, a format cannot keep a parameter's moments (complex ones, say), or a
            moment is not finite or too large for the new format. The message names the path.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> params = {"w": jnp.ones(3)}
    >>> old, new = ao.adam(1e-3), ao.adam(1e-3, storage=ao.storage.pair())
    >>> _, state = old.update(params, old.init(params), params)
    >>> state = ao.convert.change_storage(state, old, new, params)
    >>> int(state[0].count), state[0].moments["mu_nu"]["w"].dtype
    (1, dtype('uint16'))
    """
    template = _shapes_of_init("tx_to", tx_to, params)
    rules = [_rule_names(tx, state) for tx in (tx_from, tx_to)]
    if rules[0] and rules[1] and rules[0] != rules[1]:
        names = " and tx_to ".join(", ".join(sorted(found)) for found in rules)
        raise ConversionError(f"tx_from is {names}; the two may differ in storage alone")
    _check_same_structure(state, template)
    return encode_state(decode_state(state, tx_from, params), tx_to, params)


def decode_state(state: Any, tx: Any, params: Any) -> Any:
    """Return a dense state: each moment in one array, in compute precision.

    Args:
        state: the state.
        tx: the transformation that made it; of one without an engine of this library, such as
            optax's, the moments are read as they are.
        params: the parameters.
    """
    engines = find_engines(tx, state)

    def decode(node: Any) -> Any:
        kept = unpack(node)
        own = _Own.of(node, params)
        fitting = own.fitting(engines, node)
        if not kept or (not engines and _is_dense(node, own)):
            return node
        if not fitting:
            raise ConversionError(
                f"tx_from did not make this state, which keeps {_say(node)}; pass the "
                "transformation whose init and update made it"
            )
        columns = {n: _by_path(tree) for n, tree in kept.items()}
        moments = _agreed([_decode(engine, columns, node, own) for engine in fitting])
        return _repack(node, moments)

    return _map_nodes(decode, state)


def encode_state(dense: Any, tx: Any, params: Any) -> Any:
    """Return a dense state in the storage of a transformation, at the state's own count.

    Args:
        dense: a state of `tx`, but that its moments are dense.
        tx: the transformation that goes on.
        params: the parameters.
    """
    engines = find_engines(tx, dense)
    templates = iter(_nodes(_shapes_of_init("tx", tx, params)))

    def write(node: Any) -> Any:
        template, kept = next(templates), unpack(node)
        own = _Own.of(node, params)
        fitting = own.fitting(engines, template)
        if not kept or not fitting:  # of optax: the state is dense there, too
            return node
        if kept.keys() != fitting[0].rule.moments.keys():
            raise ConversionError(
                f"the state's moments are {', '.join(kept)}, those of tx are "
                f"{', '.join(fitting[0].rule.moments)}; make tx with the optimiser of the state"
            )
        columns = {n: _by_path(tree) for n, tree in kept.items()}
        _check_finite(columns, "go back to a checkpoint from before they came up")
        encoded = _agreed([_encode(engine, columns, node, own) for engine in fitting])
        _check_finite(encoded, "they are too large for the storage of tx; take a wider one")
        return _repack(node, encoded)

    return _map_nodes(write, dense)


def dense_template(state: Any, tx: Any, params: Any) -> Any:
    """Return a state of a transformation in which the moments' dense shapes stand for their codes.

    Args:
        state: `tx.init(params)`, or its shapes.
        tx: the transformation.
        params: the parameters, beside which the dense moments shall be.
    """
    engines = find_engines(tx, state)

    def widen(node: Any) -> Any:
        kept = unpack(node)
        own = _Own.of(node, params)
        fitting = own.fitting(engines, node)
        if not kept or (not engines and _is_dense(node, own)):
            return node
        if not fitting:
            raise ConversionError(
                f"tx did not make the template, which keeps {_say(node)}; pass tx.init(params)"
            )
        moments = {
            n: {path: _dense_shape(p, moment) for path, p in own.leaves.items()}
            for n, moment in fitting[0].rule.moments.items()
        }
        return _repack(node, moments)

    return _map_nodes(widen, state)


def replay_decay_rates(dense: Any, tx: Any, params: Any) -> Any:
    """Return a dense state whose scheduled decay rates are those of its count of steps.

    Args:
        dense: a state of `tx` at some count, but that its moments are dense.
        tx: the transformation, whose schedules are read at each step up to that count.
        params: the parameters.
    """
    engines = find_engines(tx, dense)
    templates = iter(_nodes(_shapes_of_init("tx", tx, params)))

    def replay(node: Any) -> Any:
        fitting = _Own.of(node, params).fitting(engines, next(templates))
        if not (kept := log_decays_of(node)):
            return node
        rates = [_decay_rates(engine, int(node.count)) for engine in fitting]
        found = _agreed([{"decay rate": {(n,): r[n] for n in kept}} for r in rates])
        decays = {n: log_decay_of(found["decay rate"][(n,)]) for n in kept}
        return pack(node.count, unpack(node), decays)

    return _map_nodes(replay, dense)


def _decay_rates(engine: Engine, count: int) -> dict[str, Any]:
    """Return the rates of the steps up to a count, of the moments whose rate follows a schedule."""

    def at(before: Array) -> dict[str, Any]:
        numbers = engine.recipe.in_precision(dynamic_hyperparams(engine.rule, before), jnp.float32)
        moments = engine.recipe.factory(**engine.recipe.constants, **numbers).moments
        return {n: moments[n].decay for n in engine.scheduled}

    rates = jax.vmap(at)(jnp.arange(count, dtype=jnp.int32))
    return {n: np.asarray(rate, np.float64) for n, rate in rates.items()}


# --- States and the engines that made them -----------------------------------------------------


def _is_node(x: object) -> bool:
    """Return whether a part of a state holds the moments of a rule."""
    return isinstance(x, STATES)


def _nodes(state: Any) -> list[Any]:
    return [x for x in jax.tree.leaves(state, is_leaf=_is_node) if _is_node(x)]


def _map_nodes(f: Callable[[Any], Any], state: Any) -> Any:
    return jax.tree.map(lambda x: f(x) if _is_node(x) else x, state, is_leaf=_is_node)


class _Own(NamedTuple):
    """Hold the parameters whose moments one state keeps: a group's, if the others are masked.

    Attributes:
        tree: the tree of parameters, with a placeholder for each that is not the state's.
        leaves: the state's parameters by path.
    """

    tree: Any
    leaves: dict[Path, Any]

    @classmethod
    def of(cls, node: Any, params: Any) -> "_Own":
        """Find the parameters of one state."""
        held = {path for tree in unpack(node).values() for path in _by_path(tree)}
        own = {path: p for path, p in jax.tree.leaves_with_path(params) if path in held}
        pick = lambda path, p: p if path in held else MASKED  # noqa: E731
        return cls(jax.tree.map_with_path(pick, params), own)

    def fitting(self, engines: list[Engine], node: Any) -> list[Engine]:
        """Return the engines that keep these parameters' moments as a state does."""
        return [engine for engine in engines if _shapes(self._init(engine)) == _shapes(node)]

    def _init(self, engine: Engine) -> Any:
        try:
            return jax.eval_shape(engine.init, self.tree)
        except (TypeError, ValueError):  # the engine of another group, whose storage refuses these
            return None


def _by_path(tree: Any) -> dict[Path, Any]:
    return dict(jax.tree.leaves_with_path(tree))


def _repack(node: Any, columns: Columns) -> Any:
    """Return a state with other entries, which are trees over the same parameters."""
    like = next(iter(unpack(node).values()))
    is_masked = lambda x: isinstance(x, optax.MaskedNode)  # noqa: E731

    def tree(column: Mapping[Path, Any]) -> Any:
        pick = lambda path, _: column.get(path, MASKED)  # noqa: E731
        return jax.tree.map_with_path(pick, like, is_leaf=is_masked)

    trees = {n: tree(column) for n, column in columns.items()}
    return pack(node.count, trees, log_decays_of(node))


def _shapes(node: Any) -> dict[tuple[str, Path], tuple[Any, ...]]:
    """Return shape and dtype of each array of a state's moments."""
    return {
        (n, path): (x.shape, jnp.result_type(x))
        for n, tree in (unpack(node) if _is_node(node) else {}).items()
        for path, x in _by_path(tree).items()
    }


def _say(node: Any) -> str:
    """Describe the entries of a state: `mu_nu (uint16)`."""
    first = {n: next(iter(_by_path(tree).values()), None) for n, tree in unpack(node).items()}
    return join_names(f"{n} ({getattr(x, 'dtype', 'nothing')})" for n, x in first.items())


def _is_dense(node: Any, own: _Own) -> bool:
    """Return whether each moment is one floating array of its parameter's shape, or a scalar."""
    return all(
        jnp.issubdtype(dtype, jnp.inexact) and shape in ((), jnp.shape(own.leaves[path]))
        for (_, path), (shape, dtype) in _shapes(node).items()
    )


def _rule_names(tx: Any, state: Any) -> set[str]:
    return {engine.rule.name for engine in find_engines(tx, state)}


def _shapes_of_init(name: str, tx: Any, params: Any) -> Any:
    """Return the shapes of `tx.init(params)`; refuse parameters that the storage cannot keep."""
    try:
        return jax.eval_shape(tx.init, params)
    except (TypeError, ValueError) as error:
        raise ConversionError(f"{name}.init(params) refuses: {error}") from error


def _check_same_structure(state: Any, template: Any) -> None:
    """Refuse transformations that differ in more than storage: a schedule, a mask, a link."""
    one, other = (
        [
            # Flax wraps a leaf, under this name.
            (jax.tree_util.keystr(path).removesuffix(".value"), *_scheduled(x))
            for path, x in jax.tree.leaves_with_path(tree, is_leaf=_is_node)
        ]
        for tree in (state, template)
    )
    if one != other:
        differing = sorted({path or "the state" for path, *_ in set(one) ^ set(other)})
        raise ConversionError(
            f"tx_to keeps other parts than this state ({join_names(differing)}): a schedule, "
            "weight decay, a mask or a link each change them; tx_to may differ in storage alone"
        )


def _scheduled(x: Any) -> tuple[str, ...]:
    """Return the moments of a state whose decay rates follow schedules."""
    return tuple(sorted(log_decays_of(x)))


def _agreed(results: list[Columns]) -> Columns:
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


def _check_finite(columns: Columns, hint: str) -> None:
    for n, column in columns.items():
        for path, x in column.items():
            floating = jnp.issubdtype(x.dtype, jnp.inexact)
            if floating and (wrong := int(jnp.sum(~jnp.isfinite(x)))):
                key = join_key(n, path_name(path))
                raise ConversionError(
                    f"{key} has {wrong} of {x.size} values that are not finite; {hint}"
                )


# --- One state, leaf by leaf -------------------------------------------------------------------


def _decode(engine: Engine, entries: Columns, node: Any, own: _Own) -> Columns:
    """Return the moments, by name, that an engine keeps under the entries of its state."""
    step = dynamic_hyperparams(engine.rule, node.count), node.count, log_decays_of(node)
    moments: Columns = {n: {} for n in engine.rule.moments}
    for (path, p), storage in zip(own.leaves.items(), _storages(engine, own), strict=True):
        read = ft.partial(compile_decode(engine.recipe, storage), shape=jnp.shape(p))
        kept = {n: entries[n].get(path, MASKED) for n in storage.entries}
        for n, m in sharding.encode_sharded(read, p, kept, *step).items():
            moments[n][path] = m
    return moments


def _encode(engine: Engine, moments: Columns, node: Any, own: _Own) -> Columns:
    """Return the entries, by name, under which an engine keeps moments in its state."""
    step = dynamic_hyperparams(engine.rule, node.count), node.count, log_decays_of(node)
    encoded: Columns = {}
    for (path, p), storage in zip(own.leaves.items(), _storages(engine, own), strict=True):
        write = ft.partial(_compile_encode(engine.recipe, storage), shape=jnp.shape(p))
        values = {
            n: moments[n][path].astype(_dense_shape(p, moment).dtype)
            for n, moment in engine.rule.moments.items()
        }
        for n, x in sharding.encode_sharded(write, p, values, *step).items():
            column = encoded.setdefault(n, {})
            if not isinstance(x, optax.MaskedNode):
                column[path] = x
    return encoded


def _storages(engine: Engine, own: _Own) -> list[LeafStorage]:
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


def _dense_shape(p: Any, moment: Moment) -> jax.ShapeDtypeStruct:
    """Return shape, dtype and place of a dense moment of a parameter, as `init` makes it."""
    dtype = compute_dtype(p) if moment.signed else real_dtype(compute_dtype(p))
    shape = () if moment.scalar else jnp.shape(p)
    place = getattr(p, "sharding", None) if getattr(p, "committed", True) else None
    if isinstance(place, NamedSharding) and moment.scalar:
        place = NamedSharding(place.mesh, PartitionSpec())
    return jax.ShapeDtypeStruct(shape, dtype, sharding=place)
