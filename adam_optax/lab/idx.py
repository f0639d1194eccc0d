"""A reader for IDX files, the format of MNIST, that trusts nothing the file says.

An IDX file is two zero bytes, a dtype code, the rank, one big-endian uint32 per
axis and then the elements, big-endian, last axis fastest; often inside gzip.
"""

import math
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from adam_optax.lab.errors import DataError
from adam_optax.lab.sources import AGAIN, opened

MAX_BYTES = 1 << 28
"""Default bound on the elements of one file; MNIST's largest has 47 MB."""

_CHUNK = 1 << 20
_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> NDArray[Any]:
    """Reads one IDX file, plain or gzip (told apart by content, not by name).

    Memory stays within a chunk of what the file really holds and of `max_bytes`,
    whatever its header or its compression claims. Nothing is ever unpickled.

    Args:
      path: The file.
      max_bytes: Largest size of the elements, in bytes after decompression.

    Returns:
      An array of the declared shape and dtype, in native byte order.

    Raises:
      DataError: If the file cannot be read or is not exactly one IDX array.
    """
    with opened(Path(path)) as stream:
        return _parse(os.fspath(path), stream, max_bytes)


def _parse(name: str, stream: BinaryIO, max_bytes: int) -> NDArray[Any]:
    dtype, rank = _read_magic(name, stream)
    header = _read_exactly(name, stream, 4 * rank, "header")
    shape = struct.unpack(f">{rank}I", header)
    # Python's integers: the product of four billion a few times over must not wrap.
    size = math.prod(shape) * dtype.itemsize
    if size > max_bytes:
        raise DataError(f"{name}: declares {size} bytes, above the limit of {max_bytes}; {AGAIN}")
    body = _read_exactly(name, stream, size, "elements")
    # Reading past the end also makes gzip verify its checksum.
    if stream.read(1):
        raise DataError(f"{name}: bytes follow the declared {shape} elements; {AGAIN}")
    return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _read_magic(name: str, stream: BinaryIO) -> tuple[np.dtype[Any], int]:
    zero, code, rank = struct.unpack(">HBB", _read_exactly(name, stream, 4, "header"))
    if zero or code not in _DTYPES:
        magic = f"{zero:04x}{code:02x}{rank:02x}"
        raise DataError(f"{name}: not an IDX file (magic number {magic}); check the file")
    if not 1 <= rank <= 8:
        raise DataError(f"{name}: declares rank {rank}, expected 1 to 8; {AGAIN}")
    return np.dtype(_DTYPES[code]), rank


def _read_exactly(name: str, stream: BinaryIO, size: int, part: str) -> bytearray:
    """Reads in chunks, so that the buffer grows with the file, not with its claim."""
    body = bytearray()
    while len(body) < size:
        chunk = stream.read(min(_CHUNK, size - len(body)))
        if not chunk:
            raise DataError(f"{name}: truncated, {part}: {len(body)} of {size} bytes; {AGAIN}")
        body += chunk
    return body
