"""Find the tables of `docs/measured`, which tests compare with new measurements."""

import pathlib
import re

MEASURED = pathlib.Path(__file__).parents[2] / "docs" / "measured"


def quoted(name: str) -> str:
    """Return the table between the marks of a name; one page has them."""
    pattern = rf"^<!-- {name} -->\n(.*?)\n<!-- /{name} -->$"
    pages = (page.read_text(encoding="utf-8") for page in sorted(MEASURED.glob("*.md")))
    (table,) = (t for text in pages for t in re.findall(pattern, text, re.MULTILINE | re.DOTALL))
    return str(table)
