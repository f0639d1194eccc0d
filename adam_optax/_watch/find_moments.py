"""Finding the moments of whatever optimiser is watched.

Ours are found by what their `update` is marked with. A transformation of optax that we have a
rule for is read by that rule, with the numbers in its closure. Of others, `mu` and `nu` are taken
as they are kept.
"""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from adam_optax import rules
from adam_optax._engine.tree import Engine, ScaleByState, unpack
from adam_optax._optax_interop import find_optax_updates, find_tags, injected
from adam_optax._watch.leaf_view import Look, raw, read
from adam_optax._watch.sampling import picker
from adam_optax._watch.state import is_layer
from adam_optax.storage._plan import LeafStorage, path_name, plan_storage

OPTAX = {
    "scale_by_adam": rules.adam,
    "scale_by_amsgrad": rules.amsgrad,
    "scale_by_adamax": rules.adamax,
    "scale_by_belief": rules.adabelief,
    "scale_by_radam": rules.radam,
    "scale_by_rms": rules.rmsprop,
    "scale_by_yogi": rules.yogi,
}
"""Our rule for a transformation of optax that keeps the same numbers in its state."""


def looks(tx: Any, state: Any, leaves: Mapping[Any, Any], width: int) -> dict[Any, Look]:
    """How to look at the moments of at most `width` elements of each leaf, by its path."""
    engines = list(_engines(tx, state))
    found: dict[Any, Look] = {}
    for one in jax.tree.leaves(state, is_leaf=_remembers):
        if _remembers(one):
            found = _in(one, engines, leaves, width) | found
    return {at: raw({}, picker(leaf.shape, width)) for at, leaf in leaves.items()} | found


def _remembers(x: Any) -> bool:
    return isinstance(x, ScaleByState) or bool({"mu", "nu"} & set(getattr(x, "_fields", ())))


def _in(
    state: Any, engines: list[Engine], leaves: Mapping[Any, Any], width: int
) -> dict[Any, Look]:
    """The looks at what one state remembers: the leaves of a masked one may be some of all."""
    flat = lambda tree: dict(jax.tree.leaves_with_path(tree, is_leaf=is_layer))  # noqa: E731
    entries = {n: flat(tree) for n, tree in unpack(state).items()}
    rows = {at: {n: e[at] for n, e in entries.items() if at in e} for at in leaves}
    rows = {at: row for at, row in rows.items() if jax.tree.leaves(row)}
    picks = {at: picker(leaves[at].shape, width) for at in rows}
    fitting = {
        engine.recipe: (engine, storages)
        for engine in engines
        if (storages := _storages(engine, rows, leaves)) is not None
    }
    if len(fitting) != 1:  # none, or groups of which it cannot be told which this is
        return {at: raw(row, picks[at]) for at, row in rows.items()}
    ((engine, storages),) = fitting.values()
    return {
        at: read(engine, state.count, storages[at], row, leaves[at], picks[at])
        for at, row in rows.items()
    }


def _storages(
    engine: Engine, rows: Mapping[Any, Any], leaves: Mapping[Any, Any]
) -> dict[Any, LeafStorage] | None:
    """Return the storage of each leaf, if it is this engine that keeps these entries."""
    plan = engine.plan
    storages = {at: plan.uniform or plan.choose(path_name(at), leaves[at]) for at in rows}  # type: ignore[misc]
    fits = all(set(storages[at].entries) == set(row) for at, row in rows.items())
    return storages if fits else None


def _engines(tx: Any, state: Any) -> Iterator[Engine]:
    """Yield the engines that may have made the moments in a state."""
    yield from (tag for tag in find_tags(tx) if isinstance(tag, Engine))
    for name, held in find_optax_updates(tx):
        if name in OPTAX:
            yield _of_optax(OPTAX[name], held)
        if name == "inject_hyperparams":
            yield from _injected(held, state)


def _of_optax(make: Any, given: Mapping[str, Any]) -> Engine:
    """Our rule with the numbers of a transformation of optax."""
    rule = make(**{n: given[n] for n in inspect.signature(make).parameters if n in given})
    return Engine(rule, plan_storage(None, rule.moments))


def _injected(held: Mapping[str, Any], state: Any) -> Iterator[Engine]:
    """What `optax.inject_hyperparams` makes anew at each step, with the numbers of this one."""
    has_numbers = lambda x: hasattr(x, "hyperparams") and hasattr(x, "inner_state")  # noqa: E731
    for one in jax.tree.leaves(state, is_leaf=has_numbers):
        if has_numbers(one):
            yield from _engines(injected(held, one.hyperparams), one.inner_state)
