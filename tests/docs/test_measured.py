"""Each measured table stands once, with its command, machine, date, and what it does not say."""

import re

import pytest

from tests.docs import markdown

pytestmark = pytest.mark.quick
FOLDER = markdown.DOCS / "measured"
LABEL = re.compile(r"^\((measured-[\w-]+)\)=$", re.MULTILINE)
STATED = re.compile(r"\*\*Command\*\* .*? · \*\*machine\*\* .*? · \*\*date\*\* 20\d\d-\d\d-\d\d")


def tables() -> dict[str, str]:
    """Return the text below each label."""
    found: dict[str, str] = {}
    for page in sorted(FOLDER.glob("*.md")):
        _, *parts = LABEL.split(page.read_text(encoding="utf-8"))
        found |= dict(zip(parts[::2], parts[1::2], strict=True))
    return found


def left_out(text: str) -> list[str]:
    """Return what the text about a table does not say."""
    text = " ".join(text.split())
    missing = [] if STATED.search(text) else ["command, machine and date"]
    missing += [w for w in ("What it says:", "What it does not say:") if w not in text]
    named = re.findall(r"python -m benchmarks\.(\w+)", text)
    places = {n: markdown.ROOT / "benchmarks" / n for n in named}
    files = {n: (at.with_suffix(".py"), at / "__main__.py") for n, at in places.items()}
    return missing + [n for n in named if not any(file.exists() for file in files[n])]


def test_every_table_says_how_it_was_made() -> None:
    assert {name: bad for name, text in tables().items() if (bad := left_out(text))} == {}


def test_a_table_that_does_not_say_is_seen() -> None:
    text = tables()["measured-differences"]
    assert left_out(text.replace("**date** 2026", "**date** once")) == ["command, machine and date"]
    assert left_out(text.replace("not say:", "")) == ["What it does not say:"]
    assert left_out(text.replace("benchmarks.differences", "benchmarks.none")) == ["none"]


def test_the_index_leads_to_every_table() -> None:
    index = (FOLDER / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\(#(measured-[\w-]+)\)", index)) == tables().keys()


def test_a_table_stands_once() -> None:
    pages = [*markdown.pages(), markdown.ROOT / "README.md"]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    marks = [mark for text in texts for mark in re.findall(r"^<!-- (\w+) -->$", text, re.MULTILINE)]
    assert len(marks) == len(set(marks)) >= 13
    rows = [row for text in texts for row in re.findall(r"^\|.*\d.*\|.*\|$", text, re.MULTILINE)]
    assert not {row for row in rows if rows.count(row) > 1}
