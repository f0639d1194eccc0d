"""Check the pages of reports: what they say, in HTML and in a browser as wide as a phone's."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from adam_optax.lab import Comparison, LabError, Point, Problem, Run, Sweep
from adam_optax.lab.observation import Observation
from adam_optax.lab.reports import comparison as report
from adam_optax.lab.reports import html, provenance
from adam_optax.lab.reports.html import Section
from adam_optax.lab.reports.studies import sweep_report, watch_report
from adam_optax.lab.reports.tables import Column, Table
from tests.lab.test_tables import printed

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
WIDE = """() => {
    const width = document.documentElement.clientWidth;
    const shown = [...document.querySelectorAll('body *')].filter((e) => !e.closest('thead') ||
        getComputedStyle(e.closest('thead')).position !== 'absolute');
    const wide = shown.filter((e) => e.getBoundingClientRect().right > width + 1 ||
        (e.clientWidth > 0 && e.scrollWidth > e.clientWidth + 1));
    if (document.documentElement.scrollWidth > width) wide.unshift(document.body);
    return wide.slice(0, 3).map((e) => e.outerHTML.slice(0, 90));
}"""


class _Texts(HTMLParser):
    """Collect the texts of a page by their element."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}
        self._open = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._open = tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.found.setdefault(self._open, []).append(data.strip())


def texts(page: bytes) -> dict[str, list[str]]:
    """Return the texts of a page, by the element that begins before each."""
    parser = _Texts()
    parser.feed(page.decode())
    return parser.found


@pytest.fixture
def swept(tiny: Problem) -> Sweep:
    points = tuple(
        Point(
            "adam",
            {"learning_rate": rate, "b1": b1, "b2": b2, "eps": 1e-8},
            0,
            np.ones(3, np.float32),
            np.full(1, rate * b1, np.float32),
            0.875,
        )
        for rate in (1e-3, 1e-2, 1e-1)
        for b1 in (0.8, 0.9)
        for b2 in (0.99, 0.999)
    )
    return Sweep(tiny, points, len(points))


@pytest.mark.quick
def test_a_page_shows_text_as_it_is() -> None:
    table = Table("t < u", [Column("<i>", 'a "word"', ["&"]), Column("n", "", ["1"])], ["x > y"])
    page = html.page("a < b", [Section("h < i", table, table.notes)], [("c", "<d>")], ["e f&.csv"])
    text = page.decode()
    for part in ("<h1>a &lt; b</h1>", "&lt;i&gt;</th>", ">&amp;</td>", "x &gt; y", "h &lt; i"):
        assert part in text
    assert 'href="e%20f%26.csv"' in text
    assert texts(page)["dd"] == ['a "word"', "<d>"]


def test_a_page_asks_and_says_how_it_was_made(
    made_up: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/bin/adam-optax", "compare", "tiny", "--out", "a b"])
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    made = report.comparison_report(made_up)
    found = texts(made.page("x"))
    assert found["h1"] == ["Which optimiser trains tiny best?"]
    facts = dict(zip(found["dt"], found["dd"], strict=False))
    assert facts["command"] == "adam-optax compare tiny --out 'a b'"
    assert facts["date"] == "1970-01-02 00:00 UTC"
    assert facts["seeds"] == "0, 1"
    assert facts["versions"].startswith("adam-optax ")
    assert "CPU cores" in facts["machine"]
    assert facts.keys() >= {column.head for column in made.table.columns if column.meaning}
    assert [name for name in found["a"] if name.endswith(".csv")] == [
        "x-runs.csv",
        "x-epochs.csv",
        "x-curves.csv",
    ]
    one = report.comparison_report(replace(made_up, runs=made_up.runs[:1]))
    assert texts(one.page("x"))["h1"] == ["How does adam train tiny?"]


def test_from_python_there_is_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for words, said in (
        (["/usr/lib/adam_optax/cli/__main__.py", "watch"], "adam-optax watch"),
        (["/usr/lib/adam_optax_command.py", "watch"], "adam-optax watch"),
        (["notebook.py"], "none: made from Python"),
        ([], "none: made from Python"),
    ):
        monkeypatch.setattr(sys, "argv", words)
        assert provenance.command() == said


def test_seeds_are_listed() -> None:
    assert provenance.listed([3]) == "3"
    assert provenance.listed({0, 1}) == "0, 1"
    assert provenance.listed(range(10)) == "0 to 9"
    assert provenance.listed([0, 2, 5]) == "0, 2, 5"
    # The seeds of a search are far apart: to count up to the last would fill the memory.
    assert provenance.listed([0, 1, 2, 2**40]) == f"0 to 2, {2**40}"


def test_records_are_tables_and_dataframes(made_up: Comparison, swept: Sweep) -> None:
    frame = made_up.to_pandas()
    assert tuple(frame.columns) == report.RUN_COLUMNS
    assert frame.groupby("optimizer")["diverged"].sum().to_dict() == {"adam": 0, "sgd": 1}
    tidy = swept.to_pandas()
    assert tidy.loc[tidy["final_loss"].idxmin(), "b1"] == 0.8
    assert len(tidy) == 12
    for record in (made_up, swept):
        assert repr(record).startswith("tiny")
        assert "final loss" in repr(record)
        assert "<table>" in record._repr_html_()
    empty = Sweep(swept.problem, (), 3)
    assert repr(empty) == "Sweep: no run is finished"
    assert empty._repr_html_() == "<p>Sweep: no run is finished</p>"
    assert empty.to_pandas().empty


def watched(problem: Problem, run: Run, layers: tuple[str, ...]) -> Observation:
    """Make up an observation of two records."""
    quantities = ("update_ratio", "signal_to_noise", "grad_rms", "eps_share", "storage_error")
    one: dict[str, Any] = {name: np.array([0.5, 0.25]) for name in (*quantities, "nonfinite")}
    one |= {name: np.full((2, 5), 0.125) for name in ("step_size", "root_nu")}
    reading = {layer: {"step": np.array([1, 4]), **one} for layer in layers}
    rows = tuple((step, layer, "grad_rms", 0.5) for layer in layers for step in (1, 4))
    return Observation(problem, run, reading, rows)


def test_layers_can_be_told_apart_at_any_width(tiny: Problem, make_run: Callable[..., Run]) -> None:
    """The kernel and the bias of a layer were both `params/Dense_0…` in 80 columns."""
    layers = tuple(
        f"params/TransformerBlock_{i}/SelfAttention_0/query/{leaf}"
        for i in (0, 11)
        for leaf in ("kernel", "bias")
    )
    table = watched(tiny, make_run(), layers).table()
    assert table.title == ("tiny, adam at rate 0.001, seed 0: layers of params/, at step 4")
    for width in (80, 60):
        lines = printed(table, width)
        assert max(map(len, lines)) <= width
        text = "".join(line.split("  ")[0].strip() for line in lines)
        for layer in layers:
            assert layer.removeprefix("params/") in text.replace(" ", "")
        assert any(" 0.25 " in line for line in lines)
    assert dict(table.legend)["signal/noise"].startswith("mean of mu²/nu: 1 where")


def test_an_observation_is_a_dataframe(tiny: Problem, make_run: Callable[..., Run]) -> None:
    seen = watched(tiny, make_run(), ("a", "b"))
    frame = seen.to_pandas()
    assert list(frame.columns) == ["step", "layer", "quantity", "value"]
    assert frame.groupby("layer")["step"].max().to_dict() == {"a": 4, "b": 4}
    assert repr(seen).startswith("tiny, adam at rate 0.001, seed 0: at step 4")


def test_without_pandas_a_dataframe_says_what_to_install(
    made_up: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(LabError, match=r"to_pandas\(\) needs the lab extra: pip install 'adam-o"):
        made_up.to_pandas()


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Start a Chromium that is on this machine."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=found, args=list(QUIET))
        yield browser
        browser.close()


@pytest.mark.heavy
def test_pages_fit_a_phone_and_a_desk(
    browser: "Browser",
    tiny: Problem,
    made_up: Comparison,
    swept: Sweep,
    make_run: Callable[..., Run],
    tmp_path: Path,
) -> None:
    """Nothing is cut off or scrolls sideways, links lead to files, and the dark page is dark."""
    named = replace(made_up, runs=(*made_up.runs, make_run("optax." + "a_very_long_name_" * 4)))
    reports: dict[str, Any] = {
        "compare": report.comparison_report(named),
        "sweep": sweep_report(swept),
        "watch": watch_report(watched(tiny, make_run(), ("params/a/kernel", "params/a/bias"))),
    }
    for stem, one in reports.items():
        paths = one.write(tmp_path / stem, stem)
        for width in (360, 1280):
            for scheme in ("light", "dark"):
                page = browser.new_page(
                    viewport={"width": width, "height": 800},
                    color_scheme=scheme,
                )
                page.goto(paths[-1].as_uri())
                assert page.evaluate(WIDE) == [], (stem, width)
                ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
                assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
                sizes = page.evaluate("[...document.images].map((i) => i.naturalWidth)")
                assert sizes, stem
                assert all(size >= 1600 for size in sizes)
                links = page.evaluate("[...document.links].map((a) => a.getAttribute('href'))")
                assert all((tmp_path / stem / link).exists() for link in links)
                page.close()


def test_a_run_is_a_table_and_a_dataframe(make_run: Callable[..., Run]) -> None:
    run = make_run()
    assert repr(run).startswith("adam at rate ")
    assert 'style="text-align: left"' not in run._repr_html_()  # it has no names
    frame = run.to_pandas()
    assert list(frame.columns) == ["optimizer", "seed", "epoch", "train_loss", "test_accuracy"]
    assert list(frame["train_loss"]) == list(run.train_loss)
