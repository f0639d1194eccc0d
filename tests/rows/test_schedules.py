"""Test schedules of every kind: rows read no step to come, and stay as exact as dense Adam."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adam_optax import rows
from adam_optax.rows._closed_form import decay_over_gap
from adam_optax.rows._state import compensated_add
from tests.adversary.rows import (
    LARGEST_MARGIN,
    LAST_COUNT,
    NUMBERS,
    Case,
    Numbers,
    cases,
    errors,
    largest_margin,
)
from tests.rows.worlds import by_rows, world

TINY = Numbers(0.9, 0.9, 1e-30)
BROKEN: dict[str, tuple[Numbers, Case]] = {
    "seasons of four steps": (
        Numbers(),
        Case("freeze", rate=-1.8, at=0.6, scale=-3.0, touched="all in turn", table=-4.0),
    ),
    "negative decay": (
        Numbers(),
        Case("signs", rate=-2.8, size=7.2, decay=2.6e-6, touched="early", table=None),
    ),
    "freeze": (Numbers(), Case("freeze", rate=-3.0, at=0.7)),
    "freeze and warm-up": (Numbers(), Case("freeze and warm-up", rate=-3.0, size=5.0)),
    "jump by 1e4": (Numbers(), Case("jump", rate=-2.0, size=4.0)),
    "jump to steps larger than the table": (Numbers(), Case("jump", rate=0.0, at=0.7, size=3.0)),
    "restarts": (Numbers(), Case("restarts", at=0.5, start=100_000)),
    "sparse rates": (Numbers(), Case("sparse", size=7.0)),
    "negative rates": (Numbers(), Case("negative", rate=-3.0)),
    "line beyond its end": (Numbers(), Case("line to its end", rate=-3.0, at=0.6)),
    "root to its end": (Numbers(), Case("root to its end", rate=-3.0, at=0.6)),
    "rate times decay .05": (Numbers(), Case("constant", rate=-1.3, decay=0.05)),
    "rate times decay 1": (Numbers(), Case("restarts", rate=-0.3, at=0.17, decay=1.0)),
    "zeros at the start": (Numbers(), Case("constant", table=None)),
    "last counts": (Numbers(), Case("constant", start=LAST_COUNT)),
    "overflowing squares": (Numbers(), Case("constant", scale=20.0, touched="early")),
    "squares at the least number": (
        TINY,
        Case("cycles", -3.2, 0.86, 3.2, scale=-16.4, spread=2.3, table=None, seed=1673932883),
    ),
    "vanishing squares": (TINY, Case("constant", scale=-12.0)),
}
"""Cases in which rows were NaN, or further from float64 than `LARGEST_MARGIN`, by what they are."""
QUICK = ("seasons of four steps", "negative decay", "freeze", "rate times decay 1")


def _marked(name: str) -> Any:
    marks = pytest.mark.quick if name in QUICK else pytest.mark.heavy
    return pytest.param(name, marks=marks)


@pytest.mark.parametrize("name", [_marked(name) for name in BROKEN])
def test_schedules_that_rows_did_not_bear(name: str) -> None:
    assert errors(*BROKEN[name]).margin <= LARGEST_MARGIN


def test_a_short_search() -> None:
    for margin, case in cases(Numbers(), seed=15, number=4):
        assert margin <= largest_margin(case), case


@pytest.mark.heavy
@pytest.mark.parametrize("numbers", NUMBERS)
def test_a_search(numbers: Numbers) -> None:
    for margin, case in cases(numbers, seed=15, number=6):
        assert margin <= largest_margin(case), case


@pytest.mark.quick
def test_rows_read_no_step_to_come() -> None:
    """Compare two schedules that part at step 30, up to step 30: rows are the same to the bit."""
    given = world(30)

    @jax.jit
    def table(then: float) -> Any:
        tx = rows.adam(lambda count: jnp.where(count < 30, 1e-2, then))
        return tx.materialize(by_rows(tx, given))[0]

    np.testing.assert_array_equal(table(1e-2), table(1e30))


@pytest.mark.quick
def test_a_schedule_that_ended_in_nan_moves_nothing() -> None:
    """Run a list of rates past its end: rows that are touched become NaN, and no others."""
    rates = jnp.full(4, 1e-2)
    tx = rows.adam(lambda count: rates.at[count].get(mode="fill", fill_value=jnp.nan))
    given = world(5)
    ids = given.ids.copy()
    ids[:4], ids[4] = 3, 4
    found, _ = tx.materialize(by_rows(tx, given._replace(ids=ids)))
    np.testing.assert_array_equal(np.isnan(found).all(1), np.arange(len(found)) == 4)
    np.testing.assert_array_equal(np.isnan(found).any(1), np.arange(len(found)) == 4)


@pytest.mark.quick
def test_no_gap_makes_a_square_nan_or_zero() -> None:
    gaps = jnp.asarray([0, 1, 140_000, 2**31 - 1])
    np.testing.assert_array_equal(decay_over_gap(jnp.full(4, jnp.inf), 0.999, gaps), np.inf)
    # No more does an average of squares become 0: it stops where a tenth of it would underflow.
    found = decay_over_gap(jnp.full(4, 1e-30), 0.9, gaps, signed=False)
    least = float(np.finfo(np.float32).tiny) / (1 - 0.9)
    np.testing.assert_allclose(found, [1e-30, 0.9e-30, least, least], rtol=1e-6)
    assert not decay_over_gap(jnp.zeros(4), 0.9, gaps, signed=False).any()


@pytest.mark.quick
def test_many_gaps_of_a_length_do_not_add_up_an_error() -> None:
    """Fade a thousand times by three steps, as a second moment does in a row's seasons."""
    once = lambda x, _: (decay_over_gap(x, 0.999, jnp.full(20, 3)), None)  # noqa: E731
    found, _ = jax.lax.scan(once, jnp.linspace(1.0, 2.0, 20), length=1000)
    right = np.linspace(1.0, 2.0, 20) * 0.999**3000
    # A random walk of 1,000 roundings of 3e-8; a rounded factor is off by 1,000 of its own.
    np.testing.assert_allclose(found, right, rtol=4e-6)


@pytest.mark.quick
def test_a_long_sum_of_decays_keeps_its_error_small() -> None:
    """Add a number that is below a rounding of the sum, as often as a long run does."""
    amount = jnp.float32(1e-6)
    add = lambda total, _: (compensated_add(total, amount), None)  # noqa: E731
    start = jnp.float32(160), jnp.float32(0)
    (total, error), _ = jax.lax.scan(add, start, length=100_000)
    right = 160 + 100_000 * np.float64(amount)
    assert abs(float(error)) <= np.spacing(np.float32(total)) / 2
    assert abs(np.float64(total) + np.float64(error) - right) < 1e-8  # 100,000 roundings of 2^-48


@pytest.mark.quick
def test_the_last_counts_do_not_wrap() -> None:
    tx = rows.adam(1e-2)
    end = 2**31 - 1
    state = tx.init(jnp.ones((20, 3)))._replace(count=jnp.int32(end - 1))
    found = tx.lookup(state, rows.unique([1, 2], 20).ids)
    state = tx.apply(state, found, jnp.ones_like(found.params))
    assert int(state.count) == end
    table, _ = tx.materialize(state)
    # The first step after so long is not corrected for its bias: .1 / sqrt(.001).
    np.testing.assert_allclose(table[1:3], 1 - 1e-2 * 0.1 / 0.001**0.5, rtol=1e-6)


@pytest.mark.quick
def test_few_numbers_are_kept_for_a_row() -> None:
    """Keep 14 weights for a wide row, and for a narrow one what they come to."""
    tx, lazy = rows.adam(1e-2), rows.adam(1e-2, exact=False)
    wide, narrow = (jax.eval_shape(tx.init, jnp.ones((10, n))) for n in (64, 4))
    assert [x.shape for x in wide.ahead] == [(10,)] * 14
    assert narrow.ahead.shape == (10, 4)
    assert jax.eval_shape(lazy.init, jnp.ones((10, 4))).ahead is None
