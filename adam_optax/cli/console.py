"""Print on the terminal: tables, progress bars, the paths of written files, and failures."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from adam_optax._core.user_code import source_of
from adam_optax.lab.errors import needs_lab_extra
from adam_optax.lab.sweeper import OnProgress

if TYPE_CHECKING:
    from rich.table import Table

    from adam_optax.lab.reports.studies import Report

INTERRUPTED = 130
"""The exit code after Ctrl-C."""
_LONGEST = 2000
"""Characters of a line on stderr, at most."""


def check_lab_extra(command: str) -> None:
    """Check before the training that the packages of the lab extra are installed.

    Raises:
        LabError: If a package is missing.
    """
    with needs_lab_extra(f"adam-optax {command}"):
        import matplotlib.figure  # noqa: F401
        import rich.console  # noqa: F401


def show(table: "Table") -> None:
    """Print a table, whole where no terminal limits its width."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        # A file has no width; rich would assume 80 columns and cut the numbers.
        console.width = console.measure(table, options=console.options.update(width=1000)).maximum
    console.print(table)


def finish(report: "Report", out: Path, stem: str) -> None:
    """Write a report's files and print the rest of the report.

    Args:
        report: The report.
        out: Where the files go.
        stem: Beginning of the names of the files.

    Raises:
        LabError: If a file cannot be written.
    """
    try:
        written = report.write(out, stem)
    finally:
        # If the disk filled up meanwhile, the numbers are shown all the same.
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
        # A plain string would be read as markup, and a name in square brackets would be lost.
        table.add_row(*map(Text, row))
    show(table)
    for note in report.notes:
        print(note)


@contextmanager
def bar(quiet: bool) -> Iterator[OnProgress]:
    """Show a progress bar of runs on stderr, if stderr is a terminal."""
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
    """Print on stderr what became of an interrupted command, and return the exit code."""
    return fail(f"interrupted: {text}", INTERRUPTED)


def announce_code(name: str) -> None:
    """Say on stderr what code is about to run, if a name is `module:function` and is there."""
    place = source_of(name) if ":" in name else None
    if place is not None:
        say(f"running the code of {name}, from {place}")


def fail(message: str, code: int) -> int:
    """Print a message in one line on stderr, and return the exit code."""
    say(message)
    return code


def say(message: str) -> None:
    """Print a line on stderr.

    What a file or an argument says may be in the line, and could command a terminal or fill it.
    """
    line = " ".join(message.split())
    if len(line) > _LONGEST:  # what is wrong is said at the beginning or at the end
        half = _LONGEST // 2
        line = f"{line[:half]}... ({len(line) - 2 * half} more characters) ...{line[-half:]}"
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    if sys.stderr is not None:  # it may be closed; `print` would take stdout
        with suppress(OSError):  # or full: the exit code says it all the same
            print(f"adam-optax: {''.join(shown)}", file=sys.stderr, flush=True)
