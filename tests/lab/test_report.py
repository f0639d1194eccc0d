"""Check that reports can be read again, and that a failed write leaves the old files."""

import csv
import io
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from adam_optax.lab import Comparison, LabError, Point, Problem, Run, Sweep, problems
from adam_optax.lab.reports import comparison as report
from adam_optax.lab.reports import files, loss_plot, words
from tests.lab.test_tables import printed


def rendered(comparison: Comparison, width: int | None = None) -> str:
    return "\n".join(printed(report.table(comparison), width))


@pytest.mark.quick
def test_the_files_say_what_the_runs_say(tmp_path: Path, made_up: Comparison) -> None:
    paths = report.write(made_up, tmp_path / "new" / "out" / "x", "x")
    assert [path.name for path in paths] == [
        "x.png",
        "x.svg",
        "x-runs.csv",
        "x-epochs.csv",
        "x-curves.csv",
        "x.html",
    ]
    assert tuple(path.name for path in paths) == report.names("x")
    runs, epochs, curves = (
        list(csv.DictReader(path.read_text().splitlines())) for path in paths[2:5]
    )
    assert tuple(epochs[0]) == report.EPOCH_COLUMNS
    assert [float(row["train_loss"]) for row in epochs[:4]] == [0.4, 0.3, 0.1, 0.5]
    assert [float(row["test_accuracy"]) for row in epochs[:4]] == [0.9, 0.9, 0.8, 0.8]
    assert tuple(runs[0]) == report.RUN_COLUMNS
    for row, run in zip(runs, made_up.runs, strict=True):
        assert (row["problem"], row["optimizer"], row["seed"]) == (
            "tiny",
            run.optimizer,
            str(run.seed),
        )
        np.testing.assert_equal(float(row["final_train_loss"]), run.train_loss[-1])
        np.testing.assert_equal(float(row["best_train_loss"]), min(run.train_loss))
        assert float(row["test_accuracy"]) == run.test_accuracy
        assert row["steps_to_target"] == str(run.steps_to_target or "")
        assert float(row["seconds_per_step"]) == run.seconds_per_step
        assert row["diverged"] == str(run.diverged)
    first = [row for row in curves if (row["optimizer"], row["seed"]) == ("adam", "0")]
    assert [row["step"] for row in first] == ["1", "2", "3"]
    assert [float(row["batch_loss"]) for row in first] == [2, 1, 0.5]
    assert len(curves) == sum(len(run.losses) for run in made_up.runs)


def test_the_figure_has_the_promised_size_and_content(made_up: Comparison) -> None:
    picture = loss_plot.png(made_up)
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", picture[16:24]) == (2400, 1000)
    empty = loss_plot.png(replace(made_up, runs=made_up.runs[:1]))
    assert len({picture, empty}) == 2


def test_drawing_changes_no_global_state(made_up: Comparison) -> None:
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        before = dict(matplotlib.rcParams)
        loss_plot.png(made_up)
        assert dict(matplotlib.rcParams) == before


def test_curves_leave_diverged_runs_out_unless_all_did(
    made_up: Comparison, make_run: Callable[..., Run]
) -> None:
    adam, sgd = made_up.by_optimizer().values()
    assert loss_plot.curves(adam).tolist() == [[3.5 / 3]] * 2  # a window of all three losses
    assert loss_plot.curves(sgd).shape == (1, 1)
    assert loss_plot.curves(sgd[1:]).shape == (1, 0)
    long = make_run(losses=(2.0,) * 30 + (np.inf,), diverged=True)
    assert loss_plot.curves([long]).tolist() == [[2.0] * 11]


@pytest.mark.parametrize("name", ["$\\frac$", "[bold]c[/bold]", "_hidden"])
def test_names_are_not_markup(tiny: Problem, make_run: Callable[..., Run], name: str) -> None:
    comparison = Comparison(tiny, (make_run(name),), planned=1, interrupted=False)
    assert name in rendered(comparison)
    assert loss_plot.png(comparison) != loss_plot.png(
        replace(comparison, runs=(make_run("other"),))
    )


def test_the_table_shows_mean_deviation_and_what_was_missed(made_up: Comparison) -> None:
    text = rendered(made_up)
    adam, _, sgd, note = text.splitlines()[3:7]
    for cell in ("0.400 ± 0.14 ", "0.200 ± 0.14 ", "85.00 ± 7.07", "3 ± 1", "150", "8.00"):
        assert cell in adam
    assert " 0.300   " in sgd
    assert "— (0/2)" in sgd
    assert "diverged 1/2" in note
    assert "4 runs of 2 epochs; mean ± standard deviation of seeds 0, 1" in text
    interrupted = replace(made_up, planned=9, interrupted=True)
    assert "4 of 9 runs, interrupted" in rendered(interrupted)


def test_the_table_says_what_each_number_is_of(made_up: Comparison) -> None:
    """A final loss of 0.07 stood beside "never at 0.1": one is of the set, one of batches."""
    legend = dict(report.table(made_up).legend)
    assert "whole training set after the last epoch" in legend["final loss"]
    assert "the last 20 batches" in legend["steps to 0.6"]
    assert "not of the whole set" in legend["steps to 0.6"]
    assert legend.keys() == {c.head for c in report.table(made_up).columns} - {"optimiser"}


def test_one_seed_has_no_deviation(tiny: Problem, make_run: Callable[..., Run]) -> None:
    text = rendered(Comparison(tiny, (make_run(),), planned=1, interrupted=False))
    assert "±" not in text
    assert text.startswith("tiny: 1 run of 2 epochs; seed 0")


def test_a_comparison_says_at_which_rates_it_is(
    tiny: Problem, make_run: Callable[..., Run]
) -> None:
    """SGD lay far below Adam in the first figure that anyone sees, and not a word said why."""

    def said(problem: Problem, *runs: Run) -> str:
        found = Comparison(problem, runs, planned=len(runs), interrupted=False)
        note = words.rates(found)
        assert note in loss_plot.figure(found).get_supxlabel().replace("\n", " ")
        assert note in report.table(found).notes
        return note

    digits = problems["digits"]
    defaults = make_run("adam", rate=1e-2), make_run("optax.sgd", rate=0.3)
    assert said(digits, *defaults) == (
        "Each at its default learning rate, not at its best; for that: adam-optax compare digits "
        "--optimizer adam,optax.sgd --tune"
    )
    assert said(digits, *map(make_run, ("adam", "nadam"))).startswith("Each at the learning rate g")
    assert said(tiny, *map(make_run, ("adam", "own"))).endswith("compare(..., tune=True)")
    assert words.rates(Comparison(tiny, (make_run(),), planned=1, interrupted=False)) == ""


def test_a_tuned_comparison_says_how_it_was_tuned(made_up: Comparison) -> None:
    points = tuple(
        Point("adam", {"learning_rate": rate}, seed, np.ones(2, "f4"), np.ones(1, "f4"), 0.5)
        for rate in (0.1, 0.2, 0.3)
        for seed in (7, 8)
    )
    tuned = replace(made_up, tuning={"adam": Sweep(made_up.problem, points, 6)})
    assert words.rates(tuned) == (
        "Each at its own best of 3 learning rates, by the mean loss at the end of training over "
        "seeds 7, 8."
    )


@pytest.mark.parametrize("width", [80, 60])
def test_a_narrow_terminal_cuts_no_number(made_up: Comparison, width: int) -> None:
    longer = tuple(replace(run, optimizer=f"optax.{run.optimizer}") for run in made_up.runs)
    text = rendered(replace(made_up, runs=longer), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for whole in ("0.400", " 85.00 ", " B/par ", " 8.00 ", "optax.adam "):
        assert whole in text
    assert text.count("± 0.14 ") == (2 if width == 80 else 1)
    assert ("left out at this width, and in the files: best loss" in text) == (width == 60)


@pytest.mark.parametrize("function", ["rename", "fsync"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    wanted = LabError if isinstance(error, OSError) else KeyboardInterrupt
    with monkeypatch.context() as patched:
        patched.setattr(os, function, fail)
        with pytest.raises(wanted, match=r"No space left on device; choose another --out$|^$"):
            files.write_report(tmp_path / "x", {"a.csv": b"new"})
    assert not list(tmp_path.iterdir())


def test_the_check_leaves_nothing_behind(tmp_path: Path) -> None:
    files.write_report(tmp_path / "x", {"a.csv": b"old"})
    files.check_writable(tmp_path / "x", ["a.csv"])
    files.check_writable(tmp_path / "new" / "deep", ["a.csv"])
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x" / "a.csv").read_bytes() == b"old"


def test_the_check_finds_what_could_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place, message in (
        ("file", "Not a directory"),
        ("file/below", "Not a directory"),
        ("long" * 99, "File name too long"),
        ("a\0b", "embedded null byte"),
    ):
        with pytest.raises(LabError, match=f"{message}; choose another --out"):
            files.check_writable(tmp_path / place, ["a.csv"])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_csv_quotes_what_needs_it() -> None:
    content = files.to_csv(["a", "b"], [["x,y", None], ['"', 0.1]])
    assert list(csv.reader(io.StringIO(content.decode()))) == [
        ["a", "b"],
        ["x,y", ""],
        ['"', "0.1"],
    ]


def test_a_number_has_no_point_at_its_end() -> None:
    assert [words.digits(x, 3) for x in (154.2, 3.0, 0.000556)] == ["154", "3.00", "0.000556"]
