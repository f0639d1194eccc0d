"""Hold the folder of the benchmark of one GPU to its promises: whole files, results of one run."""

import contextlib
import csv
import json
import pathlib
import resource
from collections.abc import Callable, Iterator

import pytest

from benchmarks.gpu import __main__ as command
from benchmarks.gpu.case import Measured
from benchmarks.gpu.page import Planned
from benchmarks.gpu.results import COLUMNS, Results

FACTS = {
    "command": "python -m benchmarks.gpu",
    "date": "2026-11-30",
    "device": "1 H100",
    "jax": "0.10.2",
    "torch": "not installed",
    "sources": "sha256 a",
}
ONE = [Measured("x", "ms", 1.5), Measured("y", note="a, b")]


def begun(folder: pathlib.Path) -> Results:
    """Return the folder of a run with two cases, and a third in which it was killed."""
    results = Results(folder)
    results.plan(FACTS, {"steps": Planned("Steps", ["In ms."], ["a", "b", "c"])})
    results.append("steps", "a", ONE, 0.1)
    results.append("steps", "b", [Measured("failed", note="no memory")], 0.1)
    results.table()
    with contextlib.suppress(KeyboardInterrupt), results.running("steps", "c"):
        raise KeyboardInterrupt
    return results


def files(folder: pathlib.Path) -> dict[str, bytes]:
    """Return what is in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def lines(folder: pathlib.Path) -> list[list[str]]:
    """Return the lines of the file of results below its head."""
    with (folder / "results.csv").open(newline="") as stream:
        return list(csv.reader(stream))[1:]


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Let no file grow beyond eight bytes: the system ends a write there, as on a full disk."""
    old, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (old, most))


def _runs(results: Results) -> None:
    with results.running("steps", "c"):
        pass


@pytest.mark.quick
@pytest.mark.parametrize(
    "write",
    [_runs, lambda results: results.plan(FACTS, {}), Results.table, Results.tidy],
    ids=["running", "plan", "table", "tidy"],
)
def test_a_full_disk_leaves_no_half_of_a_file(
    write: Callable[[Results], object], tmp_path: pathlib.Path
) -> None:
    results = begun(tmp_path)
    before = files(tmp_path)
    with full_disk(), pytest.raises(OSError, match="File too large"):
        write(results)
    assert files(tmp_path) == before
    assert Results(tmp_path).take_running() == ("steps", "c")


@pytest.mark.quick
def test_a_case_whose_lines_found_no_room_is_done_anew(tmp_path: pathlib.Path) -> None:
    results = begun(tmp_path)
    before = files(tmp_path)
    with (tmp_path / "results.csv").open("a") as stream:
        stream.write("steps,c,x")  # as much as there was room for
    again = Results(tmp_path)
    assert again.done() == {("steps", "a"), ("steps", "b")}
    again.tidy()
    assert files(tmp_path) == before
    results.append("steps", "c", ONE, 0.1)
    assert Results(tmp_path).done() == {("steps", key) for key in "abc"}


@pytest.mark.quick
@pytest.mark.parametrize("cut", [1, 12, 40])
def test_a_case_of_which_a_kill_left_a_part_is_not_done(cut: int, tmp_path: pathlib.Path) -> None:
    results = Results(tmp_path)
    results.append("steps", "whole", ONE, 0.1)
    results.append("steps", "torn", ONE, 0.1)
    file = tmp_path / "results.csv"
    file.write_bytes(file.read_bytes()[:-cut])
    assert results.done() == {("steps", "whole")}
    results.tidy()
    results.append("steps", "torn", ONE, 0.1)
    assert [line[1:3] for line in lines(tmp_path)] == [
        [case, measure] for case in ("whole", "torn") for measure in ("x", "y", "took")
    ]


def test_of_two_runs_into_one_folder_the_second_is_refused(tmp_path: pathlib.Path) -> None:
    with Results(tmp_path).locked(), pytest.raises(SystemExit, match="another run writes to"):
        command.main(["--out", str(tmp_path)])


@pytest.mark.quick
@pytest.mark.parametrize("name", ["device", "jax", "sources"])
def test_results_of_another_machine_or_version_are_not_added_to(
    name: str, tmp_path: pathlib.Path
) -> None:
    results, other = begun(tmp_path), FACTS | {name: "another"}
    before = files(tmp_path)
    said = rf"results of {name} {FACTS[name]}, not another: choose another --out"
    with pytest.raises(SystemExit, match=said):
        results.plan(other, {})
    assert files(tmp_path) == before
    Results(tmp_path / "new").plan(other, {})  # where nothing was measured yet


@pytest.mark.quick
def test_a_run_that_goes_on_lists_its_days_and_what_was_installed_since(
    tmp_path: pathlib.Path,
) -> None:
    results = begun(tmp_path)
    later = FACTS | {"date": "2026-12-01", "torch": "2.15.0"}
    for _ in range(2):
        results.plan(later, {})
    known = json.loads((tmp_path / "facts.json").read_text())["facts"]
    assert known == later | {"date": "2026-11-30; 2026-12-01"}


@pytest.mark.quick
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("results.csv", "mine,1\n"),
        ("results.csv", "step,ms\nadam,1.0\n"),  # of another command
        ("results.csv", ",".join((*COLUMNS, "more")) + "\n"),  # of another version of this one
        ("results.csv", ",".join(COLUMNS) + "\nsteps,a,x,ms,1.5\n"),  # one line is of another
        ("results.csv", ",".join(COLUMNS) + "\nsteps,a,x,ms,fast,,,1,\n"),
        ("facts.json", "{"),
        ("facts.json", "[]"),
        ("facts.json", '{"facts": {}, "planned": {}}'),
        ("facts.json", '{"of": "python -m benchmarks.costs", "facts": {}, "planned": {}}'),
        ("facts.json", '{"of": "python -m benchmarks.gpu", "facts": {}, "planned": {"a": 1}}'),
        ("results.md", "# My results\n"),
        ("running", "marathon"),
        ("running", '["steps"]'),
    ],
    ids=[
        "no benchmark",
        "other columns",
        "more columns",
        "a shorter line",
        "a word for a number",
        "torn facts",
        "no facts",
        "facts of an older version",
        "facts of another command",
        "a plan of another form",
        "a page",
        "a word for a case",
        "half a case",
    ],
)
def test_what_is_not_of_this_command_is_not_written_over(
    name: str, text: str, tmp_path: pathlib.Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(
        SystemExit, match=rf"{name} is not of this command .*: choose another --out"
    ):
        command.main(["--out", str(tmp_path), "--retry"])
    assert files(tmp_path) == {name: text.encode(), "lock": b""}


@pytest.mark.quick
def test_results_of_which_nobody_knows_the_machine_are_not_added_to(
    tmp_path: pathlib.Path,
) -> None:
    begun(tmp_path)
    for name in ("facts.json", "running", "results.md"):
        (tmp_path / name).unlink()  # as where results.csv alone was copied here
    before = files(tmp_path)
    with pytest.raises(SystemExit, match=r"no facts\.json is beside it: choose another --out"):
        command.main(["--out", str(tmp_path), "--retry"])
    assert files(tmp_path) == before


@pytest.mark.quick
def test_what_cannot_be_a_folder_is_refused(tmp_path: pathlib.Path) -> None:
    a_file = tmp_path / "a"
    a_file.write_text("mine")
    for wrong in (a_file, a_file / "below"):
        with pytest.raises(SystemExit, match=r"(exists|Not a directory).*: choose another --out"):
            command.main(["--out", str(wrong)])
    (tmp_path / "lock").mkdir()  # as where nothing may be written: root may write everywhere
    with pytest.raises(SystemExit, match=r"lock.*: choose another --out"):
        command.main(["--out", str(tmp_path)])
    assert a_file.read_text() == "mine"


@pytest.mark.quick
def test_a_table_has_a_line_for_each_case_and_says_what_is_missing(tmp_path: pathlib.Path) -> None:
    results = Results(tmp_path)
    assert results.table() == ""  # before a run has begun
    planned = {
        "steps": Planned(
            "Steps", ["In ms.", "Not in s."], ["copy", "x: a", "x: b", "y: c", "z: d"]
        ),
        "figures": Planned("Figures", ["Not yet."], ["d"]),
    }
    results.plan({"device": "a GPU"}, planned)
    results.append("steps", "x: a", [Measured("step", "ms", 2.0, 1.5, 2.5, 7)], 1.0)
    results.append("steps", "y: c", [Measured("far", "relative", 0.5, note="d")], 1.0)
    results.append("steps", "x: b", [Measured("failed", note="no | memory")], 1.0)
    results.append(
        "steps", "z: d", [Measured("step", "ms", 3.0), Measured("on", note="a CPU")], 1.0
    )
    assert results.table() == (tmp_path / "results.md").read_text()[:-1]
    assert results.table().splitlines() == [
        "# One GPU",
        "",
        "- device: a GPU",
        "",
        "## Steps",
        "",
        "4 of 5 cases in 4 s, 1 of which failed or lacked something. The same command goes on.",
        "",
        "| case | step [ms] | said |",
        "|---|---|---|",
        "| x: a | 2 (1.5-2.5) |  |",
        "| x: b |  | failed: no \\| memory |",
        "| z: d | 3 | on: a CPU |",
        "",
        "| case | far [relative] | said |",
        "|---|---|---|",
        "| y: c | 0.5 | d |",
        "",
        "In ms. Not in s.",
        "",
        "## Figures",
        "",
        "0 of 1 cases in 0 s. The same command goes on.",
    ]
