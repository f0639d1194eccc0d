"""Read a docstring of Google's style, whose prose is Markdown, into its parts."""

import functools
import inspect
import re
from dataclasses import dataclass, field

from docs._reference.formula import FormulaError, pieces, to_latex

SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Warns", "Example", "References")
HEADER = re.compile(rf"^({'|'.join(SECTIONS)}):$")
ITEM = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*): (.*)")
PAPERS = re.compile(r"^References?: (.+?)(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


@dataclass
class Docstring:
    """Hold the parts of a docstring, as Markdown.

    Attributes:
        summary: the first sentence.
        body: what stands between the first sentence and the sections.
        step: the formula of a step as LaTeX, a line for each equation; empty: there is none.
        step_words: the sentence that goes on after the formula.
        items: of sections of names and texts (`Args`, `Raises`, ...), the pairs, by section.
        texts: of other sections (`Returns`, `Example`), the text.
        references: the papers.
    """

    summary: str = ""
    body: str = ""
    step: list[str] = field(default_factory=list)
    step_words: str = ""
    items: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    references: list[str] = field(default_factory=list)


@functools.cache
def parse(text: str) -> Docstring:
    """Read a docstring.

    Args:
        text: `__doc__`, with the indentation that it has in the source.
    """
    text = inspect.cleandoc(text)
    named = PAPERS.findall(text)  # in a sentence of their own, with semicolons between them
    body, sections = _split(PAPERS.sub("", text))
    summary, _, rest = body.partition("\n\n")
    found = Docstring(summary=markdown(" ".join(summary.split())))
    paragraphs = rest.split("\n\n")
    for i, paragraph in enumerate(paragraphs):
        if paragraph.startswith("Step: `"):
            found.step, found.step_words = _step(" ".join(paragraph.split()))
            del paragraphs[i]
            break
    found.body = markdown("\n\n".join(paragraphs))
    found.references = [" ".join(each.split()) for line in named for each in line.split("; ")]
    for name, content in sections.items():
        if name == "References":
            entries = re.split(r"(?<=\.)\n(?=[A-Z])", content)
            found.references = [" ".join(entry.split()) for entry in entries]
        elif name in ("Returns", "Yields", "Example"):
            found.texts[name] = markdown(content)
        else:
            found.items[name] = _items(content)
    return found


def _split(text: str) -> tuple[str, dict[str, str]]:
    """Split off the sections; an example below them without a header goes to `Example`."""
    parts: dict[str, list[str]] = {"": []}
    current = ""
    for line in text.splitlines():
        if header := HEADER.match(line):
            current = header[1]
            parts[current] = []
            continue
        if current and line and not line.startswith(" "):
            current = "Example"
            parts.setdefault(current, [])
        parts[current].append(line)
    joined = {name: inspect.cleandoc("\n".join(["", *lines])) for name, lines in parts.items()}
    return joined.pop("", ""), joined


def _items(content: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, list[str]]] = []
    for line in content.splitlines():
        if item := ITEM.match(line):
            pairs.append((item[1], [item[2]]))
        elif pairs:
            pairs[-1][1].append(line.removeprefix("    "))
        else:
            pairs.append(("", [line]))
    return [(name, markdown("\n".join(lines).strip())) for name, lines in pairs]


def _step(paragraph: str) -> tuple[list[str], str]:
    formula = CODE.search(paragraph)
    assert formula is not None
    words = paragraph[formula.end() :].strip().removeprefix(",").removeprefix(".").strip()
    return pieces(formula[1]), CODE.sub(_inline, words)


def _inline(code: re.Match[str]) -> str:
    """Set a formula between backticks as mathematics, and leave names and arguments as they are."""
    text = code[1]
    if re.fullmatch(r"-?[a-z_]{2,}[\d.a-z_]*", text) or "ao." in text or "adam_optax" in text:
        return code[0]
    try:
        return f"${to_latex(text)}$"
    except FormulaError:
        return code[0]


def markdown(text: str) -> str:
    """Turn what is not Markdown into it: examples with `>>>`, and `:math:`."""
    out: list[str] = []
    example = False
    for line in text.splitlines():
        if not example and line.lstrip().startswith(">>> "):
            out += ["", "```pycon"] if out and out[-1] else ["```pycon"]
            example = True
        elif example and not line.strip():
            out += ["```"]
            example = False
        out.append(line)
    if example:
        out.append("```")
    return re.sub(r":math:`([^`]+)`", r"$\1$", "\n".join(out))
