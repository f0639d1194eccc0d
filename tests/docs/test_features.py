"""A feature has a page that says what to do with it, beside that of the reference.

An optimiser's page in the reference says when to take it; the others tell a story that guides tell.
"""

import re

import pytest

from docs._reference import groups, inventory
from tests.docs import markdown

pytestmark = pytest.mark.quick
GUIDES = ("start/", "choose/", "move/", "how_to/", "learn/", "develop/")
OF_TYPES = ("__version__", "Direction", "Leaf", "ScaleByScheduledState", "ScaleByState")
"""Names for signatures and for `isinstance`, with which nothing is done."""


def _guides() -> str:
    return "\n".join(
        path.read_text(encoding="utf-8")
        for path in markdown.pages()
        if markdown.name(path).startswith(GUIDES)
    )


def unmentioned(text: str) -> list[str]:
    """Return the features that a text does not name as code: `ao.step`, `adam_optax.aot`."""
    names = [*(each.name for each in groups.members()["tools"]), *inventory.MODULES]
    found = set(re.findall(r"\b(?:ao|adam_optax)\.(\w+)", text))
    return [name for name in names if name not in found | {*OF_TYPES}]


def test_every_feature_is_in_a_guide() -> None:
    if not (markdown.DOCS / "how_to").exists():
        pytest.skip("there are no guides yet: docs/how_to is empty")
    assert not unmentioned(_guides())


def test_a_feature_without_a_guide_is_seen() -> None:
    text = "Take `ao.watch(tx)` and `ao.step`; {py:obj}`adam_optax.rows`."
    missing = unmentioned(text)
    assert "offload" in missing
    assert not {"watch", "step", "rows"} & set(missing)
