"""Each public name has a page of its own, and the page says what the name takes, does and costs."""

import inspect
import pkgutil
import re
import types
from collections.abc import Iterator
from typing import Any

import pytest

import adam_optax as ao
from docs._reference import docstring, groups, inventory, pages, signature, tables
from docs._reference.formula import FormulaError, to_latex
from docs._reference.inventory import Symbol
from tests.docs import markdown

NOT_A_READERS = ("cli",)
"""Packages of a name without underscore that are no library: a command, whose `--help` says all."""


def _names() -> Iterator[tuple[str, str]]:
    """Yield module and name of all that is public, found without the reference's own list."""
    modules = [m.name for m in pkgutil.iter_modules(ao.__path__) if not m.name.startswith("_")]
    for module in ["", *sorted(set(modules) - set(NOT_A_READERS))]:
        for name in inventory.public_names(inventory.module(module)):
            if not isinstance(getattr(inventory.module(module), name), types.ModuleType):
                yield module, name


def without_page(listed: tuple[Symbol, ...]) -> list[str]:
    """Return the public names that no page of these symbols is about."""
    about = {id(each.thing) for each in listed}
    return [
        f"{module}.{name}".lstrip(".")
        for module, name in _names()
        if id(getattr(inventory.module(module), name)) not in about
    ]


@pytest.mark.quick
def test_every_public_name_has_a_page() -> None:
    assert not without_page(inventory.symbols())


@pytest.mark.quick
def test_a_name_without_a_page_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = inventory.symbols()
    monkeypatch.setattr(ao, "__all__", [*ao.__all__, "planted"])
    monkeypatch.setattr(ao, "planted", lambda x: x, raising=False)
    monkeypatch.setattr(ao.rows, "__all__", [*ao.rows.__all__, "planted"])
    monkeypatch.setattr(ao.rows, "planted", lambda x: x, raising=False)
    assert without_page(listed) == ["planted", "rows.planted"]


@pytest.mark.quick
def test_pages_differ_where_file_systems_know_no_case() -> None:
    names = [each.page.casefold() for each in inventory.symbols()]
    assert len(set(names)) == len(names)


@pytest.mark.quick
def test_every_page_is_reached_from_the_reference() -> None:
    """The index lists groups and modules, and each of these lists its names."""
    index = (markdown.DOCS / "reference/index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^generated/(\S+)$", index, re.MULTILINE))
    assert listed == {*groups.GROUPS, *(f"adam_optax.{name}" for name in inventory.MODULES)}
    grouped = [each.page for members in groups.members().values() for each in members]
    assert len(set(grouped)) == len(grouped)
    assert set(grouped) == {each.page for each in inventory.symbols() if not each.module}


def undocumented(thing: Any, text: str) -> list[str]:
    """Return the parameters of a function or class of which a docstring says nothing."""
    doc = docstring.parse(text)
    items = [*doc.items.get("Args", []), *doc.items.get("Attributes", [])]
    told = {name.strip().lstrip("*") for names, _ in items for name in names.split(",")}
    if "options" in told:  # they are told once, in `MomentOptions` and `DecayOptions`
        told |= ao.DecayOptions.__annotations__.keys()
    try:
        parameters = signature.parameters(thing)
    except (TypeError, ValueError):  # a constant, or a dictionary's type
        return []
    return [p.name for p in parameters if p.name not in told and p.annotation != "Leaf"]


@pytest.mark.quick
def test_every_argument_is_told() -> None:
    found = {
        each.qualified: missing
        for each in inventory.symbols()
        if each.kind != "data" and each.name != "watch"
        if (missing := undocumented(each.thing, each.doc))
    }
    watch = type(ao.watch).__call__
    assert not found | dict.fromkeys(["watch"] * bool(undocumented(watch, watch.__doc__ or "")))


@pytest.mark.quick
def test_an_argument_that_is_not_told_is_seen() -> None:
    def planted(x: int, y: int) -> None: ...

    assert undocumented(planted, "Do nothing.\n\nArgs:\n    x: a number.") == ["y"]


@pytest.mark.quick
def test_every_name_says_what_it_is() -> None:
    short = [e.qualified for e in inventory.symbols() if not docstring.parse(e.doc).summary]
    named = [name for name in short if not hasattr(ao.conventions, name.rpartition(".")[2])]
    assert not named  # a convention's record says whose it is


@pytest.mark.quick
def test_a_page_has_all_that_a_reader_looks_for() -> None:
    text = pages.page(inventory.symbol_of("", "adamw"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    assert headings == [
        "adamw",
        "Step",
        "Arguments",
        "Result",
        "What is refused",
        "Example",
        "State",
        "Papers",
    ]
    assert r"\frac{\hat{\mu}}{\sqrt{\hat{\nu} + \varepsilon_{\mathrm{root}}} + \varepsilon}" in text
    assert "b1: Hyperparameter = 0.9" in text
    assert "weight_decay: Hyperparameter | None = 1e-4" in text
    assert "storage: StorageSpec = None" in text
    assert "`eps` : `Hyperparameter`, default `1e-8`" in text
    assert "| `mu` | float32 | 4 |" in text
    assert "```pycon\n>>> import jax.numpy" in text
    assert "[Decoupled Weight Decay Regularization](https://arxiv.org/abs/1711.05101)" in text


def test_optimisers_all_have_a_formula_bytes_and_a_paper() -> None:
    rows = tables.compared().splitlines()[2:]
    assert len(rows) == len(tables.optimizers()) >= 26
    for row in rows:
        _, _, step, size, paper, _ = (cell.strip() for cell in row.strip("|").split(" | "))
        assert step.startswith("$"), row
        assert 0 <= float(size) <= 16, row
        assert paper.startswith("["), row


def test_bytes_are_counted() -> None:
    assert tables.bytes_of("adamw", ao.storage.dense()) == "8"
    assert tables.bytes_of("adamw", ao.storage.pair()) == "2"
    assert tables.bytes_of("lion", ao.storage.dense("bfloat16")) == "2"
    assert tables.bytes_of("lion", ao.storage.pair()) == "–"  # it has one moment


@pytest.mark.heavy
def test_all_pages_can_be_written() -> None:
    written = pages.all_pages()
    assert len(written) > len(inventory.symbols())
    assert not [name for name, text in written.items() if not text.startswith("# ")]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("μ̂ / (√ν̂ + eps)", r"\frac{\hat{\mu}}{\sqrt{\hat{\nu}} + \varepsilon}"),
        ("(1-b1) |g|²", r"\left(1 - \beta_1\right) \, \left|g\right|^{2}"),
        ("a / b c", r"\frac{a \, c}{b}"),
        ("1 - b1^{t+1}", r"1 - \beta_1^{t + 1}"),
        ("d |p| / |d|", r"\frac{d \, \left|p\right|}{\left|d\right|}"),
        ("low_t, final_lr", r"\mathrm{low}_t \qquad \mathrm{final\_lr}"),
        ("1e-3 ±(t-1)^¼", None),
        ("max(1, rms(g)", None),
        ("a : b", None),
        ("(a))", None),
    ],
)
def test_formulas(text: str, latex: str | None) -> None:
    if latex is None:
        with pytest.raises(FormulaError):
            to_latex(text)
    else:
        assert to_latex(text) == latex


@pytest.mark.quick
def test_a_docstring_comes_apart() -> None:
    """The example below the sections, without a header, is the example."""
    doc = docstring.parse(inspect.getdoc(ao.precision.kahan) or "")
    assert doc.summary.startswith("Add to each step the part that rounding dropped")
    assert r"$c_{t+1} = round(y - (p_{t+1} - p_t))$" in doc.body
    assert [name for name, _ in doc.items["Raises"]] == ["TypeError", "ValueError"]
    assert doc.texts["Example"].startswith("```pycon\n>>> import jax.numpy as jnp, optax")
    assert doc.texts["Example"].endswith("```")
    assert [paper[:9] for paper in doc.references] == ["Kahan 196", "Zamirai e", "optimi (g"]
