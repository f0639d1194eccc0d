"""Read MNIST, and IDX files, which is the format of MNIST's files.

An IDX file is two zero bytes, a dtype code, the rank, one big-endian uint32 per axis and then the
elements, big-endian, last axis fastest; often inside gzip. The reader trusts nothing that a file
claims.
"""

import math
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from adam_optax.lab._problems.data_files import DOWNLOAD_AGAIN, open_plain_or_gzip
from adam_optax.lab._problems.problem import Data
from adam_optax.lab.errors import DataError

_SOURCE = "https://yann.lecun.com/exdb/mnist/"
MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
"""Names of the four files, each plain or with `.gz`."""
MAX_BYTES = 1 << 28
"""Default bound on the size of one file's elements; MNIST's largest has 47 MB."""

_CHUNK = 1 << 20
_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def load(data_dir: Path | None) -> Data:
    """Read MNIST's four files: features float32 (n, 784) from 0 to 1, and the digits.

    Raises:
        DataError: If a file is missing or does not contain MNIST.
    """
    if data_dir is None:
        raise DataError(f"mnist needs a data directory (--data-dir) with {_expected()}")
    images, labels, test_images, test_labels = (_find(data_dir, name) for name in MNIST_FILES)
    return Data(*_read_pair(images, labels), *_read_pair(test_images, test_labels))


def read_idx(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> NDArray[Any]:
    """Read one IDX file, plain or gzip (recognised by its content, not by its name).

    Memory stays within a chunk of what the file really holds and of `max_bytes`, whatever the
    file's header or its compression claims. Nothing is ever unpickled.

    Args:
        path: The file.
        max_bytes: Largest size of the elements, in bytes after decompression.

    Returns:
        An array of the declared shape and dtype, in native byte order.

    Raises:
        DataError: If the file cannot be read or is not exactly one IDX array.
    """
    # A file that does not shrink by compression may be a little larger than its elements.
    with open_plain_or_gzip(Path(path), max_bytes + _CHUNK) as stream:
        return _parse(os.fspath(path), stream, max_bytes)


def _expected() -> str:
    return ", ".join(MNIST_FILES) + f" (each plain or .gz), from {_SOURCE} or a mirror"


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(f"{folder / name}: no such file, plain or .gz; expected {_expected()}")


def _read_pair(images: Path, labels: Path) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    x, y = read_idx(images), read_idx(labels)
    if x.dtype != np.uint8 or x.shape[1:] != (28, 28) or not len(x):
        raise DataError(f"{images}: expected uint8 images (n, 28, 28), got {x.dtype} {x.shape}")
    if y.dtype != np.uint8 or y.shape != x.shape[:1]:
        raise DataError(f"{labels}: expected {len(x)} uint8 labels, got {y.dtype} {y.shape}")
    if y.max() > 9:
        raise DataError(f"{labels}: expected labels 0 to 9, got {y.max()}")
    # In one pass: a cast and then a quotient would be there at the same time.
    return np.divide(x.reshape(len(x), -1), 255, dtype=np.float32), y.astype(np.int32)


def _parse(name: str, stream: BinaryIO, max_bytes: int) -> NDArray[Any]:
    dtype, rank = _read_magic(name, stream)
    header = _read_exactly(name, stream, 4 * rank, "header")
    shape = struct.unpack(f">{rank}I", header)
    # Python's integers do not wrap when four billion is multiplied by itself a few times. Without
    # a length of 0, the others must fit as well: NumPy multiplies these for an empty array, too.
    size = math.prod(shape) * dtype.itemsize
    spanned = math.prod(filter(None, shape)) * dtype.itemsize
    if spanned > max_bytes:
        raise DataError(
            f"{name}: declares {shape}, {spanned} bytes, above the limit of {max_bytes}; "
            f"{DOWNLOAD_AGAIN}"
        )
    body = _read_exactly(name, stream, size, "elements")
    # Reading past the end also makes gzip verify its checksum.
    if stream.read(1):
        raise DataError(f"{name}: bytes follow the declared {shape} elements; {DOWNLOAD_AGAIN}")
    array = np.frombuffer(body, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_magic(name: str, stream: BinaryIO) -> tuple[np.dtype[Any], int]:
    zero, code, rank = struct.unpack(">HBB", _read_exactly(name, stream, 4, "header"))
    if zero or code not in _DTYPES:
        magic = f"{zero:04x}{code:02x}{rank:02x}"
        raise DataError(f"{name}: not an IDX file (magic number {magic}); check the file")
    if not 1 <= rank <= 8:
        raise DataError(f"{name}: declares rank {rank}, expected 1 to 8; {DOWNLOAD_AGAIN}")
    return np.dtype(_DTYPES[code]), rank


def _read_exactly(name: str, stream: BinaryIO, size: int, part: str) -> bytearray:
    """Read in chunks, so that the buffer grows with the file and not with the file's claim."""
    body = bytearray()
    while len(body) < size:
        chunk = stream.read(min(_CHUNK, size - len(body)))
        if not chunk:
            progress = f"{len(body)} of {size} bytes"
            raise DataError(f"{name}: truncated, {part}: {progress}; {DOWNLOAD_AGAIN}")
        body += chunk
    return body
