"""One leaf's step: decode, rule, weight decay and learning rate, encode; compiled once per shape.

What depends on the step alone is computed before, once for all leaves. Every dtype is decided
here. The compiled functions outlive the transformation: a thousand leaves of twelve shapes are
traced twelve times, a transformation made anew with the same constants is not traced again, and
un-jitted use runs compiled.
"""

import contextlib
import dataclasses
import functools as ft
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from adam_optax._core import checks
from adam_optax._core.dither import Corner
from adam_optax._core.numerics import Number, compute_dtype, increment, real_dtype
from adam_optax._engine import tail
from adam_optax._engine.kernels.fused_step import one_pass
from adam_optax.couplings import RATE, Coupling
from adam_optax.moments import Leaf
from adam_optax.rules.base import Rule, in_compute_precision
from adam_optax.storage import Codec, Keeper, Place, resolve

HUGE = 1.8e19
"""Beyond, a square is not finite in float32, and guarded storage takes no step."""

Maker = Callable[..., Rule]
Constants = tuple[tuple[str, type, Any], ...]


class Clock(NamedTuple):
    """All that depends on the step alone, in one precision: computed once, used by every leaf.

    Attributes:
        t: the step, 1 at the first.
        numbers: the rule's schedules and arrays.
        warm: what the readings of the moments need to know, by moment.
        pace: what the rule's direction needs to know.
        decay: what multiplies a parameter beside its step, or None.
        rate: the learning rate, or None.
        ticks: what the codec of a leaf needs to know of the step before, and of this one.
    """

    t: Array
    numbers: dict[str, Array]
    warm: dict[str, Any]
    pace: Any
    decay: Number | None
    rate: Array | None
    ticks: Any = (None, None)


@ft.lru_cache(maxsize=64)  # an entry used outside jit holds megabytes of compiled code
def ticker(
    make: Maker, constants: Constants, coupling: Coupling = RATE, codecs: tuple[Codec, ...] = ()
) -> Callable[..., tuple[Array, list[dict[str, Clock]]]]:
    """The compiled function from a count to the next count and each codec's clocks.

    It takes the count, the rule's numbers of this step, and the weight decay and the learning
    rate, each a scalar or None. There is a clock for each precision that a leaf may have, by name.
    """

    def tick(
        count: Array, numbers: Mapping[str, Array], decay: Array | None, rate: Array | None
    ) -> tuple[Array, list[dict[str, Clock]]]:
        checks.count(count)
        before, count = count, increment(count)
        dtypes = [jnp.float32, jnp.float64] if jax.config.read("jax_enable_x64") else [jnp.float32]
        clocks = {jnp.dtype(d).name: clock(count, numbers, decay, rate, d) for d in dtypes}
        moments = make(**values(constants), **clocks["float32"].numbers).moments
        told = [tuple(codec.ticks(moments, t) for t in (before, count)) for codec in codecs]
        return count, [{n: c._replace(ticks=ticks) for n, c in clocks.items()} for ticks in told]

    def clock(
        count: Array, numbers: Mapping[str, Array], decay: Any, rate: Any, dtype: Any
    ) -> Clock:
        t, numbers = count.astype(dtype), in_compute_precision(numbers, dtype)
        rule = make(**values(constants), **numbers)
        decay, rate = (None if x is None else jnp.asarray(x, dtype) for x in (decay, rate))
        fade = None if decay is None else tail.fade(rule, coupling, decay, rate)
        return Clock(t, numbers, rule.warm(t), rule.pace(t), fade, rate)

    return jax.jit(tick)


@ft.lru_cache(maxsize=64)  # an entry used outside jit holds megabytes of compiled code
def leaf_step(
    make: Maker,
    constants: Constants,
    codec: Codec,
    coupling: Coupling = RATE,
    applies: bool = False,
    interpret: str | None = None,
) -> Callable[..., Any]:
    """The compiled step of any leaf under `make(**constants, **numbers)` and `codec`.

    The function returned takes the gradient, the parameter or None, what is kept of the moments,
    the new count and its clocks; it returns the update, or with `applies` the new parameter, and
    what to keep. It is told `where` a leaf is, if types say so. With `interpret`, the kernel for
    that platform is run on any other.
    """
    step, platforms = _step(make, constants, codec, coupling, applies), codec.kernels(applies)

    def alone(g: Array, p: Array | None, count: Array, clocks: Mapping[str, Clock]) -> Any:
        clocks = {name: clock._replace(ticks=(None, None)) for name, clock in clocks.items()}
        moments = make(**values(constants), **clocks["float32"].numbers).moments
        (dense,) = resolve(None, moments).codecs(g)
        bare = _step(make, constants, dense, coupling, applies)
        return bare(g, p, {n: jnp.zeros_like(g, jnp.float32) for n in moments}, count, clocks)

    fused = one_pass(step, alone, codec.block, platforms, applies, interpret)
    return jax.jit(fused, static_argnames="where")


def _step(
    make: Maker, constants: Constants, codec: Codec, coupling: Coupling, applies: bool
) -> Callable[..., Any]:
    """The step of a leaf, or of the part of it that begins at a corner."""

    def step(
        g: Array,
        p: Array | None,
        kept: Mapping[str, Any],
        count: Array,
        clocks: Mapping[str, Clock],
        corner: Corner | None = None,
    ) -> tuple[Array, dict[str, Any]]:
        checks.present(kept)
        moments = make(**values(constants), **clocks["float32"].numbers).moments
        before, now = clocks["float32"].ticks
        place = Place(jnp.shape(g), count, now, corner)
        past = dataclasses.replace(place, count=count - 1, ticks=before)
        old = codec.decode(kept, moments, past)
        checks.leaf(g, p, {n: m for n, m in old.items() if not moments[n].scalar})
        checks.kind(g, p, {n: m for n, m in old.items() if moments[n].signed})
        dtype = compute_dtype(g, *([] if p is None else [p]), *old.values())
        real = real_dtype(dtype)
        checks.underflow(values(constants), real)
        clock = clocks[real.name]
        rule = make(**values(constants), **clock.numbers)
        sound = abs(g) < HUGE if codec.guarded else None
        keeper = Keeper(codec, moments, old, place, sound)
        with mixing(dtype):
            x = rule(promoted(g, p, clock, old, dtype), clock.warm, keeper.settle)
            update = keeper.step(tail.update(rule, x, coupling, clock.decay, clock.rate))
            keep = keeper.finish(x.new)
        checks.kept(keep, kept)
        checks.step(update, g)
        update = update.astype(_update_dtype(g, p))
        return _added(p, update) if applies else update, keep

    return step


def _added(p: Array | None, update: Array) -> Array:
    """The new parameter, as `optax.apply_updates` adds; XLA may round once less in between."""
    assert p is not None
    with jax.numpy_dtype_promotion("standard"):
        return (p + update).astype(p.dtype)


def values(constants: Constants) -> dict[str, Any]:
    """The constants by name."""
    return {name: value for name, _, value in constants}


def promoted(g: Array, p: Array | None, clock: Clock, old: dict[str, Array], dtype: Any) -> Leaf:
    """The leaf in compute precision; moments that are real stay so beside a complex gradient."""
    real = real_dtype(dtype)
    moments = {n: m.astype(dtype if jnp.iscomplexobj(m) else real) for n, m in old.items()}
    p = None if p is None else jnp.astype(p, dtype)
    x = Leaf(jnp.astype(g, dtype), p, clock.t, moments, pace=clock.pace)
    scales: dict[str, Any] = {"decay": clock.decay, "rate": clock.rate}
    return x._replace(**{n: v for n, v in scales.items() if v is not None})


def mixing(dtype: Any) -> Any:
    """Let real and complex arrays of one precision meet, which strict promotion would refuse."""
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return jax.numpy_dtype_promotion("standard")
    return contextlib.nullcontext()


def _update_dtype(g: Array, p: Array | None) -> Any:
    """The gradient's dtype, or the parameter's where that is wider."""
    if p is None or jnp.finfo(g.dtype).bits >= jnp.finfo(p.dtype).bits:
        return g.dtype
    return p.dtype
