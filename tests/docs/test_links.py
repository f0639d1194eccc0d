"""Links inside the site lead to a page, an anchor or a public name that there is."""

import functools
import pathlib
import re
import urllib.parse
from collections.abc import Iterator

import pytest

from docs._reference import groups, inventory
from tests.docs import markdown

pytestmark = pytest.mark.quick
OF_THE_REPOSITORY = [markdown.ROOT / n for n in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
OURS = re.compile(r"(?![a-z]+:|//)")


@functools.cache
def _made() -> frozenset[pathlib.Path]:
    """Return the pages that a build writes."""
    names = [each.page for each in inventory.symbols()]
    names += [f"adam_optax.{module}" for module in inventory.MODULES]
    names += groups.GROUPS
    notebooks = (markdown.ROOT / "notebooks").glob("*.ipynb")
    made = {markdown.DOCS / f"reference/generated/{name}.md" for name in names}
    return frozenset(made | {markdown.DOCS / "notebooks" / path.name for path in notebooks})


def broken(page: pathlib.Path, text: str, everywhere: frozenset[str]) -> Iterator[str]:
    """Yield the links of a page that lead nowhere.

    Args:
        page: where the page is, from which links are followed.
        text: its text.
        everywhere: the anchors that are written out on any page: MyST finds them from all.
    """
    for link in filter(OURS.match, markdown.links(text)):
        target, _, anchor = urllib.parse.unquote(link).partition("#")
        path = pathlib.Path(page.parent / target).resolve() if target else page
        if path in _made():
            continue
        if not path.exists():
            yield link
        elif anchor and path.suffix == ".md":
            local = markdown.anchors(path)
            if anchor not in local and (target or anchor not in everywhere):
                yield link


def unknown(text: str) -> Iterator[str]:
    """Yield the names in a page's roles that are not public."""
    for name in markdown.objects(text):
        if name.startswith("adam_optax.") and not _is_public(name):
            yield name


def _is_public(name: str) -> bool:
    known = {each.qualified for each in inventory.symbols()}
    if name in known or name.removeprefix("adam_optax.") in inventory.MODULES:
        return True
    owner, _, last = name.rpartition(".")
    if owner in known:
        thing = next(each.thing for each in inventory.symbols() if each.qualified == owner)
        return hasattr(thing, last)
    module = owner.removeprefix("adam_optax").lstrip(".")
    return module in inventory.MODULES and last in inventory.public_names(inventory.module(module))


@functools.cache
def _written_anchors() -> frozenset[str]:
    names = re.compile(r"^\(([\w.-]+)\)=$", re.MULTILINE)
    found = (names.findall(path.read_text(encoding="utf-8")) for path in markdown.pages())
    names_of_ours = [each.qualified for each in inventory.symbols()]
    return frozenset(anchor for anchors in found for anchor in anchors) | {*names_of_ours}


def test_links_lead_somewhere() -> None:
    found = {}
    for path in [*markdown.pages(), *OF_THE_REPOSITORY]:
        text = path.read_text(encoding="utf-8")
        bad = [*broken(path, text, _written_anchors()), *unknown(text)]
        if bad:
            found[str(path.relative_to(markdown.ROOT))] = bad
    assert not found


def test_a_link_that_leads_nowhere_is_seen() -> None:
    page = markdown.DOCS / "index.md"
    text = (
        "[a](reference/index.md) [b](reference/none.md) [c](#adam_optax) [d](#nowhere) ![e](no.png)"
        " [f](reference/index.md#nowhere) [g](https://example.org/none) `[h](none.md)`"
        " {py:obj}`adam_optax.adamw` {py:obj}`x <adam_optax.none>` {py:obj}`adam_optax.rules.Rule`"
        " {py:meth}`adam_optax.watch.read`\n\n```python\nx = [1](2)\n```\n"
    )
    nowhere = ["reference/none.md", "#nowhere", "no.png", "reference/index.md#nowhere"]
    assert [*broken(page, text, frozenset())] == nowhere
    assert [*unknown(text)] == ["adam_optax.none"]


def test_anchors_are_those_of_the_site() -> None:
    assert markdown.slug("`ao.step`: what it does, and why") == "aostep-what-it-does-and-why"
    assert markdown.slug("A [link](x.md) here") == "a-link-here"
