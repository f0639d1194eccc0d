"""Measure on one GPU all that no CPU can show: steps, states on the host, a language model.

Every case is appended to DIR/results.csv when it is done, and the table DIR/results.md is written
at the end. After any stop the same command goes on with the cases that are missing.
"""

import argparse
import contextlib
import math
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from benchmarks.gpu.case import NAMES, Measured, Setup
from benchmarks.gpu.page import FAILED
from benchmarks.gpu.results import COMMAND, Results

DATA = "where the data of the paper's figures is (data); without it they are left out"
GRACE = 45.0
"""Seconds after the end of the minutes in which a case that has begun may end."""
FRACTION = "XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_CLIENT_MEM_FRACTION"
"""The old and the new name of the share of the memory that JAX takes; jaxlib refuses both."""
REFUSED, LOST, INTERRUPTED = 3, 4, 130
"""How the inner process ends that says why it cannot begin, and one whose device computes no more.
Then how this one ends after Ctrl-C."""
WATCHED = "--watched-by"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments, run, and write the table."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    args = _read(given)
    if args.watched_by is not None:
        return _inner(given, args)
    results = Results(args.out)
    with results.locked():
        results.take_running()  # of a run that was killed: its case is done anew
        results.tidy()
    code = INTERRUPTED
    try:
        code = watch(results, given, 60 * args.minutes)
    except KeyboardInterrupt:
        print("stopped: the same command goes on", file=sys.stderr)
    except OSError as error:  # a full disk
        raise SystemExit(f"{error}: make room, then the same command goes on") from None
    finally:
        if code != REFUSED and (table := results.table()):
            print(f"{table}\n\nwritten to {args.out}: results.md, results.csv, facts.json")
    if code:
        raise SystemExit(code)
    return None


def _read(given: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__, allow_abbrev=False)
    more = "for all parts together (7); a case that has begun has 45 s more"
    parser.add_argument("--minutes", type=float, default=7.0, help=more)
    where = "where results are written, and gone on with (gpu)"
    folder = pathlib.Path("gpu")
    parser.add_argument("--out", type=pathlib.Path, default=folder, metavar="DIR", help=where)
    some = "these parts alone; each has its share of the minutes"
    parser.add_argument("--parts", nargs="+", choices=NAMES, default=list(NAMES), help=some)
    parser.add_argument("--miniature", action="store_true", help="all parts in small, on a CPU")
    again = "do again what failed or lacked something"
    parser.add_argument("--retry", action=argparse.BooleanOptionalAction, help=again)
    text = "to train on, instead of the documentation that comes with Python"
    parser.add_argument("--text", type=pathlib.Path, metavar="FILE", help=text)
    data = pathlib.Path("data")
    parser.add_argument("--data", type=pathlib.Path, default=data, metavar="DIR", help=DATA)
    parser.add_argument(WATCHED, type=int, help=argparse.SUPPRESS)  # the inner process
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)  # of it: by time.monotonic
    args = parser.parse_args(given)
    if not 0 < args.minutes < math.inf:
        parser.error(f"--minutes must be a positive number, not {args.minutes:g}")
    if args.text is not None and not args.text.is_file():
        parser.error(f"--text: there is no file {args.text}")
    return args


def _inner(given: list[str], args: argparse.Namespace) -> None:
    """Do cases, in the process that has the device.

    Raises:
        SystemExit: with `REFUSED` where it cannot begin, with `LOST` where another may go on.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the process that watches ends this one
    from benchmarks.gpu.run import LostError, run

    command = shlex.join([*COMMAND.split(), *given[: given.index(WATCHED)]])
    setup = Setup(args.out, args.miniature, args.data, args.text, command)
    try:
        run(setup, args.until, args.parts, args.watched_by, args.retry)
    except LostError as lost:
        print(lost, file=sys.stderr)
        raise SystemExit(LOST) from None
    except SystemExit as refusal:
        print(refusal, file=sys.stderr)
        raise SystemExit(REFUSED) from None


def watch(results: Results, arguments: list[str], seconds: float) -> int:
    """Run the cases in a process of their own, and again if a case ends that process.

    A case that does so, as a check of XLA's that fails, is a row; the others are done.

    Returns:
        0, or `REFUSED`: the inner process has said why.
    """
    end, retry = time.monotonic() + seconds, list[str]()
    while (left := end - time.monotonic()) > 0:
        again = [*arguments, WATCHED, str(os.getpid()), "--until", str(end), *retry]
        retry = ["--no-retry"]  # what fails in this run is not done again in it
        command = [sys.executable, "-m", "benchmarks.gpu", *again]
        began = time.monotonic()
        with subprocess.Popen(command, env=_environment(os.environ)) as inner:
            code = _waited(inner, left + GRACE)
        at = results.take_running()
        if code is None or code in (0, REFUSED):
            return code or 0
        if code == LOST:
            continue
        if at is None:  # not a case's fault, so that it would be so again
            raise SystemExit(f"the process with the device ended with {code}")
        note = f"its process ended with {code}: {_named(code)}"
        took = time.monotonic() - began  # of the process, with all its cases
        results.tidy()  # it may have ended in the middle of a line
        results.append(*at, [Measured(FAILED, note=note)], took)
    return 0


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the process with the device: one GPU, and memory for PyTorch.

    What is set already stays, but that cases need JAX's CPU beside the GPU.
    """
    found = {"CUDA_VISIBLE_DEVICES": "0", **own}
    if not any(name in own for name in FRACTION):
        found[FRACTION[0]] = "0.6"
    platforms = own.get("JAX_PLATFORMS", "")
    if platforms and "cpu" not in platforms.split(","):
        found["JAX_PLATFORMS"] = f"{platforms},cpu"
    return found


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
