"""What a conversion raises, and how it names what is wrong."""

import difflib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

_SHOWN = 5


class ConversionError(ValueError):
    """A state, a mapping of names or a file that cannot be converted; the text says the way out."""


def raise_for(problems: list[str]) -> None:
    """Raises one error for all problems, if there are any.

    Raises:
        ConversionError: with a line for each problem.
    """
    if len(problems) == 1:
        raise ConversionError(problems[0])
    if problems:
        lines = "".join(f"\n  {number}. {text}" for number, text in enumerate(problems, 1))
        raise ConversionError(f"{len(problems)} things do not fit:{lines}")


def listed(names: Iterable[str]) -> str:
    """Names for a text: the first few, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more


def similar(name: str, known: Collection[str]) -> str:
    """What was perhaps meant by an unknown name, or else what there is."""
    if close := difflib.get_close_matches(name, known, n=1):
        return f"did you mean {close[0]!r}?"
    return f"there is {listed(map(repr, known))}" if known else "there is none"


@contextmanager
def needs(package: str, install: str) -> Iterator[None]:
    """Turns a missing optional package into the command that installs it.

    Raises:
        ConversionError: if the body fails to import a module.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        text = f"this needs {package}: pip install {install} ({error})"
        raise ConversionError(text) from error


EXTRA = "'adam-optax[convert]'"
