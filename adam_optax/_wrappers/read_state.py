"""Read moments and averages out of a state, whatever chain or wrapper the state is in."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from adam_optax._core import checks
from adam_optax._core.numerics import compute_dtype
from adam_optax._engine.outside_step import compile_decode, in_memory
from adam_optax._engine.states import (
    OWN_STATES,
    count_of,
    frames_of,
    states_with_moments,
    unpack,
)
from adam_optax._engine.tree import Engine
from adam_optax._optax_interop import find_tags
from adam_optax.rules.base import dynamic_hyperparams
from adam_optax.storage._base import MASKED
from adam_optax.storage._plan import entries_of


def read_moments(state: Any, tx: Any = None, params: Any = None) -> dict[str, Any]:
    """Return the moments in a state, by name, each a tree over the parameters in float32 or wider.

    Use it to look at moments, whatever the storage, chain or wrapper that the state is of.

    Args:
        state: any tree with states of this library's rules in it.
        tx: the transformation that made the state. It is needed, like `params`, where moments are
            not kept as dense arrays; without `tx`, the arrays of the state are returned.
        params: the parameters.

    Returns:
        The moments by name, such as `{"mu": ..., "nu": ...}`.

    Raises:
        ValueError: if there is no such state, or there are several of the same moments
            (partitioned or masked groups: pass the inner state of one of them); if the moments need
            `tx` or `params` to be read; if `tx` did not make the state.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.adam(1e-3, storage={"nu": ao.storage.factored(2)})
    >>> params = {"w": jnp.ones((3, 5))}
    >>> ao.read_moments(tx.init(params), tx, params)["nu"]["w"].shape
    (3, 5)
    """
    found = states_with_moments(state)
    moments = [unpack(one) if tx is None else _decoded(one, tx, params) for one in found]
    names = [n for one in moments for n in one]
    if not found or len(set(names)) < len(names):
        raise ValueError(f"expected one state with moments, found {len(found)} in the tree")
    merged = {n: tree for one in moments for n, tree in one.items()}
    return {n: jax.tree.map(_wide, m) for n, m in merged.items()}


def _wide(m: Array) -> Array:
    """Widen a moment to the precision in which rules compute; refuse the codes of a format."""
    if not jnp.issubdtype(m.dtype, jnp.inexact):
        raise ValueError(f"moments are kept as {m.dtype}: read_moments(state, tx, params) reads it")
    return m.astype(compute_dtype(m))


def _decoded(state: Any, tx: Any, params: Any) -> dict[str, Any]:
    """Return the moments of one state, decoded by the engine in `tx` that keeps them."""
    entries = unpack(state)
    if params is None:
        raise ValueError("reading through tx needs the parameters: read_moments(state, tx, params)")
    engine = _find_engine(tx, params, set(entries))
    treedef: Any
    ps, treedef = jax.tree.flatten(params)
    columns = {n: treedef.flatten_up_to(tree) for n, tree in entries.items()}
    rows = [{n: column[i] for n, column in columns.items()} for i in range(len(ps))]
    counted = count_of(state)
    count = jnp.zeros((), jnp.int32) if counted is None else counted
    frames, decoded = frames_of(state), []
    for p, row, group in zip(ps, rows, engine.grouping.of_leaves(params), strict=True):
        own, _ = checks.split_entries(row, group.storage.entries)
        decode = compile_decode(group.recipe, group.storage, group.layers)
        hyperparams = dynamic_hyperparams(group.rule, count)
        decoded.append(decode(own, hyperparams, group.own_frames(frames), jnp.shape(p)))
    # Of a frozen parameter there is nothing.
    return {
        n: jax.tree.unflatten(treedef, [d.get(n, MASKED) for d in decoded])
        for n in engine.rule.moments
    }


def _find_engine(tx: Any, params: Any, entries: set[str]) -> Engine:
    """Return the engine in a transformation whose state has these entries."""
    engines = [part for part in find_tags(tx) if isinstance(part, Engine)]
    for engine in engines:
        groups = engine.grouping.of_leaves(params)
        if set(entries_of(group.storage for group in groups)) == entries:
            return engine
    raise ValueError(f"nothing in tx keeps {', '.join(sorted(entries))}; pass what made the state")


def read_average(state: Any, params: Any, tx: Any = None) -> Any:
    """Return the averaged parameters that `temporal_average` keeps in a state.

    Use it to evaluate a model that is trained by a chain with `temporal_average` in it.

    Args:
        state: any tree with exactly one state of `temporal_average` in it.
        params: the parameters, in whose dtypes and memory the average is returned.
        tx: the transformation that made the state; needed where the average is kept in the codes of
            a format, such as `storage=ao.storage.int8()`.

    Returns:
        The average, as a tree like the parameters.

    Raises:
        ValueError: if there is no such state, or there are several; if the average needs `tx`.

    >>> import jax.numpy as jnp, optax, adam_optax as ao
    >>> tx = optax.chain(ao.sgd(0.25), ao.temporal_average(b2=0.9))
    >>> params = jnp.array([1.0])
    >>> updates, state = tx.update(jnp.array([2.0]), tx.init(params), params)
    >>> ao.read_average(state, params)  # after one step: the parameters after it
    Array([0.5], dtype=float32)

    Reference: Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization", section 7.2.
    """
    found = _the_average(state)
    average = _dense_average(found)
    if average is None and tx is None:
        raise ValueError("the average is kept in codes: write read_average(state, params, tx)")
    if average is None:
        average = _decoded(found, tx, params)[AVERAGE]
    return jax.tree.map(lambda m, p: in_memory(m, p).astype(p.dtype), average, params)


def swap_average(state: Any, params: Any) -> tuple[Any, Any]:
    """Exchange the parameters and the average that `temporal_average` keeps in a state.

    Use it to evaluate with the average without a second copy of the model: swap, evaluate, and swap
    again before training goes on. Where memory for a copy is there, `read_average` is simpler.

    Args:
        state: any tree with exactly one state of `temporal_average` in it, kept in the parameters'
            dtypes.
        params: the parameters.

    Returns:
        The average as parameters, and the state that holds the parameters in its place.

    Raises:
        ValueError: if there is no such state, or there are several; if the average is not kept in
            the dtype and shape of its parameter, so that one of the two would lose digits.

    >>> import jax.numpy as jnp, optax, adam_optax as ao
    >>> tx = optax.chain(ao.sgd(0.25), ao.temporal_average(b2=0.5))
    >>> params = jnp.array([1.0])
    >>> state = tx.init(params)
    >>> for _ in range(2):
    ...     params, state = ao.step(tx, jnp.array([2.0]), state, params)
    >>> average, swapped = ao.swap_average(state, params)
    >>> print(params, average)
    [0.] [0.16666666]
    >>> params, state = ao.swap_average(swapped, average)  # and back
    >>> print(params)
    [0.]
    """
    found = _the_average(state)
    kept = _dense_average(found)
    for path, p in jax.tree.leaves_with_path(params):
        like = (
            () if kept is None else [m for at, m in jax.tree.leaves_with_path(kept) if at == path]
        )
        if not any(m.dtype == p.dtype and m.shape == p.shape for m in like):
            held = ", ".join(str(m.dtype) for m in like) or "codes"
            raise ValueError(
                f"the average of params{jax.tree_util.keystr(path)} is kept as {held}, the "
                f"parameter is {p.dtype}: swapping would lose digits; take read_average"
            )
    # The host may hold the state, as with `ao.offload`, but computes nothing.
    kept, swapped_in = (
        jax.tree.map(in_memory, one, other) for one, other in ((kept, params), (params, kept))
    )
    after = found._replace(moments={**found.moments, AVERAGE: swapped_in})
    swapped = jax.tree.map(lambda x: after if x is found else x, state, is_leaf=_is_average)
    return kept, swapped


AVERAGE = "average"
"""The name of the moment of `temporal_average`."""


def _the_average(state: Any) -> Any:
    """Return the one state of `temporal_average` in a tree."""
    found = [s for s in jax.tree.leaves(state, is_leaf=_is_average) if _is_average(s)]
    if len(found) != 1:
        raise ValueError(
            f"expected one state of temporal_average, found {len(found)}; make the optimiser as "
            "optax.chain(..., adam_optax.temporal_average())"
        )
    return found[0]


def _dense_average(state: Any) -> Any:
    """Return the average as it is kept; None if it is kept in codes."""
    kept = state.moments.get(AVERAGE)
    numbers = all(jnp.issubdtype(m.dtype, jnp.inexact) for m in jax.tree.leaves(kept))
    return kept if len(state.moments) == 1 and numbers else None


def _is_average(x: Any) -> bool:
    return isinstance(x, OWN_STATES) and any(n.partition("_")[0] == AVERAGE for n in x.moments)
