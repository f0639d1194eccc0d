"""Change how a state keeps its moments: decode them, and encode them in another format.

Between the two is a dense state: the same state, in which each moment of a rule is one array of
float32 (or wider) of its parameter's shape. The state of another library is written in any format
through the same dense state.
"""

import functools as ft
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from adam_optax._core.log_decay import log_decay_of
from adam_optax._engine.groups import Group
from adam_optax._engine.outside_step import is_on_host
from adam_optax._engine.states import frames_of, log_decays_of, states_with_moments, unpack
from adam_optax._engine.tree import Engine, pack
from adam_optax._optax_interop import find_engines
from adam_optax.convert._checks import ConversionError, join_names
from adam_optax.convert._state_nodes import (
    Columns,
    Maker,
    Own,
    agreed,
    by_path,
    check_finite,
    decode_columns,
    dense_shape,
    dense_state,
    describe_entries,
    encode_columns,
    filled_state,
    frames_at,
    is_among,
    is_dense,
    join_traces,
    map_nodes,
    shapes_of,
    split_traces,
    steps_of,
)
from adam_optax.rules.base import dynamic_hyperparams


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
        on devices as its parameter does, in the host's memory if the state was there.

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
    changed = encode_state(decode_state(state, tx_from, params), tx_to, params)
    if any(is_on_host(x) for x in jax.tree.leaves(state)):  # as with `ao.offload`
        away = jax.memory.Space.Host
        changed = jax.tree.map(lambda x: jax.device_put(x, away) if jnp.ndim(x) else x, changed)
    return changed


def decode_state(state: Any, tx: Any, params: Any) -> Any:
    """Return a dense state: each moment in one array, in compute precision.

    Args:
        state: the state.
        tx: the transformation that made it; of one without an engine of this library, such as
            optax's, the moments are read as they are.
        params: the parameters.
    """
    engines, state = find_engines(tx, state), join_traces(state)
    templates = _templates("tx_from", tx, state, params)

    def decode(node: Any) -> Any:
        own = Own.of(node, params)
        makers = _made_by("tx_from", node, next(templates), own, engines)
        if not makers:
            return node
        columns = {n: by_path(tree) for n, tree in unpack(node).items()}
        moments = agreed([decode_columns(maker, columns, node, own) for maker in makers])
        return dense_state(node, moments)

    return map_nodes(decode, state)


def _templates(name: str, tx: Any, state: Any, params: Any) -> Iterator[Any]:
    """Return the parts with moments that a transformation's `init` makes, one for each of a state.

    Raises:
        ConversionError: if the state has more or fewer such parts.
    """
    made = states_with_moments(join_traces(_shapes_of_init(name, tx, params)))
    if len(made) != (found := len(states_with_moments(state))):
        raise ConversionError(
            f"{name} did not make this state: of parts with moments {name} has {len(made)}, the "
            f"state {found}; pass the transformation whose init and update made it"
        )
    return iter(made)


def _made_by(name: str, node: Any, template: Any, own: Own, engines: list[Engine]) -> list[Maker]:
    """Return the engines that can have made a part of a state; none if it is optax's, and dense.

    Raises:
        ConversionError: if the transformation makes another part in its place.
    """
    makers = own.makers(engines, template) if unpack(node) else []
    fits = (
        shapes_of(node) == shapes_of(template)
        and frames_of(node).keys() == frames_of(template).keys()
    )
    if not fits or not (makers or is_dense(node, own)):
        raise ConversionError(
            f"{name} did not make this state, which keeps {describe_entries(node)}; pass the "
            "transformation whose init and update made it"
        )
    return makers


def encode_state(dense: Any, tx: Any, params: Any) -> Any:
    """Return a dense state in the storage of a transformation, at the state's own count.

    Args:
        dense: a state of `tx`, but that its moments are dense.
        tx: the transformation that goes on.
        params: the parameters.
    """
    engines = find_engines(tx, dense)
    made = _shapes_of_init("tx", tx, params)
    templates = iter(states_with_moments(join_traces(made)))

    def write(node: Any) -> Any:
        template, kept = next(templates), unpack(node)
        own = Own.of(node, params)
        makers = own.makers(engines, template)
        if not kept:
            return node
        if not makers:  # of optax, whose states are dense, too, in dtypes of their own
            like = {n: by_path(tree) for n, tree in unpack(template).items()}
            return filled_state(
                template, node, _cast_like({n: by_path(tree) for n, tree in kept.items()}, like)
            )
        if kept.keys() != (moments := makers[0].engine.rule.moments).keys():
            raise ConversionError(
                f"the state's moments are {', '.join(kept)}, those of tx are {', '.join(moments)}; "
                "make tx with the optimiser of the state"
            )
        columns = {n: by_path(tree) for n, tree in kept.items()}
        check_finite(columns, "go back to a checkpoint from before they came up")
        frames = frames_at(makers[0], node)  # codes are read with these, whoever reads them
        encoded = encode_columns(makers[0], columns, node, own, frames)
        check_finite(encoded, "they are too large for the storage of tx; take a wider one")
        return filled_state(template, node, encoded, frames)

    return split_traces(map_nodes(write, dense), made)


def _cast_like(columns: Columns, like: Columns) -> Columns:
    """Return moments in the dtypes of another state's."""
    check_finite(columns, "go back to a checkpoint from before they came up")
    cast = {
        n: {path: x.astype(like[n][path].dtype) for path, x in column.items()}
        for n, column in columns.items()
    }
    check_finite(cast, "they are too large for the storage of tx; take a wider one")
    return cast


def dense_template(state: Any, tx: Any, params: Any) -> Any:
    """Return a state of a transformation in which the moments' dense shapes stand for their codes.

    Args:
        state: `tx.init(params)`, or its shapes.
        tx: the transformation.
        params: the parameters, beside which the dense moments shall be.
    """
    engines, state = find_engines(tx, state), join_traces(state)
    templates = _templates("tx", tx, state, params)

    def widen(node: Any) -> Any:
        own = Own.of(node, params)
        makers = _made_by("tx", node, next(templates), own, engines)
        if not makers:
            return node
        groups = makers[0].groups
        moments: Columns = {
            n: {path: dense_shape(p, moment, groups[path].layers) for path, p in own.leaves.items()}
            for n, moment in makers[0].engine.rule.moments.items()
        }
        return dense_state(node, moments)

    return map_nodes(widen, state)


def replay_decay_rates(dense: Any, tx: Any, params: Any) -> Any:
    """Return a dense state whose scheduled decay rates are those of its count of steps.

    Args:
        dense: a state of `tx` at some count, but that its moments are dense.
        tx: the transformation, whose schedules are read at each step up to that count.
        params: the parameters.
    """
    engines = find_engines(tx, dense)
    templates = iter(states_with_moments(join_traces(_shapes_of_init("tx", tx, params))))

    def replay(node: Any) -> Any:
        makers = Own.of(node, params).makers(engines, next(templates))
        if not (kept := log_decays_of(node)):
            return node
        rates = [_decay_rates(maker, int(steps_of(node))) for maker in makers]
        found = agreed([{"decay rate": {(n,): r[n] for n in r}} for r in rates])
        past = {n: log_decay_of(rate) for (n,), rate in found["decay rate"].items()}
        return pack(node.count, unpack(node), None, {**kept, **past})

    return map_nodes(replay, dense)


def _decay_rates(maker: Maker, count: int) -> dict[str, Any]:
    """Return the rates of the steps up to a count, by the names of their products in the state."""
    found: dict[str, Any] = {}
    for group in maker.groups.values():
        if not {*group.scheduled.values()} <= found.keys():
            rates = jax.vmap(ft.partial(_rates_at, group))(jnp.arange(count, dtype=jnp.int32))
            found |= {n: np.asarray(rate, np.float64) for n, rate in rates.items()}
    return found


def _rates_at(group: Group, count: Array) -> dict[str, Any]:
    """Return the decay rates on a schedule at the step after a count."""
    numbers = group.recipe.in_precision(dynamic_hyperparams(group.rule, count), jnp.float32)
    moments = group.recipe.factory(**group.recipe.constants, **numbers).moments
    return {kept: moments[n].decay for n, kept in group.scheduled.items()}


# --- Two transformations that differ in storage alone -------------------------------------------


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
    one, other = map(_parts, map(join_traces, (state, template)))
    if one != other:
        differing = sorted({path or "the state" for path, *_ in set(one) ^ set(other)})
        raise ConversionError(
            f"tx_to keeps other parts than this state ({join_names(differing)}): a schedule, "
            "weight decay, a mask or a link each change them; tx_to may differ in storage alone"
        )


def _parts(state: Any) -> list[tuple[str, tuple[str, ...]]]:
    """Return the paths of a state's parts, with the moments whose decay rates follow schedules."""
    is_own = is_among(states_with_moments(state))
    return [
        # Flax wraps a leaf, under this name.
        (
            jax.tree_util.keystr(path).removesuffix(".value"),
            tuple(sorted(log_decays_of(x))) if is_own(x) else (),
        )
        for path, x in jax.tree.leaves_with_path(state, is_leaf=is_own)
    ]
