"""Check that `stochastic_rounding` is independent random rounding along whole trajectories.

Beside each pattern is what became of it while the dither moved on by the golden ratio alone: how
many standard errors the mean was off, and the spread of the elements over that of random rounding.
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adam_optax._core.dither import dither
from adam_optax.precision import _stochastic_rounding
from tests.adversary.rounding import (
    LARGEST_ERROR,
    LARGEST_PERIOD,
    LARGEST_SPREAD,
    Case,
    Pattern,
    confirmed,
    hunt,
)
from tests.support.precision import LINKS, float32, stepper

GOLDEN = np.uint32(2654435769)
"""`2^32` over the golden ratio."""

SHORT = {
    "back and forth at 1":  # -21, .38
    Case(Pattern("alternating", period=2, up=0.3, down=-0.285)),
    "eight at 1":  # -19, .27
    Case(Pattern("periodic", period=8, up=2.1, down=-0.3, drift=5e-3)),
    "eighteen at 1":  # +6.1, 3.8
    Case(Pattern("periodic", period=18, on=9, up=0.018, down=-0.018)),
    "noise common to all":  # -7.3, .55
    Case(Pattern("common noise", noise=0.6, drift=0.01)),
    "descent":  # +8.7, .089
    Case(Pattern("descent", start=1.5, rate=0.1, minimum=0.3)),
    "descent in long steps":  # +222, .033
    Case(Pattern("descent", start=1.5, rate=0.5, minimum=0.77)),
    "descent at 1":  # +79, .049
    Case(Pattern("descent", rate=0.24, minimum=-0.77)),
    "steps of one length towards a minimum":  # -276, .31
    Case(Pattern("sign descent", start=128.0, pull=2.78, minimum=-1.43)),
    "weight decay":  # -6.9, .26
    Case(Pattern("weight decay", start=0.1, rate=9.2e-4, minimum=-204.8)),
    "signs below 2":  # -33, .063
    Case(Pattern("signs", start=2 - 2.0**-6, period=5, on=4, up=20.18, alternates=True)),
    "signs at 1":  # -29, .070
    Case(Pattern("signs", period=127, up=5.405, alternates=True)),
    "every 55 steps":  # +2.4, 1.7
    Case(Pattern("sparse", period=55, up=0.25), 300),
    "every 89 steps":  # -1.9, 2.7
    Case(Pattern("sparse", period=89, up=0.25), 300),
    "every 233 steps":  # -1.1, 8.2
    Case(Pattern("sparse", period=233, up=0.25), 300),
    "every 1597 steps":  # +1.6, 21
    Case(Pattern("sparse", period=1597, up=0.25), 300),
    "every 6765 steps":  # -.2, 20
    Case(Pattern("sparse", period=6765, up=0.25), 300),
}
LONG = {
    "back and forth at 1":  # -7, .04; +.2 units for +14
    Case(Pattern("alternating", period=2, up=0.3, down=-0.2997), 100_000, 2000),
    "eight at 1":  # -12, .076
    Case(Pattern("periodic", period=8, up=2.1, down=-0.3, drift=5e-4), 30_000, 2000),
    "noise common to all":  # -24, .72
    Case(Pattern("common noise", noise=0.3, drift=5e-4), 30_000, 4000),
    "descent":  # +51, .033
    Case(Pattern("descent", start=1.5, rate=0.1, minimum=0.3), 20_000, 4000),
}
QUICK = ("descent at 1", "every 1597 steps")


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=n, marks=[pytest.mark.quick] * (n in QUICK)) for n, c in SHORT.items()],
)
def test_a_trajectory_is_that_of_independent_rounding(case: Case) -> None:
    _, verdict = confirmed(case)
    assert abs(verdict.error) <= LARGEST_ERROR
    assert verdict.spread <= LARGEST_SPREAD  # six of its own standard errors


@pytest.mark.heavy
@pytest.mark.parametrize("case", LONG.values(), ids=LONG)
def test_a_long_trajectory_is_that_of_independent_rounding(case: Case) -> None:
    _, verdict = confirmed(case)
    assert abs(verdict.error) <= LARGEST_ERROR
    assert verdict.spread <= LARGEST_SPREAD


@pytest.mark.heavy
def test_steps_at_any_period_are_those_of_independent_rounding() -> None:
    powers = {2**i for i in range(1, 14)}
    fibonacci = {2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584, 4181, 6765}
    for period in sorted(powers | fibonacci | set(range(1, LARGEST_PERIOD + 1, 37))):
        case = Case(Pattern("sparse", period=period, up=0.25), 300, seed=period)
        _, verdict = confirmed(case)
        assert verdict.score <= 1, case


def test_a_search_finds_no_trajectory_that_is_worse() -> None:
    """Take `python -m benchmarks.adversary rounding` for a longer one."""
    for case, verdict in itertools.islice(hunt(0, 2000, ("bfloat16",)), 10):
        assert verdict.score <= 1, case


@pytest.mark.heavy
def test_a_longer_search_finds_no_trajectory_that_is_worse() -> None:
    for case, verdict in itertools.islice(hunt(1, 2000, ("bfloat16", "float16")), 300):
        assert verdict.score <= 1, case


@pytest.mark.heavy
def test_the_search_finds_a_dither_that_follows_from_the_last_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def rotated(shape: tuple[int, ...], count: Any, key: Any, at: Any) -> Any:
        return dither(shape, jnp.zeros((), jnp.int32), key, at) + count.astype(jnp.uint32) * GOLDEN

    monkeypatch.setattr(_stochastic_rounding, "dither", rotated)
    jax.clear_caches()  # what was traced has the dither in it
    found = itertools.islice(hunt(0, 2000, ("bfloat16",)), 10)
    assert max(verdict.score for _, verdict in found) > 1
    monkeypatch.undo()
    jax.clear_caches()


def test_equal_steps_are_right_on_average_and_spread_as_independent_rounding_s() -> None:
    steps, size, step = 4096, 2000, 0.0237  # of a unit, which is 1 from 128 to 256
    tx = LINKS["stochastic_rounding"]()

    def body(carry: Any, _: Any) -> Any:
        return stepper(tx)(*carry, jnp.full(size, step)), None

    start = jnp.full(size, 128, jnp.bfloat16)
    (moved, _), _ = jax.jit(lambda p: jax.lax.scan(body, (p, tx.init(p)), length=steps))(start)
    error = float32(moved).astype(np.float64) - 128 - steps * step
    binomial = np.sqrt(steps * step * (1 - step))  # 9.7 units: of so many draws of 0 or 1
    assert abs(error.mean()) < 4 * binomial / np.sqrt(size)
    np.testing.assert_allclose(error.std(), binomial, rtol=4 / np.sqrt(2 * size))  # 4 errors of it
