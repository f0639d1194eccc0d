"""Check that a folder of files is the old one or the new one, whatever happens meanwhile."""

import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adam_optax._core import folders
from adam_optax._core.folders import check_folder, write_folder

NAMES = [f"x{end}" for end in (".png", ".svg", "-runs.csv", "-curves.csv", ".html")]

# The package itself takes seconds to import, and is not wanted.
WRITER = """
import itertools, os, sys, types
package = types.ModuleType("adam_optax")
package.__path__ = [sys.argv[1]]
sys.modules["adam_optax"] = package
from pathlib import Path
from adam_optax._core.folders import write_folder
print("ready", flush=True)
for run in itertools.count():
    content = b"%d.%d " % (os.getpid(), run) * 20_000
    write_folder(Path(sys.argv[2]), dict.fromkeys(sys.argv[3:], content))
"""


def whole(content: str) -> dict[str, bytes]:
    return dict.fromkeys(NAMES, content.encode())


def found(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.quick
def test_a_folder_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_bytes(b"mine")
    for content in ("a longer old one", "new"):
        write_folder(tmp_path / "deep" / "x", whole(content))
        assert found(tmp_path / "deep" / "x") == whole(content)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["x"]
    assert (tmp_path / "mine.txt").read_bytes() == b"mine"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(
    "kills", [pytest.param(8, marks=pytest.mark.quick), pytest.param(60, marks=pytest.mark.heavy)]
)
def test_a_killed_writer_leaves_the_files_of_one_run(tmp_path: Path, kills: int) -> None:
    """Kill writers at random moments. Files renamed one by one: mixed in 44 of 60."""
    rng, folder = random.Random(0), tmp_path / "out" / "x"
    package = Path(folders.__file__).parents[1]
    command = [sys.executable, "-c", WRITER, str(package), str(folder), *NAMES]
    for _ in range(kills):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0.002, 0.05))
            process.send_signal(signal.SIGKILL)
        if folder.exists():  # the first may be killed before anything is written
            files = found(folder)
            assert sorted(files) == sorted(NAMES)
            assert len(set(files.values())) == 1
    write_folder(folder, whole("last"))
    assert [path.name for path in folder.parent.iterdir()] == ["x"]  # no temporary is left
    assert found(folder) == whole("last")


@pytest.mark.parametrize("step", ["fsync", "rename", "exchange"])
def test_a_failed_write_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    write_folder(tmp_path / "x", whole("old"))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(folders, "_exchanged", fail if step == "exchange" else lambda *_: False)
        if step != "exchange":
            patched.setattr(os, step, fail)
        with pytest.raises(OSError, match="No space left"):
            write_folder(tmp_path / "x", whole("new"))
    assert found(tmp_path / "x") == whole("old")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_system_that_cannot_exchange_renames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_exchanged", lambda *_: False)
    (tmp_path / "x.old").mkdir()  # of a run that was killed between the renames
    for content in ("old", "new"):
        write_folder(tmp_path / "x", whole(content))
    assert found(tmp_path / "x") == whole("new")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_modes_are_kept_and_links_followed(tmp_path: Path) -> None:
    """Check modes and links. Renaming made 0644 of 0600, and a file of a link."""
    (tmp_path / "there").mkdir(mode=0o700)
    (tmp_path / "x").symlink_to("there")
    write_folder(tmp_path / "x", whole("old"))
    (tmp_path / "there" / NAMES[0]).chmod(0o600)
    usual = stat.S_IMODE((tmp_path / "there" / NAMES[1]).stat().st_mode)
    write_folder(tmp_path / "x", whole("new"))
    assert (tmp_path / "x").is_symlink()
    assert found(tmp_path / "there") == whole("new")
    modes = [
        stat.S_IMODE(p.stat().st_mode)
        for p in (tmp_path / "there", *(tmp_path / "there" / n for n in NAMES))
    ]
    assert modes == [0o700, 0o600, usual, usual, usual, usual]


def test_what_is_not_of_the_names_is_never_lost(tmp_path: Path) -> None:
    folder, inside = tmp_path / "x", tmp_path / "x" / NAMES[0]
    write_folder(folder, whole("old"))

    def refused(message: str) -> None:
        for act in (check_folder, write_folder):
            with pytest.raises(OSError, match=message):
                act(folder, whole("new"))

    (folder / "notes.txt").touch()
    refused("notes.txt is in x and is not of the report; move it away")
    (folder / "notes.txt").unlink()
    inside.unlink()
    os.mkfifo(inside)
    refused("x.png is there and is not a file")
    inside.unlink()
    inside.symlink_to(tmp_path / "elsewhere")
    refused("x.png is there and is not a file")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_folder_in_use_is_not_removed(tmp_path: Path) -> None:
    with folders._temporary(tmp_path) as beside:
        folders._remove_abandoned(tmp_path)
        assert beside.is_dir()
    abandoned = tmp_path / ".adam-optax-0123456789abcdef.folder"
    abandoned.mkdir()
    folders._remove_abandoned(tmp_path)
    assert not list(tmp_path.iterdir())
