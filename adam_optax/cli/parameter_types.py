"""Parse the texts of arguments, and refuse those that are out of range."""

import math
from pathlib import Path

from rich_click import BadParameter

from adam_optax.lab.engines import ENGINES, is_engine


def count(text: str) -> int:
    """Parse a number of things: an integer from 1, of 32 bits."""
    return _integer(text, 1)


def seed(text: str) -> int:
    """Parse a seed, or a number of things that may be none: an integer from 0, of 32 bits."""
    return _integer(text, 0)


def _integer(text: str, least: int) -> int:
    """Parse an integer from `least`, of 32 bits.

    Raises:
        BadParameter: If the text is no such integer.
    """
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value < 2**31:
        raise BadParameter(f"expected an integer from {least}, got {text!r}")
    return value


def rate(text: str) -> float:
    """Parse a positive number.

    Raises:
        BadParameter: If the text is no positive finite number.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise BadParameter(f"expected a positive number, got {text!r}")
    return value


def names(text: str) -> list[str]:
    """Parse names between commas.

    Raises:
        BadParameter: If a name is empty.
    """
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise BadParameter(f"expected the name of an optimiser, got {text!r}")
    return found


def name(text: str) -> list[str]:
    """Parse one name, to a list of that name.

    Raises:
        BadParameter: If the name is empty, or there are several.
    """
    found = names(text)
    if len(found) > 1:
        raise BadParameter(f"expected the name of one optimiser, got {text!r}")
    return found


def engine(text: str) -> str:
    """Check that a text names an engine that does the parts of some work.

    Raises:
        BadParameter: If it names none.
    """
    if not is_engine(text):
        raise BadParameter(f"expected {ENGINES}, got {text!r}")
    return text


def path(text: str) -> Path:
    """Parse the path of a file or a folder, which need not be there.

    Raises:
        BadParameter: If the text is empty.
    """
    if not text:
        raise BadParameter("expected a path, got an empty text")
    return Path(text)


def setting(text: str) -> tuple[str, list[float]]:
    """Parse a name and its values: `b1=0.5,0.9`, or `eps=1e-8:1e-2:7` in equal ratios.

    Raises:
        BadParameter: If the text has neither form, or a value is not finite.
    """
    name, equals, values = text.partition("=")
    try:
        found = _spaced(values) if ":" in values else [float(value) for value in values.split(",")]
    except ValueError:
        found = []
    if not (name.strip() and equals and found and all(map(math.isfinite, found))):
        raise BadParameter(f"expected NAME=x,y,... or NAME=low:high:count, got {text!r}")
    return name.strip().replace("-", "_"), found


def _spaced(text: str) -> list[float]:
    """Parse `low:high:count` to values in equal ratios, rounded to three digits.

    Raises:
        ValueError: If the text is not `low:high:count` with positive numbers and a count from 2.
    """
    low, high, number = text.split(":")
    first, last, steps = float(low), float(high), int(number) - 1
    if not (0 < first < last < math.inf and 1 <= steps < 1000):
        raise ValueError
    return [float(f"{first * (last / first) ** (i / steps):.3g}") for i in range(steps + 1)]
