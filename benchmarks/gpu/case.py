"""Define what a part is: cases by key, each of which returns what it measured."""

import dataclasses
import importlib.util
import pathlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

NAMES = ("equality", "steps", "offload", "language", "figures")
"""The parts, in the order in which they run."""


class Measured(NamedTuple):
    """Hold a number of a case, or a word about it.

    Attributes:
        measure: what was measured.
        unit: its unit; empty for a word.
        median: the number, a median where it was taken several times.
        low: the least; None where it was taken once.
        high: the largest; None where it was taken once.
        times: how many times it was taken.
        note: what is to be said beside the number, or instead of one.
    """

    measure: str
    unit: str = ""
    median: float | None = None
    low: float | None = None
    high: float | None = None
    times: int = 1
    note: str = ""


class Case(NamedTuple):
    """Hold a piece of work that is done once: by its key a run knows that it is done.

    Attributes:
        key: a name, of its own within the part, which no other run of the command changes.
        measure: does the work.
    """

    key: str
    measure: Callable[[], Iterable[Measured]]


@dataclasses.dataclass(frozen=True)
class Setup:
    """Hold what a run was asked for.

    Attributes:
        out: where results are.
        miniature: whether sizes are those of a trial on a CPU.
        data: where the data of the paper's figures is.
        text: a file to train on; None: Python's own documentation.
        command: what was called.
    """

    out: pathlib.Path
    miniature: bool = False
    data: pathlib.Path = pathlib.Path("data")
    text: pathlib.Path | None = None
    command: str = ""


@dataclasses.dataclass(frozen=True)
class Part:
    """Describe one of the five parts.

    Attributes:
        name: of the part, in results.
        title: of its table.
        share: of the minutes, in proportion to the shares of the others.
        cases: lists the cases, what matters most first.
        notes: sentences below the table: what its numbers say, and what they do not.
    """

    name: str
    title: str
    share: float
    cases: Callable[[Setup], list[Case]]
    notes: tuple[str, ...] = ()


class AbsentError(Exception):
    """Say what a case needs and this machine lacks."""


def need(*packages: str) -> None:
    """Check that packages are installed, without importing them.

    Raises:
        AbsentError: if one is not.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise AbsentError(f"{package} is not installed")
