"""Print on the terminal: tables, progress bars, the paths of written files, and failures."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from adam_optax._core.extras import needs_extra
from adam_optax._core.user_code import source_of

if TYPE_CHECKING:
    from adam_optax.cli.progress import Shown
    from adam_optax.lab.reports.report import Report
    from adam_optax.lab.reports.tables import Table

BROKEN_PIPE, BAD_INPUT, DIVERGED, INTERRUPTED = 1, 2, 3, 130
"""The exit codes other than 0: of a reader that stopped, of what is refused, of Ctrl-C, and of runs
that all diverged."""
_LONGEST = 2000
"""Characters of a line on stderr, at most."""


def check_lab_extra(command: str) -> None:
    """Check before the training that the packages of the lab extra are installed.

    Raises:
        MissingExtraError: If a package is missing.
    """
    with needs_extra(f"adam-optax {command}", "lab"):
        import jinja2  # noqa: F401
        import matplotlib.figure  # noqa: F401
        import rich.console  # noqa: F401


def show(table: "Table") -> None:
    """Print a table as wide as the terminal is, or whole where no terminal limits the width.

    What does not fit is broken or left out, and said so; no number is cut (see `tables.layout`).
    """
    from rich.console import Console

    from adam_optax.lab.reports.tables import layout, width_of

    console = Console(highlight=False)
    # A file has no width; rich would assume 80 columns.
    width = console.width if console.is_terminal else None
    if width is None:
        console.width = width_of(table)
        with console.capture() as captured:
            console.print(*layout(table, width), sep="\n")
        # rich fills lines up to the width, which in a file only makes them long.
        print("\n".join(line.rstrip() for line in captured.get().splitlines()))
        return
    console.print(*layout(table, width), sep="\n")


def finish(report: "Report", folder: Path, stem: str, shown: "Shown") -> None:
    """Write a report's files and print the rest of the report.

    Args:
        report: The report.
        folder: Where the files go.
        stem: Beginning of the names of the files.
        shown: The progress that is shown until then.

    Raises:
        LabError: If a file cannot be written.
    """
    try:
        written = report.write(folder, stem)
    finally:
        # If the disk filled up meanwhile, the numbers are shown all the same.
        shown.close()
        show(report.table)
    say_written(written)


def say_written(paths: Sequence[Path]) -> None:
    """Print where results were written: their folder, and the files in it."""
    print(f"Wrote {paths[0].parent}/: {', '.join(path.name for path in paths)}", flush=True)


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
