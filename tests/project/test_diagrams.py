"""Hold the site's diagrams to the source that they are drawn from."""

import re
import xml.etree.ElementTree as ET

import pytest

from docs.figures import diagrams
from tests.project.test_layers import LEVEL, ROOT

pytestmark = pytest.mark.quick
NAMES = pytest.mark.parametrize("name", diagrams.DIAGRAMS)


@NAMES
def test_what_is_committed_is_what_the_source_says(name: str) -> None:
    committed = (diagrams.HERE / f"{name}.svg").read_text(encoding="utf-8")
    assert committed == diagrams.DIAGRAMS[name](), "python -m docs.figures.diagrams"


@NAMES
def test_a_page_shows_it_and_it_has_words(name: str) -> None:
    docs = diagrams.HERE.parent
    pattern = rf"!\[[^\]]{{60,}}\]\([./]*figures/{name}\.svg\)"
    assert any(re.search(pattern, page.read_text(encoding="utf-8")) for page in docs.rglob("*.md"))
    svg = ET.fromstring((diagrams.HERE / f"{name}.svg").read_text(encoding="utf-8"))
    title, words = (
        svg.findtext(f"{{http://www.w3.org/2000/svg}}{tag}") for tag in ("title", "desc")
    )
    assert title
    assert words


def test_the_parts_are_those_of_the_layers() -> None:
    assert diagrams.WHAT.keys() == LEVEL.keys()


def test_an_import_more_is_an_arrow_more(monkeypatch: pytest.MonkeyPatch) -> None:
    more = {**diagrams.imported(), "rows": diagrams.imported()["rows"] | {"_alias"}}
    before = diagrams.architecture()
    monkeypatch.setattr(diagrams, "imported", lambda: more)
    assert ("rows", "_alias") in diagrams.edges()
    assert diagrams.architecture() != before


def test_the_route_is_of_files_that_are_there() -> None:
    files = dict(diagrams.route())
    assert list(files)[:2] == ["_alias/adam.py", "rules/adam.py"]
    assert all((ROOT / file).exists() for file in files)
    assert files["_engine/leaf.py"] == "compile_step_scalars, leaf_step"
