"""What a transformation is made of, found through optax's wrappers."""

import functools
from collections.abc import Iterator
from typing import Any

import optax

PART = "adam_optax_part"
"""The attribute by which an `update` function says what it computes."""
APPLY = "adam_optax_apply"
"""The attribute that holds its twin, which adds the updates to the parameters."""


def marked(update: Any, part: Any, apply: Any = None) -> Any:
    """The function, saying what it computes and which other adds the updates to the parameters."""
    setattr(update, PART, part)
    setattr(update, APPLY, apply)
    return update


def links(update: Any) -> list[Any] | None:
    """The `update` functions of an `optax.chain`, from its own; None if it is another's."""
    names = getattr(getattr(update, "__code__", None), "co_freevars", ())
    if "update_fns" not in names or update.__module__ != optax.chain.__module__:
        return None
    return list(update.__closure__[names.index("update_fns")].cell_contents)


def parts(tx: Any) -> list[Any]:
    """What the links of a transformation were marked with, through chains and other wrappers.

    Wrappers hold what they wrap in their closures. `optax.inject_hyperparams` does not: it makes
    the optimiser anew at each step.
    """
    found: dict[int, Any] = {}
    for thing in functions(tx):
        if (part := getattr(thing, PART, None)) is not None:
            found.setdefault(id(part), part)
    return list(found.values())


def functions(tx: Any) -> Iterator[Any]:
    """What a transformation's `update` can call: functions in closures, depth first, each once."""
    stack, seen = [tx.update], set()
    while stack:
        thing = stack.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if callable(thing):
            yield thing
        stack += reversed(_held(thing))


def _held(thing: Any) -> list[Any]:
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


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
