"""Hold the notebooks to the form of lessons, by their files alone; `test_notebooks` runs them."""

import ast
import base64
import copy
import json
import pathlib
import re
import struct
import sys
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from adam_optax._core.plotting import COLORS, DASHES, STYLES
from docs._reference.inventory import MODULES

ROOT = pathlib.Path(__file__).parents[2]
LESSONS = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LIST = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
ORDER = re.findall(r"^\| \d+ \| \[.*?\]\(notebooks/([\w-]+)\.ipynb\)", LIST, re.MULTILINE)
WIDTH = 900
"""A figure is at least as wide as a column of the site, with a pixel to spare on most screens."""
STYLE = 'plt.style.use("adam_optax.lab.lessons")'
WITH_THE_PACKAGE = {"adam_optax", "jax", "numpy", "optax", "flax", "chex", "orbax"}
"""What the package needs; orbax comes with Flax."""
OF_EXTRAS = {
    "notebooks": {"IPython", "matplotlib", "optuna", "sklearn"},
    "witness": {"torch", "keras"},
}
OURS = {"adam_optax", *(f"adam_optax.{name}" for name in MODULES), "adam_optax.rows.nnx"}
COLOR = re.compile(r"""["']#[0-9a-fA-F]{3,8}["']|["']tab:|color=["'](?!C\d|0\.|black)""")
STYLED = re.compile(r'"(\w[\w ]*)"(?:: |, )"(C\d)[os]?([-.:]+)"')
"""A name and its style: `"Adam": "C0o-"`."""
_KINDS = dict(zip(DASHES, ("-", "--", ":", "-.", ":", "--", "-.", ":"), strict=True))
"""The word of matplotlib for each line style of the registry, of which a lesson's text has four."""
EACH = pytest.mark.parametrize("name", LESSONS)
pytestmark = pytest.mark.quick


def source(cell: Any) -> str:
    """Return a cell's text."""
    return "".join(cell["source"])


def code(lesson: Any) -> list[Any]:
    """Return the cells with code."""
    return [cell for cell in lesson["cells"] if cell["cell_type"] == "code"]


def words(lesson: Any) -> str:
    """Return the text of the cells without code."""
    return "\n".join(source(c) for c in lesson["cells"] if c["cell_type"] == "markdown")


def of_head(name: str, lesson: Any) -> Iterator[str]:
    """Yield what a lesson's first cell lacks."""
    head = source(lesson["cells"][0])
    if not re.match(r"# .+\n", head) or not re.search(r"\b[Yy]ou get\b", head):
        yield "the first cell has no title, or does not say what the reader gets"
    place = re.search(r"^- \*\*Lesson (\d+) of (\d+)\.\*\* Before it: (.+)$", head, re.MULTILINE)
    if place is None or (int(place[1]), int(place[2])) != (ORDER.index(name) + 1, len(ORDER)):
        yield "the first cell does not have the place that docs/notebooks.md gives"
    else:
        before = re.findall(r"\]\(([\w-]+)\.ipynb\)", place[3])
        later = [n for n in before if n not in ORDER[: ORDER.index(name)]]
        yield from (f"{n} is before it, and comes later or not at all" for n in later)
        row = re.search(
            rf"\({re.escape(f'notebooks/{name}.ipynb')}\) \|.*\| (.*?) ?\|$", LIST, re.M
        )
        numbers = ", ".join(str(ORDER.index(n) + 1) for n in before if n in ORDER)
        if row is None or row[1] != numbers:
            yield "docs/notebooks.md names other lessons before it"
    if not re.search(r"^- \*\*Takes\*\* .+ to read, .+ to run", head, re.MULTILINE):
        yield "the first cell does not say how long it takes"
    if not re.search(r"^- \*\*Needs\*\* `pip install 'adam-optax\[notebooks", head, re.MULTILINE):
        yield "the first cell does not say what to install"


def of_imports(lesson: Any) -> Iterator[str]:
    """Yield imports that a reader has not installed, and names that are not public."""
    needs = re.search(r"adam-optax\[([\w,]+)\]", source(lesson["cells"][0]))
    extras = needs[1].split(",") if needs else []
    there = WITH_THE_PACKAGE.union(*(OF_EXTRAS[e] for e in extras if e in OF_EXTRAS))
    for node in ast.walk(ast.parse("\n".join(map(source, code(lesson))))):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
            yield from (f"{a.name} is private" for a in node.names if a.name.startswith("_"))
        for module in modules:
            top = module.split(".")[0]
            if top == "adam_optax" and module not in OURS:
                yield f"{module} is not public"
            if top not in there and top not in sys.stdlib_module_names:
                yield f"{module} is not installed"
        named = getattr(node, "attr", getattr(node, "id", getattr(node, "arg", None)))
        if named and re.match(r"_(?!_?$|_\w+__$)", named):
            yield f"{named} is private"


def of_figures(lesson: Any) -> Iterator[str]:
    """Yield what is wrong with figures, and with the cells that draw them."""
    text = "\n".join(map(source, code(lesson)))
    if "matplotlib.pyplot" in text and STYLE not in text:
        yield f"figures are not in the lessons' look: {STYLE}"
    yield from (f"{found} is not of the palette" for found in COLOR.findall(text))
    for cell in code(lesson):
        folded = "hide-input" in cell["metadata"].get("tags", ())
        alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
        if not folded and re.search(r"\bplt\.(?!style\.use)", source(cell)):
            yield "a cell that draws is not folded away"
        if folded and re.search(r"\b(?:assert|print)\b", source(cell)):
            yield "a cell that is folded away does more than draw"
        if folded and not any("image/png" in o.get("data", ()) for o in cell["outputs"]):
            yield "a cell that is folded away shows no figure"
        for png in (
            o["data"]["image/png"] for o in cell["outputs"] if "image/png" in o.get("data", ())
        ):
            width = struct.unpack(">I", base64.b64decode("".join(png)[:32])[16:20])[0]
            if width < WIDTH:
                yield f"a figure is {width} pixels wide, not {WIDTH}"
            if not folded or len(alt) < 40:
                yield "a figure's cell is not folded away, or has no words for who does not see it"


def of_paths(lesson: Any) -> Iterator[str]:
    """Yield the files that a lesson reads or shows, and links that lead nowhere."""
    text = "\n".join(map(source, code(lesson)))
    yield from (f"{f} is a file" for f in re.findall(r'\bPath\("|\bopen\(|"\.\./|__file__', text))
    for target in re.findall(r"\]\(([^)\s]+)\)", words(lesson)):
        stem = target.removesuffix(".ipynb")
        if not target.startswith("https://") and (stem == target or stem not in LESSONS):
            yield f"{target} is not there, or not beside a notebook that was downloaded"


def wrong(name: str, lesson: Any) -> list[str]:
    """Return all that keeps a notebook from being a lesson."""
    return [
        *of_head(name, lesson),
        *of_imports(lesson),
        *of_figures(lesson),
        *of_paths(lesson),
    ]


@EACH
def test_it_is_a_lesson(name: str) -> None:
    assert not wrong(name, LESSONS[name])


def test_the_list_has_all_lessons() -> None:
    assert sorted(ORDER) == sorted(LESSONS)


def test_one_optimiser_has_one_style() -> None:
    styles: dict[str, set[tuple[str, str]]] = {}
    for lesson in LESSONS.values():
        for name, color, dashes in STYLED.findall("\n".join(map(source, code(lesson)))):
            styles.setdefault(name.casefold(), set()).add((color, dashes))
    assert {"adam", "nadam", "adabelief", "qhadam"} <= styles.keys()
    assert not {name: found for name, found in styles.items() if len(found) > 1}
    for name in styles.keys() & STYLES.keys():
        ((color, dashes),) = styles[name]
        line = STYLES[name]
        assert COLORS[int(color[1:])] == line.color, name
        assert dashes == _KINDS[line.dashes], name
    optimisers = [styles[name] for name in ("adam", "nadam", "adabelief", "qhadam")]
    assert len(set.union(*optimisers)) == len(optimisers)


def test_what_is_installed_is_what_lessons_import() -> None:
    extra = " ".join(PROJECT["optional-dependencies"]["notebooks"])
    assert all(part in extra for part in ("ipykernel", "jupyterlab", "optuna", "lab]"))
    assert "\n.[notebooks]\n" in (ROOT / ".binder" / "requirements.txt").read_text()
    _, version = (ROOT / ".binder" / "runtime.txt").read_text().strip().split("-")
    assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]


def _first_with(lesson: Any, kind: str) -> Any:
    return next(c for c in code(lesson) if kind in str(c["metadata"].get("tags", "plain")))


def _add(text: str) -> Callable[[Any], None]:
    return lambda lesson: _first_with(lesson, "plain")["source"].append(f"\n{text}")


def _say(old: str, new: str) -> Callable[[Any], None]:
    def plant(lesson: Any) -> None:
        lesson["cells"][0]["source"] = [source(lesson["cells"][0]).replace(old, new)]

    return plant


def _other_look(lesson: Any) -> None:
    for cell in code(lesson):
        cell["source"] = [source(cell).replace("adam_optax.lab.lessons", "ggplot")]


def _narrow(lesson: Any) -> None:
    (output,) = _first_with(lesson, "hide-input")["outputs"][-1:]
    png = bytearray(base64.b64decode(output["data"]["image/png"]))
    png[16:20] = struct.pack(">I", 640)
    output["data"]["image/png"] = base64.b64encode(png).decode()


PLANTED: dict[str, tuple[Callable[[Any], None], str]] = {
    "no title": (_say("# ", ""), "no title"),
    "place": (_say("Lesson 2", "Lesson 3"), "the place that docs/notebooks.md gives"),
    "later": (_say("adam-from-scratch", "adam-paper"), "adam-paper is before it"),
    "time": (_say("to read", ""), "how long it takes"),
    "install": (_say("notebooks]", "lab]"), "what to install"),
    "tests": (_add("from tests.support import oracle"), "tests.support is not installed"),
    "torch": (_add("import torch"), "torch is not installed"),
    "inside": (_add("from adam_optax.lab.task import Task"), "adam_optax.lab.task is not public"),
    "private": (_add("tx._engine"), "_engine is private"),
    "named": (_add("def f(_x): pass"), "_x is private"),
    "color": (_add("color = '#123456'"), "not of the palette"),
    "drawing": (_add("plt.plot([1])"), "a cell that draws is not folded away"),
    "file": (_add('Path("results")'), "is a file"),
    "look": (_other_look, "not in the lessons' look"),
    "narrow": (_narrow, "640 pixels wide"),
    "alt": (lambda x: _first_with(x, "hide")["metadata"].pop("mystnb"), "does not see it"),
    "folded": (lambda x: _first_with(x, "hide")["source"].append("\nassert x"), "more than draw"),
    "link": (lambda x: x["cells"][-1]["source"].append("[a](figures/a.png)"), "not there"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_what_is_wrong_is_seen(fault: str) -> None:
    lesson = copy.deepcopy(LESSONS["what-each-part-does"])
    plant, said = PLANTED[fault]
    plant(lesson)
    assert any(said in each for each in wrong("what-each-part-does", lesson))
