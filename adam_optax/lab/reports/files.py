"""Write results atomically, and check before a long training that writing is possible."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from adam_optax._core.files import temporary, write_atomically
from adam_optax.lab.errors import LabError


def check_writable(directory: Path, names: Iterable[str]) -> None:
    """Check before a long training that files of these names can be written.

    Nothing is left behind: the directory is created and removed again if it was not there.

    Raises:
        LabError: If one of the files could not be written.
    """
    try:
        with _trial_directory(directory):
            for name in names:
                _check_replaceable(directory / name)
            temporary(directory).unlink()
    except OSError as error:
        raise _unwritable(directory, error) from error


def write_all(directory: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write files atomically, each in place of a file of the same name.

    Args:
        directory: Where the files go; created if it is not there.
        contents: Contents by file name.

    Returns:
        The paths of the files.

    Raises:
        LabError: If a file cannot be written; the file that was there is then untouched.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_atomically(directory / name, content)
    except OSError as error:
        raise _unwritable(directory, error) from error
    return [directory / name for name in contents]


def to_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Format a table as CSV, in UTF-8; `None` becomes an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def _check_replaceable(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path.name} is there and is not a file")


@contextmanager
def _trial_directory(directory: Path) -> Iterator[None]:
    """Create a directory, and remove it again unless it was there before."""
    missing = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for folder in missing:
            if folder.is_dir():
                folder.rmdir()


def _unwritable(directory: Path, error: OSError) -> LabError:
    reason = error.strerror or str(error)
    return LabError(f"cannot write results to {directory}: {reason}; choose another --out")
