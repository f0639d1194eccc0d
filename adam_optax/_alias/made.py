"""Optimisers and transformations made from rules, so that each has what all have."""

import functools as ft
import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any, TypeVar, cast

from adam_optax._alias.arguments import ARGUMENTS, lacks
from adam_optax._transform import Transformation, optimizer, scale_by
from adam_optax._transform import decay_from_arguments as decoupled
from adam_optax.rules.base import Rule

Make = TypeVar("Make", bound=Callable[..., Transformation])
DECAY = ("weight_decay", "mask", "coupling")
STORAGE = ("mu_dtype", "nu_dtype", "storage")
RAISES = """
    Raises:
        ValueError: if a number is out of range, or a tree, shape or state does not fit.
        TypeError: if a parameter or gradient is neither floating nor complex.
"""


def made(
    name: str,
    rule: Callable[..., Rule],
    positional: str,
    decays: bool = True,
    preset: dict[str, Any] | None = None,
    module: str = "adam_optax",
    **defaults: Any,
) -> Callable[..., Transformation]:
    """An optimiser from a rule.

    Args:
        name: its name.
        rule: a `@variant`, whose parameters it takes.
        positional: the names, in optax's order, of what may be given by place.
        decays: whether it takes weight decay; else a variant with a `w` does.
        preset: arguments of the rule that the optimiser fixes.
        module: where it is found under its name, by pickle for one.
        **defaults: defaults that differ from the rule's, or from None.
    """
    fixed, shared = preset or {}, (*(DECAY if decays else ()), *STORAGE)
    signature = _signature(rule, positional.split(), dict.fromkeys(shared) | defaults, fixed)

    def make(*args: Any, **kwargs: Any) -> Transformation:
        given = _bound(name, signature, args, kwargs)
        rate = given.pop("learning_rate")
        decay = decoupled(*(given.pop(n, None) for n in DECAY))
        how = {n: given.pop(n) for n in STORAGE}
        return optimizer(rule(**given, **fixed), rate, decay=decay, **how)

    return _dressed(make, name, signature, _documented(name, rule, signature, "1e-3"), module)


def scaled(
    name: str, rule: Callable[..., Rule], positional: str, **defaults: Any
) -> Callable[..., Transformation]:
    """The transformation `scale_by_*` of a rule; defaults are the rule's where optax's are."""
    signature = _signature(rule, positional.split(), dict.fromkeys(STORAGE) | defaults, {})

    def make(*args: Any, **kwargs: Any) -> Transformation:
        given = _bound(name, signature, args, kwargs)
        how = {n: given.pop(n) for n in STORAGE}
        return scale_by(rule(**given), **how)

    return _dressed(make, name, signature, _documented(name, rule, signature, ""))


def explained(make: Make) -> Make:
    """The same optimiser, saying of an argument that it does not take why."""
    signature = inspect.signature(make)

    @ft.wraps(make)
    def bind(*args: Any, **kwargs: Any) -> Transformation:
        return make(**_bound(make.__name__, signature, args, kwargs))

    return cast(Make, bind)


def _signature(
    rule: Callable[..., Rule], positional: list[str], more: dict[str, Any], fixed: dict[str, Any]
) -> inspect.Signature:
    """What may be given by place, and the rest by keyword; types are the rule's."""
    own = inspect.signature(rule).parameters
    defaults = {n: p.default for n, p in own.items()} | more
    names = [*positional, *(n for n in defaults if n not in positional and n not in fixed)]
    parameters = []
    for n in names:
        kind = Parameter.POSITIONAL_OR_KEYWORD if n in positional else Parameter.KEYWORD_ONLY
        type_ = own[n].annotation if n in own else Parameter.empty
        default = defaults.get(n, Parameter.empty)
        parameters.append(Parameter(n, kind, default=default, annotation=type_))
    return inspect.Signature(parameters)


def _bound(name: str, signature: inspect.Signature, args: Any, kwargs: Any) -> dict[str, Any]:
    if unknown := [n for n in kwargs if n not in signature.parameters]:
        raise TypeError(lacks(name, unknown[0], list(signature.parameters)))
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None
    bound.apply_defaults()
    return dict(bound.arguments)


def _documented(
    name: str, rule: Callable[..., Rule], signature: inspect.Signature, arguments: str
) -> str:
    """The rule's text, its arguments, what it raises and how it is called."""
    scaling = "" if arguments else "\n    As rescaled gradients, before learning rate and sign.\n"
    example = f"""
    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx, params = ao.{name}({arguments}), {{"w": jnp.ones(3)}}
    >>> updates, state = tx.update(params, tx.init(params), params)
    """
    lines = [f"        {n}: {ARGUMENTS[n]}" for n in signature.parameters]
    text = (rule.__doc__ or "").strip()
    return "\n".join([f"{text}\n{scaling}", "    Args:", *lines, RAISES + example])


def _dressed(
    make: Callable[..., Transformation],
    name: str,
    signature: inspect.Signature,
    doc: str,
    module: str = "adam_optax",
) -> Callable[..., Transformation]:
    make.__name__ = make.__qualname__ = name
    make.__module__ = module
    make.__doc__ = doc if module == "adam_optax" else doc.replace("ao.", f"ao.{module[11:]}.")
    make.__signature__ = signature  # type: ignore[attr-defined]
    return make
