"""The bars measure moves of the weights, and print what passes."""

import numpy as np
import pytest

from benchmarks import bars, training
from benchmarks.codecs import CODECS
from tests.support.formats import FORMATS


@pytest.mark.quick
def test_the_worst_row_counts() -> None:
    true = np.array([[3.0, 4.0], [1.0, 0.0]])
    same = bars.compared(true, true)
    assert (same.nmse, same.cosine) == (0.0, 1.0)
    assert same.passed
    off = bars.compared(true, true + np.array([[0.0, 0.0], [0.0, 0.5]]))
    assert off.nmse == 0.25
    assert off.cosine == pytest.approx(1 / np.sqrt(1.25))
    assert not off.passed


def test_a_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    bars.main(["--formats", "pair(4)"])
    head, _, row = capsys.readouterr().out.splitlines()
    assert [head.count(kind) for kind in bars.KINDS] == [2, 2, 2]
    name, width, *cells = row.strip("| ").split(" | ")
    assert (name, width) == ("`pair(4)`", "4.00")
    assert all(0 < float(cell) < 1e-4 for cell in cells)  # measured 1.3e-6, and none fails
    assert len(cells) == 6


@pytest.mark.quick
def test_codecs_are_trained_beside_the_formats() -> None:
    assert training.EVERY.keys() == FORMATS.keys() | CODECS.keys()
    losses = {"imdb": {"dense()": {"0": 1.0, "1": 3.0}, "COAT": {"0": 2.0, "1": 4.0}}}
    table = training.table(losses, {"imdb": None}, ["dense()", "COAT"])  # type: ignore[dict-item]
    assert table.splitlines()[-1] == "| COAT | 2.19 | 3.0000 (+0.71) |"


@pytest.mark.quick
def test_of_one_seed_the_difference_is_shown() -> None:
    losses = {"imdb": {"dense()": {"0": 1.0}, "COAT": {"0": 0.75}}}
    table = training.table(losses, {"imdb": None}, ["dense()", "COAT"])  # type: ignore[dict-item]
    assert table.splitlines()[-2:] == [
        "| `dense()` | 8.00 | 1.0000 |",
        "| COAT | 2.19 | 0.7500 (-0.2500) |",
    ]
