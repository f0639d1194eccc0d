"""Read files and archives whole, within a budget of bytes for each file.

A file may come from anyone: a small one must not become a large array, and what its archive says of
sizes must not be believed before it is compared with what is there.
"""

import io
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from adam_optax._core.files import read_regular, write_atomically
from adam_optax.convert._checks import ConversionError

_ALWAYS_ALLOWED_BYTES = 2**26
"""Up to 64 MiB, whatever a file holds is read."""
_MOST_EXPANSION = 100
"""Above, what claims to be more than this many times the file's bytes would fill the memory."""

_PIECE = 2**20


class Budget:
    """Bound the bytes that the contents of one file may take, all of its arrays together.

    Args:
        path: the file, for messages.
        stored: the file's own bytes.
    """

    def __init__(self, path: Path, stored: int) -> None:
        self._path, self._stored = path, stored
        self._left = max(_ALWAYS_ALLOWED_BYTES, _MOST_EXPANSION * stored)

    def take(self, size: int, what: str) -> None:
        """Take bytes for a part of the file, before the part is read.

        Raises:
            ConversionError: if the file would then take more than it may.
        """
        if size > self._left:
            raise ConversionError(
                f"{self._path} has {self._stored} bytes and would expand to far more, with {size} "
                f"for {what}; no optimizer's file does"
            )
        self._left -= size


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """Read a file.

    Args:
        path: the file.
        most: how many bytes it may have; None: as many as this machine's memory.

    Raises:
        ConversionError: if the file cannot be read.
    """
    try:
        return read_regular(path, most)
    except (OSError, ValueError, MemoryError) as error:
        raise ConversionError(f"cannot read {path}: {_reason(error)}") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file completely, or leave the old one as it is.

    Raises:
        ConversionError: if the file cannot be written.
    """
    try:
        write_atomically(path, content)
    except (OSError, ValueError) as error:
        raise ConversionError(f"cannot write {path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or "no memory"


def damaged_file_error(path: Path, what: str, error: Exception) -> ConversionError:
    """Return the error, in one line, for a file that is damaged or of another format."""
    reason = str(error).strip().partition("\n")[0].partition(". ")[0]
    return ConversionError(f"{path} is damaged, or not {what} ({reason or type(error).__name__})")


@contextmanager
def open_archive(path: Path, content: bytes, what: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive, and report any error in it as damage of the file.

    Args:
        path: the file, for messages.
        content: its bytes.
        what: what the file should be.

    Raises:
        ConversionError: if the archive is damaged, or two members have one name.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if len(set(archive.namelist())) != len(archive.namelist()):
                raise ValueError("two members have one name")
            yield archive
    except ConversionError:
        raise
    except Exception as error:  # The parts of a damaged archive can raise almost any exception.
        raise damaged_file_error(path, what, error) from error


def read_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: Budget, methods: Collection[int]
) -> bytes:
    """Read a member of an archive, whose checksum (CRC) must fit.

    Args:
        archive: the archive.
        info: what the archive says of the member.
        budget: the file's budget.
        methods: how the member may be compressed. What bzip2 and lzma expand to cannot be bounded,
            and nobody writes models with them.

    Raises:
        ConversionError: if the member would expand to more than the budget has left.
        ValueError: if it is compressed in another way.
        zipfile.BadZipFile: if its checksum does not fit.
    """
    if info.compress_type not in methods:
        raise ValueError(f"{info.filename} is compressed in a way in which no model is saved")
    budget.take(info.file_size, info.filename)
    with archive.open(info) as stream:
        # In pieces: `archive.read` expands all that is there, whatever `file_size` says.
        pieces = iter(lambda: stream.read(_PIECE), b"")
        member = b"".join(pieces)
    if len(member) != info.file_size:
        raise ValueError(f"{info.filename} has {len(member)} of {info.file_size} bytes")
    return member
