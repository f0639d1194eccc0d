"""Reading moments out of a state, whatever chain or wrapper it is in."""

from typing import Any

import jax
import jax.numpy as jnp

from adam_optax._core import checks
from adam_optax._core.numerics import compute_dtype
from adam_optax._engine.kept import decoded
from adam_optax._engine.tree import STATES, Engine, entries_of, unpack
from adam_optax._optax_interop import parts


def read_moments(state: Any, tx: Any = None, params: Any = None) -> dict[str, Any]:
    """The moments in a state, by name, each a tree over the parameters in at least float32.

    Args:
        state: any tree with states of this library's rules in it.
        tx: the transformation that made it. Needed, like `params`, where moments are not kept as
            dense arrays; without it, entries are read as they are kept.
        params: the parameters.

    Raises:
        ValueError: if there is no such state, or there are several of the same moments
            (partitioned or masked groups: pass the inner state of one of them).

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.adam(1e-3, storage={"nu": ao.storage.factored(2)})
    >>> params = {"w": jnp.ones((3, 5))}
    >>> ao.read_moments(tx.init(params), tx, params)["nu"]["w"].shape
    (3, 5)
    """
    is_state = lambda x: isinstance(x, STATES)  # noqa: E731
    found = [s for s in jax.tree.leaves(state, is_leaf=is_state) if is_state(s)]
    moments = [unpack(one) if tx is None else _decoded(one, tx, params) for one in found]
    names = [n for one in moments for n in one]
    if not found or len(set(names)) < len(names):
        raise ValueError(f"expected one state with moments, found {len(found)} in the tree")
    merged = {n: tree for one in moments for n, tree in one.items()}
    return {n: jax.tree.map(_wide, m) for n, m in merged.items()}


def _wide(m: Any) -> Any:
    if not jnp.issubdtype(m.dtype, jnp.inexact):
        raise ValueError(f"moments are kept as {m.dtype}: read_moments(state, tx, params) reads it")
    return m.astype(compute_dtype(m))


def _decoded(state: Any, tx: Any, params: Any) -> dict[str, Any]:
    kept = unpack(state)
    if params is None:
        raise ValueError("reading through tx needs the parameters: read_moments(state, tx, params)")
    engine = _engine(tx, params, set(kept))
    treedef: Any
    ps, treedef = jax.tree.flatten(params)
    columns = {n: treedef.flatten_up_to(tree) for n, tree in kept.items()}
    rows = [{n: column[i] for n, column in columns.items()} for i in range(len(ps))]
    recipe, numbers = (
        (engine.rule.maker(), engine.rule.constants()),
        engine.rule.numbers(state.count),
    )
    done = []
    for p, row, codec in zip(ps, rows, engine.plan.codecs(params), strict=True):
        own, _ = checks.split(row, codec.entries())
        done.append(decoded(*recipe, codec)(own, numbers, state.count, jnp.shape(p)))
    return {n: jax.tree.unflatten(treedef, [d[n] for d in done]) for n in engine.rule.moments}


def _engine(tx: Any, params: Any, entries: set[str]) -> Engine:
    engines = [part for part in parts(tx) if isinstance(part, Engine)]
    for engine in engines:
        if set(entries_of(engine.plan.codecs(params))) == entries:
            return engine
    raise ValueError(f"nothing in tx keeps {', '.join(sorted(entries))}; pass what made the state")
