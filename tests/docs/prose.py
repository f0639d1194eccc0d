"""Take the words out of Markdown, notebooks, docstrings and comments, each line where it was."""

import ast
import io
import json
import pathlib
import re
import tokenize
from collections.abc import Iterator

from tests.docs import markdown

NOT_WORDS = re.compile(
    r"""
    \$\$.*?\$\$ | \$[^$\n]+\$                             # formulas
    | (?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)          # code
    | ^[ ]*>>>.*?(?=^[ ]*$|\Z)                            # examples, and what they print
    | ^[ ]*\*{0,2}\w+(?:,[ ]\*{0,2}\w+)*:(?=[ ])          # names of arguments
    | \{[\w:-]+\}                                         # roles and directives
    | \[(?:[^\[\]]|\[[^\]]*\])+\]\(<?https?:[^)]*\)       # titles, and addresses
    | \]\([^)\s]*\) | https?://\S+ | <[^>\n]+>
    | "[^"\n]+(?:\n[^"\n]+)?"                             # the words of others
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
"""What no list of English words is for."""


def of(path: pathlib.Path) -> str:
    """Return what a file says to its readers, line by line if it is no notebook."""
    kinds = {".md": markdown.prose, ".ipynb": _of_notebook, ".py": _of_python}
    return words(kinds[path.suffix](path.read_text(encoding="utf-8")))


def words(text: str) -> str:
    """Return a text without code, formulas, titles and addresses."""
    return NOT_WORDS.sub(lambda found: " ¦ " + "\n" * found[0].count("\n"), text)


def docstrings(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each docstring of a module, those of constants among them."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            said = node.value.value
            if isinstance(said, str):
                yield node.lineno, said


def _of_notebook(text: str) -> str:
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
    return markdown.prose("\n\n".join("".join(cell["source"]) for cell in cells))


def _of_python(text: str) -> str:
    lines = [""] * (text.count("\n") + 1)
    for line, said in docstrings(text):
        for i, each in enumerate(said.split("\n"), line - 1):
            lines[i] = each
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not re.match(r"# ?(?:noqa|type:)", token.string):
            lines[token.start[0] - 1] = token.string
    return "\n".join(lines)
