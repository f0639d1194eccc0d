"""Check that tables fit terminals, that no cell is cut, and that all columns are explained."""

import io
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from adam_optax.lab.reports.tables import Column, Table, layout, width_of

TABLE = Table(
    "losses",
    [
        Column("layer", "", ["blocks/attention/query/kernel", "blocks/mlp/[bold]"], is_name=True),
        Column("learning rate", "the rate", ["0.00316", "0.1"]),
        Column("final loss", "loss at the end", ["0.0042 ± 0.0011", "diverged 1/2"], rank=1),
        Column("test %", "accuracy", ["99.21 ± 0.39", "—"], rank=2),
    ],
    ["A note."],
)


def printed(table: Table, width: int | None) -> list[str]:
    """Return the lines that a console of a width shows."""
    console = Console(file=io.StringIO(), width=width or width_of(table), highlight=False)
    with console.capture() as captured:
        for part in layout(table, width):
            console.print(part)
    return captured.get().splitlines()


@pytest.mark.quick
def test_a_wide_table_is_whole() -> None:
    lines = printed(TABLE, None)
    assert lines[0].rstrip() == "losses"
    first = "blocks/attention/query/kernel 0.00316 0.0042 ± 0.0011 99.21 ± 0.39"
    assert lines[3].split() == first.split()
    assert [line.rstrip() for line in lines[-5:]] == [
        "learning rate  the rate",
        "final loss     loss at the end",
        "test %         accuracy",
        "",
        "A note.",
    ]


def test_a_narrower_table_breaks_then_leaves_out_then_stacks() -> None:
    assert any("± 0.0011" in line and "0.0042" not in line for line in printed(TABLE, 66))
    text = "\n".join(printed(TABLE, 56))
    assert "left out" not in text
    assert "query/kernel " in text
    text = "\n".join(printed(TABLE, 50))
    assert "left out at this width, and in the files: test %" in text
    text = "\n".join(printed(TABLE, 32))
    assert "blocks/attention/" in text
    assert " query/kernel" in text
    assert "final loss" in text.split("left out")[1]
    records = [line.rstrip() for line in printed(TABLE, 20)]
    assert records[records.index("learning rate: 0.1") - 1] == "blocks/mlp/[bold]"
    assert "learning rate:" in records[records.index("0.00316") - 1 :][0] or "0.00316" in records


CELLS = st.text(string.ascii_letters + string.digits + "/._-[]", min_size=1, max_size=40)


@given(
    st.lists(st.tuples(CELLS, st.floats(1e-9, 1e9)), min_size=1, max_size=4), st.integers(30, 90)
)
def test_no_number_is_cut_and_no_line_too_long(rows: list[tuple[str, float]], width: int) -> None:
    names, numbers = zip(*rows, strict=True)
    columns = [
        Column("name", "", names, is_name=True),
        Column("value", "a number", [f"{number:.4g}" for number in numbers]),
        Column("and its error", "another", [f"{n:.4g} ± {n / 9:.2g}" for n in numbers], rank=1),
    ]
    lines = printed(Table("a", columns), width)
    assert max(map(cell_len, lines)) <= width
    for number in numbers:
        assert any(f"{number:.4g}" in line for line in lines)
    assert not any("…" in line for line in lines)


def test_wide_characters_have_their_width() -> None:
    names = ["最適化の手法" * 4]
    table = Table("a", [Column("名前", "", names, is_name=True), Column("n", "", ["1"])])
    assert max(map(cell_len, printed(table, 40))) <= 40
