"""The programs that pages show whole run as the pages say, in processes of their own."""

import ast
import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.docs import markdown

PROGRAMS = markdown.DOCS / "how_to" / "programs"


def start(program: str, *arguments: str, folder: pathlib.Path) -> "subprocess.Popen[str]":
    path = os.pathsep.join([str(markdown.ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, PROGRAMS / program, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.heavy  # two processes import jax
def test_processes_share_a_sweep(tmp_path: pathlib.Path) -> None:
    out, said = start("share_a_sweep.py", folder=tmp_path).communicate()
    assert ast.literal_eval(out) == {"learning_rate": 1e-2}, said


@pytest.mark.heavy  # a dozen trials
def test_processes_share_a_study_of_optuna(tmp_path: pathlib.Path) -> None:
    optuna = pytest.importorskip("optuna", reason="needs the extra notebooks")
    both = [start("tune_together.py", seed, folder=tmp_path) for seed in "12"]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "digits.log"))
    storage = optuna.storages.JournalStorage(backend)
    trials = optuna.load_study(study_name="digits", storage=storage).trials
    finished = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert 12 <= len(finished) <= 13  # the other process may be in a trial when the last ends
    assert sorted(trial.number for trial in trials) == list(range(len(trials)))
    lines = (tmp_path / "digits.log").read_text().splitlines()
    assert len({json.loads(line)["worker_id"] for line in lines}) == 2
    found = [trial.params["learning_rate"] for trial in finished]
    assert len(set(found)) == len(found)  # neither process repeats the other's trials


@pytest.mark.heavy  # three processes import jax
def test_a_training_goes_on_from_the_newest_checkpoint_that_is_whole(
    tmp_path: pathlib.Path,
) -> None:
    def ran(folder: str, steps: int) -> list[str]:
        process = start("go_on_after_a_crash.py", folder, str(steps), folder=tmp_path)
        out, said = process.communicate()
        assert process.returncode == 0, said
        return out.split()

    *_, whole = ran("one", 20)
    ran("two", 18)  # saved at 5, 10 and 15
    data = list((tmp_path / "two" / "15").rglob("*.ocdbt"))
    for path in data:
        path.write_bytes(b"")
    assert ran("two", 20) == ["from", "step", "10", "to", "20:", whole]
    assert (tmp_path / "two" / "damaged-15").exists()


def test_every_program_is_on_a_page() -> None:
    shown = "".join(path.read_text(encoding="utf-8") for path in markdown.pages())
    programs = [path.name for path in PROGRAMS.glob("*.py")]
    assert programs
    assert all(f"{{literalinclude}} programs/{name}" in shown for name in programs)
