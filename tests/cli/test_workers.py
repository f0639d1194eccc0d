"""Check `--on`: the files of one process, refusals in one line, and Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adam_optax.cli import main
from adam_optax.cli.progress import Estimate
from adam_optax.cli.workers import stages
from adam_optax.lab import Sweep, sweep
from tests.cli.test_main import refused
from tests.lab.elsewhere import HOLD, PARENT, small, workers

ROOT = Path(__file__).parents[2]
PROBLEM = "tests.lab.elsewhere:small"
THREADS = "--on tests.lab.elsewhere:threads"
_LONG = 300.0
"""Seconds that processes may take to import jax; the machine may be busy."""


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "sweep digits --on spark",
            "'--on': expected dask, dask://HOST:PORT, ray, ray://HOST:PORT or module:function, "
            "got 'spark'",
        ),
        ("compare digits --on dask --retries x", "'--retries': expected an integer from 0"),
        ("suggest digits --retries 2", "--retries is for workers that die; write --on, too"),
        ("train digits --on dask", "No such option"),  # each version of click goes on otherwise
        ("sweep digits --on nowhere:executor", "executor 'nowhere:executor' cannot be made: "),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: str, message: str
) -> None:
    assert message in refused(capsys, arguments.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_a_missing_engine_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setitem(sys.modules, engine, None)
    message = refused(capsys, ["sweep", "digits", "--on", engine])
    assert f"needs the {engine} extra: pip install 'adam-optax[{engine}]'" in message


def test_with_on_no_time_is_kept_for_compiling() -> None:
    args = main.command("sweep").make_context("sweep", ["digits", "--on", "dask"]).params
    planned = stages(type("Args", (), args)(), {"compiling": 1, "training": 4, "drawing": 1})
    assert planned == {"training": 4, "drawing": 1}
    now = [0.0]
    estimate = Estimate(planned, lambda: now[0])
    estimate.begin("connecting to")
    now[0] = 10.0
    estimate.begin("training")
    now[0] = 14.0  # two workers: two parts end after 4 s
    estimate.advance("training", 1)
    estimate.begin("training")
    estimate.advance("training", 2)
    estimate.begin("training")
    assert estimate.remaining() == pytest.approx(2 * 2 + 3)  # and a guess for the drawing
    now[0] = 18.0
    estimate.advance("training", 4)
    assert estimate.remaining() == pytest.approx(3)


def contents(out: str) -> dict[str, bytes]:
    """Return the CSV files of the only run, which have no times."""
    found = (p for p in Path(out).iterdir() if not p.is_symlink() and "-parts" not in p.name)
    (folder,) = found
    return {path.name: path.read_bytes() for path in folder.glob("*.csv")}


@pytest.mark.heavy  # figures are drawn
@pytest.mark.parametrize("line", ["sweep {} --set b1=0.5,0.9", "suggest {} --seeds 6"])
def test_results_are_those_of_one_process(line: str) -> None:
    arguments = f"{line.format(PROBLEM)} --epochs 4 --quiet".split()
    assert main.main([*arguments, "--out", "one"]) == 0
    assert main.main([*arguments, "--out", "other", *THREADS.split()]) == 0
    assert contents("one") == contents("other") != {}


@pytest.mark.heavy  # figures are drawn
def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*args: Any, on_progress: Callable[[int, int], None], **how: Any) -> Sweep:
        def stop(done: int, planned: int) -> None:
            on_progress(done, planned)
            if done == 2:
                raise KeyboardInterrupt

        return sweep(*args, on_progress=stop, **how)

    line = f"sweep {PROBLEM} --set b1=0.5,0.9 --epochs 1 --quiet --out".split()
    with monkeypatch.context() as patch:
        patch.setattr("adam_optax.cli.studies.sweep", stopped)
        assert main.main([*line, "here", "--on", "tests.lab.elsewhere:half"]) == 130
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("adam-optax: interrupted: results are of ")
    assert "of 6 runs; the same command with --resume goes on from here/sweep-small" in said[-1]
    assert main.main([*line, "here", "--resume"]) == 0  # here or elsewhere: the same run
    assert main.main([*line, "whole"]) == 0
    assert contents("here") == contents("whole")


@pytest.mark.heavy  # workers that import jax are started
@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_the_terminals_ctrl_c_ends_what_was_started_here(tmp_path: Path, engine: str) -> None:
    """Press Ctrl-C where the terminal sends it to all processes, while workers are busy."""
    pytest.importorskip(engine, reason=f"needs the extra {engine}")
    data = tmp_path / "data"
    data.mkdir()
    (data / PARENT).touch()
    (data / HOLD).touch()
    code = "import os, pathlib; pathlib.Path(os.environ['PARENT']).write_text(str(os.getpid()))"
    code += "; from adam_optax_command import run; run()"
    line = ["sweep", PROBLEM, "--set", "b1=0.5,0.9", "--epochs", "1", "--data-dir", str(data)]
    environment = os.environ | {"PARENT": str(data / PARENT), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", code, *line, "--on", engine],
        env=environment | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        end = time.monotonic() + _LONG
        while not workers(data) and time.monotonic() < end:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        try:
            out, said = process.communicate(timeout=_LONG)
        finally:
            if process.poll() is None:  # else the test would wait for it, too
                os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode, out) == (130, "")
    told = said.splitlines()
    assert told[0].startswith(f"adam-optax: running the code of {PROBLEM}, from ")
    assert told[1:] == ["adam-optax: interrupted: before a run was finished; nothing is kept"]
    assert not [pid for pid in workers(data) if Path(f"/proc/{pid}").exists()]


def test_the_small_problem_waits_in_workers_only() -> None:
    assert small().load(None).train_x.shape == (70, 6)
