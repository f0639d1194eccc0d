"""What the texts on the command line stand for, and which are refused."""

import argparse
import math
from pathlib import Path


def positive(text: str) -> int:
    """An integer from 1."""
    return integer(text, 1)


def integer(text: str, least: int) -> int:
    """An integer from `least`, of 32 bits."""
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value < 2**31:
        raise argparse.ArgumentTypeError(f"expected an integer from {least}, got {text!r}")
    return value


def seeds(text: str) -> range:
    """The numbers below an integer."""
    return range(positive(text))


def seed(text: str) -> list[int]:
    """One seed."""
    return [integer(text, 0)]


def rate(text: str) -> float:
    """A positive number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")
    return value


def names(text: str) -> list[str]:
    """Names between commas."""
    return [one for part in text.split(",") for one in name(part)]


def name(text: str) -> list[str]:
    """One name."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"expected the name of an optimiser, got {text!r}")
    return [text.strip()]


def path(text: str) -> Path:
    """A directory."""
    if not text:
        raise argparse.ArgumentTypeError("expected a directory, got an empty text")
    return Path(text)


def setting(text: str) -> tuple[str, list[float]]:
    """A name and its values: `b1=0.5,0.9`, or `eps=1e-8:1e-2:7` in equal ratios."""
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
    """Values from low to high in equal ratios, to three digits.

    Raises:
      ValueError: If it is not `low:high:count` with positive numbers and two values or more.
    """
    low, high, count = text.split(":")
    first, last, steps = float(low), float(high), int(count) - 1
    if not (0 < first < last < math.inf and 1 <= steps < 1000):
        raise ValueError
    return [float(f"{first * (last / first) ** (i / steps):.3g}") for i in range(steps + 1)]
