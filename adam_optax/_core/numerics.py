"""Arithmetic that the rules share: bias factors without cancellation, averages, and roots."""

import math
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

Number = float | Array
"""A hyper-parameter inside a rule: a Python number (kept in double) or a scalar array."""


def is_exact(b: object) -> TypeGuard[float]:
    """Whether `b` is a Python number, so that arithmetic on it alone happens in double."""
    return isinstance(b, int | float)


def warmth(b: Number, t: Array) -> Array:
    """The share `1 - b^t` of its weights that an average has seen by step `t`.

    Computed as `-expm1(t log b)`, with `log b` in double for a Python number: within 4e-7 for
    every `t` and `b`, where `1 - b**t` in float32 is off by 1.3e-5 at .999 and 19 % at 1 - 1e-7.
    """
    if is_exact(b):
        return saturation(t * -math.log(b)) if b > 0 else jnp.ones_like(t)
    return _warmth(b, t)


@jax.custom_jvp
def _warmth(b: Array, t: Array) -> Array:
    return saturation(t * -jnp.log1p(b - 1))  # b - 1 is exact from 0.5 on


@_warmth.defjvp
def _warmth_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> Any:
    (b, t), (db, _) = primals, tangents
    return _warmth(b, t), -t * b ** (t - 1) * db  # finite also at b = 0, where log b is not


def saturation(x: Array) -> Array:
    """`1 - exp(-x)` for `x >= 0`: XLA's expm1, off by 3.5e-7, and a Newton step where it helps.

    The step is taken as the geometric mean of `y` and `y + 2 dy`: XLA fuses a scalar into every
    leaf that uses it, and would repeat all of this there if it did not end in a root.
    """
    y = -jnp.expm1(-x)
    early = jnp.minimum(y, 0.5)
    dy = jnp.where(x < 0.5, (1 - early) * (x + jnp.log1p(-early)), 0.0)
    return jnp.sqrt(y * (y + 2 * dy))


def average(b: Number, m: Array, x: Array, *, signed: bool = True) -> Array:
    """The exponential average `b m + (1-b) x`.

    A Python `b` near 1 is not representable in float32, but `1-b` is, so the average moves by
    `1-b` of the difference. A `b` that is an array already is what it is: `1-b` is exact.
    """
    if not is_exact(b) or b < 0.5:
        return b * m + (1 - b) * x
    moved = m + ((1 - b) * x - (1 - b) * m)  # x - m itself might overflow
    # A square may have overflowed: its average stays infinite, where inf - inf would be NaN.
    return moved if signed else jax.lax.select(m < jnp.inf, moved, m)


@jax.custom_jvp
def root(v: Array) -> Array:
    """`sqrt(v)` with derivative 0 at 0, so that one can differentiate through a zero gradient."""
    return jnp.sqrt(v)


@root.defjvp
def _root_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (v,), (dv,) = primals, tangents
    positive = v > 0
    slope = jnp.where(positive, 0.5 / root(jnp.where(positive, v, 1.0)), 0.0)
    return root(v), dv * slope


def quotient(a: Array, b: Array, least: Number) -> Array:
    """`a / b` for `b >= least >= 0`, and `a` where `b` is 0: there `a` is 0, or its square was."""
    return a / b if is_exact(least) and least > 0 else a / jnp.where(b > 0, b, 1.0)


def abs_sq(x: Array) -> Array:
    """`|x|^2`, real also for a complex x."""
    return jnp.square(x) if jnp.isrealobj(x) else jnp.square(x.real) + jnp.square(x.imag)


def agreement(a: Array, b: Array) -> Array:
    """The sign of `Re(a conj(b))`: whether two numbers agree, also where their product is 0."""
    if jnp.isrealobj(a) and jnp.isrealobj(b):
        return jnp.sign(a) * jnp.sign(b)
    return (a * jnp.conj(b)).real


def compute_dtype(*arrays: ArrayLike) -> Any:
    """The precision in which arrays meet: the widest of theirs, and at least float32.

    Complex if any is complex; `strict` promotion would refuse to mix them.

    Raises:
        TypeError: if one is neither floating nor complex.
    """
    dtypes = [jnp.result_type(a) for a in arrays]
    for dtype in dtypes:
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise TypeError(f"dtype {dtype} is neither floating nor complex")
    double = any(jnp.finfo(d).bits == 64 for d in dtypes)
    real = jnp.float64 if double else jnp.float32
    if any(jnp.issubdtype(d, jnp.complexfloating) for d in dtypes):
        return jnp.dtype(jnp.complex128 if double else jnp.complex64)
    return jnp.dtype(real)


def real_dtype(dtype: Any) -> Any:
    """The real dtype of the same precision."""
    return jnp.finfo(dtype).dtype


def decay_from_array(b: Array, dtype: Any) -> Array:
    """An array's decay rate in compute precision, with what 16 bits rounded away put back.

    In bfloat16 every rate above .998 is 1.0, which would remember the start for ever. Such a 1
    stands for the middle of the interval that rounds to it: .99902 in bfloat16, .99988 in float16.
    """
    wide = b.astype(dtype)
    if not jnp.issubdtype(b.dtype, jnp.inexact):
        return wide
    if jnp.finfo(b.dtype).bits >= 32:
        return wide
    return jnp.where(wide == 1, 1 - float(jnp.finfo(b.dtype).eps) / 8, wide)


@jax.jit
def increment(count: Array) -> Array:
    """`count + 1`, and the largest integer from there on instead of an overflow."""
    return jnp.where(count < jnp.iinfo(count.dtype).max, count + 1, count)
