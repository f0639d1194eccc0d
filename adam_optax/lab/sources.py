"""Finding and reading the data files that a user points at; nothing in them is trusted."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from adam_optax.lab.errors import DataError

GZIP = b"\x1f\x8b"
AGAIN = "download it again"


def needed(data_dir: Path | None, problem: str, what: str) -> Path:
    """The place of the data.

    Raises:
      DataError: If none was given, or there is nothing there.
    """
    if data_dir is None:
        raise DataError(f"{problem} needs a data directory (--data-dir) with {what}")
    if not data_dir.exists():
        raise DataError(f"{data_dir}: no such file or directory; expected {what}")
    return data_dir


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file, plain or gzip, told apart by content and not by name.

    Raises:
      DataError: If it cannot be read, here or while it is read.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == GZIP
            raw.seek(0)
            if not packed:
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as stream:
                yield stream  # type: ignore[misc]  # GzipFile reads as a BinaryIO does
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged gzip data ({error}); {AGAIN}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_bytes(path: Path, most: int) -> bytes:
    """All of a file, plain or gzip.

    Args:
      path: The file.
      most: The largest size after decompression.

    Raises:
      DataError: If it cannot be read or is larger.
    """
    with opened(path) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise DataError(f"{path}: more than {most} bytes; check the file")
    return content
