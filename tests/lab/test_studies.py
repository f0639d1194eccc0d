"""Test the commands sweep, suggest and watch, and compare --tune, as a user calls them."""

import base64
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adam_optax as ao
from adam_optax.cli import main
from adam_optax.cli.parameter_types import setting
from adam_optax.lab import LabError, Optimizer, Problem, Sweep, compare, problems, sweep, tuning
from adam_optax.lab.storage_formats import with_storage
from tests.cli.test_main import read_csv, refused, results


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def tiny_digits(tiny: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the problem digits by one that is compiled and trained in a moment."""
    monkeypatch.setitem(problems, "digits", replace(tiny, name="digits"))


FOLDER = Path("adam-optax-results")


def report(stem: str, end: str) -> Path:
    """Return the path of a file of the only report."""
    return results() / f"{stem}.{end}"


def is_one_page(path: Path, pictures: int) -> bool:
    """Return whether a page contains so many pictures, and links to the files beside it alone."""
    text = path.read_text()
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert all(base64.b64decode(data).startswith(b"\x89PNG") for data in found)
    assert not re.search(r'src="(?!data:)', text)
    linked = set(re.findall(r'href="([^"]+)"', text))
    assert linked == {file.name for file in path.parent.iterdir()} - {path.name}
    return len(found) == pictures


@pytest.mark.heavy
def test_sweep_writes_a_table_figures_and_a_page(
    capsys: pytest.CaptureFixture[str], tiny_digits: None
) -> None:
    options = "--set learning_rate=1e-2,1e30 --seeds 2 --seed 4 --epochs 1 --optimizer optax.sgd"
    assert main.main(["sweep", "digits", *options.split()]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    lines = output.out.splitlines()
    assert lines[0].startswith("digits, optax.sgd: 4 runs of 1 epoch; mean ± standard deviation of")
    assert "diverged 2/2" in output.out
    assert "Default of optax.sgd: learning rate 0.3." in lines
    assert lines[-1].startswith(f"Wrote {results()}/: sweep-digits-optax.sgd.png, ")
    rows = read_csv(report("sweep-digits-optax.sgd", "csv"))
    assert [(row["learning_rate"], row["seed"]) for row in rows[:2]] == [
        ("0.01", "4"),
        ("0.01", "5"),
    ]
    assert [row["diverged"] for row in rows] == ["False", "False", "True", "True"]
    assert is_one_page(report("sweep-digits-optax.sgd", "html"), 1)
    assert "<svg" in report("sweep-digits-optax.sgd", "svg").read_text()
    assert {path.name for path in FOLDER.iterdir()} == {"latest", results().name}  # no parts


@pytest.mark.heavy
def test_the_same_command_gives_the_same_files(
    tiny_digits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")  # else the pages have two dates
    command = [
        "sweep",
        "digits",
        "--set",
        "b1=0.5,0.9",
        "--seeds",
        "1",
        "--epochs",
        "1",
        "--quiet",
        "--out",
    ]
    for out in ("one", "two"):
        assert main.main([*command, out]) == 0
    paths = list(results("one").iterdir())
    assert len(paths) == 4
    for path in paths:
        assert path.read_bytes() == (results("two") / path.name).read_bytes(), path.name


@pytest.mark.heavy
def test_an_interrupted_sweep_goes_on(
    capsys: pytest.CaptureFixture[str], tiny_digits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["sweep", "digits", "--set", "b1=0.5,0.9", "--seeds", "1", "--epochs", "1"]

    def stopped(*args: Any, on_progress: Any, **how: Any) -> Sweep:
        def stop(done: int, planned: int) -> None:
            raise KeyboardInterrupt

        return sweep(*args, on_progress=stop, **how)

    with monkeypatch.context() as patch:
        patch.setattr("adam_optax.cli.studies.sweep", stopped)
        assert main.main(command) == 130
    output = capsys.readouterr()
    assert "1 of 2 runs, interrupted" in output.out
    assert "the same command with --resume goes on from " in output.err
    assert main.main([*command, "--resume"]) == 0
    assert [row["b1"] for row in read_csv(report("sweep-digits-adam", "csv"))] == ["0.5", "0.9"]


@pytest.mark.heavy
def test_watch_says_what_was_done_to_each_layer(
    capsys: pytest.CaptureFixture[str], tiny_digits: None
) -> None:
    assert main.main(["watch", "digits", "--storage", "stochastic", "--seed", "3"]) == 0
    out = capsys.readouterr().out
    assert "digits, adam stochastic at rate 0.01, seed 3: layers of params/, at step 12" in out
    assert " Dense_0/kernel " in out
    rows = read_csv(report("watch-digits-adam-stochastic", "csv"))
    errors = [float(r["value"]) for r in rows if r["quantity"] == "storage_error"]
    assert 0 < np.mean(errors) < 2**-8
    assert {row["step"] for row in rows} == set(map(str, range(1, 13)))
    assert is_one_page(report("watch-digits-adam-stochastic", "html"), 1)


@pytest.mark.heavy
def test_suggest_shows_its_evidence(capsys: pytest.CaptureFixture[str], tiny_digits: None) -> None:
    assert main.main(["suggest", "digits", "--seeds", "6"]) == 0
    output = capsys.readouterr()
    for said in (
        "epochs of training",
        "for runs of 3 epochs",
        "learning rate",
        "the root of nu is",
    ):
        assert said in output.out
    assert "budget: at most" in output.err
    assert "whole runs left" in output.err
    assert is_one_page(report("suggest-digits-adam", "html"), 2)
    rows = read_csv(report("suggest-digits-adam", "csv"))
    assert {row["stage"] for row in rows} >= {"learning_rate", "b1, b2", "eps"}
    assert {row["epochs"] for row in rows} == {"1", "2", "3"}


@pytest.mark.heavy
def test_each_optimiser_is_compared_at_its_own_best_rate(tiny: Problem) -> None:
    bad = Optimizer("bad", lambda rate: ao.sgd(rate), rate=1e-3)
    good = Optimizer("good", lambda rate: ao.sgd(rate), rate=10)
    found = compare(tiny, [bad, good], [0, 1], epochs=2, tune=[0.01, 0.1, 1.0])
    assert {run.learning_rate for run in found.runs} == {1.0}
    assert [p.seed for p in found.tuning["bad"].points[:2]] == [2, 3]
    assert tuning.is_at_edge(found.tuning["good"])
    one, other = found.by_optimizer().values()
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.losses, b.losses)


@pytest.mark.heavy
def test_compare_tunes_when_asked(capsys: pytest.CaptureFixture[str], tiny_digits: None) -> None:
    options = "--optimizers optax.sgd --tune --seeds 1 --epochs 1 --quiet"
    assert main.main(["compare", "digits", *options.split()]) == 0
    assert "Each at its own best of 13 learning rates, by the mean loss at the end of" in (
        capsys.readouterr().out
    )
    assert is_one_page(report("compare-digits", "html"), 2)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("sweep digits --set b1", "expected NAME=x,y,... or NAME=low:high:count, got 'b1'"),
        ("sweep digits --set b1=a", "expected NAME=x,y,..."),
        ("sweep digits --set eps=1:0.1:3", "expected NAME=x,y,..."),
        ("sweep digits --set eps=inf", "expected NAME=x,y,..."),
        ("sweep digits --set nope=1", "adam with learning_rate, nope: "),
        ("sweep digits --learning-rate 1", "takes no --learning-rate; write --set learning_rate=X"),
        ("sweep digits --optimizer adam,lion", "adam and lion differ in shape"),
        ("sweep mnist", "mnist needs a data directory"),
        ("sweep digits --parallel 0", "'--parallel': expected an integer from 1"),
        ("sweep digits --set b1=0.9,1.5", "adam with learning_rate=0.01, b1=1.5: b1 must be in [0"),
        ("sweep digits --set b1=1.0", "b1=1: b1 must be in [0, 1), not 1.0"),
        ("sweep digits --set eps=-1e-3", "eps=-0.001: eps must"),
        (
            "sweep digits --set eps=1e308",
            "eps must be at most 3.4e+38, not 1e+308: runs compute",
        ),
        ("train digits --learning-rate 1e39", "rate must be at least 1.2e-38 and at most 3.4e+38"),
        ("watch digits --learning-rate 1e-40", "not 1e-40: runs compute in float32"),
        (
            "suggest digits --lr 1",
            "suggest takes no --lr; write sweep --set learning_rate=X",
        ),
        ("suggest digits --set b1=0.5", "suggest takes no --set; write sweep --set"),
        ("suggest digits --seeds 1", "a suggestion needs at least 6 seeds, got 1: with fewer, no"),
        ("suggest digits --seeds 1 --on nowhere:f", "a suggestion needs at least 6 seeds, got 1"),
        ("suggest digits --optimizer optax.lbfgs", "cannot be used here"),
        (
            "watch digits --storage pears",
            "--storage 'pears' is none of dense, stochastic, pair, float8",
        ),
        ("watch digits --optimizer optax.adam --storage pair", "optax.adam takes no storage; adam"),
        ("train digits --optimizer lion --storage pair", "'lion pair' cannot be used here"),
        ("compare digits --tune --learning-rate 1", "a learning rate or tune it, not both"),
        ("watch nowhere:f", "cannot be made: ModuleNotFoundError: No module named 'nowhere'"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: str, message: str
) -> None:
    assert message in refused(capsys, arguments.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["sweep", "suggest", "watch"])
def test_help_shows_examples(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main.main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"  adam-optax {command} digits" in text
    assert "shakespeare" in text


def test_values_are_listed_or_spaced() -> None:
    assert setting("b1=0.5,0.9") == ("b1", [0.5, 0.9])
    assert setting("learning-rate=1e-3:1e-1:5") == (
        "learning_rate",
        [0.001, 0.00316, 0.01, 0.0316, 0.1],
    )


def test_storage_is_by_name() -> None:
    assert with_storage("adam", None).name == "adam"
    for text in ("stochastic", "pair(3)", "pair(block=128)", "dense('bfloat16')"):
        assert with_storage("adam", text).name == f"adam {text}"
    with pytest.raises(LabError, match="is no format, such as"):
        with_storage("adam", "")
    with pytest.raises(LabError, match="is none of dense, stochastic"):
        with_storage("adam", "__import__('os')")
