"""Hold what no load of a machine changes against the last row of the history of costs."""

import importlib.metadata
import pathlib
import re

import pytest

from benchmarks import costs, costs_page
from benchmarks.costs_probes import OURS, formats, state_bytes

LAST = costs_page.history()[-1]
ANEW = (
    "\nIf this is meant, run `python -m benchmarks.costs`, look at the last table of "
    "docs/measured/costs.md, and commit both with benchmarks/costs.csv."
)


@pytest.mark.quick
def test_the_import_brings_no_other_package_and_few_more_modules() -> None:
    found = costs.probe("imported")
    known = {*LAST["packages"].split(), "jaxlib"}  # which of jaxlib's are loaded is JAX's choice
    new = sorted({*found["packages"]} - known)
    assert not new, f"`import adam_optax` now imports {', '.join(new)}, too.{ANEW}"
    assert not (more := costs_page.grown(LAST, {"own modules": found["own"]})), f"{more}{ANEW}"


@pytest.mark.quick
def test_the_wheel_is_little_larger() -> None:
    now = {"wheel files": len(costs.wheel_files()), "wheel bytes": costs.wheel_bytes()}
    assert not (more := costs_page.grown(LAST, now)), f"{more}{ANEW}"


@pytest.mark.quick
def test_no_state_is_larger() -> None:
    now = {
        f"state {layout}|{name}": x
        for name, sizes in state_bytes(OURS).items()
        for layout, x in sizes.items()
    }
    assert len(LAST.keys() & now.keys()) >= 4 * len(formats()) - 8  # a format may be new
    assert not (more := costs_page.grown(LAST, now)), f"{more}{ANEW}"


def test_a_step_is_lowered_to_few_more_operations() -> None:
    for package in ("jax", "optax"):
        if (here := importlib.metadata.version(package)) != LAST[package]:
            pytest.skip(f"the last row has {package} {LAST[package]}, and here is {here}")
    found = costs.probe("operations")  # in a process whose promotion of dtypes is not strict
    now = {f"operations|{name}": float(n) for name, n in found.items() if name != "optax"}
    assert len(LAST.keys() & now.keys()) == 3
    assert not (more := costs_page.grown(LAST, now)), f"{more}{ANEW}"


@pytest.mark.quick
def test_the_page_shows_the_last_row() -> None:
    page = costs_page.PAGE.read_text(encoding="utf-8")
    assert costs_page.renewed(costs_page.history()) == page, "python -m benchmarks.costs --page"
    stated = re.findall(r"\*\*date\*\* (\S+)", page)
    assert set(stated) == {LAST["date"]}


@pytest.mark.quick
def test_growth_is_seen_and_a_little_is_none() -> None:
    last = {"wheel bytes": "1000", "state one|pair()": "24", "operations|pair()": "100"}
    assert costs_page.grown(last, {name: float(x) for name, x in last.items()}) == []
    assert costs_page.grown(last, {"wheel bytes": 1099, "operations|pair()": 105}) == []
    assert costs_page.grown(last, {"state one|new()": 1e9}) == []  # a new format is no regression
    now = {"wheel bytes": 1101.0, "state one|pair()": 25.0, "operations|pair()": 106.0}
    assert costs_page.grown(last, now) == [
        "wheel bytes: 1101, was 1000, may grow by 10%",
        "state one|pair(): 25, was 24, may grow by 0%",
        "operations|pair(): 106, was 100, may grow by 5%",
    ]


@pytest.mark.quick
def test_rows_are_kept_with_new_figures_beside_old_ones(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "costs.csv"
    costs_page.append({"date": "2026-01-01", "a, b": "1"}, path)
    costs_page.append({"date": "2026-01-02", "new|x": "2 1 3"}, path)
    assert costs_page.history(path) == [
        {"date": "2026-01-01", "a, b": "1"},
        {"date": "2026-01-02", "new|x": "2 1 3"},
    ]
    path.write_text(path.read_text() + "2026-01-03,1,2,3\n")
    with pytest.raises(ValueError, match=r"costs\.csv, row 4: more cells than columns"):
        costs_page.history(path)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ("1.0 0.9 1.1", "1.3 1.2 1.4", "**more**"),
        ("1.0 0.9 1.1", "1.3 1.1 1.4", ""),
        ("1.0 0.9 1.1", "0.7 0.6 0.8", "less"),
        ("1.0 0.9 1.1", "0.9 0.6 0.9", ""),
    ],
)
def test_a_time_has_changed_where_the_spreads_do_not_meet(before: str, now: str, said: str) -> None:
    assert costs_page.verdict({"import|x": before}, {"import|x": now}, "import|x") == said


@pytest.mark.quick
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--minutes", "-1"], "--minutes must be 0 or more, not -1"),
        (["--page", "--sides", "optax"], "--page measures nothing: leave out --sides"),
        (["--page", "--minutes", "1"], "--page measures nothing: leave out --sides and --minutes"),
        (["--sides", "Keras on JAX"], "--sides: keras is not installed"),
    ],
)
def test_bad_arguments_are_named(
    wrong: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(costs, "sides", lambda: ["optax"])
    with pytest.raises(SystemExit):
        costs.main(wrong)
    assert said in capsys.readouterr().err


@pytest.mark.quick
def test_changes_are_beside_a_row_of_the_same_machine_and_versions() -> None:
    column = "wheel bytes"
    here = {"date": "2026-01-01", "commit": "a", "machine": "x", "jax": "1", column: "1000"}
    other = {**here, "commit": "b", "machine": "y", column: "10"}
    last = {**here, "commit": "c", column: "1200"}
    head, _, line = costs_page.changes([here, other, last])
    assert head == "| 2026-01-01, c | now | 2026-01-01, a |  | all rows |"
    assert line == "| bytes of the wheel | 1,200 | 1,000 | **more** | ▇▁█ |"


def test_a_round_measures_a_side_without_and_with_the_cache() -> None:
    samples = costs.rounds(["adam_optax"], seconds=0, least=1)
    assert len(samples["import"]["adam_optax"]) == 2  # cold and warm
    assert samples["cold first"]["adam_optax"][0] > samples["cold compile"]["adam_optax"][0] > 0
    cells = costs.summed({**samples, "cold first": {"optax": [2.0, 4.0], "x": [3.0, 4.0]}})
    assert cells["cold first over optax|x"] == "1.25 1 1.5"
