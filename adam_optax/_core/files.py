"""Read and write files: no pipe is waited for, and a crash leaves the old file, not half a new one.

A killed run cannot remove its temporary file. The next run does: whoever writes a temporary file
holds a lock on the file, which the system releases with the process.
"""

import errno
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_TEMPORARY = re.compile(r"\.adam-optax-[0-9a-f]{16}\.tmp")
_WITHOUT_WAITING = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)


def read_regular(path: Path, most: int | None = None) -> bytes:
    """Read a file whole; a pipe, a device or a directory is refused, and so is too large a file.

    Args:
        path: the file.
        most: how many bytes it may have; None: as many as this machine's memory.

    Raises:
        OSError: if the file cannot be read, is not a regular file, or is too large.
        ValueError: if the path has a NUL in it.
    """
    _check_regular(os.stat(path))  # before it is opened: opening a device can do things
    descriptor = os.open(path, _WITHOUT_WAITING)
    with open(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        _check_regular(found)
        limit = physical_memory() if most is None else most
        if found.st_size > limit:
            raise OSError(errno.EFBIG, f"its {found.st_size} bytes are more than {limit}")
        content = stream.read(found.st_size + 1)
    if len(content) != found.st_size:
        raise OSError(errno.EIO, "it changed while it was read")
    return content


def _check_regular(found: os.stat_result) -> None:
    """Refuse what is not a regular file.

    Raises:
        OSError: if it is a directory, a pipe, a socket or a device.
    """
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, not a file")


def physical_memory() -> int:
    """Return the bytes of this machine's memory; where that is unknown, more than there is."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return sys.maxsize


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside the file and rename, so that readers see the old or the new one.

    A file that is there keeps its mode and, where that may be set, its owner. Of a symbolic link,
    the file that the link leads to is replaced.

    Raises:
        OSError: if the file cannot be written, or what is there is not a regular file.
    """
    target = Path(os.path.realpath(path))
    old = _stat_old(target)
    _remove_abandoned(target.parent)
    with _locked_temporary(target.parent) as beside:
        try:
            with beside.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            if old is not None:
                with suppress(PermissionError, AttributeError):  # of another owner; on Windows
                    os.chown(beside, old.st_uid, old.st_gid)
                os.chmod(beside, stat.S_IMODE(old.st_mode))
            os.replace(beside, target)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


def _stat_old(target: Path) -> os.stat_result | None:
    """Return what is known of the file to replace; None if there is none.

    Raises:
        OSError: if what is there is not a regular file, or may not be written.
    """
    try:
        found = os.stat(target)
    except FileNotFoundError:
        return None
    _check_regular(found)
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return found


def temporary(directory: Path) -> Path:
    """Create an empty file of a new name in a directory."""
    path = directory / f".adam-optax-{secrets.token_hex(8)}.tmp"
    # Opened by hand: `tempfile` would make the results readable by their owner alone.
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return path


@contextmanager
def _locked_temporary(directory: Path) -> Iterator[Path]:
    """Create a temporary file, and hold a lock on it until the body is done."""
    while True:
        beside = temporary(directory)
        if sys.platform == "win32":
            yield beside
            return
        with beside.open("rb") as held:
            with suppress(OSError):  # of a file system without locks, on which nothing is removed
                fcntl.flock(held, fcntl.LOCK_EX)
            # Another run may have taken the file for an abandoned one before it was locked.
            if os.fstat(held.fileno()).st_nlink:
                yield beside
                return


def _remove_abandoned(directory: Path) -> None:
    """Remove the temporary files of runs that were killed: nobody holds a lock on these.

    What cannot be listed, opened or removed is left: it is another user's, or has just gone.
    """
    if sys.platform == "win32":
        return
    with suppress(OSError):
        names = [name for name in os.listdir(directory) if _TEMPORARY.fullmatch(name)]
        for path in (directory / name for name in names):
            with suppress(OSError):
                descriptor = os.open(path, _WITHOUT_WAITING | os.O_NOFOLLOW)
                with open(descriptor, "rb") as held:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
