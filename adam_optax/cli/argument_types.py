"""Parse the texts of arguments, and refuse those that are out of range."""

import argparse
import math
from pathlib import Path


def positive(text: str) -> int:
    """Parse an integer from 1, of 32 bits."""
    return integer(text, 1)


def seed(text: str) -> int:
    """Parse a seed: an integer from 0, of 32 bits."""
    return integer(text, 0)


def integer(text: str, least: int) -> int:
    """Parse an integer from `least`, of 32 bits.

    Raises:
        ArgumentTypeError: If the text is no such integer.
    """
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value < 2**31:
        raise argparse.ArgumentTypeError(f"expected an integer from {least}, got {text!r}")
    return value


def rate(text: str) -> float:
    """Parse a positive number.

    Raises:
        ArgumentTypeError: If the text is no positive finite number.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")
    return value


def names(text: str) -> list[str]:
    """Parse names between commas.

    Raises:
        ArgumentTypeError: If a name is empty.
    """
    return [one for part in text.split(",") for one in name(part)]


def name(text: str) -> list[str]:
    """Parse one name, to a list of that name.

    Raises:
        ArgumentTypeError: If the name is empty.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError(f"expected the name of an optimiser, got {text!r}")
    return [text.strip()]


def path(text: str) -> Path:
    """Parse the path of a directory.

    Raises:
        ArgumentTypeError: If the text is empty.
    """
    if not text:
        raise argparse.ArgumentTypeError("expected a directory, got an empty text")
    return Path(text)


def setting(text: str) -> tuple[str, list[float]]:
    """Parse a name and its values: `b1=0.5,0.9`, or `eps=1e-8:1e-2:7` in equal ratios.

    Raises:
        ArgumentTypeError: If the text has neither form, or a value is not finite.
    """
    name, equals, values = text.partition("=")
    try:
        found = spaced(values) if ":" in values else [float(value) for value in values.split(",")]
    except ValueError:
        found = []
    if not (name.strip() and equals and found and all(map(math.isfinite, found))):
        raise argparse.ArgumentTypeError(
            f"expected NAME=x,y,... or NAME=low:high:count, got {text!r}"
        )
    return name.strip().replace("-", "_"), found


def spaced(text: str) -> list[float]:
    """Parse `low:high:count` to values in equal ratios, rounded to three digits.

    Raises:
        ValueError: If the text is not `low:high:count` with positive numbers and a count from 2.
    """
    low, high, count = text.split(":")
    first, last, steps = float(low), float(high), int(count) - 1
    if not (0 < first < last < math.inf and 1 <= steps < 1000):
        raise ValueError
    return [float(f"{first * (last / first) ** (i / steps):.3g}") for i in range(steps + 1)]
