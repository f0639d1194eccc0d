"""Look into optax's closures: the one file that knows names inside optax.

optax keeps of a transformation in a chain only its `update` function, and wrappers hold what they
wrap in closures. What this library needs to know of a chain is found there, by the names of optax's
local variables. If optax renames them, a `RuntimeWarning` says what no longer works.
"""

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import CellType
from typing import Any

import jax
import optax

from adam_optax._core.types import UpdateFn
from adam_optax._engine.tree import TAG, Engine

_LINKS = "update_fns"
"""The variable in which `optax.chain` holds the `update` functions of its links."""
_FACTORY, _CONSTANTS = "inner_factory", "other_hps"
"""The variables in which `optax.inject_hyperparams` holds the function and its constants."""


def chain_links(update: UpdateFn) -> list[UpdateFn] | None:
    """Return the `update` functions of an `optax.chain`, given its own; None if it is no chain."""
    if getattr(update, "__module__", None) != optax.chain.__module__:
        return None
    if not getattr(update, "__qualname__", "").startswith("chain."):
        return None
    held = _variables(update)
    if _LINKS not in held:
        _warn("optax.chain", "ao.step goes through optax.apply_updates, which moves more bytes")
        return None
    return list(held[_LINKS])


def find_tags(tx: optax.GradientTransformation) -> list[Engine | str]:
    """Return what the links of a transformation were tagged with, through chains and wrappers.

    `optax.inject_hyperparams` hides its optimiser: it makes the optimiser anew at each step.
    """
    found: dict[int, Engine | str] = {}
    for function in walk_closures(tx):
        if (tag := getattr(function, TAG, None)) is not None:
            found.setdefault(id(tag), tag)
    return list(found.values())


def find_optax_updates(
    tx: optax.GradientTransformation,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each transformation of optax inside another, and its closure's variables.

    The name is that of the function that made it, such as `"scale_by_adam"`.
    """
    for function in walk_closures(tx):
        module = getattr(function, "__module__", None) or ""
        qualname = getattr(function, "__qualname__", "")
        if module.startswith("optax.") and qualname.endswith("update_fn"):
            yield qualname.partition(".")[0], _variables(function)


def injected(
    held: Mapping[str, Any], hyperparams: Mapping[str, Any]
) -> optax.GradientTransformation:
    """Return the transformation that `optax.inject_hyperparams` makes of these hyper-parameters.

    Args:
        held: the variables of its closure, from `find_optax_updates`.
        hyperparams: the hyper-parameters of this step, from its state.
    """
    if not {_FACTORY, _CONSTANTS} <= held.keys():
        _warn("optax.inject_hyperparams", "ao.watch reads moments inside it as they are stored")
        return optax.identity()
    return held[_FACTORY](**held[_CONSTANTS], **hyperparams)


def unfold_injected(
    tx: optax.GradientTransformation, state: Any
) -> Iterator[optax.GradientTransformation]:
    """Yield a transformation, and those that `optax.inject_hyperparams` hides inside it.

    Args:
        tx: the transformation.
        state: its state, whose hyper-parameters of this step the hidden ones are made of.
    """
    yield tx
    for name, held in find_optax_updates(tx):
        if name == "inject_hyperparams":
            for node in jax.tree.leaves(state, is_leaf=_is_injected):
                if _is_injected(node):
                    yield from unfold_injected(injected(held, node.hyperparams), node.inner_state)


def _is_injected(x: object) -> bool:
    return hasattr(x, "hyperparams") and hasattr(x, "inner_state")


def find_engines(tx: optax.GradientTransformation, state: Any) -> list[Engine]:
    """Return this library's engines in a transformation, through chains, wrappers and injection."""
    return [
        tag
        for part in unfold_injected(tx, state)
        for tag in find_tags(part)
        if isinstance(tag, Engine)
    ]


def walk_closures(tx: optax.GradientTransformation) -> Iterator[Callable[..., object]]:
    """Yield the functions that a transformation's `update` can call, depth first, each once."""
    stack: list[object] = [tx.update]
    seen: set[int] = set()
    while stack:
        thing = stack.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if callable(thing):
            yield thing
        stack += reversed(_held_by(thing))


def _held_by(thing: object) -> list[object]:
    if isinstance(thing, tuple | list):
        return list(thing)
    if isinstance(thing, dict):
        return list(thing.values())
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if hasattr(thing, "__self__"):  # a method, of optax.MultiSteps say
        return list(getattr(thing.__self__, "__dict__", {}).values())
    cells = getattr(thing, "__closure__", None) or ()
    return [cell.cell_contents for cell in cells if _is_filled(cell)]


def _is_filled(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _variables(function: Callable[..., object]) -> dict[str, Any]:
    if not getattr(getattr(function, "__code__", None), "co_freevars", ()):
        return {}
    return dict(inspect.getclosurevars(function).nonlocals)


def _warn(what: str, consequence: str) -> None:
    text = (
        f"{what} of optax {optax.__version__} is not laid out as adam_optax knows it: "
        f"{consequence}; please report the versions"
    )
    warnings.warn(text, RuntimeWarning, stacklevel=4)
