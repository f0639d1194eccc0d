"""Two processes train what one trains, and also where one of them died in the middle.

Each takes the fingerprint that one process with one device takes of the whole arrays.
"""

import collections
import contextlib
import json
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import adam_optax as ao
from tests.engine.sharding.cluster import DEVICES
from tests.engine.sharding.devices import ROOT, environment

pytestmark = pytest.mark.heavy
PATIENCE = 240.0
"""Seconds; a run takes about ten."""


def free_port() -> int:
    """A port that nobody listens at; that somebody takes it meanwhile is tried again."""
    with socket.socket() as here:
        here.bind(("127.0.0.1", 0))
        port: int = here.getsockname()[1]
        return port


@contextlib.contextmanager
def running(folder: pathlib.Path, count: int, *options: str, fault: str = "") -> Iterator[Any]:
    """So many processes of one run, none of which outlives the test."""
    command = [sys.executable, "-m", "tests.engine.sharding.cluster", str(folder), *options]
    command += ["--processes", str(count)] + (["--port", str(free_port())] if count > 1 else [])
    processes = []
    for rank in range(count):
        dies = ["--fault", fault] if fault and rank == count - 1 else []
        log = (folder / f"rank{rank}.log").open("w")
        processes.append(
            subprocess.Popen(
                [*command, "--rank", str(rank), *dies],
                cwd=ROOT,
                env=environment(DEVICES // count),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        )
        log.close()
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def finish(folder: pathlib.Path, count: int, *options: str) -> Any:
    """What came out of a run, by array and place; tried again if its port was taken."""
    for _ in range(3):
        with running(folder, count, *options) as processes:
            ended = time.monotonic() + PATIENCE
            codes = [p.wait(max(1.0, ended - time.monotonic())) for p in processes]
        logs = [(folder / f"rank{rank}.log").read_text() for rank in range(count)]
        if not any(codes):
            return results(folder, count)
        assert "ddress already in use" in "".join(logs), logs[0][-3000:]
    raise AssertionError("three ports in a row were taken")


def results(folder: pathlib.Path, count: int) -> dict[str, Any]:
    """The parts of all processes, after a look at the fingerprint that each of them took."""
    parts: dict[str, Any] = {}
    fingerprints = []
    for rank in range(count):
        with np.load(folder / f"rank{rank}.npz") as found:
            parts |= dict(found)
        fingerprints.append(parts.pop("fingerprint"))
    for fingerprint in fingerprints:
        ao.check_fingerprint(whole(parts), fingerprint)
    return parts


def whole(parts: dict[str, Any]) -> dict[str, Any]:
    """The arrays of a run by name; of those that are spread, each part has some of the rows."""
    pieces: dict[str, dict[tuple[int, ...], Any]] = collections.defaultdict(dict)
    for key, part in parts.items():
        name, _, start = key.partition(" ")
        if start:
            pieces[name][tuple(json.loads(start))] = part
    return {
        name: np.concatenate([rows[start] for start in sorted(rows)]) if any(rows) else rows[()]
        for name, rows in pieces.items()
    }


def break_down(folder: pathlib.Path, *options: str, fault: str) -> None:
    """A run of which the last process dies, and the first is then ended."""
    with running(folder, 2, *options, fault=fault) as (first, last):
        assert last.wait(PATIENCE) == -9
        assert first.poll() != 0  # it waits for the other, or has noticed
    assert not (folder / "rank0.npz").exists()


def close(one: Any, other: Any, share: float = 0.0) -> None:
    """Equal but for the order of the sums in losses and norms; codes, but for a share of them."""
    assert one.keys() == other.keys()
    for name, x in one.items():
        if x.dtype.kind == "u":
            assert np.mean(x != other[name]) <= share, name
        else:  # twenty steps of 1e-2, with sums of 32 and 4,224 numbers in them
            np.testing.assert_allclose(x, other[name], rtol=2e-4, atol=2e-6, err_msg=name)


@pytest.fixture
def folders(tmp_path: pathlib.Path) -> list[pathlib.Path]:
    found = [tmp_path / name for name in ("one", "two", "fault")]
    for folder in found:
        folder.mkdir()
    return found


def test_two_processes_are_one_and_a_fault_changes_nothing(folders: list[pathlib.Path]) -> None:
    one, two, fault = folders
    together = finish(two, 2)
    close(together, finish(one, 1))
    break_down(fault, fault="13")  # after the checkpoint of step 10
    resumed = finish(fault, 2)
    for name, x in together.items():
        np.testing.assert_array_equal(x, resumed[name], name)


def test_a_fault_changes_no_bit_of_a_joint_code(folders: list[pathlib.Path]) -> None:
    _, two, fault = folders
    together = finish(two, 2, "--storage", "pair")
    break_down(fault, "--storage", "pair", fault="7")
    resumed = finish(fault, 2, "--storage", "pair")
    for name, x in together.items():
        np.testing.assert_array_equal(x, resumed[name], name)
