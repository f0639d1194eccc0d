"""Run the command `adam-optax conventions`: how each framework writes Adam, in one table."""

import csv
import difflib
import re
import sys
from collections.abc import Sequence
from itertools import groupby

from rich_click import Choice, ClickException

from adam_optax.cli.commands import Arguments, Command, argument, option
from adam_optax.cli.console import show
from adam_optax.conventions import ALL, Convention
from adam_optax.conventions._table import HEADINGS, MEANINGS, Row, cells, rows
from adam_optax.lab.reports.tables import Column, Table

_RANKS = {"max": 4, "b1": 3, "rate": 2, "bias": 1}
"""Columns that a narrow terminal does without, the highest first."""
_EPILOG = (
    "what is in it:\n"
    "  for every optimiser that a framework has and this library computes exactly, the defaults "
    "and where eps stands. The arguments are in Python: ao.adamw(lr, "
    "**ao.conventions.PYTORCH.adamw). A narrow terminal leaves columns out, and says which.\n"
)


def _run(args: Arguments) -> int:
    """Print the table, and of a framework that is named what differs from optax."""
    found = ALL if args.framework is None else _named(args.framework)
    if args.format == "csv":
        csv.writer(sys.stdout, lineterminator="\n").writerows([HEADINGS, *map(cells, rows(found))])
        return 0
    if args.format == "markdown":
        print(markdown(rows(found)), flush=True)
        return 0
    told = [] if args.framework is None else [_told(convention) for convention in found]
    show(_table(rows(found), told))
    return 0


def _named(text: str) -> Sequence[Convention]:
    """Return the frameworks in whose name a text is, whatever its case, spaces and signs.

    Raises:
        ClickException: If it is in none.
    """
    plain = {convention.name: _plain(convention.name) for convention in ALL}
    found = [convention for convention in ALL if _plain(text) in plain[convention.name]]
    if found and _plain(text):
        return found
    close = difflib.get_close_matches(_plain(text), plain.values(), n=1, cutoff=0.6)
    meant = [f", did you mean {name!r}?" for name, key in plain.items() if key in close]
    raise ClickException(
        f"no framework is called {text!r}{meant[0] if meant else ';'} there are {', '.join(plain)}"
    )


def _plain(name: str) -> str:
    return re.sub(r"\W|_", "", name.lower())


def _told(convention: Convention) -> str:
    return f"{convention.name} ({convention.source}): {convention.differs}\n"


def _table(found: Sequence[Row], notes: Sequence[str]) -> Table:
    """Lay out the rows below the names of their frameworks, which would make a wide column."""
    lines: list[tuple[str, ...]] = []
    for framework, members in groupby(found, key=lambda row: row.framework):
        lines.append((framework, *[""] * (len(HEADINGS) - 2)))
        lines += [(f"  {name}", *rest) for _, name, *rest in map(cells, members)]
    columns = zip(*lines, strict=True)
    heads = ("optimiser", *HEADINGS[2:])
    several = len({row.framework for row in found})
    return Table(
        "Adam as "
        + (f"{several} frameworks write it" if several > 1 else f"{found[0].framework} writes it"),
        [
            Column(head, MEANINGS.get(head, ""), column, _RANKS.get(head, 0), head == "optimiser")
            for head, column in zip(heads, columns, strict=True)
        ],
        notes,
        elsewhere="shown by --format markdown",
    )


def markdown(found: Sequence[Row]) -> str:
    """Write rows as a table in Markdown, as a page of the documentation has it.

    Args:
        found: the rows.
    """
    lines = [HEADINGS, ("---",) * len(HEADINGS), *map(cells, found)]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |".replace("  ", " ") for line in escaped)


CONVENTIONS = Command(
    "conventions",
    "show how each framework writes Adam",
    ": its defaults, where eps stands, what is corrected for its bias, and the weight decay.",
    [
        argument("framework", "one of them, or a part of its name", required=False),
        option(
            "--format",
            type=Choice(["table", "csv", "markdown"]),
            default="table",
            help="how to write the table [table]",
        ),
    ],
    _run,
    examples="""\
  adam-optax conventions
  adam-optax conventions keras
  adam-optax conventions --format csv > conventions.csv
""",
    epilog=lambda: _EPILOG,
)
