"""Lay out tables for a width: numbers stay whole, and columns that do not fit are named.

A table that is too wide is made narrower in steps that lose little: cells of two numbers are broken
between the numbers, columns of the highest rank are left out, names are broken, and at last each
row becomes lines of `heading: cell`. No cell is ever cut.
"""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from adam_optax.lab.errors import needs_lab_extra

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table as RichTable

_SHORT_NAME, _SHORTEST_NAME = 20, 12
"""Characters of a line of a broken name, at least: before columns are left out, and after."""
_UNLIMITED = 100_000


@dataclasses.dataclass(frozen=True)
class Column:
    """Hold a column of a table.

    Attributes:
        head: The heading.
        meaning: What the cells are, for the lines below the table; empty for what needs no words.
        cells: The cells, as text.
        rank: 0 for a column that is always shown; of the others, those of the highest rank are the
            first to be left out of a narrow table.
        is_name: Whether the cells are names, which are aligned to the left and may be broken.
    """

    head: str
    meaning: str
    cells: Sequence[str]
    rank: int = 0
    is_name: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """Hold a table, with its title and the notes below it.

    Attributes:
        title: The title: what was measured.
        columns: The columns, all of the same length.
        notes: Sentences below the table.
        elsewhere: Where columns are that a narrow table leaves out.
    """

    title: str
    columns: Sequence[Column]
    notes: Sequence[str] = ()
    elsewhere: str = "in the files"

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Return the cells, row by row."""
        return list(zip(*(column.cells for column in self.columns), strict=True))

    @property
    def legend(self) -> list[tuple[str, str]]:
        """Return the heading and the meaning of each column that needs one."""
        return [(column.head, column.meaning) for column in self.columns if column.meaning]


def layout(table: Table, width: int | None) -> "list[RenderableType]":
    """Return what the console prints for a table: title, rows, meanings of the columns, notes.

    Args:
        table: The table.
        width: Characters of a line; `None`: as many as it takes.

    Raises:
        LabError: If rich is not installed.
    """
    with needs_lab_extra("the table"):
        from rich.text import Text
    columns = fit(table.columns, width)
    gone = [column.head for column in table.columns if column.head not in _heads(columns)]
    notes = list(table.notes)
    if gone:
        notes.append(f"left out at this width, and {table.elsewhere}: {', '.join(gone)}")
    shown: list[RenderableType] = [Text(table.title)]
    if width is None or _width(columns) <= width:
        shown.append(_drawn(columns))
    else:
        whole = [column for column in table.columns if column.head in _heads(columns)]
        shown += [Text(f"\n{record}") for record in _records(whole)]
    meanings = [(column.head, column.meaning) for column in columns if column.meaning]
    if meanings:
        shown += [Text(), _meanings(meanings)]
    if notes:
        shown += [Text(), *map(Text, notes)]
    return shown


def width_of(table: Table) -> int:
    """Return the characters of the longest line of a table that nothing limits."""
    heads, meanings = ([pair[i] for pair in table.legend] for i in (0, 1))
    legend = 2 + max(map(_cells, heads), default=0) + max(map(_cells, meanings), default=0)
    return max(_width(table.columns), legend, *map(_cells, (table.title, *table.notes)))


def fit(columns: Sequence[Column], width: int | None) -> list[Column]:
    """Return the columns as they fit into a width: broken, or fewer of them.

    Args:
        columns: The columns.
        width: Characters of a line; `None`: as many as it takes.
    """
    found: list[Column] = []
    for found in _attempts(columns, width or _UNLIMITED):
        if _width(found) <= (width or _UNLIMITED):
            break
    return found


def _attempts(columns: Sequence[Column], width: int) -> Iterator[list[Column]]:
    """Yield ever narrower forms of a table."""
    yield list(columns)
    yield [_with_broken_head(column) for column in columns]
    broken = [_with_broken_head(_with_broken_cells(column)) for column in columns]
    yield broken
    yield _with_broken_names(broken, width, _SHORT_NAME)
    while any(column.rank for column in broken):
        least = max(broken, key=lambda column: column.rank)
        broken = [column for column in broken if column is not least]
        yield broken
        yield _with_broken_names(broken, width, _SHORT_NAME)
    yield _with_broken_names(broken, width, _SHORTEST_NAME)


def _with_broken_head(column: Column) -> Column:
    """Break a heading at its spaces and after its slashes, where the cells are narrower."""
    room = max([_cells(cell) for cell in column.cells], default=1)
    lines = [""]
    for word in re.findall(r"[^ /]+/?| +", column.head):
        if lines[-1].strip() and _cells((lines[-1] + word).rstrip()) > room:
            lines.append("")
        lines[-1] += word
    return dataclasses.replace(column, head="\n".join(line.strip() for line in lines))


def _with_broken_cells(column: Column) -> Column:
    if column.is_name:
        return column
    cells = [re.sub(r" (?=[±(])", "\n", cell) for cell in column.cells]
    return dataclasses.replace(column, cells=cells)


def _with_broken_names(columns: Sequence[Column], width: int, shortest: int) -> list[Column]:
    """Break names after a slash, a point, a space or the like; a long part anywhere.

    Args:
        columns: The columns.
        width: Characters of a line.
        shortest: Characters of a line of a name, at least.
    """
    names = [column for column in columns if column.is_name]
    if not names:
        return list(columns)
    rest = width - _width([column for column in columns if not column.is_name])
    room = max(shortest, rest // len(names) - 3)
    return [
        dataclasses.replace(column, cells=[_broken(cell, room) for cell in column.cells])
        if column.is_name
        else column
        for column in columns
    ]


def _broken(name: str, room: int) -> str:
    lines = [""]
    for part in re.findall(r"[^/_. ,-]*[/_. ,-]?", name):
        if _cells((lines[-1] + part).rstrip()) > room and lines[-1]:
            lines.append("")
        rest = part
        while _cells(rest.rstrip()) > room:
            lines[-1], rest = rest[:room], rest[room:]
            lines.append("")
        lines[-1] += rest
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _heads(columns: Sequence[Column]) -> set[str]:
    return {_joined(column.head) for column in columns}


def _joined(head: str) -> str:
    """Return a heading in one line again."""
    return head.replace("/\n", "/").replace("\n", " ")


def _cells(text: str) -> int:
    """Return the width of the widest line of a text; some characters are two wide."""
    from rich.cells import cell_len

    return max(map(cell_len, text.split("\n")))


def _width(columns: Sequence[Column]) -> int:
    """Return the width of the drawn table: two characters beside each column, one between two."""
    widths = [max(map(_cells, (column.head, *column.cells))) for column in columns]
    return sum(widths) + 2 * len(widths) + len(widths) - 1


def _drawn(columns: Sequence[Column]) -> "RichTable":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1))
    lines = max(column.head.count("\n") for column in columns)
    for column in columns:
        head = "\n" * (lines - column.head.count("\n")) + column.head  # the last lines are level
        drawn.add_column(Text(head), justify="left" if column.is_name else "right", no_wrap=True)
    tall = any("\n" in cell for column in columns for cell in column.cells)
    for row in zip(*(column.cells for column in columns), strict=True):
        # A plain string would be read as markup, and a name in square brackets would be lost.
        drawn.add_row(*map(Text, row), end_section=tall)
    return drawn


def _records(columns: Sequence[Column]) -> Iterator[str]:
    """Yield each row as lines of a heading and a cell, for what fits no other way."""
    for row in zip(*(column.cells for column in columns), strict=True):
        cells = zip(columns, row, strict=True)
        yield "\n".join(f"{column.head}: {cell}" for column, cell in cells)


def _meanings(legend: Sequence[tuple[str, str]]) -> "RichTable":
    from rich.table import Table as RichTable
    from rich.text import Text

    grid = RichTable.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column()
    for head, meaning in legend:
        grid.add_row(Text(_joined(head), style="bold"), Text(meaning))
    return grid
