"""Do parts on an executor: in any order, again where a worker died, with what is finished kept."""

import pickle
import queue
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from pathlib import Path
from typing import Any

from adam_optax._core.user_code import describe
from adam_optax.lab._problems.problem import Problem
from adam_optax.lab.errors import LabError
from adam_optax.lab.parts import Done, Failed, Numerics, Part, Source, do, pieces
from adam_optax.lab.resume import made_by
from adam_optax.lab.run import OnStage
from adam_optax.lab.task import Task

RETRIES = 3
"""Times that a part is run again whose worker died, by default."""
_LOOK = 0.5
"""Seconds after which a wait looks for Ctrl-C, where a system's wait does not end with it."""


class Pool:
    """Do the parts of the work on one task on an executor.

    Args:
        executor: The executor.
        retries: Times that a part is run again whose worker died.
        task: The task.
        problem: The problem as the caller named it: a name is sent as a name.
        data_dir: The directory of the data files.

    Attributes:
        source: The task, as parts describe it.

    Raises:
        LabError: If the executor forks, or `retries` is below 0.
    """

    def __init__(
        self,
        executor: Executor,
        retries: int,
        task: Task,
        problem: str | Problem,
        data_dir: Path | str | None,
    ) -> None:
        if retries < 0:
            raise LabError(f"retries must be at least 0, got {retries}")
        _refuse_forks(executor)
        self._executor, self._retries, self._task = executor, retries, task
        folder = None if data_dir is None else str(Path(data_dir).absolute())
        facts = tuple(made_by(task))
        how = uuid.uuid4().hex, problem, task.batch_size, folder, facts, Numerics.here()
        self.source = Source(*how)
        self.source.publish(task)  # until nobody holds the task

    def run(
        self,
        parts: Sequence[Part],
        keep: Callable[[int, Any], object],
        report: Callable[[], object],
        on_stage: OnStage,
    ) -> None:
        """Do parts; if that ends early, cancel what is queued and keep what is finished.

        Args:
            parts: The parts.
            keep: Called with the place of a part and its results, in any order.
            report: Called after that.
            on_stage: Called at the start and after every part with how many are done.

        Raises:
            KeyboardInterrupt: If Ctrl-C was pressed.
            LabError: If a part raised, a part's workers died too often, or the executor does not
                take the parts.
        """
        if not parts:
            return
        self._waiting: dict[Future[Done | Failed], int] = {}
        self._ended: queue.SimpleQueue[Future[Done | Failed]] = queue.SimpleQueue()
        lost = dict.fromkeys(range(len(parts)), 0)
        try:
            for place, part in enumerate(parts):
                self._submit(place, part)
            on_stage("training", f"0 of {len(parts)} parts done")
            while self._waiting:
                future = self._next()
                place = self._waiting[future]
                ended = self._ended_with(future, parts[place])
                if isinstance(ended, Exception):
                    del self._waiting[future]
                    # Dask runs a part again by itself, and says how often.
                    lost[place] += 1 + int(getattr(ended, "allowed_failures", 0))
                    if lost[place] > self._retries:
                        raise _given_up(parts[place], lost[place], ended)
                    on_stage("training", f"{parts[place].name} again: its worker died")
                    self._submit(place, parts[place])
                    continue
                keep(place, ended.value)
                del self._waiting[future]
                report()
                left = len(self._waiting)
                on_stage("training", f"{len(parts) - left} of {len(parts)} parts done")
        except BaseException:
            self._stop(keep)
            raise

    def _submit(self, place: int, part: Part) -> None:
        try:
            future = self._executor.submit(do, part)
        except Exception as error:
            raise _refusal(part, error) or _closed(part, error) from error
        self._waiting[future] = place
        future.add_done_callback(self._ended.put)

    def _next(self) -> "Future[Done | Failed]":
        """Wait for a future that ended."""
        while True:
            try:
                return self._ended.get(timeout=_LOOK)
            except queue.Empty:
                continue

    def _ended_with(self, future: "Future[Done | Failed]", part: Part) -> Done | Exception:
        """Return the results of a part, or the exception that says that its worker died.

        Raises:
            LabError: If it is no use to run the part again.
        """
        try:
            ended = future.result()
        except (BrokenExecutor, CancelledError) as error:
            raise _closed(part, error) from error
        except Exception as error:
            if refusal := _refusal(part, error):
                raise refusal from error
            return error
        if isinstance(ended, Failed):
            failure = LabError(f"{part.name}: {ended.text}")
            failure.add_note(ended.traceback)
            raise failure
        return ended

    def _stop(self, keep: Callable[[int, Any], object]) -> None:
        """Cancel what is queued, and keep what ended meanwhile."""
        for future in list(self._waiting):
            future.cancel()
        for future, place in list(self._waiting.items()):
            if future.done() and not future.cancelled() and future.exception() is None:
                ended = future.result()
                if isinstance(ended, Done):
                    keep(place, ended.value)


def _refuse_forks(executor: Executor) -> None:
    """Refuse processes that are forks of this one, in which JAX's threads would be missing."""
    context = getattr(executor, "_mp_context", None)
    how = getattr(context, "get_start_method", None)
    if how is not None and how() == "fork":
        raise LabError(
            "the executor forks its processes, which hang without JAX's threads; make it with "
            "mp_context=multiprocessing.get_context('spawn')"
        )


def _refusal(part: Part, error: Exception) -> LabError | None:
    """Say what of a part cannot be sent to another process, if that is what an error is about."""
    if not isinstance(error, pickle.PicklingError | TypeError | AttributeError):
        return None
    for name, piece in pieces(part):
        try:
            pickle.dumps(piece)
        except Exception as reason:
            return LabError(
                f"{name} cannot be sent to another process, for it cannot be pickled "
                f"({describe(reason)}); define it at the top level of a module, or give the "
                "problem as 'module:function', whose name is sent"
            )
    return None


def _closed(part: Part, error: BaseException) -> LabError:
    """Say that an executor takes no more parts."""
    return LabError(
        f"{part.name}: the executor takes no more parts ({describe(error)}), as one does whose "
        "process was killed, or that was shut down; make a new one: with parts, or --resume, what "
        "is finished is not done again"
    )


def _given_up(part: Part, times: int, error: Exception) -> LabError:
    """Say that a part is given up."""
    return LabError(
        f"{part.name}: {times} workers died or failed before it was done, the last with "
        f"{describe(error)}; look for what ends workers, such as too little memory"
    )
