"""Kill a training at random moments, damage its checkpoints, and see on which bits it ends.

    python -m tests.adversary.crashes --kills 50 --flips 1000 --seed 0

One training has a network in each storage format. It saves after every step, in the background, by
the program that `docs/how_to/checkpoints.md` shows. SIGKILL comes at a random moment: before the
first step or later, mostly while a checkpoint is written. After every fourth kill the newest
checkpoint is damaged, as by a machine that lost its power. The next process goes on from the newest
that is whole. What comes out after all kills must be, bit by bit, what one process gives that
nobody disturbed and that saves nothing.

Then checkpoints are damaged at random places, each a fresh copy, by a bit that flips or by an end
that is cut off: none may be restored wrong in silence.

All processes are forks of one that has imported everything and computed nothing.
"""

import argparse
import os
import random
import re
import select
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import jax
import orbax.checkpoint as ocp

from docs.how_to.programs import go_on_after_a_crash as program
from tests.adversary import damage, small_run
from tests.adversary.processes import fork, wait

_PATIENCE = 1200.0
"""Seconds after which a process that says nothing hangs; the machine may be busy."""
_FARTHEST = 4
"""Steps that a process takes at most before it is killed."""


def undisturbed(steps: int, out: Path) -> int:
    """Train without a checkpoint, and write the bits."""
    train, run = small_run.steps_of(small_run.NAMES), small_run.fresh(small_run.NAMES)
    for number in range(steps):
        run = train(run, number)
    out.write_bytes(small_run.bits(run))
    return 0


def one_life(steps: int, folder: Path, told: int, out: Path) -> int:
    """Go on from the newest checkpoint that is whole, save after every step, write the bits.

    Args:
        steps: Of the whole training.
        folder: Of the checkpoints.
        told: A pipe that gets a line for each thing that is done.
        out: Where the bits go.

    Returns:
        The exit code.
    """

    def tell(what: str) -> None:
        os.write(told, f"{what}\n".encode())

    options = ocp.CheckpointManagerOptions(max_to_keep=3)
    with ocp.CheckpointManager(folder, options=options) as manager:
        first, run = program.restore_newest(manager, small_run.fresh(small_run.NAMES))
        tell(f"from {first}")
        train = small_run.steps_of(small_run.NAMES)
        for number in range(first, steps):
            run = train(run, number)
            tell(f"saves {number + 1}")
            program.save(manager, number + 1, run)
    out.write_bytes(small_run.bits(run))
    return 0


@dataclass
class Told:
    """Read what a process tells, line by line.

    Attributes:
        pipe: The end of the pipe.
        lines: What was told, with the time.
    """

    pipe: int
    lines: list[tuple[float, str]] = field(default_factory=list)
    _rest: str = ""

    def more(self) -> bool:
        """Wait for more; `False`: the process ended."""
        if not select.select([self.pipe], [], [], _PATIENCE)[0]:
            raise AssertionError(f"a process hangs after {self.lines[-1:]}")
        said = os.read(self.pipe, 1 << 16).decode()
        *lines, self._rest = (self._rest + said).split("\n")
        self.lines += [(time.monotonic(), line) for line in lines]
        return bool(said)

    def until(self, wanted: str) -> bool:
        """Wait for a line; `False`: the process ended before."""
        while wanted not in [line for _, line in self.lines]:
            if not self.more():
                return False
        return True


@dataclass
class Count:
    """Count what the kills met.

    Attributes:
        fresh: Processes killed before their first step.
        half: Kills that left a checkpoint half written.
        damaged: Checkpoints that were damaged after a kill.
        back: Processes that went on from another than the newest checkpoint.
    """

    fresh: int = 0
    half: int = 0
    damaged: int = 0
    back: int = 0


def saved_steps(folder: Path) -> list[int]:
    """Return the steps of the finished checkpoints, the newest last."""
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())


def kill(number: int, steps: int, folder: Path, rng: random.Random, count: Count) -> None:
    """Start a process, kill it at a random moment, and damage the newest checkpoint at times.

    Args:
        number: Of the kill, from 0.
        steps: Of the training.
        folder: Where all is.
        rng: The moments, and places of damage.
        count: What the kills met so far.
    """
    checkpoints, log = folder / "checkpoints", folder / "log"
    newest = max(saved_steps(checkpoints), default=0)
    read, write = os.pipe()
    born = time.monotonic()
    child = fork(partial(one_life, steps, checkpoints, write, folder / "none"), log)
    os.close(write)
    told, ahead, share = Told(read), rng.randrange(_FARTHEST + 1), rng.random()
    while not told.lines and told.more():
        pass
    alive = bool(told.lines)
    if alive:
        first = int(told.lines[0][1].removeprefix("from "))
        count.back += first < newest
        count.fresh += not ahead
    if alive and ahead:
        alive = told.until(f"saves {min(first + ahead, steps - 1)}")
        # From the begin of one save to that of the next, most of the time files are written.
        time.sleep(share * min((time.monotonic() - told.lines[0][0]) / ahead, 3.0))
    else:  # it compiles
        time.sleep(0.2 * share * (time.monotonic() - born))
    os.kill(child, signal.SIGKILL)
    code = wait(child, int, _PATIENCE)
    os.close(read)
    if not alive or code != -signal.SIGKILL:
        raise AssertionError(f"ended with {code} before it was killed: {log.read_text()[-3000:]}")
    half = [path for path in checkpoints.glob("*") if "tmp" in path.name]
    count.half += bool(half)
    whole = saved_steps(checkpoints)
    said = f"kill {number}, after {told.lines[-1][1]}: {whole} are whole, {len(half)} half written"
    if number % 4 == 3 and len(whole) > 1:
        where = damage.inflict(checkpoints / str(whole[-1]), damage.draw(rng))
        count.damaged += 1
        said += f"; damaged {whole[-1]}: {re.sub('[0-9a-f]{32}', '*', where)}"
    print(said, flush=True)


def kills(times: int, seed: int, folder: Path) -> None:
    """Kill a training so many times, and compare the bits on which it ends.

    Raises:
        AssertionError: If they are not those of a training that nobody disturbed.
    """
    steps, rng, count = 2 * times + 2 * _FARTHEST, random.Random(f"{seed}/kills"), Count()
    alone, ended = folder / "alone", folder / "ended"
    start = time.monotonic()
    _finish(partial(undisturbed, steps, alone), folder)
    for number in range(times):
        kill(number, steps, folder, rng, count)
    with open(os.devnull, "w") as nowhere:
        last = partial(one_life, steps, folder / "checkpoints", nowhere.fileno(), ended)
        _finish(last, folder)
    if alone.read_bytes() != ended.read_bytes():
        raise AssertionError("the killed training ended on other bits")
    print(
        f"killed {times} times in {steps} steps: {count.fresh} before a step, {count.half} left a "
        f"checkpoint half written, {count.damaged} newest checkpoints were damaged, of which "
        f"{count.back} were not taken; {len(small_run.NAMES)} formats ended on the bits of the "
        f"undisturbed training ({time.monotonic() - start:.0f} s)",
        flush=True,
    )


def _finish(work: partial[int], folder: Path) -> None:
    log = folder / "log"
    if code := wait(fork(work, log), int, _PATIENCE):
        raise AssertionError(f"exit code {code}: {log.read_text()[-3000:]}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the searches that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=0, help="of one training (0)")
    parser.add_argument("--flips", type=int, default=0, help="places of damage (0)")
    parser.add_argument("--seed", type=int, default=0, help="of moments and places (0)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        if args.kills:
            kills(args.kills, args.seed, folder)
        if args.flips:
            start = time.monotonic()
            damage.search(list(small_run.NAMES), args.flips, args.seed, folder)
            print(f"{args.flips} damages in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
