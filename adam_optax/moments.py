"""Define what an optimiser remembers, and how it reads that memory.

A `Moment` says what is observed of a leaf (`observe`), how the observation joins what is remembered
(`update`) and how the result is read (`read`). Adam's first moment is `ema(b1)`, its second
`ema(b2, square, signed=False)`.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias, TypedDict, Unpack

import jax.numpy as jnp
from jax import Array

from adam_optax._core.deprecation import renamed
from adam_optax._core.numerics import (
    LEAST_NORM,
    Number,
    abs_sq,
    one_minus_power,
    safe_sqrt,
    update_ema,
)
from adam_optax._core.sharing import Over, kept_shape, mean_over, normalize_over, spread


class Leaf(NamedTuple):
    """Hold all that a rule may look at for one parameter, in float32 or wider.

    Attributes:
        g: the gradient.
        params: the parameter, or None where the caller did not pass any; rules read it as `p`.
        t: the step as a real scalar, 1 at the first.
        previous: the moments before this step, by name.
        current: the moments after this step, filled in the order in which the rule declares them.
        hat: the current moments as they are read; most are corrected for their bias.
        scalars: what the rule's `precompute` returned for this step.
        ages: by name, the steps that a moment has averaged: `t`, or the moment's effective age
            where its decay rate follows a schedule.
        weight_decay: the leaf's weight decay, 0 without; for rules that apply it themselves.
        learning_rate: the learning rate, 1 without; for rules that apply it themselves.
    """

    g: Array
    params: Array | None
    t: Array
    previous: dict[str, Array]
    current: dict[str, Array] = {}  # noqa: RUF012  (never mutated)
    hat: dict[str, Array] = {}  # noqa: RUF012
    scalars: Any = ()
    ages: Mapping[str, Array] = {}
    weight_decay: Number = 0.0
    learning_rate: Number = 1.0

    @property
    def p(self) -> Array:
        """Return the parameter.

        Raises:
            ValueError: if the caller did not pass it.
        """
        if self.params is None:
            raise ValueError("this rule needs the parameters: tx.update(grads, state, params)")
        return self.params


Read: TypeAlias = Callable[[Leaf], Array]
"""An observation of a leaf: the gradient, its square, its distance from a moment, ..."""


def grad(x: Leaf) -> Array:
    """Observe the gradient."""
    return x.g


def square(x: Leaf) -> Array:
    """Observe `|g|^2`, which is real also for a complex gradient."""
    return abs_sq(x.g)


def raw(m: Array, x: Leaf, scalars: object) -> Array:
    """Read a moment as it is.

    Args:
        m: the moment.
        x: the leaf, which is not looked at.
        scalars: those of the moment's `precompute`, which are not looked at.
    """
    del x, scalars
    return m


def no_scalars(*step: object) -> tuple[()]:
    """Return no scalars: for readings and directions that need none at a step.

    Args:
        *step: what is known of the step, which is not looked at.
    """
    del step
    return ()


@dataclasses.dataclass(frozen=True, eq=False)
class Moment:
    """Describe one quantity that is remembered per parameter: `m_t = update(m_{t-1}, x, age)`.

    The age is the step `t`, 1 at the first. Where the moment's decay rate follows a schedule, the
    age is the number of steps that would leave as little of the start if all of them had the
    present rate. So `1 - b^age` is the weight that the average has seen, whatever its rates were.

    Attributes:
        observe: returns `x`, what is observed of a `Leaf`; it may use moments declared earlier.
        update: returns the new moment, given the previous one, the observation and the age.
        read: returns the moment as directions use it, given the moment, the leaf with `current` up
            to and including this moment, and what `precompute` returned.
        precompute: returns the scalars that `read` needs at an age; computed once for all leaves.
        init: the value before the first step.
        decay: the factor by which the moment shrinks at a step without an observation; storage
            formats keep that factor out of their codes.
        signed: whether the moment can be negative. One that cannot is real also for a complex
            parameter.
        over: which elements have one number together: `"all"`, a tuple of axes and of pairs
            `(axis, block)` for blocks of so many neighbours, or None. The state keeps one number
            for each group: `observe` returns, and `update` gets, arrays without these axes.
        exact: whether storage keeps the moment in float32, unless a mapping names the moment.
        uses_age: whether something depends on the age; where nothing does, no product of decay
            rates is kept for a rate that follows a schedule.
        age_of: the name of the moment whose age is meant; None: this one's.
        label: the function that made this moment and its arguments, for `repr`.
    """

    observe: Read
    update: Callable[[Array, Array, Array], Array]
    read: Callable[[Array, Leaf, Any], Array] = raw
    precompute: Callable[[Array], Any] = no_scalars
    init: float = 0.0
    decay: Number | None = None
    signed: bool = True
    over: Over = None
    exact: bool = False
    uses_age: bool = True
    age_of: str | None = None
    label: tuple[Any, ...] = ("moment",)

    def kept_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape in which this moment of a leaf is remembered.

        Args:
            shape: the leaf's shape.

        Raises:
            ValueError: if the leaf lacks an axis of `over`, or blocks do not divide one.
        """
        return kept_shape(shape, self.over)

    def __repr__(self) -> str:
        """Show how the moment was made: `ema(0.9) of g`."""
        name, *given = self.label
        known: dict[Any, str] = {grad: "g", square: "|g|^2"}
        numbers = ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in given)
        observed = known.get(self.observe, getattr(self.observe, "__name__", "x").strip("<>"))
        return f"{name}({numbers}) of {observed}"


def ema(
    b: Number,
    of: Read = grad,
    *,
    signed: bool = True,
    corrected: bool = True,
    nesterov: bool = False,
    init: float = 0.0,
    over: Over = None,
) -> Moment:
    """Average exponentially: `m = b m + (1-b) x`, read as `m / (1 - b^t)` (Adam, Algorithm 1).

    Where `b` follows a schedule, the correction is the weight that the average has seen,
    `1 - b_1 b_2 ... b_t`.

    Args:
        b: decay rate in [0, 1).
        of: the observation that is averaged.
        signed: whether the average can be negative.
        corrected: whether the reading is corrected for the start at zero.
        nesterov: read one step ahead, `b m / (1 - b^{t+1}) + (1-b) x / (1 - b^t)` (Dozat 2016,
            Algorithm 2, without its factor `b2` on the second moment).
        init: the value before the first step.
        over: the axes, or blocks along them, whose elements have one average together, of the mean
            of their observations: `"all"`, or a tuple of axes and of pairs `(axis, block)`. The
            state is smaller by as much; the reading has the leaf's shape again.

    Example:
        >>> import adam_optax as ao
        >>> nu = ao.moments.ema(0.999, ao.moments.square, signed=False, over=(0,))
        >>> nu.kept_shape((512, 2048))
        (2048,)
        >>> ao.moments.ema(0.999, ao.moments.square, over=((0, 64), 1)).kept_shape((512, 2048))
        (8,)
    """
    over = None if over is None else normalize_over(over)
    observe = of if over is None else lambda x: mean_over(of(x), over)

    def update(m: Array, x: Array, age: Array) -> Array:
        del age
        return update_ema(b, m, x, signed=signed)

    def precompute(age: Array) -> list[Array]:
        steps = [age, age + 1] if nesterov else [age]
        return [one_minus_power(b, step) if corrected else jnp.ones_like(age) for step in steps]

    def read(m: Array, x: Leaf, corrections: list[Array]) -> Array:
        now, ahead = corrections[0], corrections[-1]
        hat = b * m / ahead + (1 - b) * observe(x) / now if nesterov else m / now
        return hat if over is None else spread(hat, x.g.shape, over)

    label = ("ema", b)
    return Moment(
        observe, update, read, precompute, init, b, signed, over, uses_age=corrected, label=label
    )


class _TraceOptions(TypedDict, total=False):
    """Name the attributes of `Moment` that `trace` passes on."""

    precompute: Callable[[Array], Any]
    init: float
    signed: bool
    over: Over


def trace(
    of: Read = grad, b: Number = 1.0, *, nesterov: bool = False, **how: Unpack[_TraceOptions]
) -> Moment:
    """Sum with decay: `m = b m + x`, read as it is, or as `x + b m` with Nesterov's look-ahead.

    Args:
        of: the observation that is summed.
        b: decay rate; 1 sums for ever.
        nesterov: whether to read one step ahead.
        **how: other attributes of `Moment`.
    """

    def update(m: Array, x: Array, age: Array) -> Array:
        del age
        return b * m + x

    def ahead(m: Array, x: Leaf, scalars: object) -> Array:
        del scalars
        return of(x) + b * m

    read = ahead if nesterov else raw
    return Moment(of, update, read, decay=b, uses_age=False, label=("trace", b), **how)


def adam_mini_axes(path: str, parameter: Any) -> Over:
    """Return the axes over which Adam-mini has one second moment (Zhang et al. 2024, Algorithm 3).

    This is the paper's partition of a transformer, for Flax's layout, in which a kernel's last axis
    is its output. One number together have: a token's row of an embedding; a head of a query or key
    whose kernel is `(features, heads, size)`; else the weights of an output neuron, which is finer
    for a query or key of two axes, since nothing says how long its heads are; and a vector, such as
    the scale of a norm, but for biases, of which each element has its own, as in the authors' code.

    Args:
        path: the parameter's path, such as `"block/query/kernel"`.
        parameter: the parameter, of which `ndim` is read.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> ao.moments.adam_mini_axes("attention/query/kernel", jnp.ones((64, 8, 16)))
        (0, 2)
        >>> def axes(path, parameter):  # of heads of 64 features, side by side
        ...     if path.endswith(("q_proj/kernel", "k_proj/kernel")):
        ...         return 0, (1, 64)
        ...     return ao.moments.adam_mini_axes(path, parameter)
        >>> tx = ao.adam_mini(1e-3, over=axes)
    """
    words, axes = set(re.split(r"\W+", path.lower())), range(parameter.ndim)
    if any("bias" in word for word in words):
        return None
    if parameter.ndim < 2:
        return "all"
    if any(part in word for word in words for part in ("embed", "embd", "wte")):
        return tuple(axes[1:])
    if parameter.ndim == 3 and words & _QUERY_OR_KEY:
        return 0, 2
    return (0,) if words & _VALUE else tuple(axes[:-1])


_QUERY_OR_KEY = frozenset({"query", "key", "q_proj", "k_proj", "wq", "wk"})
_VALUE = frozenset({"value", "v_proj", "wv"})


def previous(of: Read = grad) -> Moment:
    """Remember the observation of the last step.

    Args:
        of: the observation.
    """
    return Moment(of, lambda m, x, age: x, decay=0.0, uses_age=False, label=("previous",))


def running_max(of: Read) -> Moment:
    """Remember the largest observation so far, `m = max(m, x)`.

    Args:
        of: the observation; it must not be negative.
    """
    largest = lambda m, x, age: jnp.maximum(m, x)  # noqa: E731
    return Moment(of, largest, decay=1.0, signed=False, uses_age=False, label=("running_max",))


def first_norm() -> Moment:
    """Remember the norm of the parameter before its first step, one number for a leaf.

    A parameter of 0 is remembered as 1.2e-7: a moment of 0 has not seen any parameter yet.
    Storage in few bits does not round the norm, for the parameter would follow at once.
    """
    norm = lambda x: jnp.maximum(safe_sqrt(jnp.sum(abs_sq(x.p))), LEAST_NORM)  # noqa: E731
    first = lambda m, x, age: jnp.where(m > 0, m, x)  # noqa: E731
    return Moment(
        norm,
        first,
        decay=1.0,
        signed=False,
        over="all",
        exact=True,
        uses_age=False,
        label=("first_norm",),
    )


def decayed_max(b: Number, of: Read) -> Moment:
    """Remember the exponentially weighted infinity norm, `m = max(b m, x)` (Adam, Algorithm 2).

    Args:
        b: decay rate in [0, 1).
        of: the observation; it must not be negative.
    """

    def update(m: Array, x: Array, age: Array) -> Array:
        del age
        return jnp.maximum(update_ema(b, m, jnp.zeros_like(m)), x)

    return Moment(of, update, decay=b, signed=False, uses_age=False, label=("decayed_max", b))


__getattr__ = renamed(
    __name__, {"total": "trace", "last": "previous", "peak": "running_max"}
    | {"fading_peak": "decayed_max"},
)  # fmt: skip
