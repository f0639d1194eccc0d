"""Hold the benchmark of one GPU to its promises: shared time, no case twice, failures as rows."""

import csv
import functools
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import equality, language, machine, run, steps, timing
from benchmarks.gpu.case import NAMES, AbsentError, Case, Measured, Part, Setup, need
from benchmarks.gpu.model import Decoder, Shape, codes
from benchmarks.gpu.page import Planned
from benchmarks.gpu.results import Results
from benchmarks.gpu.timing import Clock
from tests.support import cases as adams

ROOT = pathlib.Path(__file__).parents[2]
TICKS = 30.0
"""How often a run asks for the time until it is over; only where a gate is broken is it so long."""


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
        ticks = itertools.count()

        def clock(_: float, shares: Mapping[str, float]) -> Clock:
            return Clock(TICKS, shares, lambda: float(next(ticks)))

        monkeypatch.setattr(run, "Clock", clock)
        run.run(Setup(tmp_path, miniature=True), 0.0, ["steps"], os.getppid())
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


def test_figures_without_their_data_say_what_is_missing(tmp_path: pathlib.Path) -> None:
    first = run.load("figures").cases(Setup(tmp_path, data=tmp_path / "none"))[0]
    with pytest.raises(AbsentError, match=r"mnist is not in .*none: .*: no such file"):
        list(first.measure())


def test_a_full_run_without_a_gpu_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(SystemExit, match=r"JAX sees no GPU here \(nvidia-smi .*on a CPU: --minia"):
        run.run(Setup(tmp_path), time.monotonic() + 1.0, NAMES, os.getppid())


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


class Inner:
    """Stand for the processes with the device: each does its work, and ends with its code.

    Args:
        monkeypatch: to put this in the place of `subprocess.Popen`.
        works: for each process in turn, what it does, which returns its code.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *works: Callable[[], int]) -> None:
        self.works, self.commands = list(works), list[list[str]]()
        monkeypatch.setattr(subprocess, "Popen", self._begin)

    def _begin(self, command: list[str], **_: object) -> "Inner":
        self.commands.append(command)
        return self

    def __enter__(self) -> "Inner":
        return self

    def __exit__(self, *_: object) -> None: ...

    def kill(self) -> None:
        """End nothing."""

    def wait(self, _: float) -> int:
        """Do the work of a process."""
        return self.works.pop(0)()


@pytest.mark.quick
def test_a_case_that_ends_its_process_is_a_row_and_the_process_begins_anew(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = Results(tmp_path)

    def aborts() -> int:
        results.append("steps", "before", [Measured("x", "ms", 1.0)], 0.1)
        (tmp_path / "running").write_text('["steps", "aborts"]')
        with (tmp_path / "results.csv").open("a") as stream:
            stream.write("steps,aborts,x,ms,1")  # in the middle of a line
        return -6

    inner = Inner(monkeypatch, aborts, lambda: 0)
    assert command.watch(results, ["--retry"], 60.0) == 0
    assert inner.works == []
    assert ["--no-retry" in one for one in inner.commands] == [False, True]  # else it has no end
    assert [line[1:3] for line in lines(tmp_path)[:2]] == [["before", "x"], ["before", "took"]]
    ((_, case, measure, *_, note), _) = lines(tmp_path)[2:]
    assert (case, measure, note) == ("aborts", "failed", "its process ended with -6: SIGABRT")


@pytest.mark.quick
def test_a_device_that_is_lost_to_a_process_is_there_for_the_next(
    do: Callable[[list[Case]], list[list[str]]],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails() -> Iterator[Measured]:
        raise RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS")

    cases = [Case("a", fails), Case("b", list)]
    with monkeypatch.context() as lost:
        lost.setattr(run, "_computes", lambda: False)
        with pytest.raises(run.LostError, match="no more after a"):
            do(cases)
    assert {line[1] for line in lines(tmp_path)} == {"a"}  # b is not said to have failed
    inner = Inner(monkeypatch, lambda: command.LOST, lambda: len(do(cases)) - 3)
    assert command.watch(Results(tmp_path), [], 60.0) == 0
    assert inner.works == []
    assert [line[1:3] for line in lines(tmp_path)] == [
        ["a", "failed"],
        ["a", "took"],
        ["b", "took"],
    ]


@pytest.mark.quick
@pytest.mark.parametrize("code", [command.REFUSED, 1])
def test_a_run_that_cannot_begin_writes_nothing(
    code: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Inner(monkeypatch, lambda: code)
    said = "the process with the device ended with 1" if code == 1 else "3"
    with pytest.raises(SystemExit, match=said):
        command.main(["--out", str(tmp_path)])
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("lock", "")]


@pytest.mark.quick
def test_after_an_interrupt_there_is_a_table_and_the_way_on(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> int:
        results = Results(tmp_path)
        results.plan({"device": "a GPU"}, {"steps": Planned("Steps", (), ["a", "b"])})
        results.append("steps", "a", [Measured("x", "ms", 1.5)], 0.1)
        raise KeyboardInterrupt

    Inner(monkeypatch, interrupted)
    with pytest.raises(SystemExit, match="130"):
        command.main(["--out", str(tmp_path)])
    out, said = capsys.readouterr()
    assert said == "stopped: the same command goes on\n"
    assert (tmp_path / "results.md").read_text() in out
    assert "| a | 1.5 |" in out


@pytest.mark.quick
def test_the_process_with_the_device_has_one_gpu_and_leaves_memory_to_pytorch() -> None:
    gpu, fraction = {"CUDA_VISIBLE_DEVICES": "0"}, {command.FRACTION[0]: "0.6"}
    assert command._environment({}) == gpu | fraction
    newer = {command.FRACTION[1]: "0.5"}  # with both names jaxlib 0.12 refuses to begin
    assert command._environment(newer) == gpu | newer
    own = {"CUDA_VISIBLE_DEVICES": "3", "JAX_PLATFORMS": "cuda"}
    assert command._environment(own) == own | fraction | {"JAX_PLATFORMS": "cuda,cpu"}


@pytest.mark.quick
@pytest.mark.parametrize(
    ("answer", "backend", "said"),
    [
        ("580.65", None, ""),
        ("unknown", "cpu", "nvidia-smi is not there or finds none, so that a driver may be"),
        ("535.183", "cpu", "of driver 535.183: jax[cuda13] needs 580, jax[cuda12] 525"),
        (
            "580.65",
            RuntimeError("Unknown backend\ncuda"),
            "(Unknown backend cuda; nvidia-smi ",
        ),
    ],
)
def test_why_there_is_no_gpu_is_said(
    answer: str, backend: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def default() -> str:
        if isinstance(backend, Exception):
            raise backend
        return str(backend or "gpu")

    monkeypatch.setattr(machine, "asked", lambda _: answer)
    monkeypatch.setattr(jax, "default_backend", default)
    assert said in machine.no_gpu()
    monkeypatch.setattr(machine, "PLUGINS", ("no_such_plugin",))
    assert ("not installed: pip install 'jax[cuda13]')" in machine.no_gpu()) == bool(said)
    assert bool(machine.no_gpu()) == bool(said)


@pytest.mark.quick
def test_a_format_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise jax.errors.JaxRuntimeError("INTERNAL: ptxas")

    variant = adams.CASES[0]
    monkeypatch.setattr(equality, "trajectory", broken)
    found = equality.of_formats(variant, ["pair()"])
    assert next(found).note == "failed: JaxRuntimeError: INTERNAL: ptxas"
    with pytest.raises(RuntimeError, match="no format could be compared: failed: JaxRuntimeErr"):
        list(found)


@pytest.mark.quick
def test_the_first_minutes_of_the_steps_are_those_of_peers_and_four_sizes_of_a_state() -> None:
    keys = [case.key for case in steps.cases(Setup(pathlib.Path("gpu")))]
    assert keys[:10] == ["copy, device to device"] + [
        f"one leaf, float32: {name}, step"
        if name in steps.FORMATS
        else f"one leaf, float32: {name}"
        for name in steps.FIRST
    ]
    ours, theirs = len(steps.FORMATS) * len(steps.KINDS), (1 + len(steps.PEERS)) * 4
    assert len(keys) == 1 + ours + theirs  # `update` has no peers


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
    assert sorted(ended) == sorted(
        (part, key) for part in planned for key in planned[part]["cases"]
    )
    assert {line[0] for line in found if line[4]} == set(NAMES)  # each has numbers
    assert not [line for line in found if line[2] == "failed"]
    lacked = {line[-1] for line in found if line[2] == "absent"}
    assert lacked <= {f"{name} is not installed" for name in ("torch", "torchao", "bitsandbytes")}
    table = (tmp_path / "results.md").read_text()
    assert made.stdout.rpartition("\n\n")[0].endswith(table[:-1])
    for part in planned.values():
        keys = part["cases"]
        assert f"## {part['title']}\n\n{len(keys)} of {len(keys)} cases in " in table
        assert all(f"\n| {key} | " in table for key in keys)
        assert " ".join(part["notes"]) in table
