"""Answer Ctrl-C at once, and leave without tearing XLA down while it works.

JAX compiles, and runs programs, in threads of XLA's. Python's wait for them ends with Ctrl-C, the
work in the threads does not: a process that then leaves as usual frees the devices that a thread
still uses, and ends in SIGSEGV. So a command that was stopped inside JAX leaves by `os._exit`.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

_AGAIN_AFTER = 0.02
"""Seconds after which a signal is sent again that came where no exception can be raised."""
_WAITS_FOR_XLA = (
    "adam_optax.lab.trainer",
    "adam_optax.lab.pool",
    "adam_optax.lab.sweeper",
    "adam_optax.lab.task",
)
"""Modules that start programs of XLA's, between two of which a signal may come."""


class Interrupts:
    """Turn SIGINT into `KeyboardInterrupt`, and remember where it came.

    Attributes:
        in_xla: Whether a signal came while XLA may have worked, and may work still.
    """

    def __init__(self) -> None:
        self.in_xla = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Answer a signal; where the answer would be lost or do harm, have it sent again.

        Raises:
            KeyboardInterrupt: If the interrupted code lets exceptions through.
        """
        if _swallows(frame):
            threading.Timer(_AGAIN_AFTER, os.kill, (os.getpid(), number)).start()
            return
        self.in_xla |= any(_is_jax(one) or _module(one) in _WAITS_FOR_XLA for one in _stack(frame))
        raise KeyboardInterrupt

    def leave(self, code: int) -> NoReturn:
        """End the process with an exit code, in order unless XLA may still work."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # full, closed, or not there
                stream.flush()
        if self.in_xla:
            os._exit(code)
        sys.exit(code)


@contextmanager
def answered() -> Iterator[Interrupts]:
    """Answer SIGINT in the body; a signal that the caller has ignored stays ignored."""
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupts.handle)
    try:
        yield interrupts
    finally:
        if before is not None:  # what was not set from Python cannot be set again
            signal.signal(signal.SIGINT, before)


def _swallows(frame: FrameType | None) -> bool:
    """Return whether an exception here is lost, or breaks the import of an extension module.

    JAX's callback of the garbage collector loses exceptions, as `__del__` does; an import that is
    broken off inside jaxlib frees a module that was not finished, and crashes.
    """
    return any(
        one.f_code.co_name in ("_xla_gc_callback", "__del__")
        or (one.f_code.co_name == "<module>" and _is_jax(one))
        for one in _stack(frame)
    )


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield a frame and those that called it."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_jax(frame: FrameType) -> bool:
    return _module(frame).partition(".")[0] in ("jax", "jaxlib")


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
