"""XLA's side of a custom call, whose pool of threads does what a test tells it."""

import ctypes
from collections.abc import Callable, Sequence
from ctypes import CFUNCTYPE, POINTER, c_int32, c_int64, c_size_t, c_void_p
from typing import Any

import numpy as np

from adam_optax._engine.kernels.cpu import machine

Callback = CFUNCTYPE(c_void_p, c_void_p)
Task = CFUNCTYPE(None, c_void_p)
HEAD = [("struct_size", c_size_t), ("extension_start", c_void_p)]


def struct(*fields: tuple[str, Any]) -> type[ctypes.Structure]:
    """Return a struct of the API, which begins as all of them do."""
    return type("Struct", (ctypes.Structure,), {"_fields_": [*HEAD, *fields]})


Buffer = struct(("dtype", c_int32), ("data", c_void_p), ("rank", c_int64), ("dims", c_void_p))
Operands = struct(("size", c_int64), ("types", c_void_p), ("buffers", c_void_p))
Attributes = struct(
    ("size", c_int64), ("types", c_void_p), ("names", c_void_p), ("attrs", c_void_p)
)
Frame = struct(
    ("api", c_void_p),
    ("ctx", c_void_p),
    ("stage", c_int32),
    ("args", Operands),
    ("rets", Operands),
    ("attrs", Attributes),
    ("future", c_void_p),
)
ErrorCreate = struct(("message", ctypes.c_char_p), ("code", c_int32))
ErrorDestroy = struct(("error", c_void_p))
Schedule = struct(("ctx", c_void_p), ("task", Task), ("data", c_void_p))
NumThreads = struct(("ctx", c_void_p), ("num_threads", POINTER(c_int64)))
FUNCTIONS = 18
CREATE, DESTROY, SCHEDULE, NUM_THREADS = 0, 2, 11, 12
"""Places in the table of functions."""
EXECUTE = 3
AN_ERROR = 77


class Xla:
    """Call the runtime as XLA does.

    Args:
        threads: how many XLA says that its pool has; None: it answers with an error.
        schedule: takes a task, or raises `Full`, which the runtime sees as an error.
    """

    class Full(Exception):
        """Tell that the pool takes no task."""

    def __init__(self, threads: int | None, schedule: Callable[[Callable[[], None]], None]) -> None:
        self.threads, self.schedule = threads, schedule
        self.message, self.destroyed = "", 0
        made = {CREATE: self._create, DESTROY: self._destroy}
        made |= {SCHEDULE: self._schedule, NUM_THREADS: self._num_threads}
        self._functions = {i: Callback(f) for i, f in made.items()}
        self._api = (c_int64 * (6 + FUNCTIONS))()
        for i, function in self._functions.items():
            self._api[6 + i] = ctypes.cast(function, c_void_p).value or 0

    def call(
        self,
        loop: Any,
        signature: machine.Signature,
        operands: Sequence[np.ndarray[Any, Any]],
        results: Sequence[np.ndarray[Any, Any]],
        stage: int = EXECUTE,
    ) -> int | None:
        """Run a loop, and return the runtime's error, if any."""
        run = CFUNCTYPE(c_void_p, c_void_p, c_void_p, *[c_int64] * 5)(
            machine._run_address(machine._runtime_text())
        )
        args, keep_args = _operands(operands)
        rets, keep_rets = _operands(results)
        frame = Frame(0, None, ctypes.addressof(self._api), None, stage, args, rets)
        error: int | None = run(ctypes.addressof(frame), loop, *map(int, signature))
        del keep_args, keep_rets
        return error

    def _create(self, args: int) -> int:
        self.message = ErrorCreate.from_address(args).message.decode()
        return AN_ERROR

    def _destroy(self, args: int) -> None:
        assert ErrorDestroy.from_address(args).error == AN_ERROR
        self.destroyed += 1

    def _num_threads(self, args: int) -> int | None:
        if self.threads is None:
            return AN_ERROR
        NumThreads.from_address(args).num_threads[0] = self.threads
        return None

    def _schedule(self, args: int) -> int | None:
        call = Schedule.from_address(args)
        task, data = Task(ctypes.cast(call.task, c_void_p).value or 0), call.data
        try:
            self.schedule(lambda: task(data))
        except Xla.Full:
            return AN_ERROR
        return None


def _operands(arrays: Sequence[np.ndarray[Any, Any]]) -> tuple[Any, list[Any]]:
    dims = [(c_int64 * max(x.ndim, 1))(*x.shape) for x in arrays]
    buffers = [
        Buffer(0, None, 11, x.ctypes.data, x.ndim, ctypes.addressof(d))
        for x, d in zip(arrays, dims, strict=True)
    ]
    pointers = (c_void_p * max(len(buffers), 1))(*map(ctypes.addressof, buffers))
    made = Operands(0, None, len(buffers), None, ctypes.addressof(pointers))
    return made, [dims, buffers, pointers]
