"""Read the hyper-parameters that a state is about to be stepped with, without injecting them."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import jax
import optax
from jax import Array

from adam_optax._core import checks
from adam_optax._core.by_path import named_leaves, value_key
from adam_optax._core.types import PyTree
from adam_optax._engine.groups import Group
from adam_optax._engine.reading import READER, Reader, Reading
from adam_optax._engine.tree import Engine
from adam_optax._optax_interop import PASSING, unfold_injected, walk_closures
from adam_optax.rules.base import dynamic_hyperparams

Numbers: TypeAlias = dict[str, Any]
"""Hyper-parameters by name, and as `params` the paths of the parameters that have them."""


def hyperparameters(state: PyTree, tx: Any, params: PyTree = None) -> list[Numbers]:
    """Return the learning rate, weight decay and betas in force, for each group of parameters.

    Take it to log the learning rate of a schedule, or to see what groups by path come to. Nothing
    is injected into the optimiser: its state and its compiled step are what they are without, and a
    number is computed only where it is asked for, inside `jax.jit` or outside.

    Args:
        state: the state, before the step that is meant: schedules are read at its count.
        tx: the transformation that made the state: an optimiser or a `scale_by_*` of this library,
            also inside `optax.chain` and wrappers such as `optax.MultiSteps`, `ao.watch` or
            `optax.inject_hyperparams`.
        params: the parameters, or their shapes and dtypes. They are needed where something is by
            path, and where weight decay has a mask.

    Returns:
        A dictionary for each group of parameters with the same numbers, in the order of the
        parameters: `learning_rate`, `weight_decay`, and the numbers of the variant (`b1`, `b2`,
        `eps`, ...) by the names of its arguments; a number that follows a schedule as a scalar
        array, any other as it was given. `params` are the paths of the group's parameters
        (`"dense/kernel"`); None where `params` was not given. The rate of frozen parameters is 0.
        `weight_decay` is what was given, before it is multiplied by a learning rate; 0 where the
        mask leaves parameters out.

    Raises:
        ValueError: if `tx` has no optimiser of this library or did not make the state; if there are
            several, as in `optax.partition`: pass one group's transformation and state; if the
            parameters are needed and not given.

    Example:
        >>> import jax.numpy as jnp, optax, adam_optax as ao
        >>> tx = optax.chain(ao.clip_by_global_norm(1.0), ao.adamw(optax.linear_schedule(1, 0, 4)))
        >>> params = {"w": jnp.ones(3), "b": jnp.ones(1)}
        >>> params, state = ao.step(tx, params, tx.init(params), params)
        >>> (group,) = ao.hyperparameters(state, tx, params)
        >>> print(group["learning_rate"], group["weight_decay"], group["b2"], group["params"])
        0.75 0.0001 0.999 ('b', 'w')
    """
    reader, node = _find(state, tx)
    if params is None and (reader.has_mask or reader.engine.grouping.uniform is None):
        why = "weight decay has a mask" if reader.has_mask else "numbers differ by path"
        raise ValueError(f"{why}: write hyperparameters(state, tx, params), to say of whom")
    found = reader.read(node, params)
    groups, paths = _groups(reader.engine, params)
    mask = [True] * len(groups) if found.mask is None else jax.tree.leaves(found.mask)
    known: dict[object, tuple[Group, bool]] = {}
    members: dict[object, list[str]] = {}
    for group, decays, path in zip(groups, mask, paths, strict=True):
        # Groups may differ by storage alone.
        rates = value_key(group.learning_rate), value_key(group.weight_decay)
        key = id(group.rule), group.frozen, rates, bool(decays)
        known[key] = group, bool(decays)
        members.setdefault(key, []).append(path)
    return [
        {**_numbers(*known[key], found), "params": None if params is None else tuple(own)}
        for key, own in members.items()
    ]


def _numbers(group: Group, decays: bool, found: Reading) -> Numbers:
    """Return the numbers of a group at the counts that were read."""
    origin = group.rule.origin
    own = {} if origin is None else {n: v for n, v in origin.hyperparams.items() if _is_number(v)}
    if origin is not None and origin.dynamic:
        own |= dynamic_hyperparams(group.rule, found.step)
    decay = found.given.get("weight_decay", group.weight_decay)
    outer = {
        "learning_rate": 0.0 if group.frozen else group.learning_rate,
        "weight_decay": 0.0 if group.frozen or not decays else decay,
    }
    now = {n: _at(n, outer[n], step) for n, step in found.steps.items()}
    return now | {n: v for n, v in own.items() if n not in now}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Array) and not isinstance(value, bool)


def _at(name: str, value: Any, count: Array) -> Any:
    return checks.scalar(name, value(count)) if callable(value) else value


def _groups(engine: Engine, params: PyTree) -> tuple[list[Group], list[str]]:
    """Return the group of each parameter, and its path; the one group without parameters."""
    if params is None:
        assert engine.grouping.uniform is not None
        return [engine.grouping.uniform], [""]
    paths = [name or "parameter" for name, _ in named_leaves(params)]
    return engine.grouping.of_leaves(params), paths


def _find(state: PyTree, tx: optax.GradientTransformation) -> tuple[Reader, PyTree]:
    """Return the reader of the one optimiser in a transformation, and that optimiser's state."""
    found = [
        (reader, node)
        for reader in _readers(tx, state)
        for node in jax.tree.leaves(state, is_leaf=reader.fits)
        if reader.fits(node)
    ]
    if len(found) == 1:
        return found[0]
    what = "no optimiser of adam_optax in tx made this state"
    if found:
        what = f"{len(found)} may have made this state; pass one of them, with its own state"
    raise ValueError(f"hyperparameters reads the state of one optimiser: {what}")


def _readers(tx: optax.GradientTransformation, state: PyTree) -> Iterator[Reader]:
    """Yield the readers in a transformation, through chains, wrappers and injection."""
    seen: set[int] = set()
    for part in unfold_injected(tx, state):
        for function in walk_closures(part.update):
            reader = getattr(function, READER, None)
            passes = reader is not None and reader.engine.rule.name in PASSING
            if reader is not None and not passes and id(reader.engine) not in seen:
                seen.add(id(reader.engine))
                yield reader
