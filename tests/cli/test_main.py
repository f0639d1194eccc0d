"""Test the command as a user calls it: results, one line for every mistake, Ctrl-C."""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import adam_optax as ao
import adam_optax_command
from adam_optax.cli import main
from adam_optax.lab import Comparison, Epoch, compare
from adam_optax.lab.optimizers import DEFAULT_OPTIMIZERS
from adam_optax.lab.task import Task
from tests.lab.idx_files import write_mnist

FILES = {
    "compare-digits.png",
    "compare-digits.svg",
    "compare-digits-runs.csv",
    "compare-digits-epochs.csv",
    "compare-digits-curves.csv",
    "compare-digits.html",
}


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def results(out: str = "adam-optax-results") -> Path:
    """Return the folder of the results of the only run."""
    (found,) = (p for p in Path(out).iterdir() if not p.is_symlink() and "-parts" not in p.name)
    return found


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """Run the command, check that it prints one line of error, and return the line."""
    assert main.main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert output.err.startswith("adam-optax: error: ")
    return output.err


@pytest.mark.heavy  # the README's main job as a whole: 21 runs
def test_compare_with_the_defaults(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main.main(["compare", "digits", "--epochs", "1", "--seeds", "1"]) == 0
    output = capsys.readouterr()
    assert output.err == ""  # not a terminal: no progress bar
    for name in DEFAULT_OPTIMIZERS:
        assert f" {name} " in output.out
    folder = results()
    assert f"Wrote {folder}/: compare-digits.png, " in output.out
    assert (tmp_path / "adam-optax-results" / "latest").resolve() == folder.resolve()
    assert {path.name for path in folder.iterdir()} == FILES
    rows = read_csv(folder / "compare-digits-runs.csv")
    assert [row["optimizer"] for row in rows] == list(DEFAULT_OPTIMIZERS)


@pytest.mark.heavy
def test_options_reach_the_training(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    options = "--optimizers optax.sgd --seeds 2 --epochs 2 --batch-size 500 --learning-rate 0.05"
    assert main.main(["compare", "digits", *options.split(), "--out", "here", "--quiet"]) == 0
    assert "Wrote here/compare-digits-20" in capsys.readouterr().out
    rows = read_csv(results("here") / "compare-digits-runs.csv")
    chosen = [(row["seed"], row["learning_rate"], row["steps"]) for row in rows]
    assert chosen == [("0", "0.05", "6"), ("1", "0.05", "6")]


@pytest.mark.heavy
def test_train_on_mnist_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_mnist(tmp_path / "data")
    options = "--optimizer optax.adam --seed 5 --epochs 3 --batch-size 16 --data-dir data"
    assert main.main(["train", "mnist", *options.split()]) == 0
    lines = capsys.readouterr().out.splitlines()
    for epoch, line in enumerate(lines[:3], start=1):
        assert line.startswith(f"epoch {epoch}/3: train loss ")
    assert lines[2].endswith("test accuracy 100.00%")
    assert "mnist: 1 run" in lines[3]
    rows = read_csv(results() / "train-mnist-optax.adam-runs.csv")
    assert [row["seed"] for row in rows] == ["5"]


@pytest.mark.heavy
def test_quiet_leaves_the_epochs_out(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--optimizer", "optax.sgd", "--epochs", "1", "--quiet"]
    assert main.main(["train", "digits", *options]) == 0
    output = capsys.readouterr()
    assert output.out.startswith("digits: 1 run")
    assert output.err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("compare", "Missing argument 'PROBLEM'; see adam-optax compare --help"),
        ("race digits", "No such command 'race'; see adam-optax --help"),
        ("compar digits", "No such command 'compar'. Did you mean 'compare'?"),
        ("compare digits --lr 1", "No such option '--lr'. Did you mean '--learning-rate'?"),
        ("train digits --learnig-rate 1", "--learning-rate"),  # click's words change with it
        ("train digits --seeds 3", "train takes no --seeds; write compare with --seeds"),
        ("compare digits --optimizer AdamW", "unknown optimiser 'AdamW'; did you mean adamw?"),
        ("compare cifar", "unknown problem 'cifar'; known: digits, mnist"),
        ("compare digits --optimizers adam,adma", "unknown optimiser 'adma'"),
        ("compare digits --optimizers adam,", "expected the name of an optimiser"),
        ("compare digits --optimizers adam,adam", "'adam' is named twice"),
        ("train digits --optimizer optax.lbfgs", "cannot be used here"),
        ("train digits --optimizers adam,lion", "expected the name of one optimiser"),
        ("train digits --epochs", "Option '--epochs' requires an argument"),
        ("train digits --epochs -1", "'--epochs': expected an integer from 1, got '-1'"),
        ("train digits --epochs 1.5", "'--epochs': expected an integer from 1, got '1.5'"),
        ("train digits --batch-size 0", "'--batch-size': expected an integer from 1"),
        ("train digits --batch-size 1501", "batch size must be 1 to 1500, got 1501"),
        ("train digits --learning-rate -0.1", "'--learning-rate': expected a positive number"),
        ("train digits --learning-rate inf", "'--learning-rate': expected a positive number"),
        ("train digits --seed -3", "'--seed': expected an integer from 0"),
        ("compare digits --seeds 0", "'--seeds': expected an integer from 1"),
        ("compare digits --seeds many", "'--seeds': expected an integer from 1, got 'many'"),
        ("compare digits --data-dir .", "leave the data directory out"),
        ("train digits --learning-rate 1e-3 --resume", "is unfinished; leave --resume out"),
        ("train mnist", "mnist needs a data directory"),
        ("train mnist --data-dir nowhere", "nowhere/train-images-idx3-ubyte: no such file"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: str, message: str
) -> None:
    assert message in refused(capsys, arguments.split())
    assert not list(tmp_path.iterdir())


def test_a_truncated_file_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_mnist(tmp_path) / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    before = sorted(tmp_path.iterdir())
    message = refused(capsys, ["train", "mnist", "--data-dir", str(tmp_path)])
    assert f"{path}: truncated, elements: 50175 of 50176 bytes" in message
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("out", ["file", "file/below", ""])
def test_output_is_checked_before_training(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.setattr(
        "adam_optax.cli.compare.compare", lambda *_, **__: pytest.fail("training began")
    )
    (tmp_path / "file").write_bytes(b"mine")
    refused(capsys, ["compare", "digits", "--out", out])
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]


@pytest.mark.parametrize("package", ["jinja2", "matplotlib", "rich", "sklearn"])
def test_a_missing_extra_says_what_to_install(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    message = refused(capsys, ["compare", "digits"])
    assert "needs the lab extra: pip install 'adam-optax[lab]'" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "extra"),
    [
        ([], "lab"),
        (["compare", "digits"], "lab"),
        (["convert", "--help"], "convert"),
        (["compile-report", "--target", "cpu"], "cli"),
        (["conventions"], "cli"),
    ],
)
def test_without_the_packages_of_the_command_line_one_line_says_what_to_install(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    line: list[str],
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, "rich_click", None)
    monkeypatch.delitem(sys.modules, "adam_optax.cli.main")
    monkeypatch.setattr(sys, "argv", ["adam-optax", *line])
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the command's own answer to Ctrl-C
    with pytest.raises(SystemExit) as stopped:
        adam_optax_command.run()
    assert stopped.value.code == 2
    name = " ".join(["adam-optax", *line[:1]])
    said = f"adam-optax: error: {name} needs the {extra} extra: pip install 'adam-optax[{extra}]'"
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert output.err.startswith(f"{said} (")


def interrupt_at(monkeypatch: pytest.MonkeyPatch, fraction: float) -> None:
    """Press Ctrl-C when such a share of the training is done."""

    def stopped(*args: Any, on_progress: Callable[[float, Epoch], None], **how: Any) -> Comparison:
        def stop(done: float, epoch: Epoch) -> None:
            on_progress(done, epoch)
            if done >= fraction:
                raise KeyboardInterrupt

        return compare(*args, on_progress=stop, **how)

    monkeypatch.setattr("adam_optax.cli.compare.compare", stopped)


def test_an_interrupt_reports_the_finished_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at(monkeypatch, 1.0)
    options = "--optimizers optax.sgd --seeds 3 --epochs 1"
    assert main.main(["compare", "digits", *options.split()]) == 130
    output = capsys.readouterr()
    folder = results()
    assert output.err.splitlines()[1] == (
        "adam-optax: interrupted: results are of 2 of 3 runs; the same command with --resume goes "
        f"on from {folder}-parts"
    )
    assert "2 of 3 runs, interrupted" in output.out
    assert {path.name for path in folder.iterdir()} == FILES
    assert not (tmp_path / "adam-optax-results" / "latest").exists()
    rows = read_csv(folder / "compare-digits-runs.csv")
    assert [row["seed"] for row in rows] == ["0", "1"]


def test_an_interrupt_before_the_first_result_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: Task, seed: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Task, "orders", stop)
    assert main.main(["train", "digits", "--optimizer", "optax.sgd", "--epochs", "1"]) == 130
    output = capsys.readouterr()
    assert output.err.startswith("adam-optax: interrupted: before an epoch was finished")
    assert (output.out, list(tmp_path.iterdir())) == ("", [])


def test_numbers_are_shown_even_if_the_disk_is_full(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "disk full")

    monkeypatch.setattr("adam_optax._core.folders._write", fail)
    options = ["--optimizer", "optax.sgd", "--epochs", "1", "--quiet"]
    assert main.main(["train", "digits", *options]) == 2
    output = capsys.readouterr()
    assert "optax.sgd" in output.out
    assert output.err.count("\n") == 1
    assert "disk full" in output.err


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([]) == 0
    text = capsys.readouterr().out
    for name in main.COMMANDS:
        assert f" {name} " in text


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"adam-optax, version {ao.__version__}\n"


@pytest.mark.parametrize("command", ["compare", "train"])
def test_help_shows_examples_problems_and_rates(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main.main([command, "--help"]) == 0
    text = capsys.readouterr().out
    for part in (
        f"  adam-optax {command} digits",
        "mnist: 70,000",
        "sgd: 30 times",
        "momentum 0.9",
        "stable_adamw",
        "factored",
    ):
        assert part in text


@pytest.mark.heavy
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_a_full_disk_behind_stdout_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "adam_optax.cli", "train", "digits", "--epochs", "1"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*command, "--out", str(tmp_path)],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.stderr == "adam-optax: error: No space left on device\n"
    assert done.returncode == 2


@pytest.mark.heavy
def test_the_module_runs_and_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "adam_optax.cli", "train", "digits"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [*command, "--epochs", "1", "--out", str(tmp_path)],
        cwd=root,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},  # plugins for others may have a word to say
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
