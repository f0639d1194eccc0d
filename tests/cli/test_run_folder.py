"""Check that no run takes the folder of another, and which run `--resume` goes on from."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adam_optax.cli.run_folder import RunFolder, run_folder
from adam_optax.lab import LabError


def arguments(out: Path, **others: Any) -> SimpleNamespace:
    given = {"command": "train", "problem": "digits", "out": out, "resume": False, "quiet": False}
    return SimpleNamespace(**{**given, **others})


def begin(out: Path, kept: bool = True, **others: Any) -> RunFolder:
    """Begin a run that is stopped, with a part that is finished or without."""
    with run_folder(arguments(out, **others), "train-digits", ["x.csv"]) as folder:
        if kept:
            (folder.parts / "part-0").write_bytes(b"1")
    return folder


@pytest.mark.quick
def test_every_run_has_a_folder_of_its_own(tmp_path: Path) -> None:
    folders = [begin(tmp_path) for _ in range(3)]
    assert len({folder.results for folder in folders}) == 3
    assert all(folder.results.name.startswith("train-digits-20") for folder in folders)


def test_latest_is_the_newest_finished_run(tmp_path: Path) -> None:
    one, other = begin(tmp_path), begin(tmp_path)
    one.results.mkdir()
    one.finish()
    assert (tmp_path / "latest").resolve() == one.results.resolve()
    assert not one.parts.exists()
    other.results.mkdir()  # interrupted: its results are there, and latest stays
    assert (tmp_path / "latest").resolve() == one.results.resolve()
    other.finish()
    assert (tmp_path / "latest").resolve() == other.results.resolve()


def test_a_folder_of_the_users_own_named_latest_stays(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    folder = begin(tmp_path)
    folder.results.mkdir()
    folder.finish()
    assert not (tmp_path / "latest").is_symlink()


def test_a_run_of_which_nothing_is_kept_leaves_nothing(tmp_path: Path) -> None:
    begin(tmp_path / "new" / "deep", kept=False)
    assert list(tmp_path.iterdir()) == []
    begin(tmp_path, kept=False)  # a folder that was there stays
    assert tmp_path.exists()


def test_resume_goes_on_from_the_newest_of_the_same_arguments(tmp_path: Path) -> None:
    begin(tmp_path)
    newest = begin(tmp_path)
    begin(tmp_path, problem="mnist")
    found = begin(tmp_path, resume=True, quiet=True)
    assert found == newest


def test_resume_without_such_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"no run of this command line in .* is unfinished; leave"):
        begin(tmp_path, resume=True)
    other = begin(tmp_path, problem="mnist")
    with pytest.raises(LabError, match=rf"\({other.parts.name} is of other arguments: see its run"):
        begin(tmp_path, resume=True)
    (other.parts / "run.json").write_bytes(b"{")
    with pytest.raises(LabError, match="is unfinished; leave --resume out"):
        begin(tmp_path, resume=True)


def test_a_run_that_is_running_is_not_gone_on_from(tmp_path: Path) -> None:
    with run_folder(arguments(tmp_path), "train-digits", ["x.csv"]) as running:
        with pytest.raises(LabError, match=rf"but for {running.parts.name}, which is running"):
            begin(tmp_path, resume=True)
        (running.parts / "part-0").write_bytes(b"1")
    assert begin(tmp_path, resume=True).parts == running.parts


def test_a_link_to_a_folder_that_is_not_there_is_followed(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("disk/results")
    begin(tmp_path / "out", kept=False)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    folder = begin(tmp_path / "out")
    assert (tmp_path / "disk" / "results" / folder.parts.name / "part-0").exists()
