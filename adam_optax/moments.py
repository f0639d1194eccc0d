"""What an optimiser remembers, and how it reads that memory.

A `Moment` says what is accumulated (`of`), how (`fold`) and how the result is read (`read`): Adam's
first moment is `ema(b1)`, its second `ema(b2, square, signed=False)`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number, abs_sq, average, warmth


class Leaf(NamedTuple):
    """All that a rule may look at for one parameter, in compute precision (float32 or wider).

    Attributes:
        g: the gradient.
        params: the parameter, or None where the caller did not pass any; rules read it as `p`.
        t: the step as a real scalar, 1 at the first.
        old: the moments before this step, by name.
        new: the moments after it, filled in the order in which the rule declares them.
        hat: the new moments as they are read, e.g. corrected for their bias.
        pace: what the rule's `pace` gave for this step.
        decay: the leaf's weight decay, 0 if none, for rules that apply it themselves.
        rate: the learning rate, 1 if none, for rules that apply it themselves.
    """

    g: Array
    params: Array | None
    t: Array
    old: dict[str, Array]
    new: dict[str, Array] = {}  # noqa: RUF012  (never mutated)
    hat: dict[str, Array] = {}  # noqa: RUF012
    pace: Any = ()
    decay: Number = 0.0
    rate: Number = 1.0

    @property
    def p(self) -> Array:
        """The parameter.

        Raises:
            ValueError: if the caller did not pass it.
        """
        if self.params is None:
            raise ValueError("this rule needs the parameters: tx.update(grads, state, params)")
        return self.params


Read = Callable[[Leaf], Array]


def grad(x: Leaf) -> Array:
    """The gradient."""
    return x.g


def square(x: Leaf) -> Array:
    """`|g|^2`, real for a complex gradient."""
    return abs_sq(x.g)


def raw(m: Array, x: Leaf, warm: Any) -> Array:
    """The moment as it is."""
    del x, warm
    return m


def nothing(t: Array) -> tuple[()]:
    """What a reading needs to know of the step if it needs nothing."""
    del t
    return ()


@dataclasses.dataclass(frozen=True, eq=False)
class Moment:
    """One thing remembered per parameter: `m_t = fold(m_{t-1}, of(x), t)`, and its reading.

    Attributes:
        of: what is accumulated, of a `Leaf`; it may use the moments declared before this one.
        fold: how it joins what is there.
        read: how the moment is read, given the leaf with `new` up to and including this moment,
            and `warm(t)`.
        warm: what the reading needs to know of the step: scalars that are the same for every leaf,
            and are computed once.
        init: where the moment starts.
        decay: the factor by which it fades while nothing comes in, for storage formats.
        signed: whether it can be negative. One that cannot is real also for a complex parameter.
        scalar: whether there is one for the whole leaf.
    """

    of: Read
    fold: Callable[[Array, Array, Array], Array]
    read: Callable[[Array, Leaf, Any], Array] = raw
    warm: Callable[[Array], Any] = nothing
    init: float = 0.0
    decay: Number | None = None
    signed: bool = True
    scalar: bool = False


def ema(
    b: Number,
    of: Read = grad,
    *,
    signed: bool = True,
    corrected: bool = True,
    nesterov: bool = False,
    init: float = 0.0,
) -> Moment:
    """The exponential average `m = b m + (1-b) x`, read as `m / (1 - b^t)` (Adam, Algorithm 1).

    Args:
        b: decay rate in [0, 1).
        of: what is averaged.
        signed: whether it can be negative.
        corrected: whether the reading is corrected for the start at zero.
        nesterov: read one step ahead, `b m / (1 - b^{t+1}) + (1-b) x / (1 - b^t)` (Dozat 2016,
            Algorithm 2, without its factor `b2` on the second moment).
        init: where it starts.
    """

    def fold(m: Array, x: Array, t: Array) -> Array:
        del t
        return average(b, m, x, signed=signed)

    def warm(t: Array) -> list[Array]:
        times = [t, t + 1] if nesterov else [t]
        return [warmth(b, t) if corrected else jnp.ones_like(t) for t in times]

    def read(m: Array, x: Leaf, warm: list[Array]) -> Array:
        now, ahead = warm[0], warm[-1]
        return b * m / ahead + (1 - b) * of(x) / now if nesterov else m / now

    return Moment(of, fold, read, warm, init=init, decay=b, signed=signed)


def total(of: Read = grad, b: Number = 1.0, *, nesterov: bool = False, **how: Any) -> Moment:
    """The fading sum `m = b m + x`, read as it is, or as `x + b m` with Nesterov's look-ahead."""

    def fold(m: Array, x: Array, t: Array) -> Array:
        del t
        return b * m + x

    def ahead(m: Array, x: Leaf, warm: Any) -> Array:
        del warm
        return of(x) + b * m

    return Moment(of, fold, ahead if nesterov else raw, decay=b, **how)


def last(of: Read = grad) -> Moment:
    """The value at the last step."""
    return Moment(of, lambda m, x, t: x, decay=0.0)


def peak(of: Read) -> Moment:
    """The largest value so far, `m = max(m, x)`, of a quantity that is not negative."""
    return Moment(of, lambda m, x, t: jnp.maximum(m, x), decay=1.0, signed=False)


def fading_peak(b: Number, of: Read) -> Moment:
    """The exponentially weighted infinity norm, `m = max(b m, x)` (Adam, Algorithm 2)."""

    def fold(m: Array, x: Array, t: Array) -> Array:
        del t
        return jnp.maximum(average(b, m, jnp.zeros_like(m)), x)

    return Moment(of, fold, decay=b, signed=False)
