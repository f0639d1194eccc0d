"""Run pytest in forks of this process, which has imported what no fault is in.

A line of input is a folder with a copy of the package, a file for what pytest says, and tests; a
line of output is what pytest returns. JAX may be forked as long as it has computed nothing.
"""

import gc
import importlib.metadata
import json
import os
import signal
import sys

import flax.nnx  # noqa: F401
import hypothesis  # noqa: F401
import jax.experimental.pallas.tpu
import jax.experimental.pallas.triton  # noqa: F401
import optax  # noqa: F401
import pytest

MINUTES = 60
"""After which a fork is stopped: all quick tests take one or two."""
OPTIONS = ["-m", "quick", "-x", "-q", "-p", "no:cacheprovider", "--ignore=tests/lab"]
# The copy lacks the files that these are about.
OPTIONS += [f"--ignore=tests/project/test_{name}.py" for name in ("version", "workflows")]
# Of plugins that are imported already, asserts show no values.
OPTIONS += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]


def tested(folder: str, output: str, tests: list[str]) -> int:
    """Run tests of a copy as if in a new process, and return pytest's code."""
    signal.alarm(60 * MINUTES)
    os.chdir(folder)
    sys.path.insert(0, folder)
    os.environ["PYTHONPATH"] = folder  # for the processes that tests start
    file = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(file, stream.fileno())
    return int(pytest.main([*OPTIONS, f"--basetemp={folder}/tmp", *tests]))


if __name__ == "__main__":
    for plugin in importlib.metadata.entry_points(group="pytest11"):
        plugin.load()
    gc.freeze()  # the forks need not look through all that
    for line in sys.stdin:
        folder, output, *tests = json.loads(line)
        if not (pid := os.fork()):
            code = 70  # for an error in here
            try:
                code = tested(folder, output, tests)
            finally:
                sys.stdout.flush()
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
