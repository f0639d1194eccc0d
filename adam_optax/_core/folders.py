"""Write files that belong together as a folder, which is replaced as a whole.

A reader, or whoever looks after a crash, finds the old folder or the new one, and never files of
both. A killed run may leave a folder of a name that begins with a dot; the next run removes it.
"""

import contextlib
import ctypes
import errno
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_TEMPORARY = re.compile(r"\.adam-optax-[0-9a-f]{16}\.folder")
_AT_CWD, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of <linux/fs.h>
_SWAP = 2  # RENAME_SWAP of macOS's <sys/stdio.h>


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a folder of their own, in place of the folder of the same files before.

    Files and a folder that are there keep their modes. Of a symbolic link, the folder that the link
    leads to is replaced. On Linux and macOS there is no moment without a whole folder; elsewhere
    there is one between two renames, in which the old folder's name ends in `.old`.

    Args:
        folder: The folder; its parents are created.
        contents: Contents by file name.

    Raises:
        OSError: If the folder cannot be written, or has something else in it (see `check_folder`).
    """
    target = Path(os.path.realpath(folder))
    target.parent.mkdir(parents=True, exist_ok=True)
    check_folder(target, contents)
    _remove_abandoned(target.parent)
    with _temporary(target.parent) as beside:
        if (mode := _mode(target)) is not None:
            os.chmod(beside, mode | stat.S_IRWXU)  # what was private never is not
        for name, content in contents.items():
            _write(beside / name, content, _mode(target / name))
        if mode is not None:
            os.chmod(beside, mode)
        _sync(beside)
        _put_in_place(beside, target)
        _sync(target.parent)


def check_folder(folder: Path, names: Collection[str]) -> None:
    """Refuse a folder that cannot be replaced: it would lose what is not of these names.

    Raises:
        OSError: If it is no folder, or has something in it but regular files of these names.
    """
    if _mode(folder) is None:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name not in names:
                reason = f"{entry.name} is in {folder.name} and is not of the report; move it away"
                raise FileExistsError(errno.EEXIST, reason)
            if not entry.is_file(follow_symlinks=False):
                raise FileExistsError(errno.EEXIST, f"{entry.name} is there and is not a file")
            if not os.access(entry.path, os.W_OK):
                raise PermissionError(errno.EACCES, f"{entry.name} may not be written")


def _mode(path: Path) -> int | None:
    """Return the mode of a file or folder that is there; None if there is none."""
    with contextlib.suppress(FileNotFoundError):
        return stat.S_IMODE(os.stat(path).st_mode)
    return None


def _write(path: Path, content: bytes, mode: int | None) -> None:
    """Write a new file; its content is on the disk before anything is renamed."""
    at_first = 0o666 if mode is None else 0o600
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, at_first)
    with open(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        if mode is not None:
            os.chmod(path, mode)
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    """Have the names in a folder written to the disk, where the system can."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError), _opened(folder) as descriptor:
            os.fsync(descriptor)


@contextlib.contextmanager
def _temporary(parent: Path) -> Iterator[Path]:
    """Create a folder that is removed after the body, whatever it then holds.

    A lock on the folder, which the system releases with the process, says that it is in use. The
    lock stays with the folder when that is renamed.
    """
    while True:
        path = parent / f".adam-optax-{secrets.token_hex(8)}.folder"
        path.mkdir()
        try:
            with contextlib.ExitStack() as held:
                # Another run may have taken the folder for an abandoned one before it was locked.
                if sys.platform == "win32" or _locked(path, held):
                    yield path
                    return
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _locked(path: Path, held: contextlib.ExitStack) -> bool:
    """Lock a folder until a stack unwinds, and return whether the folder is still there."""
    try:
        descriptor = held.enter_context(_opened(path))
    except FileNotFoundError:
        return False
    with contextlib.suppress(OSError):  # a file system without locks, on which nothing is removed
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return path.exists()


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of runs that were killed: nobody holds a lock on these."""
    if sys.platform == "win32":
        return
    for name in os.listdir(parent):
        if _TEMPORARY.fullmatch(name):
            path = parent / name
            with contextlib.suppress(OSError), _opened(path) as descriptor:  # in use, or just gone
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _put_in_place(new: Path, target: Path) -> None:
    """Rename a folder to its name; a folder that has the name gets the other's."""
    if not target.exists():
        with contextlib.suppress(FileExistsError, NotADirectoryError):  # another run was faster
            os.rename(new, target)
            return
    if not _exchanged(new, target):
        aside = target.with_name(f"{target.name}.old")
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(target, aside)
        os.rename(new, target)
        os.rename(aside, new)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two folders in one step, and return whether the system could."""
    paths = os.fsencode(one), os.fsencode(other)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            failed = libc.renamex_np(*paths, ctypes.c_uint(_SWAP))
        else:
            at = ctypes.c_int(_AT_CWD)
            failed = libc.renameat2(at, paths[0], at, paths[1], ctypes.c_uint(_EXCHANGE))
    except (AttributeError, OSError, TypeError):  # a system or a C library without
        return False
    return not failed
