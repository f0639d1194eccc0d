"""What a variant is: a `Rule`, and the decorator that turns a function of numbers into rules."""

import dataclasses
import functools as ft
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array

from adam_optax import check
from adam_optax.directions import Direction
from adam_optax.moments import Leaf, Moment
from adam_optax.numerics import decay_from_array


@dataclasses.dataclass(frozen=True, eq=False)
class Rule:
    """A paper's algorithm box: what is remembered, and how it becomes a step.

    Attributes:
        moments: by name, in order: a later one may use an earlier one.
        direction: the step, before learning rate and sign.
        make: the function that built this rule; `hyper`, the numbers it was given. A rule made by
            a `@variant` has both, so that schedules and traced numbers can be put in at each step.
    """

    moments: Mapping[str, Moment]
    direction: Direction
    make: "Callable[..., Rule] | None" = None
    hyper: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __call__(self, x: Leaf, warm: Mapping[str, Any]) -> tuple[Array, dict[str, Array]]:
        """The direction and the new moments of one leaf; `warm` is what `warm(t)` gave."""
        for name, moment in self.moments.items():
            x = x._replace(new=x.new | {name: moment.fold(x.old[name], moment.of(x))})
            x = x._replace(hat=x.hat | {name: moment.read(x.new[name], x, warm[name])})
        return self.direction(x), x.new

    def warm(self, t: Array) -> dict[str, Any]:
        """What the readings need to know of the step, by moment."""
        return {name: moment.warm(t) for name, moment in self.moments.items()}

    @property
    def name(self) -> str:
        """The variant's name, for messages."""
        return getattr(self.make, "__name__", "this rule")

    def constants(self) -> tuple[tuple[str, Any], ...]:
        """The numbers and flags that are known now, hashable."""
        return tuple((n, v) for n, v in self.hyper.items() if not is_moving(v))

    def numbers(self, count: Array) -> dict[str, Array]:
        """The numbers that are known only at a step: schedules at `count`, arrays as they are."""
        moving = {n: v for n, v in self.hyper.items() if is_moving(v)}
        return {n: check.scalar(n, v(count) if callable(v) else v) for n, v in moving.items()}

    def maker(self) -> "Callable[..., Rule]":
        """What builds the rule from `constants()` and `numbers()`; equal for equal variants."""
        return self.make or self._itself

    def _itself(self) -> "Rule":
        return self


def is_moving(value: Any) -> bool:
    """Whether a hyper-parameter is known only at a step."""
    return isinstance(value, Array) or callable(value)


def variant(make: Callable[..., Rule]) -> Callable[..., Rule]:
    """Turn a function from hyper-parameters to a `Rule` into a variant.

    The numbers may then be Python numbers, arrays (traced ones too) or schedules `count -> value`;
    those named `b1`, `b2`, `b3`, `eps` and `eps_root` are checked.

    >>> import adam_optax as ao
    >>> @ao.rules.variant
    ... def sign_of_momentum(b1=0.9):
    ...     mu = ao.moments.ema(b1)
    ...     return ao.Rule({"mu": mu}, lambda x: jnp.sign(x.hat["mu"]))
    >>> tx = ao.scale_by(sign_of_momentum(b1=0.8))
    """
    signature = inspect.signature(make)

    @ft.wraps(make)
    def bind(*args: Any, **kwargs: Any) -> Rule:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        hyper = {n: check.hyper(n, v) for n, v in bound.arguments.items()}
        return dataclasses.replace(make(**hyper), make=make, hyper=hyper)

    return bind


def in_compute_precision(numbers: Mapping[str, Array], dtype: Any) -> dict[str, Array]:
    """The numbers of a step as the rule's arithmetic needs them."""
    return {
        n: decay_from_array(v, dtype) if n in check.RATES else jnp.astype(v, dtype)
        for n, v in numbers.items()
    }
