"""Read named arrays from a state, and write named arrays into a state.

Named arrays are the neutral form through which every state passes, so that each check is made
once: a flat `dict[str, numpy.ndarray]` with `"count"`, an integer scalar, and one array for each
moment of each parameter, under the moment's name and the parameter's path, `"mu/dense/kernel"`.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray

from adam_optax._engine.states import log_decays_of, repack, states_with_moments, unpack
from adam_optax.convert._checks import (
    COUNT,
    ArrayOrShape,
    ConversionError,
    NamedArrays,
    cast,
    find_template_problems,
    find_value_problems,
    join_key,
    raise_problems,
    split_key,
    to_named_arrays,
)
from adam_optax.convert._storage import dense_template, encode_state, replay_decay_rates

_KeyPath: TypeAlias = tuple[Any, ...]
"""The entries of a path of `jax.tree_util`, whose own alias is generic for type checkers."""

_CHANGE = (
    "first make it dense: state = ao.convert.change_storage(state, tx, dense_tx, params), with "
    "dense_tx made as tx, but without storage="
)
_GIVE_TX = "pass tx= and params= as well, and the moments are written in the storage of tx"


def to_named(state: optax.OptState) -> NamedArrays:
    """Copy the moments and the count of a state to a flat dict of NumPy arrays.

    Use it to inspect a state, to store a state in a format of your own, or to carry a state to a
    framework for which there is no function here. `from_named` is the way back.

    Args:
        state: a state of any optimiser of this library, inside whatever chain or wrapper; with
            `optax.partition`, all groups together. Anything in the state that is neither a moment
            nor a count is left out.

    Returns:
        `"count"`, if the state counts steps (that of `sgd`, say, does not), and each moment under
        its name and the parameter's path, with the shape and dtype that it has in the state.

    Raises:
        ConversionError: if the state has no moments, two moments of one key, counts that differ,
            or a moment that is not stored as one floating array.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> state = ao.adam(1e-3).init({"dense": {"kernel": jnp.ones((2, 3))}})
    >>> sorted(ao.convert.to_named(state))
    ['count', 'mu/dense/kernel', 'nu/dense/kernel']
    """
    moments, counts = _find_moments(state, _CHANGE)
    if len(values := sorted({int(count) for count in counts})) > 1:
        raise ConversionError(
            f"the counts of steps in the state differ: {', '.join(map(str, values))}; pass the "
            "part that holds the moments, such as state[0], one group at a time"
        )
    counted = {COUNT: np.array(counts[0])} if counts else {}
    return counted | {key: np.array(m) for key, m in moments.items()}


def from_named(
    named: Mapping[str, Any],
    state: optax.OptState,
    *,
    tx: optax.GradientTransformation | None = None,
    params: optax.Params | None = None,
) -> optax.OptState:
    """Build a state from a template, with the moments and the count of named arrays.

    Use it after `to_named`, or to continue a run of a framework for which there is no function
    here.

    Args:
        named: named arrays as `to_named` returns them; the arrays may be another library's.
            Neither `named` nor `state` is changed.
        state: the template, `tx.init(params)`, inside whatever chain or wrapper; shapes and dtypes
            (`jax.eval_shape(tx.init, params)`) are enough.
        tx: the transformation that made the template. It is needed, like `params`, where the
            template's storage is not dense (`storage.pair()` say), or a decay rate follows a
            schedule, which then is taken to have been followed from the first step.
        params: the parameters; with `tx`, moments lie on devices as the parameters do.

    Returns:
        The template with every moment replaced, in the template's storage and sharding, and with
        every field `count` of a NamedTuple (also of schedules and `optax.inject_hyperparams`) set
        to the count. Anything else, such as another transformation's trace, is the template's.

    Raises:
        ConversionError: if an entry is missing or superfluous, has another shape, is complex where
            the template is real or the reverse, is not finite, or is too large for the template's
            dtype; if the template's storage is not dense and `tx` and `params` are not given. The
            message names all such entries, and nothing is converted.

    >>> import jax.numpy as jnp, numpy as np, adam_optax as ao
    >>> named = {"count": np.array(7), "mu/w": np.ones(2), "nu/w": np.ones(2)}
    >>> state = ao.convert.from_named(named, ao.adam(1e-3).init({"w": jnp.zeros(2)}))
    >>> int(state[0].count), state[0].mu["w"]
    (7, Array([1., 1.], dtype=float32))
    """
    if (tx is None) != (params is None):
        raise ConversionError("tx and params go together: give both, or neither")
    if tx is not None:
        dense = _fill(named, dense_template(state, tx, params))
        return encode_state(replay_decay_rates(dense, tx, params), tx, params)
    if any(log_decays_of(node) for node in states_with_moments(state)):
        raise ConversionError(
            "the template's decay rates follow a schedule, which its state must be told the past "
            "of; pass tx= and params= as well"
        )
    return _fill(named, state)


def _fill(named: Mapping[str, Any], state: Any) -> Any:
    """Return a template whose moments are dense, with the moments and the count of named arrays."""
    arrays = to_named_arrays(named)
    moments, counts = _find_moments(state, _GIVE_TX)
    if not counts:
        arrays.setdefault(COUNT, np.array(0))  # that nothing in the template needs
    limits = [int(jnp.iinfo(jnp.result_type(count)).max) for count in counts]
    count_limit = min(limits, default=int(jnp.iinfo(jnp.int32).max))
    raise_problems(
        find_value_problems(arrays) + find_template_problems(arrays, moments, count_limit)
    )

    def replace_tree(moment: str, tree: Any) -> Any:
        def replace_leaf(path: _KeyPath, leaf: ArrayOrShape) -> Array:
            return put_like(arrays[_leaf_key(moment, path)], leaf)

        return jax.tree_util.tree_map_with_path(replace_leaf, tree)

    return _map_state(state, replace_tree, lambda count: put_like(arrays[COUNT], count))


def put_like(x: NDArray[Any], like: Any) -> Array:
    """Return an array in the dtype and sharding of another.

    Where the other array was never placed on a device by hand, the result is not committed to a
    device either, so that JAX remains free to move the result.
    """
    value = cast(x, jnp.result_type(like))
    sharding = getattr(like, "sharding", None)
    if sharding is None or not getattr(like, "committed", True):
        return jnp.asarray(value)
    placed: Array = jax.device_put(value, sharding)
    return placed


def _map_state(
    state: Any,
    map_moment: Callable[[str, Any], Any],
    map_count: Callable[[Any], Any],
    own: list[Any] | None = None,
) -> Any:
    """Apply functions to every moment and every count of a state: the only walk through a state.

    Args:
        state: any tree.
        map_moment: from a moment's name and the moment's tree over the parameters to the new tree.
        map_count: from a count of steps, an integer scalar, to the new count.
        own: the nodes that hold an optimiser's moments; None: looked for.
    """
    found = states_with_moments(state) if own is None else own
    is_own = lambda x: any(x is one for one in found)  # noqa: E731

    def new_count(count: Any) -> Any:
        return jax.tree.map(map_count, count)  # Flax may have wrapped the count.

    def replace(node: Any) -> Any:
        if is_own(node):
            moments = {n: map_moment(n, tree) for n, tree in unpack(node).items()}
            return repack(node, moments, new_count)
        if not _has_count(node):
            return node
        rest = {n: getattr(node, n) for n in node._fields if n != "count"}
        rest = {n: _map_state(x, map_moment, map_count, found) for n, x in rest.items()}
        return node._replace(count=new_count(node.count), **rest)

    return jax.tree.map(replace, state, is_leaf=lambda x: is_own(x) or _has_count(x))


def _has_count(node: Any) -> bool:
    """Return whether a node is a NamedTuple whose `count` counts steps."""
    if not isinstance(node, tuple) or "count" not in getattr(node, "_fields", ()):
        return False
    counts = jax.tree.leaves(node.count)
    return [_is_integer(c) and np.ndim(c) == 0 for c in counts] == [True]


def _is_integer(x: Any) -> bool:
    """Return whether an array or a number is an integer."""
    return bool(jnp.issubdtype(getattr(x, "dtype", type(x)), jnp.integer))


def _leaf_key(moment: str, path: _KeyPath) -> str:
    """Return the key of the moment of the parameter at a path of JAX's."""
    return join_key(moment, jax.tree_util.keystr(path, simple=True, separator="/"))


def _find_moments(state: Any, remedy: str) -> tuple[dict[str, ArrayOrShape], list[Any]]:
    """Return the moments of a state by key, and all its counts, those of the moments first.

    Args:
        state: the state.
        remedy: what to do about a moment that is not one dense array.

    Raises:
        ConversionError: if there are no moments, two of one key, or some that are not one dense
            array.
    """
    moments: dict[str, ArrayOrShape] = {}
    counts: list[Any] = []

    def collect(moment: str, tree: Any) -> Any:
        for path, leaf in jax.tree.leaves_with_path(tree):
            _add_moment(moments, _leaf_key(moment, path), leaf, remedy)
        return tree

    def collect_count(count: Any) -> Any:
        counts.append(count)
        return count

    _map_state(state, collect, collect_count)
    if not states_with_moments(state):
        raise ConversionError(
            f"no moments in this {type(state).__name__}; pass the state that tx.init(params) of an "
            "optimiser of adam_optax makes, alone or inside optax's chains and wrappers"
        )
    _check_counts(counts)
    _check_shapes(moments, remedy)
    return moments, counts


def _add_moment(moments: dict[str, ArrayOrShape], key: str, leaf: Any, remedy: str) -> None:
    """Add a leaf to the moments, if its key is new and it is one floating array."""
    if key in moments:
        raise ConversionError(
            f"two moments of the state are called {key}; pass one of the states that hold them, "
            "or give the parameters paths that differ"
        )
    if not (hasattr(leaf, "shape") and jnp.issubdtype(leaf.dtype, jnp.inexact)):
        found = getattr(leaf, "dtype", type(leaf).__name__)
        raise ConversionError(_not_dense(key, f"({found})", remedy))
    moments[key] = leaf


def _not_dense(key: str, found: str, remedy: str) -> str:
    """Return the message for a moment that is not stored densely."""
    return f"{key} is not kept as one floating array of the parameter's shape {found}; {remedy}"


def _check_counts(counts: list[Any]) -> None:
    """Check that every count is an integer scalar."""
    for count in counts:
        if np.shape(count) != () or not _is_integer(count):
            raise ConversionError(
                f"a count of steps is {getattr(count, 'dtype', type(count).__name__)}"
                f"{list(np.shape(count))} where an integer scalar is expected; of vmapped "
                "states, convert one at a time"
            )


def _check_shapes(moments: Mapping[str, ArrayOrShape], remedy: str) -> None:
    """Check that all moments of a parameter have one shape, or are one number for all of it."""
    shapes: dict[str, tuple[int, ...]] = {}
    for key, x in moments.items():
        path = split_key(key)[1]
        if x.shape and shapes.setdefault(path, x.shape) != x.shape:
            found = f"({list(x.shape)} beside {list(shapes[path])})"
            raise ConversionError(_not_dense(key, found, remedy))
