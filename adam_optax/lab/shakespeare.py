"""Text, byte by byte: from 64 of them to the next."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adam_optax.lab.errors import DataError
from adam_optax.lab.problem import Data
from adam_optax.lab.sources import needed, read_bytes

LENGTH = 64
_MOST = 1 << 28
_FILES = "a text file (.txt), or a folder of them"
_TEST = 10  # every tenth window


def load(data_dir: Path | None) -> Data:
    """Cuts the texts into windows: int32 (n, 64), and the byte after each.

    Raises:
      DataError: If there is no text, or too little.
    """
    place = needed(data_dir, "shakespeare", _FILES)
    paths = sorted(place.glob("*.txt")) if place.is_dir() else [place]
    if not paths:
        raise DataError(f"{place}: no .txt file in it; expected {_FILES}")
    return windows(b"".join(read_bytes(path, _MOST) for path in paths), place)


def windows(text: bytes, place: Path) -> Data:
    """The data of a text; the place is for the message.

    Raises:
      DataError: If it is too short for one test window.
    """
    count = (len(text) - 1) // LENGTH
    if count < _TEST:
        raise DataError(
            f"{place}: {len(text)} bytes of text; expected at least {LENGTH * _TEST + 1}"
        )
    codes = np.frombuffer(text, np.uint8).astype(np.int32)
    x, y = (codes[i : i + count * LENGTH].reshape(count, LENGTH) for i in (0, 1))
    held = np.arange(count) % _TEST == _TEST - 1
    return Data(*_part(x, y, ~held), *_part(x, y, held))


def _part(
    x: NDArray[np.int32], y: NDArray[np.int32], chosen: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    return x[chosen], y[chosen]
