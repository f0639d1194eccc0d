"""Find the moments of whatever optimiser is watched.

This library's optimisers are found by the tags of their `update` functions. A transformation of
optax for which this library has a rule is read by that rule, with the numbers in its closure. Of
others, `mu` and `nu` are read as they are stored.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import Array

from adam_optax import rules
from adam_optax._engine.groups import Group, Grouping
from adam_optax._engine.states import (
    STATES,
    count_of,
    frames_of,
    holds_moments,
    log_decays_of,
    states_with_moments,
    unpack,
)
from adam_optax._engine.tree import Engine, is_none
from adam_optax._optax_interop import find_optax_updates, find_tags, unfold_injected
from adam_optax._watch.leaf_view import Reader, rule_reader, stored_reader
from adam_optax._watch.metrics import strided_sampler
from adam_optax._watch.state import is_layer
from adam_optax.rules.base import Rule
from adam_optax.storage._plan import plan_storage

Path: TypeAlias = tuple[Any, ...]
"""The path of a leaf, as `jax.tree.leaves_with_path` returns it."""

OPTAX_RULES: dict[str, Callable[..., Rule]] = {
    "scale_by_adam": rules.adam,
    "scale_by_amsgrad": rules.amsgrad,
    "scale_by_adamax": rules.adamax,
    "scale_by_belief": rules.adabelief,
    "scale_by_radam": rules.radam,
    "scale_by_rms": rules.rmsprop,
    "scale_by_yogi": rules.yogi,
}
"""Rules for the transformations of optax that keep the same moments in their state."""


def find_moment_readers(
    tx: optax.GradientTransformation,
    state: Any,
    tree: Any,
    leaves: Mapping[Path, Array],
    samples: int,
) -> dict[Path, Reader]:
    """Return the reader of each leaf's moments, by the leaf's path.

    Args:
        tx: the watched transformation.
        state: its state.
        tree: the gradients.
        leaves: the gradient or another array of each leaf's shape and dtype, by the leaf's path.
        samples: of how many elements of a leaf at most the moments are read.
    """
    engines = list(_find_engines(tx, state))
    found: dict[Path, Reader] = {}
    known = states_with_moments(state)
    for node in (*known, *_others_with_moments(state)):
        found = _readers_of(node, engines, tree, leaves, samples) | found
    unknown = {
        path: stored_reader({}, strided_sampler(leaf.shape, samples))
        for path, leaf in leaves.items()
    }
    return unknown | found


def _others_with_moments(state: Any) -> list[Any]:
    """Return the states with `mu` or `nu` of which this library knows no more than that."""
    is_state = lambda x: bool({"mu", "nu"} & set(getattr(x, "_fields", ())))  # noqa: E731
    nodes = jax.tree.leaves(state, is_leaf=is_state)
    return [x for x in nodes if is_state(x) and not isinstance(x, STATES)]


def _readers_of(
    state: Any, engines: list[Engine], tree: Any, leaves: Mapping[Path, Array], samples: int
) -> dict[Path, Reader]:
    """Return readers of the moments in one state; a masked one has moments of some leaves only."""
    flat = lambda tree: dict(jax.tree.leaves_with_path(tree, is_leaf=is_layer))  # noqa: E731
    known = unpack(state) if holds_moments(state) else state._asdict()
    entries = {n: flat(tree) for n, tree in known.items() if n != "count"}
    every = {path: {n: e[path] for n, e in entries.items() if path in e} for path in leaves}
    encoded = {path: own for path, own in every.items() if jax.tree.leaves(own)}
    samplers = {path: strided_sampler(leaves[path].shape, samples) for path in encoded}
    fitting = {
        engine.rule.recipe(): groups
        for engine in engines
        if (groups := _groups_if_fitting(engine, encoded, tree)) is not None
    }
    if len(fitting) != 1:  # no engine, or groups of which it cannot be told which this is
        return {path: stored_reader(own, samplers[path]) for path, own in encoded.items()}
    (groups,) = fitting.values()
    counted = count_of(state) if holds_moments(state) else known.get("count")
    count = jnp.ones((), jnp.int32) if counted is None else counted  # any, where none is kept
    log_decays, frames = log_decays_of(state), frames_of(state)
    return {
        path: rule_reader(
            groups[path], count, log_decays, frames, own, leaves[path], samplers[path]
        )
        for path, own in encoded.items()
    }


def _groups_if_fitting(
    engine: Engine, encoded: Mapping[Path, Mapping[str, Any]], tree: Any
) -> dict[Path, Group] | None:
    """Return the group of each leaf, if it is this engine that keeps these entries."""
    paths = [path for path, _ in jax.tree.leaves_with_path(tree, is_leaf=is_none)]
    try:
        every = dict(zip(paths, engine.grouping.of_leaves(tree, is_none), strict=True))
    except ValueError:  # it is of another tree
        return None
    groups = {path: every[path] for path in encoded}
    fits = all(set(groups[path].storage.entries) == set(own) for path, own in encoded.items())
    return groups if fits else None


def _find_engines(tx: optax.GradientTransformation, state: Any) -> Iterator[Engine]:
    """Yield the engines that may have made the moments in a state."""
    for part in unfold_injected(tx, state):
        yield from (tag for tag in find_tags(part) if isinstance(tag, Engine))
        for name, variables in find_optax_updates(part):
            if name in OPTAX_RULES:
                yield _engine_of_optax(OPTAX_RULES[name], variables)


def _engine_of_optax(make: Callable[..., Rule], variables: Mapping[str, Any]) -> Engine:
    """Return the engine of a rule with the numbers in the closure of an optax transformation."""
    known = inspect.signature(make).parameters
    rule = make(**{n: variables[n] for n in known if n in variables})
    return Engine(Grouping(rule, plan_storage(None, rule.moments)))
