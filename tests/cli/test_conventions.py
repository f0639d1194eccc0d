"""Test `adam-optax conventions`: a table that fits, and one line for a mistake."""

import csv
import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from adam_optax.cli import conventions, main
from adam_optax.conventions import ALL
from adam_optax.conventions._table import HEADINGS, cells, rows
from adam_optax.lab.reports.tables import layout
from tests.docs import markdown

pytestmark = pytest.mark.quick
PAGE = markdown.DOCS / "move/conventions.md"


def printed(*line: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main.main(["conventions", *line]) == 0
    return capsys.readouterr().out


def refused(*line: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main.main(["conventions", *line]) == 2
    output = capsys.readouterr()
    assert not output.out
    assert output.err.count("\n") == 1
    return output.err


def at_width(width: int) -> list[str]:
    """Return the lines of the whole table on a terminal of a width."""
    console = Console(file=io.StringIO(), width=width, highlight=False)
    with console.capture() as capture:
        for part in layout(conventions._table(rows(), ()), width):
            console.print(part)
    return capture.get().splitlines()


def words(lines: list[str], optimizer: str, framework: str) -> list[str]:
    """Return the cells of an optimiser's line, below its framework's."""
    below = lines[[line.strip() for line in lines].index(framework) :]
    return next(line.split() for line in below if line.split()[:1] == [optimizer])


def test_at_80_columns_all_is_there() -> None:
    lines = at_width(80)
    assert max(map(cell_len, lines)) <= 80
    assert lines[0] == f"Adam as {len(ALL)} frameworks write it"
    text = "\n".join(lines)
    assert "left out" not in text
    row = words(lines, "uncorrected_adam", "BERT")
    assert row == ["uncorrected_adam", "0.9", "0.999", "1e-6", "√ν", "none", "1e-2", "α"]
    assert words(lines, "amsgrad", "PyTorch")[-1] == "ν"
    for convention in ALL:
        assert f"\n {convention.name} " in text
        for name in convention.options:
            assert words(lines, name, convention.name)


def test_at_60_columns_what_is_left_out_is_named() -> None:
    lines = at_width(60)
    assert max(map(cell_len, lines)) <= 60
    text = " ".join(" ".join(lines).split())
    assert "left out at this width, and shown by --format markdown: rate, b1, max" in text
    row = words(lines, "uncorrected_adam", "BERT")
    assert row == ["uncorrected_adam", "0.999", "1e-6", "√ν", "none", "1e-2", "α"]


def test_a_framework_is_told_with_its_differences(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(printed("big vision", capsys=capsys).split())
    assert text.startswith("Adam as big_vision writes it")
    assert "big_vision/optax.py" in text
    assert "couplings.relative(config.lr)" in text
    both = printed("KERAS", capsys=capsys)
    assert "Adam as 2 frameworks write it" in both
    assert "PyTorch" not in both


def test_in_a_file_no_line_is_filled_up(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed("timm", capsys=capsys).splitlines()
    assert [line for line in lines if line != line.rstrip()] == []


def test_a_framework_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused("pytroch", capsys=capsys)
    assert "no framework is called 'pytroch', did you mean 'PyTorch'? there are Kingma" in said
    assert "no framework is called 'cntk'; there are" in refused("cntk", capsys=capsys)
    assert "no framework is called '-'; there are" in refused("--", "-", capsys=capsys)
    assert "'html' is not one of" in refused("--format", "html", capsys=capsys)


def test_the_csv_is_the_rows(capsys: pytest.CaptureFixture[str]) -> None:
    found = list(csv.reader(io.StringIO(printed("--format", "csv", capsys=capsys))))
    assert found == [list(HEADINGS), *(list(cells(row)) for row in rows())]


def test_the_page_has_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    (shown,) = re.findall(r"^<!-- conventions -->\n\n(.*?)\n\n<!-- end -->$", text, re.S | re.M)
    assert shown == printed("--format", "markdown", capsys=capsys).rstrip("\n")
    assert r"\|g\|" in shown  # a bar in a cell is no border
