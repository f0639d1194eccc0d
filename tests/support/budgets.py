"""Hold a body to a budget of memory or of time."""

import signal
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def memory_below(limit: int) -> Iterator[None]:
    """Fail if the body takes so many bytes or more at a time."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
        assert peak < limit, f"{peak} bytes were taken"
    finally:
        tracemalloc.stop()


@contextmanager
def within(
    seconds: float, error: type[BaseException] = AssertionError, what: str = ""
) -> Iterator[None]:
    """Raise an error if the body is not over in time, even if it waits for ever.

    Args:
        seconds: the time.
        error: what is raised.
        what: what the body does, with which the message begins.
    """

    def stop(*_: object) -> None:
        raise error(f"{what}not over within {seconds:g} s")

    old = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
