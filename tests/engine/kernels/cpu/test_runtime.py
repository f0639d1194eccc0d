"""The runtime, called as XLA calls it, by a pool of threads that does its worst."""

import ctypes
import platform
import threading
import time
from collections.abc import Callable
from ctypes import c_int64, c_void_p
from typing import Any

import numpy as np
import pytest

from adam_optax._engine.kernels.cpu import machine
from adam_optax._engine.kernels.cpu.machine import Signature
from tests.engine.kernels.cpu.fake_xla import EXECUTE, Xla
from tests.engine.kernels.cpu.loops import LOOP, WIDTH

SIGNATURE = Signature(1, 2, 2, WIDTH, False)
SIZE = 2**18 + 5
DOWNWARD = {"x86_64": 0x400, "aarch64": 0x800000, "arm64": 0x800000}
"""FE_DOWNWARD of <fenv.h>."""
Array = np.ndarray[Any, Any]
Schedule = Callable[[Callable[[], None]], None]


@pytest.fixture(scope="module")
def loop() -> int:
    return machine._compile(LOOP, "loop")


def run(loop: Any, xla: Xla, size: int = SIZE, stage: int = EXECUTE) -> tuple[Array, Array]:
    x, y = np.ones(size, np.float32), np.zeros(size, np.float32)
    r = np.full(size, -1, np.float32)
    assert not xla.call(loop, SIGNATURE, [np.array(3, np.float32), x, y], [r, y], stage)
    return r, y


def done_once(r: Array, q: Array) -> bool:
    return bool((r == np.float32(1) / np.float32(3)).all() and (q == 1).all())


@pytest.mark.quick
def test_tasks_that_never_start_in_time_are_not_waited_for(loop: int) -> None:
    queued: list[Callable[[], None]] = []
    xla = Xla(4, queued.append)
    assert done_once(*run(loop, xla))
    assert len(queued) == 3
    for task in queued:  # the last of them frees what they share
        task()


def test_threads_share_the_work(loop: int) -> None:
    threads: list[threading.Thread] = []

    def start(task: Callable[[], None]) -> None:
        threads.append(threading.Thread(target=task))
        threads[-1].start()

    for _ in range(20):
        assert done_once(*run(loop, Xla(4, start)))
    assert len(threads) == 60
    for thread in threads:
        thread.join()


def test_the_call_waits_for_what_others_have_begun() -> None:
    begun, done = threading.Barrier(2), []
    threads: list[threading.Thread] = []

    def start(task: Callable[[], None]) -> None:
        threads.append(threading.Thread(target=task))
        threads[-1].start()

    def slow(scalars: int, ins: int, outs: int, begin: int, end: int, columns: int) -> None:
        begun.wait(30)  # one half by each thread
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.05)
        done.append((begin, end, columns))

    loop = ctypes.CFUNCTYPE(None, *[c_void_p] * 3, *[c_int64] * 3)(slow)
    run(loop, Xla(2, start), size=2**16)
    units = 2**16 // WIDTH
    assert sorted(done) == [(0, units // 2, 2**16), (units // 2, units, 2**16)]
    threads[0].join()


@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize("shape", [(0,), (5, 0), (0, 5)], ids=str)
def test_nothing_is_called_for_an_empty_leaf(shape: tuple[int, ...], by_row: bool) -> None:
    """XLA itself leaves some of these calls out; the runtime does not count on it."""
    empty = np.zeros(shape, np.float32)
    operands, results = [np.array(3, np.float32), empty, empty], [empty, empty]
    assert not Xla(2, lambda task: task()).call(
        None, SIGNATURE._replace(by_row=by_row), operands, results
    )


def test_a_task_in_place_of_the_caller(loop: int) -> None:
    """A pool may run a task at once: it does all, and nothing is left for the caller."""
    assert done_once(*run(loop, Xla(2, lambda task: task())))


def test_no_more_tasks_than_there_are_others(loop: int) -> None:
    queued: list[Callable[[], None]] = []
    run(loop, Xla(3, queued.append), size=2**15)
    assert not queued, "few elements are the caller's"
    run(loop, Xla(3, queued.append), size=2**15 + 1)
    assert len(queued) == 1
    for task in queued:
        task()


@pytest.mark.parametrize("threads", [None, 0, 1, 3])
def test_a_pool_that_takes_nothing(loop: int, threads: int | None) -> None:
    def full(task: Callable[[], None]) -> None:
        raise Xla.Full

    xla = Xla(threads, full)
    assert done_once(*run(loop, xla))
    assert xla.destroyed == (threads not in (0, 1)), "XLA's errors are given back"


def test_other_stages_touch_nothing(loop: int) -> None:
    r, q = run(loop, Xla(2, lambda task: task()), stage=0)
    assert (r == -1).all()
    assert (q == 0).all()


def test_every_thread_rounds_as_the_caller(loop: int) -> None:
    """Which thread did a part is not seen in the results; theirs are as before afterwards."""
    fenv = ctypes.CDLL(None)
    downward = DOWNWARD[platform.machine()]
    after: list[int] = []

    def start(task: Callable[[], None]) -> None:
        def on_a_thread() -> None:
            fenv.fesetround(0)
            task()
            after.append(fenv.fegetround())

        thread = threading.Thread(target=on_a_thread)
        thread.start()
        thread.join()  # so that it does all there is

    fenv.fesetround(downward)
    try:
        r, _ = run(loop, Xla(2, start))
        assert fenv.fegetround() == downward
    finally:
        fenv.fesetround(0)
    assert after == [0]
    # float32(1/3) is above 1/3, so that downward is the way that differs from the nearest
    assert (r == np.nextafter(np.float32(1 / 3), np.float32(0))).all()
