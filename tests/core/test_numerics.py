"""The shared arithmetic against float64."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adam_optax._core.numerics import (
    abs_sq,
    compute_dtype,
    one_minus_power,
    safe_divide,
    safe_increment,
    safe_sqrt,
    update_ema,
    widen_decay_rate,
)
from tests.support.oracle import decay_power_complement

RATES = [0.0, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999, 1 - 1e-6, 1 - 1e-7]
LAST = 2**31 - 1


def _counts() -> np.ndarray[Any, np.dtype[np.int32]]:
    """Every step to 200,000, then 100,000 evenly over the exponents, and the last one."""
    spread = np.logspace(5, np.log10(LAST), 100_000).astype(np.int64)
    return np.unique([*range(1, 200_001), *spread, LAST]).astype(np.int32)


@pytest.mark.quick
@pytest.mark.parametrize("b", RATES)
def test_bias_factor_is_within_4e_7_at_every_step(b: float) -> None:
    counts = _counts()
    ours = jax.jit(lambda t: one_minus_power(b, t.astype(jnp.float32)))(counts)
    error = np.abs(np.float64(ours) / decay_power_complement(b, counts) - 1)
    assert error.max() < 4e-7  # 1e-7 of t log b in float32, 3e-7 of XLA's expm1


@pytest.mark.parametrize("b", RATES)
def test_bias_factor_of_an_array_is_that_of_the_rounded_rate(b: float) -> None:
    counts, rounded = _counts(), np.float32(b)
    ours = jax.jit(lambda t, b: one_minus_power(b, t.astype(jnp.float32)))(counts, rounded)
    error = np.abs(np.float64(ours) / decay_power_complement(float(rounded), counts) - 1)
    assert error.max() < 4e-7  # as above; b - 1 is exact


@pytest.mark.parametrize("b", RATES)
def test_bias_factor_in_float64_is_right_to_rounding(b: float, x64: None) -> None:
    counts = _counts()
    ours = jax.jit(lambda t: one_minus_power(b, t.astype(jnp.float64)))(counts)
    # XLA's double expm1 and log1p are themselves off by a few 1e-15
    np.testing.assert_allclose(ours, decay_power_complement(b, counts), rtol=1e-14)


def test_optax_is_off_where_ours_is_not() -> None:
    """Show the reason for `one_minus_power`: the same factor as optax computes it."""
    for b, off in ((0.999, 1e-5), (0.99999, 1e-3), (1 - 1e-7, 0.15)):
        theirs = 1 - jnp.float32(b) ** jnp.float32(1)
        assert abs(float(theirs) / (1 - b) - 1) > off


@given(
    b=st.sampled_from(RATES),
    m=st.floats(-1e6, 1e6, width=32),
    x=st.floats(-1e6, 1e6, width=32),
)
def test_average_lies_between_and_equals_float64(b: float, m: float, x: float) -> None:
    got = float(update_ema(b, jnp.float32(m), jnp.float32(x)))
    size = max(abs(m), abs(x), 1e-30)  # what is below 1.2e-38 XLA flushes to zero
    assert abs(got - (b * m + (1 - b) * x)) <= 2e-7 * size  # two roundings of at most 6e-8 each
    assert min(m, x) - 2e-7 * size <= got <= max(m, x) + 2e-7 * size


@pytest.mark.parametrize("b", [0.3, 0.9, 0.999])
def test_average_of_an_overflowed_square_stays_infinite(b: float) -> None:
    inf = jnp.float32(jnp.inf)
    assert update_ema(b, inf, jnp.float32(1.0), signed=False) == inf
    assert update_ema(b, jnp.float32(1.0), inf, signed=False) == inf


@pytest.mark.quick
def test_root_has_derivative_zero_at_zero_and_the_usual_one_elsewhere() -> None:
    assert jax.grad(safe_sqrt)(0.0) == 0.0
    assert jax.grad(jax.grad(safe_sqrt))(0.0) == 0.0
    np.testing.assert_allclose(jax.grad(safe_sqrt)(4.0), 0.25, rtol=1e-7)
    np.testing.assert_allclose(jax.grad(jax.grad(safe_sqrt))(4.0), -1 / 32, rtol=1e-6)
    np.testing.assert_array_equal(safe_sqrt(jnp.array([0.0, 9.0])), [0.0, 3.0])


def test_quotient_by_zero_is_the_numerator() -> None:
    a, b = jnp.array([0.0, 3.0]), jnp.array([0.0, 2.0])
    np.testing.assert_array_equal(safe_divide(a, b, least=0.0), [0.0, 1.5])


@pytest.mark.quick
def test_abs_sq_of_complex_is_real() -> None:
    square = abs_sq(jnp.array([3 + 4j], jnp.complex64))
    assert square.dtype == jnp.float32
    assert square[0] == 25


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        (["bfloat16"], "float32"),
        (["float16", "bfloat16"], "float32"),
        (["bfloat16", "float32"], "float32"),
        (["float8_e4m3fn"], "float32"),
        (["complex64", "bfloat16"], "complex64"),
        (["float64", "bfloat16"], "float64"),
        (["float64", "complex64"], "complex128"),
    ],
)
def test_arrays_meet_in_the_widest_precision(dtypes: list[str], expected: str, x64: None) -> None:
    assert compute_dtype(*(jnp.zeros((), d) for d in dtypes)) == jnp.dtype(expected)


@pytest.mark.parametrize(
    ("dtype", "given", "taken"),
    [
        ("bfloat16", 0.999, 1 - 2**-10),  # rounds to 1, which would never forget
        ("float16", 0.9999, 1 - 2**-13),
        ("bfloat16", 0.9, float(jnp.bfloat16(0.9))),
        ("float32", 0.999, float(np.float32(0.999))),
    ],
)
def test_a_rate_that_sixteen_bits_round_to_one(dtype: str, given: float, taken: float) -> None:
    assert widen_decay_rate(jnp.asarray(given, dtype), jnp.float32) == np.float32(taken)


def test_count_stops_at_the_largest_integer() -> None:
    np.testing.assert_array_equal(
        safe_increment(jnp.array([0, LAST - 1, LAST], jnp.int32)), [1, LAST, LAST]
    )
