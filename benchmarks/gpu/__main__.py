"""Watch over a run of the benchmark on one GPU: `python -m benchmarks.gpu --minutes 7 --out DIR`.

Every case is appended to DIR/results.csv when it is done, and the table DIR/results.md is written
at the end. After any stop the same command goes on with the cases that are missing.
"""

import argparse
import contextlib
import math
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.gpu.case import NAMES, Measured, Setup
from benchmarks.gpu.results import FAILED, Results

DATA = "where the data of the paper's figures is (data)"
GRACE = 45.0
"""Seconds after the end of the minutes in which a case that has begun may end."""
ENVIRONMENT = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.6"}
"""Of the process with the device, unless it is set: PyTorch needs memory beside JAX."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments, run, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--minutes", type=float, default=7.0, help="for all parts together (7)")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("gpu"), metavar="DIR")
    parser.add_argument("--parts", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--miniature", action="store_true", help="all parts in small, on a CPU")
    parser.add_argument("--retry", action="store_true", help="do failed cases again")
    parser.add_argument("--text", type=pathlib.Path, metavar="FILE", help="to train on")
    parser.add_argument(
        "--data", type=pathlib.Path, default=pathlib.Path("data"), metavar="DIR", help=DATA
    )
    parser.add_argument("--watched-by", type=int, help=argparse.SUPPRESS)  # the inner process
    args = parser.parse_args(arguments)
    if not 0 < args.minutes < math.inf:
        parser.error(f"--minutes must be a positive number, not {args.minutes:g}")
    if args.text is not None and not args.text.is_file():
        parser.error(f"--text: there is no file {args.text}")
    if args.watched_by is not None:
        from benchmarks.gpu.run import run

        setup = Setup(args.out, args.miniature, args.data, args.text)
        return run(setup, 60 * args.minutes, args.parts, args.watched_by)
    results = Results(args.out)
    with results.locked():
        results.take_running()  # of a run that was killed: its case is done anew
        results.tidy(args.retry)
    try:
        watch(results, sys.argv[1:] if arguments is None else list(arguments), 60 * args.minutes)
    finally:
        print(results.table())
    return None


def watch(results: Results, arguments: list[str], seconds: float) -> None:
    """Run the cases in a process of their own, and again if a case ends that process.

    A case that does so, as a check of XLA's that fails, is a row; the others are done.
    """
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        again = [*arguments, "--minutes", f"{left / 60}", "--watched-by", str(os.getpid())]
        command = [sys.executable, "-m", "benchmarks.gpu", *again]
        began = time.monotonic()
        with subprocess.Popen(command, env=ENVIRONMENT | os.environ) as inner:
            code = _waited(inner, left + GRACE)
        at = results.take_running()
        if code is None or code == 0:
            return
        if at is None:  # not a case's fault, so that it would be so again
            raise SystemExit(f"the process with the device ended with {code}")
        note = f"its process ended with {code}: {_named(code)}"
        took = time.monotonic() - began  # of the process, with all its cases
        results.append(*at, [Measured(FAILED, note=note)], took)


def _waited(inner: "subprocess.Popen[bytes]", seconds: float) -> int | None:
    """Return how the inner process ended; None if it was ended here, since its time was over."""
    try:
        return inner.wait(seconds)
    except subprocess.TimeoutExpired:
        inner.kill()
        inner.wait()
        return None
    except BaseException:  # Ctrl-C, or a signal that ends this process
        inner.kill()
        raise


def _named(code: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return "an error outside the case"


def _end(number: int, _: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)  # end the inner process, too
    main()
