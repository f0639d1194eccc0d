"""Check that `apply_updates` takes a 16-bit parameter exactly to the value each link chooses."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adam_optax.precision._rounding import round_to_dtype, update_to_reach
from adam_optax.precision._split_master import join_halves, split_halves
from tests.support import oracle_precision as oracle
from tests.support.precision import LINKS, apply, float32, same_bits

KINDS = ("bfloat16", "float16")
ALL = np.arange(2**16, dtype=np.uint16)
"""The bits of every sixteen-bit float."""


def all_numbers(dtype: str) -> Any:
    return jnp.asarray(ALL.view(oracle.FORMATS[dtype][2]))


def params_and_updates(dtype: str, seed: int = 0) -> tuple[Any, Any]:
    """Return every parameter and updates of all sizes; an eighth each is near -p, p, 0 or bad."""
    rng = np.random.default_rng(seed)
    p = all_numbers(dtype)
    wide = float32(p)
    with np.errstate(all="ignore"):
        random = rng.integers(0, 2**32, 2**16, dtype=np.uint32).view(np.float32)
        usual = wide * rng.standard_normal(2**16) * 2.0 ** rng.integers(-20, 3, 2**16)
        nearly = -wide * (1 + 2.0 ** rng.integers(-24, -5, 2**16))
        bad = rng.choice([np.nan, np.inf, -np.inf], 2**16)
        kinds = [random, usual, usual, -wide, nearly, nearly, wide, 0 * random + 0, bad]
        u = np.choose(rng.integers(0, len(kinds), 2**16), kinds).astype(np.float32)
    return p, jnp.asarray(u)


def is_flushed(*xs: Any) -> Any:
    """Return where float32's arithmetic, on this machine, flushes a number to zero."""
    return np.logical_or.reduce([(np.abs(x) < 2.0**-118) & (x != 0) for x in xs])


@pytest.mark.quick
@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("jit", [False, True])
def test_stochastic_rounding_lands_on_the_target_from_every_parameter(
    dtype: str, jit: bool
) -> None:
    """Compare all 65,536 parameters with targets from float64 and Python's integers."""
    tx = LINKS["stochastic_rounding"](seed=3)
    p, u = params_and_updates(dtype)
    step = lambda p, u: apply(p, tx.update(u, tx.init(p), p)[0])  # noqa: E731
    landed = float32((jax.jit(step) if jit else step)(p, u))
    wide = float32(p)
    sums = oracle.float32_sum(wide, u)
    shares = [oracle.share(oracle.dither(i, 0, 3), dtype) for i in range(2**16)]
    zipped = zip(sums, shares, strict=True)
    wanted = np.array([oracle.rounded(float(s), d, dtype) for s, d in zipped], np.float32)
    # From an infinite parameter no sum leads back; what float32 flushes is out of its reach.
    with np.errstate(all="ignore"):
        reach = ~is_flushed(wide, np.float32(u), wanted, wanted - wide) | (wanted == wide)
        reach &= np.isfinite(wanted - wide) | ~np.isfinite(wanted)  # no float32 leads there
    assert reach.mean() > 0.9
    np.testing.assert_array_equal(landed[reach], wanted[reach])


@pytest.mark.parametrize("dtype", KINDS)
def test_rounding_without_dither_truncates_and_with_all_of_it_rounds_up(dtype: str) -> None:
    """Check that a number of the format stays what it is, whatever the dither."""
    wide = all_numbers(dtype).astype(jnp.float32)
    normal = ~is_flushed(float32(wide))
    for dither in (0, 2**31, 2**32 - 1):
        same = np.asarray(round_to_dtype(wide, jnp.dtype(dtype), np.uint32(dither)))
        np.testing.assert_array_equal(same[normal], float32(wide)[normal])


@given(st.floats(width=32, allow_nan=False), st.integers(0, 2**32 - 1), st.sampled_from(KINDS))
@settings(max_examples=200)
def test_rounding_is_float64_s(x: float, dither: int, dtype: str) -> None:
    if is_flushed(np.float64(x)):
        return
    ours = round_to_dtype(jnp.float32(x), jnp.dtype(dtype), np.uint32(dither))
    wanted = oracle.rounded(x, oracle.share(dither, dtype), dtype)
    if dtype == "float16" and 0 < abs(x) < 2.0**-14:  # float32 beside tiny: to 2^-14 of a unit
        assert abs(float(ours) - wanted) <= oracle.unit(x, dtype)
        share = abs(x) / oracle.unit(x, dtype) + oracle.share(dither, dtype)
        if abs(share - round(share)) > 2.0**-13:
            assert float(ours) == wanted
        return
    assert float(ours.astype(dtype)) == wanted


@pytest.mark.parametrize("dtype", KINDS)
def test_where_it_lands_is_known_exactly_whatever_the_target(dtype: str) -> None:
    """Check targets out of reach, too: the links go on from the value that was reached."""
    p, u = params_and_updates(dtype, seed=1)
    update, landed = jax.jit(update_to_reach)(
        p, round_to_dtype(p.astype(jnp.float32) + u, jnp.dtype(dtype))
    )
    found = float32(apply(p, update))
    sure = ~is_flushed(found, float32(update))
    np.testing.assert_array_equal(np.asarray(landed)[sure], found[sure])


@pytest.mark.matrix(keep=1)
@pytest.mark.parametrize("dtype", KINDS)
def test_rounding_to_nearest_is_the_cast(dtype: str) -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(0, 2**32, 2**18, dtype=np.uint32)
    half = np.uint32(2 ** (23 - oracle.FORMATS[dtype][0]))  # of a unit: halfway to the next
    x[: 2**16] = float32(all_numbers(dtype)).view(np.uint32) | half
    x = x.view(np.float32)
    x = x[~is_flushed(x)]
    with np.errstate(over="ignore"):
        wanted = float32(jnp.asarray(x).astype(dtype))
    overflows = np.isinf(wanted) & np.isfinite(x)  # what is finite stays so
    wanted = np.where(overflows, np.copysign(np.float32(oracle.largest(dtype)), x), wanted)
    ours = np.asarray(round_to_dtype(jnp.asarray(x), jnp.dtype(dtype)))
    # float16 below 2^-14: rounded to 2^-13 of a unit before, which may make a half.
    sure = np.ones(x.shape, bool)
    if dtype == "float16":
        with np.errstate(invalid="ignore"):  # signalling NaNs
            share = np.abs(np.float64(x)) * 2.0**24
            share[~np.isfinite(share)] = 2.0**24
        sure = (share > 2.0**10) | (np.abs(share % 1 - 0.5) > 2.0**-13)
    np.testing.assert_array_equal(ours[sure], wanted[sure])


@given(st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1), st.sampled_from(KINDS))
@settings(max_examples=200)
def test_any_target_within_two_to_the_14_is_reached(a: int, b: int, dtype: str) -> None:
    """Check targets, too, that no rounded sum asks for."""
    p, t = all_numbers(dtype)[a], all_numbers(dtype)[b]
    x, y = float(p), float(t)
    if np.isnan(x) or np.isnan(y) or np.isinf(x) or is_flushed(np.array([x, y, y - x])).any():
        return
    if abs(y) * 2.0**14 < abs(x) or abs(y - x) > 3.4e38 > abs(y):
        return
    update, landed = update_to_reach(p, t.astype(jnp.float32))
    assert float(apply(p, update)) == float(landed) == y


def test_minus_zero_and_infinity_stay() -> None:
    for x in (-0.0, 0.0, np.inf, -np.inf):
        p = jnp.asarray([x], jnp.bfloat16)
        update, _ = update_to_reach(p, p.astype(jnp.float32))
        same_bits(apply(p, update), p)


@pytest.mark.quick
@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("name", ["stochastic_rounding", "kahan"])
def test_a_finite_step_never_leads_to_infinity(name: str, dtype: str) -> None:
    """Step from the largest numbers by shares of their unit: float32 has one more in bfloat16."""
    tx, most = LINKS[name](), oracle.largest(dtype)
    shares = [1 / 32, 0.4, 0.6, 0.99] + ([1.0, 1e5] if dtype == "float16" else [])
    sign = np.resize([1, -1], 1000)
    p = jnp.asarray(sign * most, dtype)
    for share in shares:
        u = jnp.asarray(sign * share * oracle.unit(most, dtype), jnp.float32)
        same_bits(apply(p, tx.update(u, tx.init(p), p)[0]), p)
    u = jnp.asarray(sign * np.inf, jnp.float32)
    np.testing.assert_array_equal(float32(apply(p, tx.update(u, tx.init(p), p)[0])), u)


def test_what_is_beyond_float16_is_compensated_when_the_parameter_comes_back() -> None:
    tx, p = LINKS["kahan"](), jnp.asarray([65504.0], jnp.float16)
    state = tx.init(p)
    for u in (20.0, 20.0, -60.0):
        updates, state = tx.update(jnp.asarray([u]), state, p)
        p = apply(p, updates)
    whole = float32(p) + float32(state.compensation)
    assert (float32(p), whole) == (65472, 65484)


@pytest.mark.quick
@pytest.mark.parametrize("jit", [False, True])
def test_masters_step_as_float32_from_any_bits(jit: bool) -> None:
    """Take random masters and steps; check that the exceptions are the documented ones."""
    rng = np.random.default_rng(0)
    size = 2**18
    low = rng.integers(0, 2**16, size, dtype=np.uint32)
    high = np.resize(ALL, size).astype(np.uint32)
    m = (high << 16 | low).view(np.float32)
    with np.errstate(all="ignore"):
        near = -m * (1 + rng.integers(-8, 9, size) * 2.0**-24)
        u = np.where(rng.random(size) < 0.5, near, m * rng.standard_normal(size)).astype(np.float32)
    tx = LINKS["split_master"]()

    def step(m: Any, u: Any) -> Any:
        p, low = split_halves(m)
        updates, state = tx.update(u, tx.init(p)._replace(remainder=low), p)
        p = apply(p, updates)
        return join_halves(p, state.remainder)

    ours = np.asarray((jax.jit(step) if jit else step)(jnp.asarray(m), jnp.asarray(u)))
    right = oracle.float32_sum(m, u)
    with np.errstate(all="ignore"):
        known = np.isfinite(right) & (np.abs(right) < 3.38e38) & (np.abs(m) < 3.38e38)
        known &= ~is_flushed(m, u, right)
        known &= np.abs(u) < 3.38e38
    assert known.mean() > 0.8
    m, right, ours = m[known], right[known] + np.float32(0), ours[known]  # -0 + 0 is 0
    wrong = ours.view(np.uint32) != right.view(np.uint32)
    below_a_power = np.abs(np.frexp(m)[0]) >= 1 - 2.0**-9
    across = (np.sign(right) == -np.sign(m)) & (np.abs(right) < np.abs(m) * 2.0**-16)
    assert 0 < wrong.mean() < 2.0**-9  # half of the steps aim at the exception
    assert np.all((below_a_power & across)[wrong])
    assert np.all(np.abs(ours - right)[wrong] <= 2.0**-24 * 2.0 ** np.frexp(m[wrong])[1])


@pytest.mark.parametrize("name", ["kahan", "split_master"])
def test_what_is_lost_for_ever_is_not_made_up_for(name: str) -> None:
    """Check that infinite parameters and NaN stay, and that other parameters still train."""
    p = jnp.asarray([np.inf, -np.inf, np.nan, 1.0, 1.0, 1.0], jnp.bfloat16)
    u = jnp.asarray([1.0, 1.0, 1.0, np.nan, np.inf, 1e-3])
    tx = LINKS[name]()
    state = tx.init(p)
    for _ in range(1000):
        updates, state = tx.update(u, state, p)
        p = apply(p, updates)
    np.testing.assert_array_equal(float32(p)[:5], [np.inf, -np.inf, np.nan, np.nan, np.inf])
    assert abs(float(p[5]) - 2) <= 2**-7  # as near as bfloat16 is


def test_halves_round_away_from_zero_and_back() -> None:
    m = jnp.asarray(
        [1 + 2.0**-8, 1 + 3 * 2.0**-8, -1 - 2.0**-8, 1 + 2.0**-8 - 2.0**-23], jnp.float32
    )
    p, low = split_halves(m)
    np.testing.assert_array_equal(float32(p), [1 + 2**-7, 1 + 2**-6, -1 - 2**-7, 1])
    same_bits(join_halves(p, low), m)
