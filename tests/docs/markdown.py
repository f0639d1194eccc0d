"""Read pages of Markdown: their code blocks, links and anchors."""

import functools
import pathlib
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
MADE = ("_build/", "notebooks/", "reference/generated/")
"""The folders that a build of the site writes."""
FENCE = re.compile(r"^( *)(`{3,}|:{3,})(.*)$")
LINK = re.compile(
    r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?((?:[^()\s>]|\([^()\s]*\))+)>?(?: \"[^\"]*\")?\)"
)
OBJECT = re.compile(r"\{py:(?:obj|func|class|meth|attr|data|mod)\}`(?:[^`<]*<)?[~!]?([\w.]+)>?`")


@dataclass(frozen=True)
class Block:
    """Hold a fenced block: its language, its text, and the line of the page where it begins."""

    language: str
    text: str
    line: int


def pages() -> list[pathlib.Path]:
    """Return the pages that people wrote."""
    return [
        path
        for path in sorted(DOCS.rglob("*.md"))
        if not path.relative_to(DOCS).as_posix().startswith(MADE)
    ]


def name(path: pathlib.Path) -> str:
    """Name a page as its address does: `start/install`."""
    return path.relative_to(DOCS).with_suffix("").as_posix()


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks between backticks, also those inside tabs between colons."""
    opened: tuple[str, str, int] | None = None
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if opened is None:
            if fence and fence[2][0] == "`":
                opened, lines = (fence[2], fence[3].strip(), number + 1), []
        elif fence and fence[2].startswith(opened[0]) and not fence[3].strip():
            yield Block(opened[1], textwrap.dedent("\n".join(lines)), opened[2])
            opened = None
        else:
            lines.append(line)


def script(text: str) -> str:
    """Join a page's blocks of Python into one program, each line where it is on the page."""
    lines: list[str] = []
    for block in blocks(text):
        if block.language == "python":
            lines += [""] * (block.line - 1 - len(lines))
            lines += block.text.splitlines()
    return "\n".join(lines) + "\n" if lines else ""


def prose(text: str) -> str:
    """Return a page without its code, in which brackets and hashes mean something else."""
    out, closing = [], ""
    for line in text.splitlines():
        fence = FENCE.match(line)
        if closing:
            out.append("")
            closing = "" if fence and line.strip() == closing else closing
        elif fence and fence[2][0] == "`" and not fence[3].startswith("{"):
            closing = fence[2]
            out.append("")
        else:
            out.append(line)
    return "\n".join(out)


def links(text: str) -> list[str]:
    """Return the targets of a page's links and pictures."""
    return LINK.findall(re.sub(r"(?<!`)`[^`]+`(?!`)", "`code`", prose(text)))


def objects(text: str) -> list[str]:
    """Return the names to which a page's roles link: `adam_optax.adamw`."""
    return OBJECT.findall(prose(text))


@functools.cache
def anchors(path: pathlib.Path) -> frozenset[str]:
    """Return the anchors of a page: of its headings, and those that are written out."""
    text = prose(path.read_text(encoding="utf-8"))
    found = set(re.findall(r"^\(([\w.-]+)\)=$", text, re.MULTILINE))
    found |= set(re.findall(r"^:(?:name|label): *([\w.-]+)$", text, re.MULTILINE))
    found |= set(re.findall(r"\{#([\w.-]+)\}", text)) | set(re.findall(r'id="([\w.-]+)"', text))
    for heading in re.findall(r"^#{1,4} +(.+?) *$", text, re.MULTILINE):
        found.add(slug(heading))
    return frozenset(found)


def slug(heading: str) -> str:
    """Return the anchor that MyST, as GitHub, gives to a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    plain = re.sub(r"\{[\w:]+\}", "", plain).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
