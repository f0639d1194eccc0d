"""Read CIFAR-10's binary files: for each image a label, then three planes of 32x32 bytes."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adam_optax.lab._problems.data_files import DOWNLOAD_AGAIN, read_files, require_path
from adam_optax.lab._problems.problem import Data
from adam_optax.lab.errors import DataError

_RECORD_BYTES = 1 + 3 * 32 * 32
_MAX_BYTES = 100_000 * _RECORD_BYTES
"""Bytes of all files, at most; CIFAR-10 has 60,000 records."""
_FILES = (
    "data_batch_1.bin to data_batch_5.bin, or some of them, and test_batch.bin (plain or .gz), of "
    "the binary version at https://www.cs.toronto.edu/~kriz/cifar.html"
)


def load(data_dir: Path | None) -> Data:
    """Read the batches that are there: uint8 images (n, 32, 32, 3) and their classes.

    Raises:
        DataError: If a file is missing or does not contain CIFAR-10.
    """
    folder = require_path(data_dir, "cifar10", _FILES)
    batches = _find(folder, r"data_batch_\d\.bin(\.gz)?")
    paths = [*batches, *_find(folder, r"test_batch\.bin(\.gz)?")[:1]]
    contents = read_files(paths, _MAX_BYTES)
    read = [_parse(path, content) for path, content in zip(paths, contents, strict=True)]
    images, labels = zip(*read[:-1], strict=True)
    return Data(np.concatenate(images), np.concatenate(labels), *read[-1])


def _parse(path: Path, content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return the images and the labels in one file.

    Raises:
        DataError: If the file is no whole number of records, or a label is above 9.
    """
    if not content or len(content) % _RECORD_BYTES:
        raise DataError(
            f"{path}: {len(content)} bytes are no whole number of records of {_RECORD_BYTES}; "
            f"{DOWNLOAD_AGAIN}"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD_BYTES)
    labels = records[:, 0].astype(np.int32)
    if labels.max() > 9:
        raise DataError(f"{path}: expected labels 0 to 9, got {labels.max()}; is it CIFAR-100?")
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def _find(folder: Path, pattern: str) -> list[Path]:
    """Find the files whose names match, each once even if it is there plain and packed."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    found = {
        p.name.removesuffix(".gz"): p for p in reversed(paths) if re.fullmatch(pattern, p.name)
    }
    if not found:
        name = pattern.split(r"\.")[0].replace(r"\d", "1") + ".bin"
        raise DataError(f"{folder / name}: no such file, plain or .gz; expected {_FILES}")
    return [found[name] for name in sorted(found)]
