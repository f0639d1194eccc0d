"""Open executors on engines for many processes and machines: Dask, Ray, or one of the user's."""

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, TypeVar

from adam_optax._core.user_code import UserCodeError, describe, user_function
from adam_optax.lab.errors import LabError, needs_lab_extra
from adam_optax.lab.pool import RETRIES

_T = TypeVar("_T")

ENGINES = "dask, dask://HOST:PORT, ray, ray://HOST:PORT or module:function"
"""What `open_executor` takes, for messages."""
_PATIENCE = 15.0
"""Seconds that a scheduler has to answer."""
_LEAVING = 1.0
"""Seconds that a worker process has to leave before it is killed."""


def is_engine(on: str) -> bool:
    """Return whether a text has the form of what `open_executor` takes."""
    engine, there, address = on.partition("://")
    if there:
        return engine in ("dask", "ray") and bool(address)
    module, colon, function = on.partition(":")
    return on in ("dask", "ray") or bool(colon and module and function)


@contextlib.contextmanager
def open_executor(on: str, retries: int = RETRIES) -> Iterator[Executor]:
    """Open an executor for `compare`, `sweep` or `suggest` on an engine, and close it after.

    For work that one process is slow at: each worker trains a part at a time. Workers of an engine
    that runs already need this package in the same version, and the data at the same path.

    Args:
        on: `"dask"` starts a worker of Dask's for each CPU of this machine, `"dask://host:8786"`
            is a scheduler of Dask's; `"ray"` is the Ray that runs on this machine or that
            `RAY_ADDRESS` names, or else is started, `"ray://host:10001"` is a server for clients of
            Ray's; `"module:function"` is a function of yours that returns a
            `concurrent.futures.Executor`, and its code is run.
        retries: Times that Dask's own workers, if they are started here, begin a part again. Give
            `compare`, `sweep` or `suggest` the same number.

    Yields:
        The executor.

    Raises:
        LabError: If the engine is not known, is not installed, or does not answer.

    Example:
        with lab.open_executor("dask://head:8786") as executor:
            found = lab.sweep("digits", "adam", {"b1": [0.5, 0.9]}, executor=executor)
    """
    if not is_engine(on):
        raise LabError(f"expected {ENGINES}, got {on!r}")
    engine, _, address = on.partition("://")
    opened = {"dask": partial(_dask, address, retries), "ray": partial(_ray, address)}
    with opened.get(engine, partial(_own, on))() as executor:
        yield executor


@contextlib.contextmanager
def _dask(address: str, retries: int) -> Iterator[Executor]:
    """Open an executor on a scheduler of Dask's, or on workers that are started here."""
    with needs_lab_extra("dask", "dask"):
        import dask
        from distributed import Client, LocalCluster
    with contextlib.ExitStack() as opened:
        where: Any = f"tcp://{address}"
        if not address:
            often = {"distributed.scheduler.allowed-failures": retries}
            opened.enter_context(dask.config.set(often))
            # A run has all CPUs while others wait; memory is for the system to limit.
            how = {"threads_per_worker": 1, "memory_limit": 0, "dashboard_address": None}
            how["silence_logs"] = logging.ERROR  # it warns of what Ctrl-C left undone
            where = _beside_ctrl_c(partial(LocalCluster, n_workers=os.cpu_count() or 1, **how))
            opened.callback(_close, where)
        try:
            client = Client(where, timeout=_PATIENCE, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            said = f"no scheduler of Dask's answers at dask://{address}: {describe(error)}"
            raise LabError(said) from error
        opened.callback(_close, client)
        yield client.get_executor()


def _beside_ctrl_c(start: Callable[[], _T]) -> _T:
    """Start processes that the terminal's Ctrl-C does not reach: it is this one that answers it."""
    found: Future[_T] = Future()

    def run() -> None:
        if hasattr(signal, "pthread_sigmask"):  # the thread's threads and processes inherit it
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            found.set_result(start())
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return found.result()


def _close(what: Any) -> None:
    """Close a cluster or a client, or leave it to end with this process."""
    with contextlib.suppress(TimeoutError):
        what.close(timeout=_PATIENCE)


@contextlib.contextmanager
def _ray(address: str) -> Iterator[Executor]:
    """Open an executor on a Ray that runs, or on one that is started here."""
    with needs_lab_extra("ray", "ray"):
        import ray
    if mine := not ray.is_initialized():
        where = f"ray://{address}" if address else None
        try:
            with warnings.catch_warnings():  # forks at once become Ray's own programs
                warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
                ray.init(where, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # of several kinds
            said = f"no Ray answers at {where or 'this machine'}: {describe(error)}"
            raise LabError(said) from error
    executor = _RayExecutor(ray)
    try:
        yield executor
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        if mine:
            ray.shutdown()


class _RayExecutor(Executor):
    """Submit calls to Ray as tasks: one CPU each, and a GPU where the cluster has GPUs.

    Args:
        ray: The module.
    """

    def __init__(self, ray: Any) -> None:
        gpus = int("GPU" in ray.cluster_resources())
        # A call is begun again by `Pool`, which counts how often.
        self._options = {"num_cpus": 1, "num_gpus": gpus, "max_retries": 0}
        self._ray = ray
        self._futures: dict[Future[Any], Any] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Start a task."""
        reference = self._ray.remote(**self._options)(fn).remote(*args, **kwargs)
        future: Future[Any] = Future()
        self._futures[future] = reference
        future.add_done_callback(self._ended)
        reference.future().add_done_callback(partial(_copy_result, future))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the tasks, or cancel them, those that run as well."""
        for future in list(self._futures):
            if cancel_futures:
                future.cancel()
        if wait:
            futures.wait(list(self._futures))

    def _ended(self, future: "Future[Any]") -> None:
        reference = self._futures.pop(future)
        if future.cancelled():
            self._ray.cancel(reference, force=True)


def _copy_result(to: "Future[Any]", source: "Future[Any]") -> None:
    if not to.set_running_or_notify_cancel():
        return
    error = source.exception()
    if error is None:
        to.set_result(source.result())
    else:
        to.set_exception(error)


@contextlib.contextmanager
def _own(on: str) -> Iterator[Executor]:
    """Open the executor that a function of the user's returns; its processes are ended after."""
    before = set(multiprocessing.active_children())
    try:
        with user_function(on) as function:
            executor = function()
    except UserCodeError as error:
        raise LabError(f"executor {on!r} cannot be made: {error}") from error
    if not isinstance(executor, Executor):
        raise LabError(
            f"{on!r} returned no concurrent.futures.Executor but {type(executor).__name__}"
        )
    try:
        yield executor
    finally:
        executor.shutdown(wait=False)
        for child in set(multiprocessing.active_children()) - before:
            child.join(_LEAVING)
            child.kill()
