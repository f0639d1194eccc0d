"""Write IDX files for the tests, because the reader under test has no writer."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def encode(array: NDArray[Any], packed: bool = False) -> bytes:
    kind = f"{array.dtype.kind}{array.dtype.itemsize}"
    header = struct.pack(f">HBB{array.ndim}I", 0, CODES[kind], array.ndim, *array.shape)
    content = header + array.astype(array.dtype.newbyteorder(">")).tobytes()
    return gzip.compress(content, mtime=0) if packed else content


def mnist_arrays(train: int = 256, test: int = 64) -> dict[str, NDArray[np.uint8]]:
    """Build MNIST's four arrays for a problem that a small model can learn."""
    rng = np.random.default_rng(0)
    prototypes = rng.integers(0, 256, (10, 28, 28))
    arrays = {}
    for part, size in (("train", train), ("t10k", test)):
        labels = rng.integers(0, 10, size)
        noise = rng.integers(0, 256, (size, 28, 28))
        images = (3 * prototypes[labels] + noise) // 4
        arrays[f"{part}-images-idx3-ubyte"] = images.astype(np.uint8)
        arrays[f"{part}-labels-idx1-ubyte"] = labels.astype(np.uint8)
    return arrays


def write_mnist(folder: Path, **replaced: NDArray[Any]) -> Path:
    """Write the four files, the training files inside gzip; some arrays may be replaced."""
    for name, array in mnist_arrays().items():
        packed = name.startswith("train")
        content = encode(replaced.get(name.replace("-", "_"), array), packed)
        (folder / (name + ".gz" * packed)).write_bytes(content)
    return folder
