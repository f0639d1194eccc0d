"""Define what worker processes import: a small problem, and executors of a user's own."""

import os
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from adam_optax.lab import MLP, Data, Problem

HOLD, PARENT = "hold", "parent"
"""Files: workers wait while the first is there; the second has the id of the test's process."""


def small() -> Problem:
    """Return a problem whose data tells in its folder which processes load it."""
    return Problem("small", "two classes", load, partial(MLP, (4,), 2), 16, 3, 0.6, 1e-2)


def load(folder: Path | None) -> Data:
    """Load the data, and wait in workers for as long as the folder says so."""
    if folder is not None and os.getpid() != int((folder / PARENT).read_text()):
        (folder / f"pid-{os.getpid()}").touch()
        while (folder / HOLD).exists():
            time.sleep(0.02)
    rng = np.random.default_rng(0)
    x = rng.random((90, 6), dtype=np.float32)
    y = (x[:, :3].sum(-1) > x[:, 3:].sum(-1)).astype(np.int32)
    return Data(x[:70], y[:70], x[70:], y[70:])


def workers(folder: Path) -> list[int]:
    """Return the ids of the processes that loaded the data."""
    return sorted(int(path.name.removeprefix("pid-")) for path in folder.glob("pid-*"))


def threads() -> Executor:
    """Return an executor, as a user's function for `--on` does."""
    return ThreadPoolExecutor(2)


class Here(Executor):
    """Run what is submitted at once, as if it had been sent to another process.

    Args:
        losses: Calls whose workers are said to have died, before calls are run.
    """

    def __init__(self, losses: int = 0) -> None:
        self.losses, self.calls = losses, 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Run a call after a copy of it was made by pickle."""
        future: Future[Any] = Future()
        self.calls += 1
        if self.calls <= self.losses:
            future.set_exception(ConnectionError("the worker is gone"))
            return future
        run, there = pickle.loads(pickle.dumps((fn, args)))
        future.set_result(pickle.loads(pickle.dumps(run(*there, **kwargs))))
        return future


class LastFirst(Executor):
    """Run what is submitted in a thread, the last call first.

    Args:
        count: Number of calls that come.
        most: Number of calls that are run; `None`: all.

    Attributes:
        futures: What became of the calls.
    """

    def __init__(self, count: int, most: int | None = None) -> None:
        self._calls: list[tuple[Future[Any], Callable[[], Any]]] = []
        self._count, self._most, self.futures = count, most, list[Future[Any]]()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Take a call, and begin when no more calls come."""
        future: Future[Any] = Future()
        self._calls.append((future, partial(fn, *args, **kwargs)))
        self.futures.append(future)
        if len(self._calls) == self._count:
            threading.Thread(target=self._run).start()
        return future

    def _run(self) -> None:
        for future, call in self._calls[::-1][: self._most]:
            if future.set_running_or_notify_cancel():
                future.set_result(call())


def half() -> Executor:
    """Return an executor that does three of six calls."""
    return LastFirst(6, 3)
