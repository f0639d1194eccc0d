"""Stop commands at random moments, by SIGINT and by SIGKILL, and see what they keep.

    python -m tests.adversary.stops --signals 50 --kills 20

Of a command that compiles, SIGINT must lead to exit code 130, soon and without a crash. A command
that was killed must, with `--resume`, give the numbers of a run that nobody stopped. The figures of
what is killed are left blank: to draw takes most of the time, and nothing is kept meanwhile.

The moments of SIGKILL are drawn over the time of a processor that a whole run takes, which Linux
tells of another process: on a busy machine most moments of a clock are before the training.

All commands run in forks of a process that has imported everything and started nothing, which saves
the seconds that the imports take. What gets SIGINT ends as the interpreter does, because that is
what crashed.
"""

import argparse
import contextlib
import csv
import dataclasses
import math
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import matplotlib.figure  # before the forks, as all imports
import numpy as np

import adam_optax
from adam_optax.cli import main
from adam_optax.lab import MLP, Data, Problem, problems
from adam_optax.lab.paper import figures

_PROBLEM = "tests.adversary.stops:small"
LINES = {
    "train": f"train {_PROBLEM} --epochs 600",
    "watch": f"watch {_PROBLEM} --epochs 600",
    "compare": f"compare {_PROBLEM} --optimizer adam,lion --seeds 2 --epochs 300",
    "tune": f"compare {_PROBLEM} --optimizer adam --tune --seeds 1 --epochs 300",
    "sweep": f"sweep {_PROBLEM} --set b1=0.5,0.9 --set eps=1e-8,1e-4 --seeds 4 --epochs 2000",
    "suggest": f"suggest {_PROBLEM} --seeds 6 --epochs 200",
    "reproduce": "reproduce figure2 --data-dir .",
}
"""Command lines by name, each of some seconds, of which the training is a large part."""
_TIMED = ("seconds_per_step",)
"""Columns that no two runs share."""
_PATIENCE = 1200.0
"""Seconds after which a command that was not stopped hangs; the machine may be busy."""


def small() -> Problem:
    """Return a problem that is compiled and trained in a moment."""
    return Problem("small", "two classes", _load, partial(MLP, (4,), 2), 16, 3, 0.6, 1e-2)


def _load(_: Path | None) -> Data:
    rng = np.random.default_rng(0)
    x = rng.random((90, 6), dtype=np.float32)
    y = (x[:, :3].sum(-1) > x[:, 3:].sum(-1)).astype(np.int32)
    return Data(x[:70], y[:70], x[70:], y[70:])


def _small_figure() -> None:
    """Make figure2 one that takes a second or two."""
    problems["small"] = small()
    panel = figures.FIGURES["figure2"][0]
    few = [contender.over(-2, -1) for contender in panel.contenders[:2]]
    changed = dataclasses.replace(
        panel,
        data="small",
        model=lambda share: MLP((4,), 2, 0.5),
        contenders=tuple(few),
        small=dataclasses.replace(panel.small, epochs=2, examples=60, per_decade=3),
    )
    figures.FIGURES["figure2"] = (changed,)
    figures._BATCH = 16


def _leave_blank(_: matplotlib.figure.Figure, file: IO[bytes], **how: object) -> None:
    file.write(b"blank")


@dataclass(frozen=True)
class Ended:
    """Hold how a command ended.

    Attributes:
        code: The exit code; below 0: the signal that ended the process.
        seconds: From the signal to the end, or the whole if there was no signal.
        work: Seconds of a processor.
        said: What the command printed.
    """

    code: int
    seconds: float
    said: str
    work: float = 0.0

    @property
    def over(self) -> bool:
        """Say whether SIGINT came once all was written, which the leaving interpreter dies of."""
        return self.code == -signal.SIGINT and "\nWrote " in self.said


_FORKING = """\
import os, sys
import matplotlib.figure
import adam_optax_command
from adam_optax.cli import main
from adam_optax.cli.progress import Estimate

begin, told = Estimate.begin, int(sys.argv[1])


def tell(self, kind):
    if kind == "compiling":
        os.write(told, b".")
    begin(self, kind)


for name in main.COMMANDS:
    main.command(name)
Estimate.begin = tell
while True:
    line = sys.stdin.readline().split()
    if not line:
        os._exit(0)
    child = os.fork()
    if not child:
        break
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
log = os.open("log", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
os.dup2(log, 1)
os.dup2(log, 2)
sys.argv[1:] = line
adam_optax_command.run()
"""
"""A program that forks for each line, of which a fork runs the command and leaves in order."""


def start(line: Sequence[str], log: Path) -> int:
    """Run a command in a fork, and return the process's id.

    Args:
        line: The arguments.
        log: Where what the command prints goes.
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
        code = main.main(line)
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def end(child: int, log: Path, since: float) -> Ended:
    """Wait for a process to end; one that hangs is killed."""
    while True:
        found, status, usage = os.wait4(child, os.WNOHANG)
        seconds = time.monotonic() - since
        if found:
            work = usage.ru_utime + usage.ru_stime
            return Ended(os.waitstatus_to_exitcode(status), seconds, log.read_text("utf-8"), work)
        if seconds > _PATIENCE:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)


class Interrupter:
    """Run commands, each in a process that ends as a command does, and send them SIGINT."""

    def __init__(self) -> None:
        self._told, write = os.pipe()
        environment = os.environ | {
            "JAX_ENABLE_COMPILATION_CACHE": "false",
            "PYTHONPATH": str(Path(adam_optax.__file__).parents[1]),
        }
        # A shell's background job ignores SIGINT, and so would all that it starts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _FORKING, str(write)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            pass_fds=[write],
        )
        os.close(write)

    def interrupt(self, line: Sequence[str], after: float) -> Ended:
        """Send SIGINT some seconds after a compilation has begun."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(*line, file=self._process.stdin, flush=True)
        child = int(self._process.stdout.readline())
        os.read(self._told, 1)
        time.sleep(after)
        since = time.monotonic()
        with contextlib.suppress(ProcessLookupError):  # it is over, and its code is waiting
            os.kill(child, signal.SIGINT)
        while not select.select([self._process.stdout], [], [], _PATIENCE)[0]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        code = int(self._process.stdout.readline())
        while select.select([self._told], [], [], 0)[0]:  # of the compilations that followed
            os.read(self._told, 1)
        return Ended(code, time.monotonic() - since, Path("log").read_text("utf-8"))

    def close(self) -> None:
        """End the program."""
        self._process.communicate()


def numbers(out: Path) -> dict[str, list[dict[str, str]]]:
    """Return what the CSV files of the only finished run say, without the times."""
    found = (out / "latest").resolve(strict=True)
    tables = {}
    for path in sorted(found.glob("*.csv")):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        tables[path.name] = [{k: v for k, v in r.items() if k not in _TIMED} for r in rows]
    return tables


def whole(line: Sequence[str], out: str) -> float:
    """Run a command to its end, and return the seconds of a processor that it took."""
    ended = end(start([*line, "--out", out], Path("log")), Path("log"), time.monotonic())
    if ended.code:
        raise AssertionError(f"exit code {ended.code}: {ended.said[-500:]}")
    return ended.work


def work(child: int) -> float:
    """Return the seconds of a processor that a process took; infinite once it has ended."""
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    if fields[0] == "Z":
        return math.inf
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kill_and_resume(
    line: Sequence[str], after: float, wanted: dict[str, list[dict[str, str]]]
) -> str:
    """Kill a command after some seconds of a processor, go on, and compare the numbers.

    Args:
        line: The arguments.
        after: The seconds.
        wanted: The numbers of a run that nobody stopped.

    Returns:
        What was there to go on from: `nothing`, or so many files.
    """
    out = Path("out")
    shutil.rmtree(out, ignore_errors=True)
    child = start([*line, "--out", str(out)], Path("log"))
    while work(child) < after:
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    ended = end(child, Path("log"), time.monotonic())
    if ended.code == 0:
        return "all of it"
    parts = list(out.glob("*-parts"))
    kept = sum(path.name != "run.json" for folder in parts for path in folder.iterdir())
    resumable = [folder for folder in parts if (folder / "run.json").exists()]
    whole([*line, *(["--resume"] if resumable else [])], str(out))
    found = numbers(out)
    if found != wanted:
        raise AssertionError(f"{' '.join(line)}, killed after {after:.3f} s: other numbers")
    if any(path.name.endswith("-parts") for path in out.iterdir() if resumable):
        raise AssertionError(f"{' '.join(line)}, killed after {after:.3f} s: parts are left")
    return f"{kept} files" if kept else "nothing"


@contextlib.contextmanager
def surroundings() -> Iterator[None]:
    """Work in an empty folder, with figure2 replaced, and leave figures blank."""
    here, kept = Path.cwd(), (figures.FIGURES["figure2"], figures._BATCH)
    sys.path.append(str(here))  # for the forks, which import the problem from elsewhere
    _small_figure()
    for name in main.COMMANDS:
        main.command(name)
    drawn = matplotlib.figure.Figure.savefig
    matplotlib.figure.Figure.savefig = _leave_blank  # type: ignore[assignment,method-assign]
    folder = tempfile.mkdtemp()  # a TemporaryDirectory would be removed by the forks, too
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
        shutil.rmtree(folder)
        sys.path.remove(str(here))
        figures.FIGURES["figure2"], figures._BATCH = kept
        matplotlib.figure.Figure.savefig = drawn  # type: ignore[method-assign]
        del problems["small"]


def search(names: Sequence[str], signals: int, kills: int, seed: int = 0) -> None:
    """Stop commands at random moments, and print what came of it.

    Raises:
        AssertionError: If a command crashed, or gave other numbers.
    """
    with surroundings():
        for name in names:
            line, rng = LINES[name].split(), random.Random(f"{seed}/{name}")
            if signals:
                _signals(name, line, signals, rng)
            if kills:
                shutil.rmtree("wanted", ignore_errors=True)
                whole(line, "first")  # what is compiled is kept, if JAX is told to
                seconds = whole(line, "wanted")
                wanted = numbers(Path("wanted"))
                kept = []
                for _ in range(kills):
                    after = rng.uniform(0, seconds)
                    kept.append(kill_and_resume(line, after, wanted))
                    print(
                        f"{name}, killed after {after:.2f} s: went on from {kept[-1]}", flush=True
                    )
                print(f"{name}: killed {kills} times in {seconds:.1f} s of work, from {kept}")


def _signals(name: str, line: Sequence[str], signals: int, rng: random.Random) -> None:
    window, answers, interrupter = 3.0, [], Interrupter()
    for number in range(signals):
        after = rng.uniform(0, window)
        ended = interrupter.interrupt([*line, "--out", f"out{number}"], after)
        if ended.over:
            ended = dataclasses.replace(ended, code=0)
        if ended.code not in (0, 130):
            raise AssertionError(f"{name}: ended with {ended.code}: {ended.said[-500:]}")
        answers.append(ended.seconds if ended.code else 0.0)
        said = f"{ended.code} in {ended.seconds:.2f} s"
        print(f"{name}, SIGINT {after:.2f} s after a compilation began: {said}", flush=True)
    interrupter.close()
    answers.sort()
    over = answers.count(0.0)
    print(
        f"{name}: SIGINT {signals} times within {window:.1f} s of a compilation's begin, {over} "
        f"were over; ended after {answers[len(answers) // 2]:.2f} s (median), "
        f"{answers[-1]:.2f} s (most)",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--signals", type=int, default=0)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("names", nargs="*", default=[], help=f"of {', '.join(LINES)}")
    args = parser.parse_args()
    search(args.names or list(LINES), args.signals, args.kills, args.seed)
