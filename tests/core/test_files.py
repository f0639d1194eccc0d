"""Test that files are read without surprises and written whole, whatever is there already."""

import fcntl
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adam_optax._core import files
from adam_optax._core.files import read_regular, temporary, write_atomically

KILLED = """
import os, pathlib, runpy, signal, sys
write = runpy.run_path(sys.argv[1])["write_atomically"]
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
write(pathlib.Path(sys.argv[2]), b"new")
"""


@pytest.mark.quick
@pytest.mark.parametrize("use", [read_regular, lambda path: write_atomically(path, b"new")])
def test_what_is_not_a_file_is_refused_at_once(tmp_path: Path, use: Callable[..., object]) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, text in [
        (tmp_path / "pipe", "a pipe, a socket or a device"),
        (tmp_path / "link", "a pipe, a socket or a device"),
        (Path("/dev/zero"), "a pipe, a socket or a device"),
        (tmp_path / "loop", "Too many levels"),
        (tmp_path, "Is a directory"),
        (tmp_path / ("x" * 300), "File name too long"),
    ]:
        with pytest.raises(OSError, match=text):
            use(path)
    with pytest.raises(ValueError, match="null"):
        use(Path("a\0b"))
    assert sorted(os.listdir(tmp_path)) == ["link", "loop", "pipe"]
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)


def test_a_file_larger_than_may_be_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 2**43)  # takes no room on the disk
    with pytest.raises(OSError, match="its 8796093022208 bytes are more than"):
        read_regular(path)
    with pytest.raises(OSError, match="more than 99"):
        read_regular(path, most=99)
    os.truncate(path, 8)
    assert read_regular(path, most=8) == b"\0" * 8
    real = os.fstat

    def smaller(descriptor: int) -> os.stat_result:
        found = list(real(descriptor))
        found[stat.ST_SIZE] = 7
        return os.stat_result(found)

    monkeypatch.setattr(os, "fstat", smaller)
    with pytest.raises(OSError, match="changed while it was read"):
        read_regular(path)


@pytest.mark.quick
def test_modes_and_links_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "state", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o600)
    link.symlink_to("state")
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (tmp_path / "dangling").symlink_to("fresh")
    write_atomically(tmp_path / "dangling", b"new")
    assert (tmp_path / "fresh").read_bytes() == b"new"


def test_a_file_that_may_not_be_written_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # which root never sees
    with pytest.raises(PermissionError):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


@pytest.mark.quick
def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")
    arguments = [sys.executable, "-c", KILLED, files.__file__, str(path)]
    for _ in range(2):  # the second removes what the first left
        assert subprocess.run(arguments).returncode == -signal.SIGKILL
        assert path.read_bytes() == b"old"
        assert len(os.listdir(tmp_path)) == 2
    others = [tmp_path / ".adam-optax-mine.tmp", tmp_path / f".adam-optax-{'0' * 16}.tmpx"]
    for other in others:
        other.touch()
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


def test_a_file_that_is_being_written_is_not_removed(tmp_path: Path) -> None:
    beside = temporary(tmp_path)
    with beside.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        write_atomically(tmp_path / "state", b"new")
        assert beside.exists()
    write_atomically(tmp_path / "state", b"new")
    assert not beside.exists()


def test_a_temporary_that_another_run_removed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its creation and its lock, it looks like an abandoned one."""
    real, taken = fcntl.flock, list[Path]()

    def late(held: object, how: int) -> None:
        if not taken:
            (beside,) = tmp_path.iterdir()
            taken.append(beside)
            beside.unlink()
        real(held, how)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", late)
    write_atomically(tmp_path / "state", b"new")
    assert os.listdir(tmp_path) == ["state"]
    assert (tmp_path / "state").read_bytes() == b"new"
