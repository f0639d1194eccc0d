"""Find and read the data files that a user points at; nothing in the files is trusted."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

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
def open_plain_or_gzip(path: Path) -> Iterator[BinaryIO]:
    """Open a file that is plain or gzip; its content decides which, not its name.

    Raises:
        DataError: If the file cannot be opened, or cannot be read in the body.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            if not packed:
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as stream:
                yield stream  # type: ignore[misc]  # GzipFile reads as a BinaryIO does
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged gzip data ({error}); {DOWNLOAD_AGAIN}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """Read all of a file that is plain or gzip.

    Args:
        path: The file.
        max_bytes: Largest size after decompression, in bytes.

    Raises:
        DataError: If the file cannot be read or is larger than `max_bytes`.
    """
    with open_plain_or_gzip(path) as stream:
        content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise DataError(f"{path}: more than {max_bytes} bytes; check the file")
    return content
