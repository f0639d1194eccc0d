"""The library's formats with an idea of a peer: right on average, in range, no nu of zero."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adam_optax as ao
from adam_optax.moments import ema, square
from adam_optax.storage import LeafContext
from benchmarks.codecs.learnt import LogarithmicInt4, PoweredFloat8

MU, NU = ema(0.9), ema(0.999, square, signed=False)
WINDOW = 128
"""The steps over which the even dither takes each of as many equal parts once."""


def values(moment: Any, decades: float = 4) -> Any:
    """Numbers of two blocks and a ragged one, over some decades of magnitude."""
    rng = np.random.default_rng(0)
    x = rng.choice([-1.0, 1.0], 300) * 10 ** rng.uniform(-decades, 0, 300)
    return (x if moment.signed else x * x).astype(np.float32)


def read(form: Any, m: Any, moment: Any, steps: int = WINDOW) -> Any:
    """What is read of numbers that are written at many steps, on the same grid at each."""

    def once(count: Any) -> Any:
        context = LeafContext((moment,), m.shape, count, 3, jnp.float32(1))
        return form.decode(form.encode((jnp.asarray(m),), context), context)[0]

    return np.asarray(jax.jit(jax.vmap(once))(jnp.arange(steps)), np.float64)


def read_both(form: Any, mu: Any, nu: Any, steps: int = WINDOW) -> tuple[Any, Any]:
    """What is read of two moments that are written in one byte, at many steps."""

    def once(count: Any) -> Any:
        context = LeafContext((MU, NU), mu.shape, count, 3)
        return form.decode(form.encode((jnp.asarray(mu), jnp.asarray(nu)), context), context)

    mus, nus = jax.jit(jax.vmap(once))(jnp.arange(steps))
    return np.asarray(mus), np.asarray(nus, np.float64)


def assert_right_on_average(read: Any, m: Any, widest: float) -> None:
    """Check that the mean over a window is true but for one of its steps.

    Args:
        read: the numbers at each step.
        m: the true numbers.
        widest: the distance between two codes, over the number, at the most.
    """
    rounding = 4e-6  # of a logarithm and a power in float32
    off = np.abs(read.mean(0) - m)
    assert np.all(off <= (widest / WINDOW + rounding) * np.abs(m))
    assert np.any(np.abs(read - m) > 0.2 * widest * np.abs(m))  # single ones are not


@pytest.mark.quick
@pytest.mark.parametrize("moment", [MU, NU])
def test_a_powered_number_is_right_on_average(moment: Any) -> None:
    m = values(moment)
    found = read(PoweredFloat8(), m, moment)
    # A moment of 14 octaves is raised to 9/8, where the widest codes of e4m3 are 2 and 3; a nu of
    # 27 octaves, too, whose codes are an eighth.
    assert_right_on_average(found, m, 0.44 if moment.signed else 0.12)
    if moment.signed:
        nearest = read(PoweredFloat8(nearest_mu=True), m, moment, 1)[0]
        least = np.abs(found - m).min(0)
        assert np.all(np.abs(nearest - m) <= least + 4e-6 * np.abs(m))


@pytest.mark.quick
def test_a_power_fills_the_range_of_a_block() -> None:
    context = LeafContext((NU,), (128,), jnp.int32(7), 3, jnp.float32(1))
    for decades, power in ((0.5, 74), (5, 7), (12, 3)):  # 8 * 31 / octaves, rounded down
        nu = np.logspace(-2 * decades, 0, 128).astype(np.float32) * np.float32(0.999)
        octaves = np.log2(1 / nu[0])
        encoded = PoweredFloat8().encode((jnp.asarray(nu),), context)
        assert set(np.asarray(encoded["power"]).tolist()) == {int(8 * 31 / octaves)} == {power}
        (found,) = PoweredFloat8().decode(encoded, context)
        # A code is an eighth of a power's octave, at the most.
        assert np.all(np.abs(np.log2(np.asarray(found) / nu)) <= np.log2(9 / 8) * 8 / power)


@pytest.mark.quick
def test_a_powered_nu_that_only_decays_is_not_rounded() -> None:
    form, nu = PoweredFloat8(), jnp.asarray(values(NU))

    def at(count: Any) -> LeafContext:
        frame = form.frame((NU,), count, 3, (None,))
        return LeafContext((NU,), nu.shape, count, 3, form.scalars(frame))

    def step(encoded: Any, count: Any) -> Any:
        (kept,) = form.decode(encoded, at(count - 1))
        return form.encode((0.999 * kept,), at(count)), None

    zero, end = jnp.int32(0), jnp.int32(1000)
    start = form.encode((nu,), at(zero))
    last, _ = jax.jit(lambda s: jax.lax.scan(step, s, jnp.arange(1, 1001)))(start)
    (before,), (after,) = form.decode(start, at(zero)), form.decode(last, at(end))
    off = np.abs(np.asarray(after / before) / 0.999**1000 - 1)
    # A code is 9 to 19 %. A number that float32 has a millionth off its code is rounded to the next
    # code in one of 100,000 steps, so that a few of 300 numbers are in 1,000 steps.
    assert np.mean(off < 1e-3) > 0.9


@pytest.mark.quick
def test_a_logarithm_is_right_on_average_and_raises_a_tenth() -> None:
    mu, nu = values(MU), values(NU)
    nu[5], mu[200:240], nu[200:240] = 0, 0, 0
    mus, found = read_both(LogarithmicInt4(), mu, nu)
    assert np.all(found[:, nu > 0] > 0)
    assert np.all(found[:, nu == 0] == 0)
    for part in (slice(128), slice(128, 256)):
        above = np.sort(nu[part][nu[part] > 0])
        least = above[int(0.1 * (above.size - 1))]
        inside = nu[part] >= least
        # Fourteen equal steps of the logarithm, of numbers above the least, hold the largest.
        widest = (above[-1] / least) ** (1 / 14) - 1
        assert_right_on_average(found[:, part][:, inside], nu[part][inside], widest)
        raised = (nu[part] > 0) & ~inside
        np.testing.assert_allclose(found[:, part][:, raised], least, rtol=1e-5)
    same, _ = read_both(ao.storage.int4(), mu, nu)
    np.testing.assert_array_equal(mus, same)


@pytest.mark.quick
def test_mu_is_the_nearest_of_int4_beside_a_logarithm() -> None:
    mu, nu = values(MU), values(NU)
    dithered, _ = read_both(LogarithmicInt4(), mu, nu)
    (nearest,), _ = read_both(LogarithmicInt4(nearest_mu=True), mu, nu, 1)
    assert np.all(np.abs(nearest - mu) <= np.abs(dithered - mu).min(0) + 1e-6 * np.abs(mu))


@pytest.mark.parametrize("size", [0.0, 1e-3])
def test_blocks_of_equal_numbers_are_kept(size: float) -> None:
    m = np.full(150, size, np.float32)
    for moment in (MU, NU):
        # A block an octave below its unit is at the end of the range, where codes are widest:
        # from 2 to 3 in 16 octaves, 2.5 %.
        np.testing.assert_allclose(read(PoweredFloat8(), m, moment, 1)[0], m, rtol=3e-2)
    _, nus = read_both(LogarithmicInt4(), m, m, 1)
    np.testing.assert_allclose(nus[0], m, rtol=3e-3)
