"""The whole site builds without a warning, and has what pages promise."""

import pathlib
import re

import pytest

import adam_optax as ao
from docs._reference import inventory
from tests.docs import markdown

pytestmark = pytest.mark.heavy


def test_every_page_is_built(site: pathlib.Path) -> None:
    pages = [markdown.name(path) for path in markdown.pages()]
    pages += [f"reference/generated/{each.page}" for each in inventory.symbols()]
    pages += [f"notebooks/{p.stem}" for p in (markdown.ROOT / "notebooks").glob("*.ipynb")]
    assert not [page for page in pages if not (site / f"{page}.html").exists()]


def test_the_contents_have_the_order_of_a_sections_links(site: pathlib.Path) -> None:
    text = (site / "notebooks.html").read_text(encoding="utf-8")
    linked = re.findall(
        r"\(notebooks/([\w-]+)\.ipynb\)", (markdown.DOCS / "notebooks.md").read_text()
    )
    contents = re.findall(r'class="toctree-l2"><a[^>]*href="notebooks/([\w-]+)\.html"', text)
    assert contents == linked
    assert len(linked) == len([*(markdown.ROOT / "notebooks").glob("*.ipynb")])


def test_lessons_stand_in_their_order(site: pathlib.Path) -> None:
    index = (markdown.DOCS / "learn/index.md").read_text(encoding="utf-8")
    numbered = re.findall(r"^\d+\. \[[^\]]*\]\((\w+)\.md\)", index, re.MULTILINE)
    text = (site / "learn/index.html").read_text(encoding="utf-8")
    contents = re.findall(r'class="toctree-l2"><a[^>]*href="(\w+)\.html"', text)
    assert numbered[0] == "gradient_descent"
    assert contents == numbered


def test_names_in_prose_are_links(site: pathlib.Path) -> None:
    text = (site / "reference/generated/optimizers.html").read_text(encoding="utf-8")
    assert re.search(r'href="adam_optax\.MomentOptions\.html#[^"]*"><code', text)


def test_numbers_of_a_table_stay_on_one_line(site: pathlib.Path) -> None:
    text = (site / "measured/cpu.html").read_text(encoding="utf-8")
    assert re.search(r'<td class="numbers"><p>1\.00 \(1\.00-1\.00\)</p></td>', text)
    assert 'class="numbers"' not in (site / "choose/index.html").read_text(encoding="utf-8")


def test_the_version_is_shown_and_no_other_host_is_named(site: pathlib.Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    assert f"adam_optax {ao.__version__}" in text
    loaded = re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="(https?:[^"]+)"', text)
    assert not loaded
