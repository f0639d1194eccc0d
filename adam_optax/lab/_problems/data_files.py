"""Find and read the data files that a user points at; nothing in the files is trusted."""

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from adam_optax._core.files import read_regular
from adam_optax.lab.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"
"""The first two bytes of gzip data."""
DOWNLOAD_AGAIN = "download it again"
"""Advice at the end of an error message."""


def require_path(data_dir: Path | None, problem: str, expected: str) -> Path:
    """Return the file or directory of the data, after a check that it is there.

    Args:
        data_dir: The path that the user gave, or `None`.
        problem: Name of the problem, for the error message.
        expected: Description of the expected files, for the error message.

    Raises:
        DataError: If no path was given, or nothing is there.
    """
    if data_dir is None:
        raise DataError(f"{problem} needs a data directory (--data-dir) with {expected}")
    if not data_dir.exists():
        raise DataError(f"{data_dir}: no such file or directory; expected {expected}")
    return data_dir


@contextmanager
def open_plain_or_gzip(path: Path, max_bytes: int) -> Iterator[BinaryIO]:
    """Open a file that is plain or gzip; its content decides which, not its name.

    Args:
        path: The file; a pipe or a device is refused.
        max_bytes: Largest size of the file itself. What is unpacked is bounded by what is read.

    Raises:
        DataError: If the file cannot be opened, is too large, or cannot be read in the body.
    """
    try:
        content = read_regular(path, max_bytes)
    except (OSError, ValueError) as error:  # a ValueError is of a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read ({reason})") from error
    if not content.startswith(GZIP_MAGIC):
        yield io.BytesIO(content)
        return
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            yield stream  # type: ignore[misc]  # GzipFile reads as a BinaryIO does
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged gzip data ({error}); {DOWNLOAD_AGAIN}") from error


def read_files(paths: Iterable[Path], max_bytes: int) -> Iterator[bytes]:
    """Read files that are plain or gzip, within one budget.

    Args:
        paths: The files.
        max_bytes: Largest size of all files together after decompression, in bytes.

    Raises:
        DataError: If a file cannot be read, or the files are larger than `max_bytes`.
    """
    left = max_bytes
    for path in paths:
        with open_plain_or_gzip(path, max_bytes) as stream:
            content = stream.read(left + 1)
        left -= len(content)
        if left < 0:
            raise DataError(f"{path}: with this file, the data has more than {max_bytes} bytes")
        yield content


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """Read all of a file that is plain or gzip.

    Args:
        path: The file.
        max_bytes: Largest size after decompression, in bytes.

    Raises:
        DataError: If the file cannot be read or is larger than `max_bytes`.
    """
    (content,) = read_files([path], max_bytes)
    return content
