"""Show records of results: as a table at the prompt and in notebooks, and as a dataframe."""

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from adam_optax.lab.errors import needs_lab_extra

if TYPE_CHECKING:
    import pandas

    from adam_optax.lab.reports.tables import Table

_WIDTH = 120
"""Characters of a line at the prompt."""


class Shown(ABC):
    """Give a record a table, from which its `repr` and its form in notebooks are made."""

    @abstractmethod
    def table(self) -> "Table | None":
        """Return the table of the record; `None` if no run is finished."""

    @abstractmethod
    def _columns_and_rows(self) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        """Return the names of the dataframe's columns, and its rows."""

    def to_pandas(self) -> "pandas.DataFrame":
        """Return every number of the record as a tidy dataframe, to filter, group and plot.

        Its columns are those of the CSV files that the command line writes.

        Raises:
            LabError: If pandas is not installed.
        """
        with needs_lab_extra("to_pandas()"):
            import pandas
        columns, rows = self._columns_and_rows()
        return pandas.DataFrame(list(rows), columns=list(columns))

    def __repr__(self) -> str:
        """Return the table as text."""
        table = self.table()
        if table is None:
            return self._nothing()
        with needs_lab_extra("the table"):
            from rich.console import Console

        from adam_optax.lab.reports.tables import layout

        console = Console(file=io.StringIO(), width=_WIDTH, highlight=False, color_system=None)
        with console.capture() as captured:
            for part in layout(table, _WIDTH):
                console.print(part)
        return "\n".join(line.rstrip() for line in captured.get().splitlines())

    def _repr_html_(self) -> str:
        """Return the table as HTML, which notebooks show."""
        from adam_optax.lab.reports import html

        table = self.table()
        return f"<p>{self._nothing()}</p>" if table is None else html.table(table)

    def _nothing(self) -> str:
        return f"{type(self).__name__}: no run is finished"


def counted(count: int, what: str) -> str:
    """Return a number with the name of what is counted, in the plural where there are several."""
    return f"{count} {what}" if count == 1 else f"{count:,} {what}s"
