"""Read texts as windows of 64 bytes, in which each byte is predicted from those before it."""

from pathlib import Path

import numpy as np

from adam_optax.lab._problems.data_files import read_files, require_path
from adam_optax.lab._problems.problem import Data
from adam_optax.lab.errors import DataError

LENGTH = 64
"""Bytes in a window."""
MAX_BYTES = 1 << 25
"""Bytes of text, at most: Shakespeare has 5.6 MB. The windows take nine times the memory."""
_FILES = "a text file (.txt), or a folder of them"
_TEST_EVERY = 10
"""Every tenth window is held out."""


def load(data_dir: Path | None) -> Data:
    """Cut the texts into windows: int32 (n, 64), and the byte after each byte.

    Raises:
        DataError: If there is no text, too little, or more than `MAX_BYTES`.
    """
    place = require_path(data_dir, "shakespeare", _FILES)
    paths = sorted(place.glob("*.txt")) if place.is_dir() else [place]
    if not paths:
        raise DataError(f"{place}: no .txt file in it; expected {_FILES}")
    return windows(b"".join(read_files(paths, MAX_BYTES)), place)


def windows(text: bytes, place: Path) -> Data:
    """Cut a text into windows, every tenth of which is held out.

    Args:
        text: The text.
        place: Where the text is from, for the error message.

    Raises:
        DataError: If the text is too short for one test window.
    """
    count = (len(text) - 1) // LENGTH
    if count < _TEST_EVERY:
        raise DataError(
            f"{place}: {len(text)} bytes of text; expected at least {LENGTH * _TEST_EVERY + 1}"
        )
    codes = np.frombuffer(text, np.uint8)
    x, y = (codes[i : i + count * LENGTH].reshape(count, LENGTH) for i in (0, 1))
    held_out = np.arange(count) % _TEST_EVERY == _TEST_EVERY - 1
    return Data(*(a[at].astype(np.int32) for at in (~held_out, held_out) for a in (x, y)))
