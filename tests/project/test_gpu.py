"""Hold the benchmark of one GPU to its promises: shared time, no case twice, failures as rows."""

import csv
import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import language, machine, run, timing
from benchmarks.gpu.case import NAMES, AbsentError, Case, Measured, Part, Setup, need
from benchmarks.gpu.model import Decoder, Shape, codes
from benchmarks.gpu.results import Results
from benchmarks.gpu.timing import Clock

ROOT = pathlib.Path(__file__).parents[2]
SECONDS = 5.0
"""Of runs whose cases take none; only where a gate is broken do they last so long."""


@pytest.fixture
def do(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[Case]], list[list[str]]]:
    """Return a function that runs a part of these cases, and returns the lines of the file."""

    def do(cases: list[Case]) -> list[list[str]]:
        part = Part("steps", "Steps", 1.0, lambda _: cases)
        monkeypatch.setattr(run, "PARTS", (part,))
        monkeypatch.setattr(machine, "facts", lambda _: {"device": "none"})
        Results(tmp_path).tidy()  # as the process that watches does
        run.run(Setup(tmp_path, miniature=True), SECONDS, ["steps"], os.getppid())
        return lines(tmp_path)

    return do


def lines(folder: pathlib.Path) -> list[list[str]]:
    """Return the lines of the file below its head."""
    with (folder / "results.csv").open(newline="") as stream:
        return list(csv.reader(stream))[1:]


def test_a_part_that_newer_libraries_break_is_a_row(
    do: Callable[[list[Case]], list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "benchmarks.gpu.language", None)
    (failed, took) = do(run.load("language").cases(Setup(pathlib.Path())))
    assert failed[1:3] == ["import", "failed"]
    assert failed[-1].startswith("ModuleNotFoundError: import of benchmarks.gpu.language")
    assert took[1:3] == ["import", "took"]


def test_parts_have_their_names() -> None:
    assert tuple(part.name for part in run.PARTS) == NAMES
    keys = [[c.key for c in part.cases(Setup(pathlib.Path("gpu")))] for part in run.PARTS]
    assert [len(set(of)) for of in keys] == [len(of) for of in keys]
    assert min(map(len, keys)) >= 10


@pytest.mark.quick
def test_what_a_part_leaves_of_its_minutes_is_shared_by_those_that_wait() -> None:
    now = [100.0]
    clock = Clock(40.0, {"a": 1.0, "b": 2.0, "c": 1.0}, lambda: now[0])
    assert clock.until("a", ["a", "b", "c"]) == 110.0
    now[0] = 104.0  # six seconds before
    assert clock.until("b", ["b", "c"]) == 104.0 + 36.0 * 2 / 3
    now[0] = 139.0
    assert clock.until("c", ["c"]) == 140.0
    assert not clock.reached(140.0)
    now[0] = 141.0  # the last case took longer than there was
    assert clock.left() == -1.0
    assert clock.reached(clock.until("a", ["a"]))


@pytest.mark.quick
def test_a_case_that_is_done_is_not_done_again(
    do: Callable[[list[Case]], list[list[str]]], tmp_path: pathlib.Path
) -> None:
    times = [0, 0, 0]

    def counted(i: int, stops: bool) -> Callable[[], list[Measured]]:
        def measure() -> list[Measured]:
            times[i] += 1
            if stops and times[i] == 1:
                raise KeyboardInterrupt
            return [Measured("x", "", float(i))]

        return measure

    cases = [Case(f"case {i}", counted(i, stops=i == 1)) for i in range(3)]
    with pytest.raises(KeyboardInterrupt):
        do(cases)
    assert Results(tmp_path).take_running() == ("steps", "case 1")
    found = do(cases)
    assert times == [1, 2, 1]
    assert [line[1:3] for line in found] == [
        [f"case {i}", measure] for i in range(3) for measure in ("x", "took")
    ]


@pytest.mark.quick
def test_what_fails_or_is_missing_is_a_row_and_the_next_case_is_done(
    do: Callable[[list[Case]], list[list[str]]], tmp_path: pathlib.Path
) -> None:
    def fails() -> Iterator[Measured]:
        yield Measured("x", "", 1.0)
        raise RuntimeError("no memory\nfor this")

    def lacks() -> Iterator[Measured]:
        need("no_such_package")
        yield Measured("x", "", 1.0)

    cases = [Case("a", fails), Case("b", lacks), Case("c", list)]
    found = do(cases)
    assert [line[1:3] + line[-1:] for line in found if line[2] != "took"] == [
        ["a", "x", ""],  # was measured before
        ["a", "failed", "RuntimeError: no memory for this"],
        ["b", "absent", "no_such_package is not installed"],
    ]
    assert [line[1] for line in found if line[2] == "took"] == ["a", "b", "c"]
    Results(tmp_path).tidy(retry=True)
    assert {line[1] for line in lines(tmp_path)} == {"c"}


@pytest.mark.quick
@pytest.mark.parametrize("cut", [1, 12, 40])
def test_a_case_of_which_a_kill_left_a_part_is_not_done(cut: int, tmp_path: pathlib.Path) -> None:
    results, one = Results(tmp_path), [Measured("x", "ms", 1.5), Measured("y", note="a, b")]
    results.tidy()
    results.append("steps", "whole", one, 0.1)
    results.append("steps", "torn", one, 0.1)
    file = tmp_path / "results.csv"
    file.write_bytes(file.read_bytes()[:-cut])
    assert results.done() == {("steps", "whole")}
    results.tidy()
    results.append("steps", "torn", one, 0.1)
    assert [line[1:3] for line in lines(tmp_path)] == [
        [case, measure] for case in ("whole", "torn") for measure in ("x", "y", "took")
    ]


def test_of_two_runs_into_one_folder_the_second_is_refused(tmp_path: pathlib.Path) -> None:
    with Results(tmp_path).locked(), pytest.raises(SystemExit, match="another run writes to"):
        command.main(["--out", str(tmp_path)])


@pytest.mark.quick
def test_results_of_another_machine_are_not_added_to(tmp_path: pathlib.Path) -> None:
    results, h100, h200 = Results(tmp_path), {"device": "an H100"}, {"device": "an H200"}
    results.tidy()
    results.plan(h100, {})
    results.plan(h200, {})  # nothing was measured on the other
    results.append("steps", "a", [], 1.0)
    results.plan(h200, {})
    with pytest.raises(SystemExit, match=r"results of device an H200, not an H100: choose another"):
        results.plan(h100, {})


@pytest.mark.quick
def test_what_is_not_of_this_command_is_not_written_over(tmp_path: pathlib.Path) -> None:
    a_file = tmp_path / "a"
    a_file.write_text("mine")
    with pytest.raises(SystemExit, match=r"exists.*: choose another --out"):
        command.main(["--out", str(a_file)])
    for name, text in {"results.csv": "mine,1\n", "facts.json": "{", "facts.json ": "[]"}.items():
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / name.strip()).write_text(text)
        with pytest.raises(SystemExit, match="is not of this command: choose another --out"):
            command.main(["--out", str(folder)])
        assert (folder / name.strip()).read_text() == text


def test_figures_without_their_data_say_what_is_missing(tmp_path: pathlib.Path) -> None:
    first = run.load("figures").cases(Setup(tmp_path, data=tmp_path / "none"))[0]
    with pytest.raises(AbsentError, match=r"mnist is not in .*none: .*: no such file"):
        list(first.measure())


def test_a_full_run_without_a_gpu_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(SystemExit, match=r"JAX sees no GPU here: install .* or write --miniature"):
        run.run(Setup(tmp_path), 1.0, NAMES, os.getppid())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--minutes", "0"], "--minutes must be a positive number, not 0"),
        (["--minutes", "inf"], "--minutes must be a positive number, not inf"),
        (["--parts"], "--parts: expected at least one argument"),
        (["--text", "nowhere.txt"], "--text: there is no file nowhere.txt"),
    ],
)
def test_bad_arguments_are_named(
    wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command.main(wrong)
    assert said in capsys.readouterr().err


@pytest.mark.quick
def test_a_case_that_ends_its_process_is_a_row_and_the_process_begins_anew(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, codes = Results(tmp_path), [-6, 0]
    results.tidy()

    class Inner:
        def __init__(self, *_: object, **__: object) -> None:
            if codes[0]:  # its case is not over when it ends
                (tmp_path / "running").write_text('["steps", "aborts"]')

        def __enter__(self) -> "Inner":
            return self

        def __exit__(self, *_: object) -> None: ...

        def wait(self, _: float) -> int:
            return codes.pop(0)

    monkeypatch.setattr(subprocess, "Popen", Inner)
    command.watch(results, [], 60.0)
    assert codes == []
    ((_, case, measure, *_, note), _) = lines(tmp_path)
    assert (case, measure, note) == ("aborts", "failed", "its process ended with -6: SIGABRT")


@pytest.mark.quick
def test_a_table_has_a_line_for_each_case_and_says_what_is_missing(tmp_path: pathlib.Path) -> None:
    results = Results(tmp_path)
    results.tidy()
    planned = {"steps": ["Steps", "a", "b", "c"], "figures": ["Figures", "d"]}
    results.plan({"device": "a GPU"}, planned)
    taken = Measured("step", "ms", 2.0, 1.5, 2.5, 7)
    results.append("steps", "a", [taken, Measured("on", note="a CPU")], 1.0)
    results.append("steps", "b", [Measured("failed", note="no | memory")], 1.0)
    assert results.table() == (tmp_path / "results.md").read_text()[:-1]
    assert results.table().splitlines() == [
        "# One GPU",
        "",
        "- device: a GPU",
        "",
        "## Steps",
        "",
        "2 of 3 cases, 1 of which failed or lacked something. The same command goes on.",
        "",
        "| case | step [ms] | said |",
        "|---|---|---|",
        "| a | 2 (1.5-2.5) | on: a CPU |",
        "| b |  | failed: no \\| memory |",
        "",
        "## Figures",
        "",
        "0 of 1 cases. The same command goes on.",
    ]


@pytest.mark.quick
def test_the_time_of_a_step_is_that_of_as_many_as_were_handed_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, steps, waits = [0.0], list[int](), list[int]()

    def dispatch() -> int:
        now[0] += 0.0625 if len(steps) != 4 else 0.1875  # one lasts longer
        steps.append(0)
        return len(steps)

    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    taken = timing.timed(Setup(pathlib.Path()), dispatch, waits.append, "a step")
    assert waits == list(range(1, 10))  # two samples before those that count
    assert taken == Measured("a step", "ms", 62.5, 62.5, 187.5, 7)
    del steps[:], waits[:]
    monkeypatch.setattr(timing, "LEAST", 0.25)
    taken = timing.timed(Setup(pathlib.Path()), dispatch, waits.append)
    assert waits == [1, 2, *range(6, 34, 4)]  # of four steps, waited for at the end
    assert taken == Measured("step", "ms", 62.5, 62.5, 93.75, 7)


def test_the_language_model_has_the_parameters_of_gpt2() -> None:
    shape = Shape()
    words = jax.ShapeDtypeStruct((shape.batch, shape.length + 1), jnp.int32)
    one = jax.ShapeDtypeStruct((1, shape.length), jnp.int32)
    gradient = jax.value_and_grad(functools.partial(language.loss, shape=shape))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # of Flax
        params = jax.eval_shape(Decoder(shape).init, jax.random.key(0), one)
        value, grads = jax.eval_shape(gradient, params, words)
    assert value.shape == ()
    assert jax.tree.map(jnp.shape, grads) == jax.tree.map(jnp.shape, params)
    # GPT-2's 124,439,808 with its 50,257 words, here 50,304: a multiple of 128.
    assert sum(x.size for x in jax.tree.leaves(params)) == 124_439_808 + 47 * shape.width


@pytest.mark.quick
def test_words_are_numbered_by_how_common_they_are_and_the_rest_share_a_number() -> None:
    found, distinct = codes("a b a\nc, a b", 4)
    #            "a" " b" " a" "\n" "c" "," " a" " b"
    assert found.tolist() == [2, 0, 1, 3, 3, 3, 1, 0]
    assert distinct == 4


@pytest.mark.heavy
def test_a_miniature_that_is_killed_goes_on_where_it_was(tmp_path: pathlib.Path) -> None:
    what = [sys.executable, "-m", "benchmarks.gpu", "--miniature", "--minutes", "30"]
    what += ["--out", str(tmp_path)]
    env, pipe = os.environ | {"JAX_PLATFORMS": "cpu"}, subprocess.PIPE
    with subprocess.Popen(
        what, cwd=ROOT, env=env, stdout=pipe, text=True, start_new_session=True
    ) as one:
        assert one.stdout is not None
        for line in one.stdout:
            if line.startswith("steps: one leaf"):
                break
        os.killpg(one.pid, signal.SIGKILL)
    before = (tmp_path / "results.csv").read_text().rpartition("\n")[0]
    made = subprocess.run(what, cwd=ROOT, env=env, check=True, stdout=pipe, text=True)
    assert (tmp_path / "results.csv").read_text().startswith(before)
    planned = json.loads((tmp_path / "facts.json").read_text())["planned"]
    found = lines(tmp_path)
    ended = [tuple(line[:2]) for line in found if line[2] == "took"]
    assert sorted(ended) == sorted((part, key) for part, (_, *of) in planned.items() for key in of)
    assert {line[0] for line in found if line[4]} == set(NAMES)  # each has numbers
    assert not [line for line in found if line[2] == "failed"]
    lacked = {line[-1] for line in found if line[2] == "absent"}
    assert lacked <= {f"{name} is not installed" for name in ("torch", "torchao", "bitsandbytes")}
    table = (tmp_path / "results.md").read_text()
    assert made.stdout.endswith(table)
    for title, *keys in planned.values():
        assert f"## {title}\n\n{len(keys)} of {len(keys)} cases" in table
        assert all(f"\n| {key} | " in table for key in keys)
