"""Compute what the rules share: bias factors without cancellation, averages, and roots."""

import math
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

Number = float | Array
"""A hyper-parameter inside a rule: a Python number (kept in double) or a scalar array."""


def is_python_number(b: object) -> TypeGuard[float]:
    """Tell whether `b` is a Python number, so that arithmetic on `b` alone happens in double."""
    return isinstance(b, int | float)


def one_minus_power(b: Number, t: Array) -> Array:
    """Return `1 - b^t`, the share of its weights that an average has seen by step `t`.

    Computed as `-expm1(t log b)`, with `log b` in double for a Python number: within 4e-7 for
    every `t` and `b`, where `1 - b**t` in float32 is off by 1.3e-5 at 0.999 and 19 % at 1 - 1e-7.
    """
    if isinstance(b, int | float):
        return one_minus_exp(t * -math.log(b)) if b > 0 else jnp.ones_like(t)
    return _one_minus_power(b, t)


@jax.custom_jvp
def _one_minus_power(b: Array, t: Array) -> Array:
    return one_minus_exp(t * log_rate(b))


@_one_minus_power.defjvp
def _one_minus_power_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    (b, t), (db, _) = primals, tangents
    return _one_minus_power(b, t), -t * b ** (
        t - 1
    ) * db  # finite also at b = 0, where log b is not


LARGEST_RATE = 100.0
"""The largest `-log b` of a decay rate: what is left of a rate of 0 is 0 all the same."""


def log_rate(b: Array) -> Array:
    """Return `-log b` of a decay rate, at most `LARGEST_RATE`.

    `b - 1` is exact from 0.5 on, and the logarithm of `b` would cancel there.
    """
    near_one = b > 0.5
    late, early = jnp.log1p(jnp.where(near_one, b, 1.0) - 1), jnp.log(jnp.where(near_one, 1.0, b))
    return jnp.minimum(-jnp.where(near_one, late, early), LARGEST_RATE)


def one_minus_exp(x: Array) -> Array:
    """Return `1 - exp(-x)` for `x >= 0`, within 4e-7.

    XLA's expm1 is off by 3.5e-7; a Newton step follows where it helps.

    The step is taken as the geometric mean of `y` and `y + 2 dy`: XLA fuses a scalar into every
    leaf that uses it, and would repeat all of this there if it did not end in a root.
    """
    y = -jnp.expm1(-x)
    early = jnp.minimum(y, 0.5)
    dy = jnp.where(x < 0.5, (1 - early) * (x + jnp.log1p(-early)), 0.0)
    return jnp.sqrt(y * (y + 2 * dy))


def update_ema(b: Number, m: Array, x: Array, *, signed: bool = True) -> Array:
    """Return the exponential average `b m + (1-b) x`.

    A Python `b` near 1 is not representable in float32, but `1-b` is, so the average moves by
    `1-b` of the difference. A `b` that is an array already is what it is: `1-b` is exact.
    """
    if not isinstance(b, int | float) or b < 0.5:
        return b * m + (1 - b) * x
    moved = m + ((1 - b) * x - (1 - b) * m)  # x - m itself might overflow
    # A square may have overflowed: its average stays infinite, where inf - inf would be NaN.
    return moved if signed else jax.lax.select(m < jnp.inf, moved, m)


@jax.custom_jvp
def safe_sqrt(v: Array) -> Array:
    """Return `sqrt(v)` with derivative 0 at 0, so that a zero gradient can be differentiated."""
    return jnp.sqrt(v)


@safe_sqrt.defjvp
def _safe_sqrt_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (v,), (dv,) = primals, tangents
    positive = v > 0
    slope = jnp.where(positive, 0.5 / safe_sqrt(jnp.where(positive, v, 1.0)), 0.0)
    return safe_sqrt(v), dv * slope


def safe_divide(a: Array, b: Array, least: Number) -> Array:
    """Return `a / b` for `b >= least >= 0`, and `a` where `b` is 0: there `a` or `a^2` is 0."""
    return a / b if isinstance(least, int | float) and least > 0 else a / jnp.where(b > 0, b, 1.0)


EIGHTH = math.tan(math.pi / 8)
"""The slope up to which the series of `angle` is short: of an eighth of a half turn."""

SERIES = (-0.3333295525, 0.1997792601, -0.1387984916, 0.0806030614)
"""Coefficients of `(atan(z) / z - 1) / z^2` by powers of `z^2`: to 2e-8 of `atan(z)` up to EIGHTH.

Fitted to the smallest maximum of the relative error (weighted least squares, repeated).
"""


def angle(y: Array, x: Array) -> Array:
    """Return the angle of `(x, y)` for a real `y` and `x >= 0`, from -pi/2 to pi/2; 0 at `(0, 0)`.

    In float32 from operations that all kernels have, which XLA's atan2 is not: within 2e-7 of
    itself. Its derivatives are finite, at `(0, 0)`, too.
    """
    if y.dtype == jnp.float64:
        return jnp.arctan2(y, jnp.where((y == 0) & (x == 0), 1.0, x))
    size, sign = abs(y), jnp.sign(y)
    flat, steep = size < EIGHTH * x, x < EIGHTH * size
    # One quotient z of at most EIGHTH, and the angle that is left: none, a right one or its half.
    above = jnp.where(flat, y, jnp.where(steep, -sign * x, sign * (size - x)))
    below = jnp.where(flat, x, jnp.where(steep, size, size + x))
    rest = sign * jnp.where(flat, 0.0, jnp.where(steep, math.pi / 2, math.pi / 4))
    z = above / jnp.where(below > 0, below, 1.0)
    w = z * z
    series = SERIES[0] + w * (SERIES[1] + w * (SERIES[2] + w * SERIES[3]))
    return rest + (z + z * (w * series))


def abs_sq(x: Array) -> Array:
    """Return `|x|^2`, real also for a complex x."""
    return jnp.square(x) if jnp.isrealobj(x) else jnp.square(x.real) + jnp.square(x.imag)


LEAST_NORM = 2.0**-23
"""The norm up to which a parameter counts as 0, 1.2e-7; a float16, too."""


def scaled(g: Array, factor: Array) -> Array:
    """Return a gradient times a factor, in the gradient's dtype; zero for a factor of 0."""
    dtype = compute_dtype(g)
    product = g.astype(dtype) * factor.astype(real_dtype(dtype)).astype(dtype)
    return jnp.where(factor > 0, product, jnp.zeros_like(product)).astype(g.dtype)  # inf * 0 is NaN


def sign_agreement(a: Array, b: Array) -> Array:
    """Return the sign of `Re(a conj(b))`, also where the product underflows to 0."""
    if jnp.isrealobj(a) and jnp.isrealobj(b):
        return jnp.sign(a) * jnp.sign(b)
    return (a * jnp.conj(b)).real


def compute_dtype(*arrays: ArrayLike) -> np.dtype[Any]:
    """Return the precision in which arrays meet: the widest of theirs, and at least float32.

    Complex if any is complex; `strict` promotion would refuse to mix them.

    Raises:
        TypeError: if an array is neither floating nor complex.
    """
    dtypes = [jnp.result_type(a) for a in arrays]
    for dtype in dtypes:
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise TypeError(f"dtype {dtype} is neither floating nor complex")
    double = any(jnp.finfo(d).bits == 64 for d in dtypes)
    widest: np.dtype[Any] = jnp.dtype(jnp.float64 if double else jnp.float32)
    if any(jnp.issubdtype(d, jnp.complexfloating) for d in dtypes):
        widest = jnp.dtype(jnp.complex128 if double else jnp.complex64)
    return widest


def real_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return the real dtype of the same precision."""
    return jnp.finfo(dtype).dtype


def number_dtype(dtype: DTypeLike) -> np.dtype[Any] | None:
    """Return a floating or complex dtype that JAX has, with 0 and both signs; None for any other.

    >>> number_dtype("bfloat16"), number_dtype("int8"), number_dtype("float8_e8m0fnu")
    (dtype(bfloat16), None, None)
    """
    try:
        kind: np.dtype[Any] = jnp.dtype(dtype)
    except (TypeError, ValueError, SyntaxError):  # NumPy reads some names as lists of dtypes
        return None
    # A scale alone, float8_e8m0fnu, has neither 0 nor a sign; float128 is NumPy's alone.
    inexact = jnp.issubdtype(kind, jnp.inexact)
    return kind if inexact and jnp.finfo(kind).min < 0 and jnp.finfo(kind).bits <= 64 else None


def widen_decay_rate(b: Array, dtype: DTypeLike) -> Array:
    """Return a decay rate in compute precision, with what 16 bits rounded away put back.

    In bfloat16 every rate above 0.998 is 1.0, which would remember the start for ever. Such a 1
    stands for the middle of the interval that rounds to 1: 0.99902 in bfloat16, 0.99988 in
    float16.
    """
    wide = b.astype(dtype)
    if not jnp.issubdtype(b.dtype, jnp.inexact):
        return wide
    if jnp.finfo(b.dtype).bits >= 32:
        return wide
    return jnp.where(wide == 1, 1 - float(jnp.finfo(b.dtype).eps) / 8, wide)


@jax.jit
def safe_increment(count: Array) -> Array:
    """Return `count + 1`, or the largest integer instead of an overflow."""
    return jnp.where(count < jnp.iinfo(count.dtype).max, count + 1, count)
