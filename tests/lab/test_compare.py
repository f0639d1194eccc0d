"""Check that the summary agrees with the runs, and that an interrupt loses no finished run."""

from collections.abc import Callable
from typing import Any

import numpy as np
import optax
import pytest

from adam_optax.lab import Comparison, Epoch, LabError, Optimizer, Problem, Run, Spread, compare

TWO = [Optimizer("sgd", optax.sgd), Optimizer("fast", optax.sgd, rate=10)]


def test_every_optimizer_runs_with_every_seed(tiny: Problem) -> None:
    result = compare(tiny, TWO, [4, 7], epochs=2)
    assert [(run.optimizer, run.seed) for run in result.runs] == [
        ("sgd", 4),
        ("sgd", 7),
        ("fast", 4),
        ("fast", 7),
    ]
    assert (result.planned, result.interrupted) == (4, False)
    assert result.runs[0].losses[0] == result.runs[2].losses[0] != result.runs[1].losses[0]
    assert [row.learning_rate for row in result.rows()] == pytest.approx([0.01, 0.1])


def test_progress_tells_the_fraction_and_the_runs(tiny: Problem) -> None:
    seen: list[tuple[float, Epoch]] = []
    runs: list[Run] = []
    result = compare(
        tiny, TWO, [0], epochs=2, on_progress=lambda *step: seen.append(step), on_run=runs.append
    )
    assert [fraction for fraction, _ in seen] == [0.25, 0.5, 0.75, 1]
    assert [(epoch.optimizer, epoch.epoch) for _, epoch in seen] == [
        ("sgd", 1),
        ("sgd", 2),
        ("fast", 1),
        ("fast", 2),
    ]
    assert tuple(runs) == result.runs


def test_an_interrupt_keeps_the_finished_runs(tiny: Problem) -> None:
    def stop(fraction: float, _: Epoch) -> None:
        if fraction > 0.5:
            raise KeyboardInterrupt

    result = compare(tiny, TWO, range(3), epochs=1, on_progress=stop)
    assert [(run.optimizer, run.seed) for run in result.runs] == [
        (TWO[0].name, s) for s in range(3)
    ]
    assert (result.planned, result.interrupted) == (6, True)
    assert len(result.rows()) == 1


def test_other_errors_are_not_swallowed(tiny: Problem) -> None:
    def fail(_: Run) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        compare(tiny, TWO, [0], epochs=1, on_run=fail)


@pytest.mark.parametrize(
    ("rate", "expected"), [(0.5, [0.5, 0.5]), ({"sgd": 0.5}, [0.5, 0.1]), (None, [0.01, 0.1])]
)
def test_rates_are_given_for_all_by_name_or_not(
    tiny: Problem, rate: Any, expected: list[float]
) -> None:
    result = compare(tiny, TWO, [0], epochs=1, learning_rate=rate)
    assert [run.learning_rate for run in result.runs] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": []}, "seeds must be different numbers"),
        ({"seeds": [1, 1]}, "seeds must be different numbers"),
        ({"seeds": [-1]}, "seed must be 0"),
        ({"learning_rate": {"adma": 1.0}}, "'adma', which is not compared"),
        ({"epochs": -1}, "epochs must be at least 1"),
        ({"optimizers": [*TWO, TWO[0]]}, "'sgd' is named twice"),
    ],
)
def test_what_makes_no_comparison_is_refused(
    tiny: Problem, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(LabError, match=message):
        compare(tiny, **{"optimizers": TWO, **arguments})


def test_rows_hold_mean_and_sample_deviation(made_up: Comparison) -> None:
    row = made_up.rows()[0]
    assert (row.optimizer, row.seeds, row.diverged, row.reached) == ("adam", 2, 0, 2)
    for spread, values in (
        (row.final_loss, [0.3, 0.5]),
        (row.best_loss, [0.3, 0.1]),
        (row.test_accuracy, [0.9, 0.8]),
        (row.steps_to_target, [2, 4]),
    ):
        assert spread is not None
        assert spread.mean == pytest.approx(np.mean(values))
        assert spread.std == pytest.approx(np.std(values, ddof=1))
    assert row.seconds_per_step == pytest.approx(1.5e-4)


def test_diverged_runs_are_counted_and_not_averaged(made_up: Comparison) -> None:
    row = made_up.rows()[1]
    assert (row.seeds, row.diverged, row.reached) == (2, 1, 0)
    assert row.final_loss == Spread(0.3, None)
    assert row.steps_to_target is None


def test_steps_are_averaged_only_if_all_reached_the_target(
    tiny: Problem, make_run: Callable[..., Run]
) -> None:
    runs = make_run(seed=0, steps=5), make_run(seed=1, steps=None)
    row = Comparison(tiny, runs, planned=2, interrupted=False).rows()[0]
    assert (row.reached, row.steps_to_target) == (1, None)


def test_when_all_diverged_nothing_is_made_up(tiny: Problem, make_run: Callable[..., Run]) -> None:
    run = make_run(train_loss=(np.nan,), diverged=True)
    row = Comparison(tiny, (run,), planned=1, interrupted=False).rows()[0]
    assert (row.final_loss, row.best_loss, row.test_accuracy) == (None, None, None)
