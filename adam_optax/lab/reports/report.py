"""Hold a report: the table that is printed, and the files, with a page that shows all of it."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from adam_optax.lab.reports import html, provenance
from adam_optax.lab.reports.files import write_report
from adam_optax.lab.reports.html import Section
from adam_optax.lab.reports.tables import Table

PAGE = ".html"
"""The end of the name of the page."""


@dataclasses.dataclass(frozen=True)
class Report:
    """Hold the answer to a question.

    Attributes:
        question: The question, which is the page's title.
        table: The table that is printed, and the first of the page.
        caption: What the figure shows.
        files: Contents of the files but the page, by the end of the file's name: `.png` and `.svg`
            of the figure, and CSV files.
        seeds: The seeds of the runs.
        more: Further sections of the page.
    """

    question: str
    table: Table
    caption: str
    files: Mapping[str, bytes]
    seeds: Sequence[int]
    more: Sequence[Section] = ()

    @property
    def notes(self) -> Sequence[str]:
        """Return the sentences below the table."""
        return self.table.notes

    def names(self, stem: str) -> list[str]:
        """Return the names of the files of the report, the page last.

        Args:
            stem: Beginning of the names.
        """
        return [stem + end for end in (*self.files, PAGE)]

    def page(self, stem: str) -> bytes:
        """Return the page, with links to the files beside it.

        Args:
            stem: Beginning of the names of the files.
        """
        first = Section(
            table=self.table,
            notes=self.table.notes,
            png=self.files.get(".png"),
            caption=self.caption,
            link=f"{stem}.svg" if ".svg" in self.files else "",
        )
        facts = provenance.facts(provenance.listed(self.seeds))
        others = [name for name in self.names(stem) if not name.endswith(PAGE)]
        return html.page(self.question, [first, *self.more], facts, others)

    def write(self, folder: Path, stem: str) -> list[Path]:
        """Write the files, all or none of them, into a folder of their own.

        Args:
            folder: The folder.
            stem: Beginning of the names of the files.

        Raises:
            LabError: If a file cannot be written.
        """
        named = {stem + end: content for end, content in self.files.items()}
        return write_report(folder, {**named, stem + PAGE: self.page(stem)})
