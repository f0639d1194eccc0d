"""What commands say while and after they train: tables, bars, where the files went."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from adam_optax.lab.sweep import OnProgress

if TYPE_CHECKING:
    from rich.table import Table

    from adam_optax.lab.study_reports import Report


def show(table: "Table") -> None:
    """Prints a table, whole where no terminal limits its width."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        # A file has no width; rich would assume 80 columns and cut the numbers.
        console.width = console.measure(table, options=console.options.update(width=1000)).maximum
    console.print(table)


def finish(report: "Report", out: Path, stem: str) -> None:
    """Writes a report's files and prints the rest of it.

    Raises:
      LabError: If a file cannot be written.
    """
    try:
        written = report.write(out, stem)
    finally:
        # A disk that filled up meanwhile must not cost the numbers as well.
        _print(report)
    print("Wrote", ", ".join(map(str, written)), flush=True)


def _print(report: "Report") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    title, header, rows = report.table
    print(title)
    table = Table(box=SIMPLE_HEAD)
    for place, name in enumerate(header):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))  # a name in square brackets would be taken for markup
    show(table)
    for note in report.notes:
        print(note)


@contextmanager
def bar(quiet: bool) -> Iterator[OnProgress]:
    """A progress bar of runs, on stderr, where someone is looking."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    disable = quiet or not console.is_terminal
    with Progress(console=console, disable=disable, transient=True) as progress:
        task = progress.add_task("training", total=None)

        def update(done: int, planned: int) -> None:
            text = f"{done} of {planned}"
            progress.update(task, completed=done, total=planned, description=text)

        yield update


def interrupted(text: str) -> int:
    """Says on stderr what became of what was interrupted; returns the exit code."""
    print("adam-optax: interrupted:", text, file=sys.stderr)
    return INTERRUPTED


INTERRUPTED = 130
"""The exit code after Ctrl-C."""
