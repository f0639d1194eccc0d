"""Run a function in a fork of this process, which must have computed nothing with JAX so far."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path


def fork(work: Callable[[], int], log: Path) -> int:
    """Run a function in a fork, and return the process's id.

    Args:
        work: The function, which returns the exit code.
        log: Where what it prints goes.
    """
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(descriptor, number)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        code = work()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def wait(child: int, progress: Callable[[], object], patience: float) -> int:
    """Wait for a process to end, and return its exit code; below 0: the signal that ended it.

    Args:
        child: The process's id.
        progress: Anything that changes while the process works.
        patience: Seconds without a change after which the process is killed.
    """
    last, since = progress(), time.monotonic()
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        now = progress()
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > patience:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
