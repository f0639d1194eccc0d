"""Test what becomes of a figure of the paper's whose runs diverged, some of them or all."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adam_optax.cli import main
from adam_optax.lab.paper.claims import claims
from adam_optax.lab.paper.draw import figure
from adam_optax.lab.paper.figures import FIGURES, Panel
from adam_optax.lab.paper.intervals import Verdict
from adam_optax.lab.paper.report import paper_report
from adam_optax.lab.paper.trials import Curve, diverged


def lost_runs(name: str, seeds: int, sound: Sequence[str] = ()) -> list[Curve]:
    """Make up runs of a figure, of which all diverged but those of some optimisers."""
    return [
        Curve(
            panel.name,
            contender.optimizer.name,
            {"learning_rate": rate, **dict(zip(panel.grid, pair, strict=True))},
            (1.0, 0.5, 0.2 + seed / 10 if contender.optimizer.name in sound else np.nan, 0.3),
            seed,
        )
        for panel in FIGURES[name]
        for contender in panel.contenders
        for rate in (0.1, 0.2)
        for pair in itertools.product(*panel.grid.values())
        for seed in range(seeds)
    ]


@pytest.mark.parametrize("name", ["figure2", "figure4"])
@pytest.mark.parametrize("sound", [(), ("Adam",)], ids=["none", "one"])
@pytest.mark.parametrize("seeds", [1, 3])
def test_what_diverged_is_shown_and_judged(name: str, sound: tuple[str, ...], seeds: int) -> None:
    runs = lost_runs(name, seeds, sound)
    assert diverged(runs) == (not sound)
    report = paper_report(name, runs, False)
    costs = next(column for column in report.table.columns if column.head == "cost").cells
    assert "diverged at every rate" in costs
    assert (set(costs) == {"diverged at every rate"}) == (not sound)
    judged = claims(name, runs)
    if seeds > 1 and not sound:
        assert Verdict.HOLDS not in {claim.verdict for claim in judged}
    assert all("inf" not in claim.measured and "nan" not in claim.measured for claim in judged)
    texts = {text.get_text() for axes in figure(name, runs, "").axes for text in axes.texts}
    assert ("every run diverged:\na loss was not finite" in texts) == (not sound)


@pytest.mark.heavy
def test_runs_that_all_diverge_have_a_table_and_an_exit_code(
    tiny_figure: Panel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    far = tuple(one.over(38, 38) for one in tiny_figure.contenders)
    monkeypatch.setitem(FIGURES, "figure2", (replace(tiny_figure, contenders=far),))
    assert main.main(["reproduce", "figure2", "--data-dir", ".", "--seeds", "1"]) == 3
    said = capsys.readouterr()
    assert said.err.splitlines()[-1] == "adam-optax: every run diverged"
    assert said.out.count("diverged at every rate") == 2
    assert list(tmp_path.glob("adam-optax-results/latest/*.png"))
