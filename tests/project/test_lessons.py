"""Hold each lesson of docs/learn to its figure, and the figures to a size that loads at once."""

import pathlib
import re

import pytest

from adam_optax._core.plotting import STYLES

LEARN = pathlib.Path(__file__).parents[2] / "docs" / "learn"
WITHOUT_FIGURE = {"index", "exercises"}
MOST_BYTES = 60_000
"""A figure is as large as the page's text and code at most, so that a phone shows both at once."""


@pytest.mark.quick
def test_every_lesson_shows_its_figure_and_no_figure_is_left_over() -> None:
    shown = {
        page.stem: re.findall(r"^!\[.+\]\(figures/(\w+)\.svg\)$", page.read_text(), re.MULTILINE)
        for page in LEARN.glob("*.md")
    }
    assert shown == {name: [name] * (name not in WITHOUT_FIGURE) for name in shown}
    drawn = {path.stem for path in (LEARN / "figures").iterdir()}
    assert drawn == shown.keys() - WITHOUT_FIGURE
    code = "\n".join(path.read_text() for path in LEARN.glob("figures*.py"))
    functions = re.findall(r"^@figure\ndef (\w+)", code, re.MULTILINE)
    assert sorted(functions) == sorted(drawn)


@pytest.mark.quick
def test_lines_have_the_colours_of_the_registry() -> None:
    own = re.compile(r"""["'](?:C\d|tab:\w+|#[0-9a-fA-F]{3,8})["']""")
    assert not [path for path in LEARN.glob("figures*.py") if own.search(path.read_text())]
    drawn = (LEARN / "figures" / "adam.svg").read_text()
    for name in ("sgd", "momentum", "adagrad", "rmsprop", "adam"):
        assert f"stroke: {STYLES[name].color}" in drawn, f"{name}: run python -m docs.learn.figures"


@pytest.mark.quick
def test_figures_are_small() -> None:
    large = {
        path.name: path.stat().st_size
        for path in (LEARN / "figures").iterdir()
        if path.stat().st_size > MOST_BYTES
    }
    assert not large


@pytest.mark.quick
def test_rounded_coordinates_leave_the_numbers_in_text_alone() -> None:
    figure = (LEARN / "figures" / "bias_correction.svg").read_text()
    assert all(f"β₂ = {b2}<" in figure for b2 in ("0.99", "0.999", "0.9999"))


@pytest.mark.quick
def test_every_lesson_is_in_the_list_of_lessons() -> None:
    listed = re.findall(r"\]\((\w+)\.md\)", (LEARN / "index.md").read_text())
    assert set(listed) == {page.stem for page in LEARN.glob("*.md")} - {"index"}
