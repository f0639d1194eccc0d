"""Write a page of text, tables and pictures as one file that needs no other file."""

import base64
import html
from collections.abc import Iterable, Sequence

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 66em; padding: 0 1em;
  color: #111; background: #fff }
table { border-collapse: collapse; margin: 1em 0 }
th, td { padding: .2em .8em; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
img { max-width: 100%; height: auto }
div { overflow-x: auto }
"""


def page(title: str, parts: Iterable[str]) -> bytes:
    """Return a page under a title.

    Args:
        title: The title, as text.
        parts: The parts of the page, as HTML from the functions below.
    """
    name = html.escape(title)
    head = f'<meta charset="utf-8"><title>{name}</title><style>{_STYLE}</style>'
    body = "\n".join(parts)
    text = f'<!doctype html>\n<html lang="en">{head}\n<h1>{name}</h1>\n{body}\n</html>\n'
    return text.encode()


def heading(text: str) -> str:
    """Return a heading as HTML."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str) -> str:
    """Return a paragraph as HTML."""
    return f"<p>{html.escape(text)}</p>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of texts as HTML."""
    lines = [_row("th", header), *(_row("td", row) for row in rows)]
    return "<div><table>\n" + "\n".join(lines) + "\n</table></div>"


def image(png: bytes, text: str) -> str:
    """Return a picture as HTML that contains the picture's bytes.

    Args:
        png: The picture, as PNG.
        text: Description of the picture, for those who do not see it.
    """
    data = base64.b64encode(png).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{html.escape(text, quote=True)}">'


def _row(kind: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells) + "</tr>"
