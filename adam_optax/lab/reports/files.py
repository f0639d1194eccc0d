"""Write results atomically, and check before a long training that writing is possible."""

import csv
import io
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from adam_optax._core.files import temporary, write_atomically
from adam_optax._core.folders import check_folder, write_folder
from adam_optax.lab.errors import LabError


def check_writable(folder: Path, names: Collection[str]) -> None:
    """Check before a long training that a report of these files can be written into a folder.

    Nothing is left behind: folders are created and removed again if they were not there.

    Raises:
        LabError: If the report could not be written.
    """
    try:
        check_folder(folder, names)
        _try(Path(os.path.realpath(folder)).parent)
    except (OSError, ValueError) as error:  # a ValueError is of a null byte
        raise _unwritable(folder, error) from error


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, if it is not there.

    Raises:
        LabError: If the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # a ValueError is of a null byte
        raise _unwritable(folder, error) from error


def write_report(folder: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write the files of a report, whose folder is the old report's or whole the new one's.

    Args:
        folder: The folder of this report alone; created if it is not there.
        contents: Contents by file name.

    Returns:
        The paths of the files.

    Raises:
        LabError: If the report cannot be written; the report that was there is then untouched.
    """
    try:
        write_folder(folder, contents)
    except (OSError, ValueError) as error:  # a ValueError is of a null byte
        raise _unwritable(folder, error) from error
    return [folder / name for name in contents]


def write_file(path: Path, content: bytes) -> None:
    """Write one file, whole or not at all; its directory is created if it is not there.

    Raises:
        LabError: If the file cannot be written; the file that was there is then untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except (OSError, ValueError) as error:  # a ValueError is of a null byte
        raise _unwritable(path.parent, error) from error


def to_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Format a table as CSV, in UTF-8; `None` becomes an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def _try(directory: Path) -> None:
    """Create a file in a directory, and remove it and what of the directory was not there."""
    missing = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        temporary(directory).unlink()
    finally:
        for folder in missing:
            if folder.is_dir():
                folder.rmdir()


def _unwritable(directory: Path, error: OSError | ValueError) -> LabError:
    reason = getattr(error, "strerror", None) or str(error)
    return LabError(f"cannot write results to {directory}: {reason}; choose another --out")
