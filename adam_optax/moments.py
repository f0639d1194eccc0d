"""What an optimiser remembers, and how it reads that memory.

A `Moment` says what is accumulated (`of`), how (`fold`) and how the result is read (`read`): Adam's
first moment is `ema(b1)`, its second `ema(b2, square, signed=False)`.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from adam_optax.numerics import Number, abs_sq, average, warmth


class Leaf(NamedTuple):
    """All that a rule may look at for one parameter, in compute precision (float32 or wider).

    Attributes:
        g: the gradient.
        p: the parameter, or None where the caller did not pass `params`.
        t: the step as a real scalar, 1 at the first.
        old: the moments before this step, by name.
        new: the moments after it, filled in the order in which the rule declares them.
        hat: the new moments as they are read, e.g. corrected for their bias.
    """

    g: Array
    p: Array | None
    t: Array
    old: dict[str, Array]
    new: dict[str, Array] = {}  # noqa: RUF012  (never mutated)
    hat: dict[str, Array] = {}  # noqa: RUF012


Read = Callable[[Leaf], Array]


def grad(x: Leaf) -> Array:
    """The gradient."""
    return x.g


def square(x: Leaf) -> Array:
    """`|g|^2`, real for a complex gradient."""
    return abs_sq(x.g)


def raw(m: Array, x: Leaf) -> Array:
    """The moment as it is."""
    del x
    return m


@dataclasses.dataclass(frozen=True, eq=False)
class Moment:
    """One thing remembered per parameter: `m_t = fold(m_{t-1}, of(x))`, read as `read(m_t, x)`.

    Attributes:
        of: what is accumulated, of a `Leaf`; it may use the moments declared before this one.
        fold: how it joins what is there.
        read: how the moment is read, given the leaf with `new` up to and including this moment.
        init: where the moment starts.
        decay: the factor by which it fades while nothing comes in, for storage formats.
        signed: whether it can be negative. One that cannot is real also for a complex parameter.
    """

    of: Read
    fold: Callable[[Array, Array], Array]
    read: Callable[[Array, Leaf], Array] = raw
    init: float = 0.0
    decay: Number | None = None
    signed: bool = True


def ema(
    b: Number,
    of: Read = grad,
    *,
    signed: bool = True,
    corrected: bool = True,
    nesterov: bool = False,
) -> Moment:
    """The exponential average `m = b m + (1-b) x`, read as `m / (1 - b^t)` (Adam, Algorithm 1).

    Args:
        b: decay rate in [0, 1).
        of: what is averaged.
        signed: whether it can be negative.
        corrected: whether the reading is corrected for the start at zero.
        nesterov: read one step ahead, `b m / (1 - b^{t+1}) + (1-b) x / (1 - b^t)` (Dozat 2016,
            Algorithm 2, without its factor `b2` on the second moment).
    """

    def seen(t: Array) -> Array | float:
        return warmth(b, t) if corrected else 1.0

    def read(m: Array, x: Leaf) -> Array:
        if not nesterov:
            return m / seen(x.t)
        return b * m / seen(x.t + 1) + (1 - b) * of(x) / seen(x.t)

    def fold(m: Array, x: Array) -> Array:
        return average(b, m, x, signed=signed)

    return Moment(of, fold, read, decay=b, signed=signed)


def peak(of: Read, read: Callable[[Array, Leaf], Array] = raw) -> Moment:
    """The largest value so far, `m = max(m, x)` of a quantity that is not negative."""
    return Moment(of, jnp.maximum, read, decay=1.0, signed=False)


def fading_peak(b: Number, of: Read) -> Moment:
    """The exponentially weighted infinity norm, `m = max(b m, x)` (Adam, Algorithm 2)."""

    def fold(m: Array, x: Array) -> Array:
        return jnp.maximum(average(b, m, jnp.zeros_like(m)), x)

    return Moment(of, fold, decay=b, signed=False)
