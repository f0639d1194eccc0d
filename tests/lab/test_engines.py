"""Check that Dask and Ray give the table of one process, also where a worker is killed."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adam_optax.lab import LabError, Sweep, open_executor, sweep
from tests.lab.elsewhere import HOLD, PARENT, Here, workers

PROBLEM = "tests.lab.elsewhere:small"
GRID = {"learning_rate": [1e-2, 1e-1], "b1": [0.5, 0.9]}
_LONG = 300.0
"""Seconds that two processes may take to import jax; the machine may be busy."""


def same(one: Sweep, other: Sweep) -> None:
    assert one.rows() == other.rows()
    for a, b in zip(one.points, other.points, strict=True):
        np.testing.assert_array_equal(a.losses, b.losses)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder of data in which workers tell who they are, and wait."""
    (tmp_path / PARENT).write_text(str(os.getpid()))
    return tmp_path


@contextmanager
def killing_one_of_two(folder: Path) -> Iterator[list[int]]:
    """Kill one of two workers when each is in the middle of a part; yield whom, once it is dead."""
    (folder / HOLD).touch()
    killed: list[int] = []

    def kill() -> None:
        end = time.monotonic() + _LONG
        while len(workers(folder)) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        killed.append(workers(folder)[0])
        os.kill(killed[0], signal.SIGKILL)
        time.sleep(0.5)
        (folder / HOLD).unlink()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        thread.join()


def check_that_a_killed_worker_changes_nothing(executor: Executor, folder: Path) -> list[str]:
    """Compare a sweep one of whose workers is killed with one of this process; return stages."""
    expected = sweep(PROBLEM, "adam", GRID, [0, 1], epochs=2, data_dir=folder)
    stages: list[str] = []
    with killing_one_of_two(folder) as killed:
        found = sweep(
            PROBLEM,
            "adam",
            GRID,
            [0, 1],
            epochs=2,
            data_dir=folder,
            executor=executor,
            on_stage=lambda kind, what: stages.append(what),
        )
    assert len(killed) == 1
    assert not alive(killed[0])
    same(found, expected)
    return stages


def alive(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


@pytest.mark.heavy  # two processes import jax, and a third
@pytest.mark.filterwarnings("ignore")  # of Dask's own
def test_dask_with_a_killed_worker_gives_the_same_table(folder: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        open_executor(cluster.scheduler_address.replace("tcp", "dask")) as executor,
    ):
        check_that_a_killed_worker_changes_nothing(executor, folder)


@pytest.mark.heavy  # Ray starts, and two processes import jax
@pytest.mark.filterwarnings("ignore")  # of Ray's own
def test_ray_with_a_killed_worker_gives_the_same_table(folder: Path) -> None:
    ray = pytest.importorskip("ray", reason="needs the extra ray")
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
    ray.init("local", num_cpus=2, **quiet)
    try:
        with open_executor("ray") as executor:
            stages = check_that_a_killed_worker_changes_nothing(executor, folder)
        assert len([said for said in stages if said.endswith("again: its worker died")]) == 1
        assert ray.is_initialized()  # it is the caller's to end
    finally:
        ray.shutdown()


@pytest.mark.heavy  # two processes import jax, and two more
def test_a_pool_of_processes_with_a_killed_one_goes_on_from_parts(folder: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    how: dict[str, Any] = {"epochs": 2, "data_dir": folder}
    expected = sweep(PROBLEM, "adam", GRID, [0], **how)
    how["parts"] = folder / "parts"
    sweep(PROBLEM, "adam", [{"learning_rate": 1e-2, "b1": 0.5}], [0], **how)
    with (
        killing_one_of_two(folder),
        ProcessPoolExecutor(2, mp_context=spawn) as executor,
        pytest.raises(LabError, match=r"takes no more parts .BrokenProcessPool"),
    ):
        sweep(PROBLEM, "adam", GRID, [0], **how, executor=executor)
    again = Here()
    same(sweep(PROBLEM, "adam", GRID, [0], **how, executor=again), expected)
    assert again.calls == 3


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")  # of Dask's own
def test_a_scheduler_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="needs the extra dask")
    monkeypatch.setattr("adam_optax.lab.engines._PATIENCE", 1.0)
    message = "no scheduler of Dask's answers at dask://127.0.0.1:9: "
    with pytest.raises(LabError, match=message), open_executor("dask://127.0.0.1:9"):
        pass


@pytest.mark.parametrize(("on", "package"), [("dask", "dask"), ("ray", "ray")])
def test_a_missing_engine_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, on: str, package: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    message = rf"{on} needs the {on} extra: pip install 'adam-optax\[{on}\]'"
    with pytest.raises(LabError, match=message), open_executor(on):
        pass


def no_executor() -> int:
    return 3


def failing() -> Executor:
    raise OSError("no licence")


def test_a_function_of_the_users_own_opens_an_executor() -> None:
    with open_executor("tests.lab.elsewhere:threads") as executor:
        assert isinstance(executor, ThreadPoolExecutor)
        assert executor.submit(lambda: 3).result() == 3
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(lambda: 3)
    for on, message in (
        (f"{__name__}:no_executor", "returned no concurrent.futures.Executor but int"),
        (f"{__name__}:failing", "cannot be made: OSError: no licence"),
        ("dask://", "expected dask, dask://HOST:PORT, ray, ray://HOST:PORT or module:function"),
        ("spark://host:1", "got 'spark://host:1'"),
        ("slurm", "got 'slurm'"),
    ):
        with pytest.raises(LabError, match=message), open_executor(on):
            pass
