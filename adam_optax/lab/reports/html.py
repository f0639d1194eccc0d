"""Write a report's page, as one file that needs no other file, and tables for notebooks."""

import base64
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adam_optax.lab.errors import needs_lab_extra
from adam_optax.lab.reports.tables import Table

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclasses.dataclass(frozen=True)
class Section:
    """Hold a section of a page: a table, sentences and a picture, each of which may be missing.

    Attributes:
        heading: The heading; empty: none.
        table: The table.
        notes: Sentences.
        png: The picture, as PNG.
        caption: What the picture shows, also for those who do not see it.
        link: A file beside the page with the same picture, which a click opens: on a phone it can
            be made larger. Empty: none.
    """

    heading: str = ""
    table: Table | None = None
    notes: Sequence[str] = ()
    png: bytes | None = None
    caption: str = ""
    link: str = ""

    @property
    def picture(self) -> str:
        """Return the picture as base64, as a page contains it; empty if there is none."""
        return "" if self.png is None else base64.b64encode(self.png).decode()


def page(
    question: str,
    sections: Sequence[Section],
    facts: Sequence[tuple[str, str]],
    files: Sequence[str],
) -> bytes:
    """Return a page that answers a question.

    The columns of the sections' tables are explained below the sections, each once.

    Args:
        question: The question, which is the page's title.
        sections: The answer.
        facts: How the results were made: names and values, the command and the date say.
        files: Names of the files beside the page, to which the page links.

    Raises:
        LabError: If jinja2 is not installed.
    """
    legends = [pair for one in sections if one.table for pair in one.table.legend]
    text: str = (
        _environment()
        .get_template("page.html.jinja")
        .render(
            question=question,
            sections=sections,
            definitions=list(dict(legends).items()),
            facts=facts,
            files=files,
        )
    )
    return text.encode()


def table(shown: Table) -> str:
    """Return a table as HTML for a notebook, with its title and notes.

    Raises:
        LabError: If jinja2 is not installed.
    """
    return str(_environment().get_template("notebook.html.jinja").render(table=shown))


def _environment() -> "Environment":
    with needs_lab_extra("the page"):
        from jinja2 import Environment, PackageLoader, StrictUndefined
    return Environment(
        loader=PackageLoader("adam_optax.lab.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
