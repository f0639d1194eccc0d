"""Run programs in forks of this process, which has imported JAX, optax, Flax and this library.

A line of input is the file of a program, the folder in which it runs, and a file for what it says;
a line of output is its exit status. Starting Python and importing takes two thirds of a page's CPU
time; JAX may be forked as long as it has computed nothing. What a page imports besides is not here,
so that a page which forgets an import fails as it would for a reader.
"""

import gc
import json
import os
import runpy
import signal
import sys
import traceback

import flax.linen
import flax.nnx  # noqa: F401
import optax  # noqa: F401

import adam_optax  # noqa: F401

SECONDS = 300
"""After which a program is stopped: a page takes some."""


def ran(program: str, folder: str, output: str) -> int:
    """Run a program as if in a new process, and return its exit status."""
    signal.alarm(SECONDS)
    os.chdir(folder)
    sys.argv = [program]
    file = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(file, stream.fileno())
    try:
        runpy.run_path(program, run_name="__main__")
    except BaseException:  # SystemExit too: a page has no reason to end itself
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    gc.freeze()  # the forks need not look through all that
    for line in sys.stdin:
        if not (pid := os.fork()):
            code = 70  # for an error in here
            try:
                code = ran(*json.loads(line))
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
