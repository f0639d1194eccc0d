"""README is one page, and its links lead to files that a repository has without a build."""

import pathlib
import urllib.parse
from collections.abc import Iterator

import pytest

from tests.docs import markdown

pytestmark = pytest.mark.quick
README = markdown.ROOT / "README.md"
LINES = range(120, 151)


def astray(text: str) -> Iterator[str]:
    """Yield the links that lead to no file, or to none that is committed."""
    made = [markdown.DOCS / folder for folder in markdown.MADE]
    for link in markdown.links(text):
        if link.startswith(("https:", "http:")):
            continue
        target, _, anchor = urllib.parse.unquote(link).partition("#")
        path = pathlib.Path(markdown.ROOT / target).resolve()
        is_made = any(path.is_relative_to(folder) for folder in made)
        there = path.is_file() and not is_made and not target.startswith("/")
        if not there or (anchor and anchor not in markdown.anchors(path)):
            yield link


def test_readme_is_one_page() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) in LINES


def test_links_of_readme_lead_to_files() -> None:
    text = README.read_text(encoding="utf-8")
    assert [*astray(text)] == []
    assert len(markdown.links(text)) > 30


def test_a_link_of_readme_that_leads_astray_is_seen() -> None:
    text = (
        "[a](docs/index.md) [b](docs/none.md) [c](docs) [d](/docs/index.md) [e](docs/index.md#none)"
        " ![f](docs/figures/readme.svg) [g](docs/reference/generated/adam_optax.adamw.md)"
        " [h](docs/measured/cpu.md#the-step-alone) [i](https://example.org) [j](#quick-start)"
    )
    wrong = ["docs/none.md", "docs", "/docs/index.md", "docs/index.md#none"]
    made = "docs/reference/generated/adam_optax.adamw.md"
    assert [*astray(text)] == [*wrong, made, "#quick-start"]
