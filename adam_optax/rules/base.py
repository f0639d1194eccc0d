"""Define a variant: the record `Rule`, and the decorator that makes rules of hyper-parameters."""

import dataclasses
import functools as ft
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, overload

import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from adam_optax._core.by_path import ByPath
from adam_optax._core.checks import Kind, hyperparameter, scalar
from adam_optax._core.numerics import widen_decay_rate
from adam_optax.directions import Direction
from adam_optax.moments import Leaf, Moment, no_scalars

Factory: TypeAlias = Callable[..., "Rule"]
"""A function from hyper-parameters to a rule."""


@dataclasses.dataclass(frozen=True, eq=False)
class Rule:
    """Describe a paper's algorithm box: what is remembered, and how it becomes a step.

    Attributes:
        moments: by name, in order: a later one may use an earlier one.
        direction: returns the step, before weight decay, learning rate and sign.
        precompute: returns the scalars that `direction` needs of a step, as `x.scalars`, given the
            step `t` and the ages of the moments by name (see `Moment`); computed once for all
            leaves.
        postprocess: changes the step last, with weight decay in it: LAMB's trust ratio.
        handles: which of "weight_decay" and "learning_rate" the rule applies itself, from
            `x.weight_decay` and `x.learning_rate`.
        origin: how a `@variant` built this rule, so that schedules and traced numbers can be put in
            at each step; None for a rule made by hand.
    """

    moments: Mapping[str, Moment]
    direction: Direction
    precompute: Callable[[Array, Mapping[str, Array]], Any] = no_scalars
    postprocess: Callable[[Array, Leaf], Array] | None = None
    handles: tuple[str, ...] = ()
    origin: "Origin | None" = None

    @property
    def name(self) -> str:
        """Name the variant, for messages."""
        return "this rule" if self.origin is None else self.origin.factory.__name__

    @property
    def by_path(self) -> Mapping[str, ByPath]:
        """Return the hyper-parameters that differ among parameters."""
        return {} if self.origin is None else self.origin.by_path

    def recipe(self) -> "Recipe":
        """Return what builds this rule anew inside a compiled step.

        Raises:
            ValueError: if a part was replaced that would have to be made anew at each step.
        """
        origin = self.origin
        if origin is None:
            return Recipe(self._itself)
        parts = ("moments", "direction", "precompute", "postprocess", "handles")
        if all(getattr(self, n) is getattr(origin.built, n) for n in parts):
            return origin.recipe
        if moving := sorted({*origin.dynamic, *origin.by_path}):
            raise ValueError(
                f"a part of {self.name} was replaced, and the new part cannot follow its "
                f"schedules, arrays and values by path ({', '.join(moving)}); replace it inside a "
                "function with @adam_optax.variant"
            )
        return Recipe(self._itself)

    def _itself(self) -> "Rule":
        return self

    def __repr__(self) -> str:
        """Show the variant, its hyper-parameters and its moments."""
        moments = ", ".join(f"{n} = {moment!r}" for n, moment in self.moments.items())
        name = "of your own" if self.origin is None else self.origin.factory.__name__
        given = {} if self.origin is None else self.origin.hyperparams
        numbers = ", ".join(f"{n}={v!r}" for n, v in given.items())
        return f"Rule {name}({numbers}): {moments or 'no moments'}"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Build a rule inside a compiled step, from what is known now and what is known at the step.

    Equal recipes build equal rules, so that compiled steps are shared among transformations.

    Attributes:
        factory: the function that `@variant` decorates.
        static: name, type and value of each hyper-parameter that is known now; 1, 1.0 and True
            are three.
        decay_rates: the hyper-parameters that are decay rates.
        non_negative: those that are not negative, such as `eps`.
        reads_rank: whether the rule asks how many axes a leaf has, so that it cannot be traced on a
            part that has one.
        constants: the hyper-parameters of `static` by name.
    """

    factory: Factory
    static: tuple[tuple[str, type, Any], ...] = ()
    decay_rates: tuple[str, ...] = ()
    non_negative: tuple[str, ...] = ()
    reads_rank: bool = False
    constants: dict[str, Any] = dataclasses.field(default_factory=dict, compare=False)

    def in_precision(self, numbers: Mapping[str, Array], dtype: DTypeLike) -> dict[str, Array]:
        """Cast the hyper-parameters of a step to the precision of the rule's arithmetic."""
        return {
            n: widen_decay_rate(v, dtype) if n in self.decay_rates else jnp.astype(v, dtype)
            for n, v in numbers.items()
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Origin:
    """Record how a `@variant` built a rule.

    Attributes:
        factory: the decorated function.
        hyperparams: the arguments that it was given, with defaults.
        dynamic: those among them that are schedules or arrays.
        recipe: how to build the rule inside a compiled step.
        built: the rule as it was built, by which a part that was replaced is noticed.
        by_path: those that differ among parameters.
        bind: the decorated function, which checks its arguments.
    """

    factory: Factory
    hyperparams: Mapping[str, Any]
    dynamic: Mapping[str, Any]
    recipe: Recipe
    built: Rule
    by_path: Mapping[str, ByPath]
    bind: Factory


def at_path(rule: Rule, values: Mapping[str, Any]) -> Rule:
    """Return a rule with the hyper-parameters that it has at one path.

    Args:
        rule: the variant.
        values: the hyper-parameters that differ among parameters, by name.
    """
    if not values or rule.origin is None:
        return rule
    rule.recipe()  # refuses a rule of which a part was replaced
    own: Rule = rule.origin.bind(**{**rule.origin.hyperparams, **values})
    return own


def moments_with_scheduled_decay(rule: Rule) -> tuple[str, ...]:
    """Return the names of the moments whose decay rate follows a schedule and whose age matters."""
    origin = rule.origin
    scheduled = {n for n, v in origin.dynamic.items() if callable(v)} if origin else set()
    if origin is None or not scheduled:
        return ()
    # What a decay rate is made of is known to the factory alone: ask it with two values.
    one, other = (
        origin.factory(**{**origin.hyperparams, **dict.fromkeys(scheduled, value)}).moments
        for value in (0.5, 0.25)
    )
    moves = lambda n: one[n].decay is not other[n].decay and one[n].decay != other[n].decay  # noqa: E731
    return tuple(n for n, moment in one.items() if moment.uses_age and moves(n))


def dynamic_hyperparams(rule: Rule, count: Array) -> dict[str, Array]:
    """Return the hyper-parameters that are known only at a step: schedules read, arrays as given.

    Args:
        rule: the variant.
        count: the steps taken before this one.
    """
    if rule.origin is None:
        return {}
    given = rule.origin.dynamic.items()
    return {n: scalar(n, v(count) if callable(v) else v) for n, v in given}


@overload
def variant(make: Factory, /) -> Factory: ...
@overload
def variant(
    *,
    decay_rates: tuple[str, ...] = ...,
    non_negative: tuple[str, ...] = ...,
    optional: tuple[str, ...] = ...,
    constant: tuple[str, ...] = ...,
    functions: tuple[str, ...] = ...,
    reads_rank: bool = ...,
) -> Callable[[Factory], Factory]: ...
def variant(
    make: Factory | None = None,
    /,
    *,
    decay_rates: tuple[str, ...] = (),
    non_negative: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
    constant: tuple[str, ...] = (),
    functions: tuple[str, ...] = (),
    reads_rank: bool = False,
) -> Factory | Callable[[Factory], Factory]:
    """Turn a function from hyper-parameters to a `Rule` into a variant.

    Each number may then be a Python number, a scalar array (traced ones too) or a schedule
    `count -> value`. Numbers whose kind is declared are checked when the rule is made. A moment
    whose decay rate follows a schedule is told its effective age (see `Moment`); an array is taken
    as constant over the steps.

    Args:
        make: the function, where the decorator is used without arguments.
        decay_rates: parameters in [0, 1). As sixteen-bit arrays they are widened with care
            (bfloat16 has no number between .998 and 1).
        non_negative: parameters that must be finite and not negative, such as `eps`.
        optional: checked parameters that may be None although their default is a number.
        constant: parameters that cannot be schedules, since moments start at them.
        functions: parameters that take a function, which is no schedule; where such a parameter is
            by path, its default stands for it until there is a path.
        reads_rank: whether the rule asks how many axes a leaf has; steps on CPUs are then not
            written as loops.

    >>> import adam_optax as ao
    >>> @ao.rules.variant(decay_rates=("b1",))
    ... def sign_of_momentum(b1=0.9):
    ...     mu = ao.moments.ema(b1)
    ...     return ao.Rule({"mu": mu}, lambda x: jnp.sign(x.hat["mu"]))
    >>> tx = ao.scale_by(sign_of_momentum(b1=0.8))
    >>> sign_of_momentum(b1=1.5)
    Traceback (most recent call last):
    ...
    ValueError: b1 must be in [0, 1), not 1.5: it is the share of the past kept
    """
    kinds = dict.fromkeys(decay_rates, Kind.DECAY_RATE)
    kinds |= dict.fromkeys(non_negative, Kind.NON_NEGATIVE)

    def decorate(factory: Factory) -> Factory:
        signature = inspect.signature(factory)
        if unknown := ({*kinds, *optional, *constant, *functions} - signature.parameters.keys()):
            raise ValueError(f"{factory.__name__} takes no {', '.join(sorted(unknown))}")
        nullable = {n for n, p in signature.parameters.items() if p.default is None} | {*optional}

        @ft.wraps(factory)
        def bind(*args: object, **kwargs: object) -> Rule:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            hyperparams = {
                n: hyperparameter(
                    n,
                    value,
                    kinds.get(n, Kind.ANY),
                    optional=n in nullable,
                    schedule=n not in constant,
                )
                for n, value in bound.arguments.items()
            }
            by_path = {n: v for n, v in hyperparams.items() if isinstance(v, ByPath)}
            dynamic = {
                n: v
                for n, v in hyperparams.items()
                if isinstance(v, Array) or (callable(v) and n not in functions)
            }
            # Arithmetic on a schedule must wait for the step; till then any number will do.
            waiting = {n for n, v in dynamic.items() if callable(v)} | by_path.keys()
            defaults = {n: p.default for n, p in signature.parameters.items() if n in functions}
            built = factory(**hyperparams | {n: defaults.get(n, 0.5) for n in waiting})
            known = {n: v for n, v in hyperparams.items() if n not in {*dynamic, *by_path}}
            static = tuple((n, type(v), v) for n, v in known.items())
            recipe = Recipe(factory, static, decay_rates, non_negative, reads_rank, known)
            origin = Origin(factory, hyperparams, dynamic, recipe, built, by_path, bind)
            return dataclasses.replace(built, origin=origin)

        return bind

    return decorate if make is None else decorate(make)
