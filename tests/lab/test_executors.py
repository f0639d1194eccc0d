"""Check that any executor gives the table of one process, and what becomes of what goes wrong."""

import dataclasses
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import adam_optax as ao
from adam_optax._engine.kernels.cpu.choice import chosen
from adam_optax.lab import (
    Comparison,
    LabError,
    Optimizer,
    Problem,
    Run,
    Sweep,
    compare,
    suggest,
    sweep,
)
from adam_optax.lab.kept import Kept
from adam_optax.lab.parts import Done, Numerics, Part, Source, do
from adam_optax.lab.pool import Pool
from adam_optax.lab.resume import made_by
from adam_optax.lab.storage_formats import with_storage
from adam_optax.lab.sweeper import Sweeper
from adam_optax.lab.task import Task
from adam_optax.lab.trainer import Trainer
from tests.lab.elsewhere import Here, LastFirst, small

GRID = {"learning_rate": [1e-2, 1e-1], "b1": [0.5, 0.9]}


def same(one: Sweep, other: Sweep) -> None:
    assert one.rows() == other.rows()
    for a, b in zip(one.points, other.points, strict=True):
        np.testing.assert_array_equal(a.losses, b.losses)
        np.testing.assert_array_equal(a.train_loss, b.train_loss)


def facts(run: Run) -> tuple[object, ...]:
    """Return all of a run but the times, which no two runs share."""
    untimed = dataclasses.replace(run, seconds_per_step=0.0)
    return tuple(np.asarray(value).tolist() for value in dataclasses.astuple(untimed))


def same_runs(one: Comparison, other: Comparison) -> None:
    assert [facts(run) for run in one.runs] == [facts(run) for run in other.runs]
    assert one.tuning.keys() == other.tuning.keys()
    for name, swept in one.tuning.items():
        same(swept, other.tuning[name])


@pytest.fixture(scope="module")
def alone() -> Sweep:
    return sweep(small(), "adam", GRID, [0, 1], epochs=2)


@pytest.mark.quick
@pytest.mark.parametrize("make", [Here, lambda: LastFirst(8), lambda: ThreadPoolExecutor(2)])
def test_a_sweep_is_the_same_to_the_last_bit(alone: Sweep, make: Callable[[], Executor]) -> None:
    seen: list[tuple[int, int]] = []
    stages: list[tuple[str, str]] = []
    with make() as executor:
        found = sweep(
            small(),
            "adam",
            GRID,
            [0, 1],
            epochs=2,
            executor=executor,
            on_progress=lambda *done: seen.append(done),
            on_stage=lambda *stage: stages.append(stage),
        )
    same(found, alone)
    assert seen == [(done, 8) for done in range(1, 9)]
    assert stages == [("training", f"{done} of 8 parts done") for done in range(9)]


@pytest.mark.parametrize("other", ["optax.sgd", pytest.param("adam pair", marks=pytest.mark.heavy)])
def test_a_comparison_is_the_same_but_for_the_times(tmp_path: Path, other: str) -> None:
    how: dict[str, Any] = {"epochs": 2, "parts": tmp_path}
    names = ["adam", with_storage(*other.split()) if " " in other else other]
    expected = compare(small(), names, [0, 1], epochs=2)
    done: list[float] = []
    runs: list[Run] = []
    found = compare(
        small(),
        names,
        [0, 1],
        **how,
        executor=LastFirst(4),
        on_progress=lambda share, epoch: done.append(share),
        on_run=runs.append,
    )
    same_runs(found, expected)
    assert done == [0.25, 0.5, 0.75, 1.0]
    assert [(run.optimizer, run.seed) for run in runs] == [
        (name, seed) for name in (other, "adam") for seed in (1, 0)
    ]
    # What is kept is what this process would have kept: it trains nothing again.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_epochs", lambda *_: pytest.fail("it is trained again"))
        same_runs(compare(small(), names, [0, 1], **how), expected)
    again = Here()
    same_runs(compare(small(), names, [0, 1], **how, executor=again), expected)
    assert again.calls == 0


@pytest.mark.heavy
def test_a_tuned_comparison_is_the_same(tmp_path: Path) -> None:
    how: dict[str, Any] = {"epochs": 1, "tune": [1e-3, 1e-2, 1e-1]}
    expected = compare(small(), ["adam", "lion"], [0, 1], **how)
    with ThreadPoolExecutor(2) as executor:
        same_runs(compare(small(), ["adam", "lion"], [0, 1], **how, executor=executor), expected)


@pytest.mark.heavy
def test_a_suggestion_is_the_same() -> None:
    expected = suggest(small(), "adam", range(6), epochs=4)
    with ThreadPoolExecutor(2) as executor:
        found = suggest(small(), "adam", range(6), epochs=4, executor=executor)
    assert (found.numbers, found.evidence()) == (expected.numbers, expected.evidence())
    assert found.rows() == expected.rows()


@pytest.mark.heavy
def test_vmapped_runs_are_one_part() -> None:
    how: dict[str, Any] = {"epochs": 1, "parallel": 3}
    executor = Here()
    found = sweep(small(), ["adam", "yogi"], GRID, [0], **how, executor=executor)
    assert executor.calls == 4  # three runs and one, of each optimiser
    same(found, sweep(small(), ["adam", "yogi"], GRID, [0], **how))


@pytest.mark.heavy  # two processes import jax
def test_processes_give_the_same_to_the_last_bit(alone: Sweep) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as executor:
        how: dict[str, Any] = {"epochs": 2, "executor": executor}
        same(sweep("tests.lab.elsewhere:small", "adam", GRID, [0, 1], **how), alone)
        names = ["adam", "optax.sgd"]
        found = compare(small(), names, [0, 1], **how)
        same_runs(found, compare(small(), names, [0, 1], epochs=2))
        message = "load of problem 'mine' cannot be sent to another process, .*'module:function'"
        with pytest.raises(LabError, match=message):
            sweep(unsendable(), "adam", GRID, [0], **how)
        same(sweep(small(), "adam", GRID, [0, 1], **how), alone)  # the executor is none the worse


def unsendable() -> Problem:
    known = small()
    return dataclasses.replace(known, name="mine", load=lambda folder: known.load(folder))


def test_what_cannot_be_sent_is_named() -> None:
    message = "load of problem 'mine' cannot be sent to another process, for it cannot be pickled"
    with pytest.raises(LabError, match=message):
        sweep(unsendable(), "adam", GRID, [0], epochs=1, executor=Here())
    own = Optimizer("own", lambda rate, **numbers: ao.adam(rate, **numbers))
    with pytest.raises(LabError, match="build of optimiser 'own' cannot be sent"):
        sweep(small(), own, GRID, [0], epochs=1, executor=Here())


@pytest.mark.heavy
def test_threads_are_sent_anything(alone: Sweep) -> None:
    with ThreadPoolExecutor(2) as executor:
        found = sweep(unsendable(), "adam", GRID, [0, 1], epochs=2, executor=executor)
    assert len(found.points) == len(alone.points)


@pytest.fixture
def trains_nothing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let a part give what it would without training; return the seeds of the parts."""
    seeds: list[int] = []

    def made_up(self: Sweeper, part: Any) -> Any:
        seeds.extend(job.seed for job in part)
        if part[0].seed == 666:
            raise RuntimeError("a fault\nof the part")
        losses = np.full((1, self._epochs * self.task.steps_per_epoch), part[0].seed, np.float32)
        return losses, losses[:, :1], losses[:, 0]

    monkeypatch.setattr(Sweeper, "_trained", made_up)
    return seeds


def test_a_fault_of_a_part_is_told_and_not_tried_again(
    trains_nothing: list[int], tmp_path: Path
) -> None:
    how: dict[str, Any] = {"epochs": 1, "parts": tmp_path}
    message = "adam, learning_rate 0.1, seed 666: RuntimeError: a fault of the part"
    with pytest.raises(LabError) as raised:
        sweep(small(), "adam", {"learning_rate": [0.1]}, [0, 666, 1], **how, executor=Here())
    assert str(raised.value) == message
    assert "in made_up" in raised.value.__notes__[0]
    assert trains_nothing == [0, 666, 1]
    assert len(list(tmp_path.iterdir())) == 2  # what was finished is kept
    again = Here()
    sweep(small(), "adam", {"learning_rate": [0.1]}, [0, 1, 2], **how, executor=again)
    assert again.calls == 1


@pytest.mark.parametrize(("losses", "retries"), [(2, 2), (3, 2), (1, 0)])
def test_a_part_whose_worker_died_is_run_again_so_many_times(
    trains_nothing: list[int], losses: int, retries: int
) -> None:
    stages: list[str] = []
    how: dict[str, Any] = {"executor": Here(losses), "retries": retries, "epochs": 1}
    how["on_stage"] = lambda kind, what: stages.append(what)
    grid = {"learning_rate": [0.1]}
    if losses > retries:
        message = f"{losses} workers died or failed .* ConnectionError: the worker is gone"
        with pytest.raises(LabError, match=f"^adam, learning_rate 0.1, seed 5: {message}"):
            sweep(small(), "adam", grid, [5], **how)
        assert trains_nothing == []
    else:
        assert len(sweep(small(), "adam", grid, [5], **how).points) == 1
        assert stages.count("adam, learning_rate 0.1, seed 5 again: its worker died") == losses


def test_what_an_engine_tried_by_itself_counts(trains_nothing: list[int]) -> None:
    class Killed(Exception):
        allowed_failures = 3  # as Dask's exception has it: four workers died

    class Engine(Here):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
            future: Future[Any] = Future()
            future.set_exception(Killed())
            return future

    with pytest.raises(LabError, match="4 workers died or failed"):
        sweep(small(), "adam", {"learning_rate": [0.1]}, [5], epochs=1, executor=Engine())


class Broken(Here):
    """Break after two calls, as a pool of processes does that lost one of them."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Run the first two calls."""
        future: Future[Any] = Future()
        if self.calls >= 2:
            future.set_exception(BrokenExecutor("a process ended"))
            return future
        return super().submit(fn, *args, **kwargs)


def test_an_executor_that_broke_is_told_with_the_way_out(
    trains_nothing: list[int], tmp_path: Path
) -> None:
    how: dict[str, Any] = {"epochs": 1, "parts": tmp_path}
    grid = {"learning_rate": [0.1]}
    message = "takes no more parts .BrokenExecutor: a process ended.*; make a new one: with parts"
    with pytest.raises(LabError, match=message):
        sweep(small(), "adam", grid, [0, 1, 2], **how, executor=Broken())
    sweep(small(), "adam", grid, [0, 1, 2], **how, executor=Here())
    assert trains_nothing == [0, 1, 2]
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(LabError, match=r"takes no more parts .RuntimeError: cannot schedule"):
        sweep(small(), "adam", grid, [7], epochs=1, executor=executor)


def test_ctrl_c_keeps_what_is_finished_and_cancels_the_rest(
    trains_nothing: list[int], tmp_path: Path
) -> None:
    def stop(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    how: dict[str, Any] = {"epochs": 1, "parts": tmp_path}
    grid, executor = {"learning_rate": [0.1]}, LastFirst(9, 3)
    found = sweep(small(), "adam", grid, range(9), **how, executor=executor, on_progress=stop)
    assert found.interrupted
    seeds = [point.seed for point in found.points]
    assert seeds in ([7, 8], [6, 7, 8])  # the third may be done by then
    assert len(list(tmp_path.iterdir())) == len(seeds)
    assert sum(future.cancelled() for future in executor.futures) == 9 - len(seeds)
    again = Here()
    assert not sweep(small(), "adam", grid, range(9), **how, executor=again).interrupted
    assert again.calls == 9 - len(seeds)


def test_processes_that_are_forks_are_refused() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as executor,
        pytest.raises(LabError, match=r"forks its processes, which hang.*get_context.'spawn'"),
    ):
        sweep(small(), "adam", GRID, [0], executor=executor)
    with pytest.raises(LabError, match="retries must be at least 0, got -1"):
        sweep(small(), "adam", GRID, [0], executor=Here(), retries=-1)


def test_a_worker_unlike_this_process_is_refused(tiny: Problem) -> None:
    facts = made_by(Task(tiny))
    like = Source("like", tiny, 16, None, tuple(facts), Numerics.here())
    assert like.task() is like.task()
    for place, name in ((1, "data"), (3, "versions of adam_optax and jax, and platform")):
        other = [*facts[:place], "another", *facts[place + 1 :]]
        unlike = dataclasses.replace(like, token=name, made_by=tuple(other))
        with pytest.raises(LabError, match=f"this worker's {name} would give other numbers"):
            unlike.task()


@dataclasses.dataclass(frozen=True)
class Choices(Part):
    """Tell which choices hold where the part is done."""

    def run(self, task: Task) -> tuple[bool, str | None, str, str]:
        """Return the choices."""
        found = Numerics.here()
        return found.x64, found.precision, found.random, chosen.get()


def test_choices_that_change_numbers_go_with_a_part(tiny: Problem) -> None:
    task = Task(tiny)
    with (
        ThreadPoolExecutor(1) as executor,
        jax.enable_x64(True),
        jax.default_matmul_precision("float32"),
        jax.default_prng_impl("rbg"),
        ao.cpu_loops("never"),
    ):
        source = Pool(executor, 0, task, tiny, None).source
        found = executor.submit(do, Choices("choices", source, "none", ())).result()
    assert found == Done((True, "float32", "rbg", "never"))
    assert Numerics.here() != source.numerics


def test_what_is_kept_is_made_once_and_the_oldest_is_left_out() -> None:
    kept, made = Kept(2), []

    def make(name: str) -> Callable[[], str]:
        def made_now() -> str:
            made.append(name)
            return name

        return made_now

    for name in "aabacab":
        assert kept.get(name, make(name)) == name
    assert "".join(made) == "abcb"


@pytest.fixture(autouse=True)
def _no_task_is_left() -> Iterator[None]:
    """Check that what a call sent is forgotten with the call."""
    yield
    import gc

    from adam_optax.lab import parts

    gc.collect()
    assert not list(parts._sent)
