"""What a variant is: a `Rule`, and the decorator that turns a function of numbers into rules."""

import dataclasses
import functools as ft
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array

from adam_optax._core import checks
from adam_optax._core.numerics import decay_from_array
from adam_optax.directions import Direction
from adam_optax.moments import Leaf, Moment, nothing


@dataclasses.dataclass(frozen=True, eq=False)
class Rule:
    """A paper's algorithm box: what is remembered, and how it becomes a step.

    Attributes:
        moments: by name, in order: a later one may use an earlier one.
        direction: the step, before weight decay, learning rate and sign.
        pace: what the direction needs to know of the step, computed once for all leaves: its
            result is the leaf's `pace`.
        finish: a last change to the step, with weight decay in it: LAMB's trust ratio.
        inside: which of "decay" and "rate" the rule applies itself, from `x.decay` and `x.rate`.
        make: the function that built this rule; `hyper`, what it was given, and `functions`, which
            of that are functions and no schedules. A rule made by a `@variant` has them, so that
            schedules and traced numbers can be put in at each step.
        origin: the rule as `make` built it, by which a part that was replaced is noticed.
    """

    moments: Mapping[str, Moment]
    direction: Direction
    pace: Callable[[Array], Any] = nothing
    finish: Callable[[Array, Leaf], Array] | None = None
    inside: tuple[str, ...] = ()
    make: "Callable[..., Rule] | None" = None
    hyper: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    functions: frozenset[str] = frozenset()
    origin: "Rule | None" = None

    def __call__(
        self,
        x: Leaf,
        warm: Mapping[str, Any],
        settle: Callable[[str, Array], Array] = lambda name, m: m,
    ) -> Leaf:
        """The leaf with its new moments, and as they are read.

        Args:
            x: the leaf with its old moments.
            warm: what `warm(t)` gave.
            settle: what the rest of the step sees of a new moment, by name.
        """
        for name, moment in self.moments.items():
            new = settle(name, moment.fold(x.old[name], moment.of(x), x.t))
            x = x._replace(new=x.new | {name: new})
            x = x._replace(hat=x.hat | {name: moment.read(new, x, warm[name])})
        return x

    def warm(self, t: Array) -> dict[str, Any]:
        """What the readings need to know of the step, by moment."""
        return {name: moment.warm(t) for name, moment in self.moments.items()}

    @property
    def name(self) -> str:
        """The variant's name, for messages."""
        return getattr(self.make, "__name__", "this rule")

    def constants(self) -> tuple[tuple[str, type, Any], ...]:
        """The numbers and flags that are known now, hashable; 1, 1.0 and True are three."""
        if self._replaced():
            return ()
        moving = self._moving()
        return tuple((n, type(v), v) for n, v in self.hyper.items() if n not in moving)

    def numbers(self, count: Array) -> dict[str, Array]:
        """The numbers that are known only at a step: schedules at `count`, arrays as they are."""
        moving = {n: self.hyper[n] for n in self._moving()}
        return {n: checks.scalar(n, v(count) if callable(v) else v) for n, v in moving.items()}

    def _moving(self) -> set[str]:
        known = {n for n, v in self.hyper.items() if not (isinstance(v, Array) or callable(v))}
        return self.hyper.keys() - known - self.functions

    def maker(self) -> "Callable[..., Rule]":
        """What builds the rule from `constants()` and `numbers()`; equal for equal variants.

        Raises:
            ValueError: if a part was replaced that would have to be made anew at each step.
        """
        if not self._replaced():
            return self.make or self._itself
        if moving := self._moving():
            raise ValueError(
                f"a part of {self.name} was replaced, and the new part cannot follow its schedules "
                f"and arrays ({', '.join(sorted(moving))}); replace it inside a function with "
                "@adam_optax.variant"
            )
        return self._itself

    def _replaced(self) -> bool:
        parts = ("moments", "direction", "pace", "finish", "inside")
        made = self.origin
        return made is not None and any(getattr(self, n) is not getattr(made, n) for n in parts)

    def _itself(self) -> "Rule":
        return self


def variant(make: Callable[..., Rule]) -> Callable[..., Rule]:
    """Turn a function from hyper-parameters to a `Rule` into a variant.

    The numbers may then be Python numbers, arrays (traced ones too) or schedules `count -> value`;
    those named `b1`, `b2`, `b3`, `eps` and `eps_root` are checked. A parameter named `*_fn` takes a
    function, which is no schedule.

    >>> import adam_optax as ao
    >>> @ao.rules.variant
    ... def sign_of_momentum(b1=0.9):
    ...     mu = ao.moments.ema(b1)
    ...     return ao.Rule({"mu": mu}, lambda x: jnp.sign(x.hat["mu"]))
    >>> tx = ao.scale_by(sign_of_momentum(b1=0.8))
    """
    signature = inspect.signature(make)
    functions = frozenset(n for n in signature.parameters if n.endswith("_fn"))

    @ft.wraps(make)
    def bind(*args: Any, **kwargs: Any) -> Rule:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        hyper = {n: checks.hyper(n, v) for n, v in bound.arguments.items()}
        # Arithmetic on a schedule must wait for the step; till then any number will do.
        now = {n: 0.5 if callable(v) and n not in functions else v for n, v in hyper.items()}
        rule = make(**now)
        how: dict[str, Any] = {"make": make, "hyper": hyper, "functions": functions}
        return dataclasses.replace(rule, **how, origin=rule)

    return bind


def in_compute_precision(numbers: Mapping[str, Array], dtype: Any) -> dict[str, Array]:
    """The numbers of a step as the rule's arithmetic needs them."""
    return {
        n: decay_from_array(v, dtype) if n in checks.RATES else jnp.astype(v, dtype)
        for n, v in numbers.items()
    }
