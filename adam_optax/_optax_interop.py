"""Look into optax's closures: the one file that knows names inside optax.

optax keeps of a transformation in a chain only its `update` function, and wrappers hold what they
wrap in closures. What this library needs to know of a chain is found there, by the names of optax's
local variables. If optax renames them, a `RuntimeWarning` says what no longer works.
"""

import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import CellType, FrameType
from typing import Any

import jax
import optax

from adam_optax._core.types import UpdateFn
from adam_optax._engine.tree import TAG, Engine

_LINKS = "update_fns"
"""Name the variable in which `optax.chain` holds the `update` functions of its links."""
_FACTORY, _CONSTANTS = "inner_factory", "other_hps"
"""Name the variables in which `optax.inject_hyperparams` holds the function and its constants."""

_RUN_CHAINS = (
    "chain.<locals>.update_fn",
    "named_chain.<locals>.update_fn",
    "run_chain",
)
"""List the functions that run the links of a chain one by one: optax's, and that of `ao.step`."""
_CURRENT = "fn"
"""Name the variable in which these functions hold the link that runs."""
_NAMED_LINKS, _CURRENT_NAME = "transforms", "name"
"""Name the variables of `optax.named_chain`: its pairs of name and link, the name that runs."""


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


def run_chain(
    update_fns: list[UpdateFn],
    last: Callable[..., tuple[Any, Any]],
    updates: Any,
    state: Any,
    params: Any,
    extra_args: Mapping[str, Any],
) -> tuple[Any, Any]:
    """Run a chain as optax does, and give its last link to a function.

    Args:
        update_fns: the links, from `chain_links`.
        last: runs the last link: takes its `update`, and the link's arguments in optax's order.
        updates: the gradients.
        state: the states of the links.
        params: the parameters.
        extra_args: further arguments of every link.

    Returns:
        What `last` returned first, and the states of the links.
    """
    new = []
    for i, (fn, kept) in enumerate(zip(update_fns, state, strict=True)):
        if i + 1 < len(update_fns):
            updates, kept = fn(updates, kept, params, **extra_args)
        else:
            updates, kept = last(fn, updates, kept, params, extra_args)
        new.append(kept)
    return updates, tuple(new)


def links_after() -> list[UpdateFn]:
    """Return the `update` functions that the chains around a running link run after it.

    Call it while the link updates. No link is told of its place in a chain, but `optax.chain` is
    below the link on Python's stack, also while JAX traces. The search ends at the first function
    of another package, because what calls the optimiser from there is no chain around the link.
    """
    found: list[UpdateFn] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _package(frame) in ("adam_optax", "optax", "jax", "contextlib"):
        if frame.f_code.co_qualname in _RUN_CHAINS:
            found += _rest_of_chain(dict(frame.f_locals))  # a proxy from Python 3.13 on
        frame = frame.f_back
    return found


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def _rest_of_chain(held: Mapping[str, Any]) -> list[UpdateFn]:
    if {_LINKS, _CURRENT} <= held.keys():
        links, current = list(held[_LINKS]), held[_CURRENT]
        return links[next(i for i, link in enumerate(links) if link is current) + 1 :]
    if {_NAMED_LINKS, _CURRENT_NAME} <= held.keys():
        names = [name for name, _ in held[_NAMED_LINKS]]
        later = held[_NAMED_LINKS][names.index(held[_CURRENT_NAME]) + 1 :]
        return [tx.update for _, tx in later]
    _warn("optax.chain", "what follows a link that must be the last is not noticed")
    return []


PASSING = frozenset({"kahan", "split_master", "stochastic_rounding", "temporal_average"})
"""List the links of this library that pass updates on, changed by roundings at most."""
_TRANSPARENT = frozenset({"chain", "named_chain", "masked", "partition", "identity", "snapshot"})
"""List the transformations of optax that change no update by themselves."""
_UNKNOWN = frozenset({"stateless", "stateless_with_tree_map"})
"""List the transformations of optax that run a function of the user's."""


def refuse_unless_last(link: str) -> None:
    """Refuse, while a link updates, a chain in which the link's updates are changed afterwards.

    Args:
        link: the name of the link, for the message.

    Raises:
        ValueError: if a link follows that changes updates.

    Warns:
        UserWarning: if a link follows that this library does not know.
    """
    names: list[str] = []
    for update in links_after():
        names += _transformations_in(update)
    if changing := [name for name in names if name not in _UNKNOWN]:
        raise ValueError(
            f"{link} must be the last link of its chain, because its updates are those that are "
            f"applied, but here {', '.join(dict.fromkeys(changing))} changes them afterwards: "
            f"write optax.chain(..., {link}(...))"
        )
    if names:
        warnings.warn(
            f"{link} should be the last link of its chain: if the link that follows changes "
            f"updates, {link} works on others than those that are applied",
            UserWarning,
            stacklevel=2,
        )


def _transformations_in(update: UpdateFn) -> list[str]:
    """Return the names of what may change updates inside a link; `"stateless"` if it is unknown."""
    names, known = [], False
    for function in walk_closures(update):
        tag = getattr(function, TAG, None)
        name = tag.rule.name if isinstance(tag, Engine) else tag
        name = name or _optax_name(function)
        known = known or name is not None
        if name is not None and name not in PASSING | _TRANSPARENT:
            names.append(name)
    return names if known else ["stateless"]


_BY_ELEMENT = frozenset(
    {
        *("add_decayed_weights", "clip", "ema", "inject_hyperparams", "with_extra_args_support"),
        *("keep_params_nonnegative", "scale", "scale_by_learning_rate", "scale_by_schedule"),
        *("scale_by_sign", "set_to_zero", "trace"),
    }
)
"""List the transformations of optax that treat every element by itself."""
_BY_LAYER = frozenset({"clip_by_block_rms"})
"""List the links of this library that treat every layer by itself.

optax's link of the same name does not know `stacked` layers."""


def links_that_may_mix(tx: optax.GradientTransformation) -> list[str]:
    """Return the names of links that may mix layers, as far as this library knows.

    Optimisers of this library are left out: they know themselves what they mix.
    """
    names: list[Engine | str] = []
    for link in chain_links(tx.update) or [tx.update]:
        found = [_link_name(f) for f in walk_closures(link)]
        known = [name for name in found if name is not None]
        names += known or [getattr(link, "__qualname__", "a link").partition(".")[0]]
    fine = PASSING | _TRANSPARENT | _BY_ELEMENT
    return [x for x in dict.fromkeys(names) if isinstance(x, str) and x not in fine]


def _link_name(function: Callable[..., object]) -> Engine | str | None:
    """Return what an `update` is: an engine, or the name of a link; None if it is not known."""
    tag: Engine | str | None = getattr(function, TAG, None)
    return "identity" if isinstance(tag, str) and tag in _BY_LAYER else tag or _maker(function)


def _maker(function: Callable[..., object]) -> str | None:
    """Return the name of the function or class of optax or ours that made an `update`."""
    package = str(getattr(function, "__module__", "")).partition(".")[0]
    first, _, rest = getattr(function, "__qualname__", "").partition(".")
    made = rest.rpartition(".")[2] in ("update", "update_fn")
    return first if made and package in ("optax", "adam_optax") else None


def _optax_name(function: Callable[..., object]) -> str | None:
    """Return the name of the function of optax that made a transformation's `update`."""
    qualname = getattr(function, "__qualname__", "")
    if str(getattr(function, "__module__", "")).startswith("optax."):
        return qualname.partition(".")[0] if qualname.endswith("update_fn") else None
    return None


def find_tags(tx: optax.GradientTransformation) -> list[Engine | str]:
    """Return what the links of a transformation were tagged with, through chains and wrappers.

    `optax.inject_hyperparams` hides its optimiser: it makes the optimiser anew at each step.
    """
    found: dict[int, Engine | str] = {}
    for function in walk_closures(tx.update):
        if (tag := getattr(function, TAG, None)) is not None:
            found.setdefault(id(tag), tag)
    return list(found.values())


def find_optax_updates(
    tx: optax.GradientTransformation,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each transformation of optax inside another, and its closure's variables.

    The name is that of the function that made it, such as `"scale_by_adam"`.
    """
    for function in walk_closures(tx.update):
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


def walk_closures(update: UpdateFn) -> Iterator[Callable[..., object]]:
    """Yield the functions that a transformation's `update` can call, depth first, each once."""
    stack: list[object] = [update]
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
