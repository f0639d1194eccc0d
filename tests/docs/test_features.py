"""A feature has a page that says what to do with it, beside that of the reference.

Each public name is named as code on a page that people wrote, or stands below with the reason why
none has to name it.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator

import pytest

from docs._reference import inventory
from docs._reference.inventory import Symbol
from tests.docs import markdown

pytestmark = pytest.mark.quick
NOT_GUIDES = ("reference/", "develop/changelog", "develop/contributing")
"""Written by hand, too, but they list what there is, or are files that stand elsewhere."""

WITHOUT_A_GUIDE = {
    "of annotations and `isinstance`: nothing is done with it": (
        *("Direction", "Leaf", "ScaleByScheduledState", "ScaleByState", "Transformation"),
        *("AdaGCState", "SkipSpikesState", "ZClipState"),
        *(
            "precision.KahanState",
            "precision.SplitMasterState",
            "precision.StochasticRoundingState",
        ),
        *("rows.RowsState", "convert.Names", "conventions.Convention"),
    ),
    "what a function that a guide names returns": (
        *("ByPath", "Memory"),
        *("rows.RowOptimizer", "rows.Rows", "rows.Unique", "convert.TorchGroup"),
        *("aot.Compiled", "aot.Donated", "aot.Donation"),
        *("lab.Comparison", "lab.Epoch", "lab.Point", "lab.Row", "lab.Run"),
        *("lab.Setting", "lab.Spread", "lab.Sweep"),
    ),
    "the arguments that every optimiser takes, one by one in its own page": (
        *("DecayOptions", "MomentOptions"),
    ),
    "an exception, whose message says the way out": ("lab.DataError", "lab.LabError"),
}
"""Names of which no guide speaks, by the reason."""

CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
CALL = re.compile(r"(?:.*<)?~?([A-Za-z_][\w.]*)(?:\(.*\))?>?")
DOTTED = re.compile(r"\b(?:ao|adam_optax)\.([\w.]+)")
OF_A_MODULE = re.compile(rf"(?<![\w.])((?:{'|'.join(inventory.MODULES)})\.\w+)")
IMPORTED = re.compile(r"\bfrom adam_optax(?:\.(\w+))? import \(?([\w, \n]+)")


def named(text: str) -> set[str]:
    """Return the names below the package that a page names as code: `adamw`, `rows.adam`."""
    found = {*_dotted(text), *OF_A_MODULE.findall(text)}
    for code in CODE.findall(text):
        if call := CALL.fullmatch(code):
            found.add(re.sub(r"^(?:ao|adam_optax)\.", "", call[1]))
    return found


def _dotted(text: str) -> Iterator[str]:
    for names in DOTTED.findall(text):
        parts = names.rstrip(".").split(".")
        yield from (".".join(parts[: i + 1]) for i in range(len(parts)))
    for module, names in IMPORTED.findall(text):
        for name in re.findall(r"\w+", names):
            yield f"{module}.{name}".lstrip(".")


def unmentioned(text: str, symbols: Iterable[Symbol]) -> list[str]:
    """Return the public names that a text does not name, under none of their names."""
    found = named(text)
    known = {
        id(getattr(inventory.module(module), name))
        for module, name in (("", *n.split("."))[-2:] for n in found if n.count(".") < 2)
        if module in ("", *inventory.MODULES)
        and name in inventory.public_names(inventory.module(module))
    }
    modules = [name for name in inventory.MODULES if name not in {n.split(".")[0] for n in found}]
    return [each.short for each in symbols if id(each.thing) not in known] + modules


def guides() -> str:
    """Return the text of all pages that tell how to do something."""
    return "\n".join(
        path.read_text(encoding="utf-8")
        for path in markdown.pages()
        if not markdown.name(path).startswith(NOT_GUIDES)
    )


def test_every_feature_is_in_a_guide() -> None:
    without = {name for names in WITHOUT_A_GUIDE.values() for name in names}
    missing = unmentioned(guides(), inventory.symbols())
    assert not [name for name in missing if name not in without]
    assert not without - {each.short for each in inventory.symbols()}, "no such names"
    assert not without - {*missing}, "a guide names them, and they need no reason"


def test_a_feature_without_a_guide_is_seen() -> None:
    text = (
        "Take `ao.watch(tx)`, `lion` and {py:obj}`rows <adam_optax.rows>`; step, memory, `x.adam`."
        "\n```python\nfrom adam_optax.conventions import KERAS, PYTORCH\n"
        "tx = ao.storage.pair()\n```"
    )
    missing = unmentioned(text, inventory.symbols())
    assert {"step", "memory", "adam", "rows.adam", "storage.int8", "aot"} <= {*missing}
    told = ["watch", "lion", "conventions.KERAS", "conventions.PYTORCH", "storage.pair", "rows"]
    assert not [name for name in told if name in missing]


def test_every_extra_has_its_row() -> None:
    project = tomllib.loads((markdown.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    page = (markdown.DOCS / "start" / "install.md").read_text(encoding="utf-8")
    rows = "\n".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE))
    named = set(re.findall(r"`(\w+)`", rows))
    assert named == project["project"]["optional-dependencies"].keys()
