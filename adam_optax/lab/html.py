"""A page of text, tables and pictures in one file that needs no other."""

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
    """The page; the parts are HTML, as made by the functions below."""
    name = html.escape(title)
    head = f'<meta charset="utf-8"><title>{name}</title><style>{_STYLE}</style>'
    body = "\n".join(parts)
    text = f'<!doctype html>\n<html lang="en">{head}\n<h1>{name}</h1>\n{body}\n</html>\n'
    return text.encode()


def heading(text: str) -> str:
    """A heading."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str) -> str:
    """A paragraph."""
    return f"<p>{html.escape(text)}</p>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts."""
    lines = [_row("th", header), *(_row("td", row) for row in rows)]
    return "<div><table>\n" + "\n".join(lines) + "\n</table></div>"


def image(png: bytes, text: str) -> str:
    """A picture, inside the page; the text says what it shows."""
    data = base64.b64encode(png).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{html.escape(text, quote=True)}">'


def _row(kind: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells) + "</tr>"
