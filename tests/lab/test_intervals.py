"""Test the intervals by which the Adam paper's claims are judged."""

import numpy as np
import pytest

from adam_optax.lab.paper.intervals import Condition, Verdict, half_width, joint


def test_an_interval_is_students() -> None:
    """Compare with a table of t: 4.303 for three values, 2.776 for five."""
    assert half_width([1.0]) is None
    assert half_width([1.0, float("inf")]) is None
    assert half_width([1.0, 2.0, 3.0]) == pytest.approx(4.303 / np.sqrt(3), rel=1e-3)
    five = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert half_width(five) == pytest.approx(2.776 * np.std(five, ddof=1) / np.sqrt(5), rel=1e-3)


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of 4,000 intervals of three seeds 95 % hold the mean; the error of that is 0.35 %."""
    rng = np.random.default_rng(0)
    samples = rng.normal(2.0, 1.0, (4000, 3))
    right = [abs(np.mean(x) - 2.0) <= (half_width(list(x)) or 0.0) for x in samples]
    assert np.mean(right) == pytest.approx(0.95, abs=4 * 0.0035)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("one", "other", "factor", "alike", "said"),
    [
        ([1.0, 1.1, 1.2], [2.0, 2.2, 2.4], 1.0, False, Verdict.HOLDS),
        ([2.0, 2.2, 2.4], [1.0, 1.1, 1.2], 1.0, False, Verdict.FAILS),
        ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], 1.0, False, Verdict.OPEN),
        ([1.0, 2.0, 3.0], [1.1, 2.2, 3.3], 1.0, False, Verdict.HOLDS),  # 10 % for every seed
        ([1.0, 2.0, 3.0], [1.1, 2.2, 3.3], 0.95, False, Verdict.HOLDS),
        ([1.0, 2.0, 3.0], [1.02, 2.04, 3.06], 0.95, False, Verdict.FAILS),
        ([1.0, 2.0, 3.0], [1.01, 1.99, 3.02], 1.05, True, Verdict.HOLDS),
        ([1.0, 2.0, 3.0], [1.2, 2.4, 3.6], 1.05, True, Verdict.FAILS),
        ([1.0, 2.0, 3.0], [1.2, 1.9, 3.1], 1.05, True, Verdict.OPEN),
        ([1.0], [2.0], 1.0, False, Verdict.ONE_SEED),
        ([1.0, 1.0], [np.inf, np.inf], 1.0, False, Verdict.HOLDS),
        ([1.0, 1.0], [np.inf, 0.5], 1.0, False, Verdict.OPEN),
        ([np.inf, np.inf], [1.0, 1.0], 1.0, False, Verdict.FAILS),
    ],
)
def test_an_interval_decides_or_says_that_it_cannot(
    one: list[float], other: list[float], factor: float, alike: bool, said: Verdict
) -> None:
    assert Condition(one, other, factor, alike).verdict is said


def test_a_claim_needs_all_of_its_conditions() -> None:
    good = Condition([1.0, 1.0], [2.0, 2.0])
    bad, open_ = Condition([2.0, 2.0], [1.0, 1.0]), Condition([1.0, 3.0], [3.0, 1.0])
    assert joint([good]) is Verdict.HOLDS
    assert joint([good, open_]) is Verdict.OPEN
    assert joint([good, open_, bad]) is Verdict.FAILS
