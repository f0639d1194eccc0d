"""Kill a training at random moments, damage its checkpoints, and see on which bits it ends.

    python -m tests.adversary.crashes --kills 50 --flips 1000 --seed 0
    python -m tests.adversary.crashes --kills 2 --flips 20 --formats "pair()"

Each storage format has a training, and its share of the kills. It saves after every step, in the
background, by the program that `docs/how_to/checkpoints.md` shows. SIGKILL comes at a random
moment: before the first step or later, mostly while a checkpoint is written. After every fourth
kill the newest checkpoint is damaged, as by a machine that lost its power. The next process goes on
from the newest that is whole. What comes out after all kills must be, bit by bit, what one process
gives that nobody disturbed and that saves nothing.

Then checkpoints are damaged at random places, each a fresh copy, by a bit that flips or by an end
that is cut off: none may be restored wrong in silence.
"""

import argparse
import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from docs.how_to.programs import go_on_after_a_crash as program
from tests.adversary import damage, small_run

_PATIENCE = 1200.0
"""Seconds after which a process that says nothing hangs; the machine may be busy."""
_FARTHEST = 4
"""Steps that a process takes at most before it is killed."""


def undisturbed(name: str, steps: int, out: Path) -> None:
    """Train without a checkpoint, and write the bits."""
    damage.write_to(out.parent / "log")
    train, run = small_run.steps_of([name]), small_run.fresh([name])
    for number in range(steps):
        run = train(run, number)
    out.write_bytes(small_run.bits(run))


def one_life(name: str, steps: int, folder: Path, told: Connection | None, out: Path) -> None:
    """Go on from the newest checkpoint that is whole, save after every step, write the bits.

    Args:
        name: Of the format.
        steps: Of the whole training.
        folder: Of the checkpoints.
        told: A pipe that gets the step from which it goes on, and each before it is saved.
        out: Where the bits go.
    """
    damage.write_to(out.parent / "log")

    def tell(step: int) -> None:
        if told is not None:
            told.send(step)

    options = ocp.CheckpointManagerOptions(max_to_keep=3)
    with ocp.CheckpointManager(folder, options=options) as manager:
        first, run = program.restore_newest(manager, small_run.fresh([name]))
        tell(first)
        train = small_run.steps_of([name])
        for number in range(first, steps):
            run = train(run, number)
            tell(number + 1)
            program.save(manager, number + 1, run)
    out.write_bytes(small_run.bits(run))


@dataclass
class Count:
    """Count what the kills met.

    Attributes:
        kills: Processes killed.
        fresh: Processes killed before their first step.
        half: Kills that left a checkpoint half written.
        damaged: Checkpoints that were damaged after a kill.
        back: Processes that went on from another than the newest checkpoint.
    """

    kills: int = 0
    fresh: int = 0
    half: int = 0
    damaged: int = 0
    back: int = 0


def saved_steps(folder: Path) -> list[int]:
    """Return the steps of the finished checkpoints, the newest last."""
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())


def kill(name: str, steps: int, folder: Path, rng: random.Random, count: Count) -> None:
    """Start a process, kill it at a random moment, and damage the newest checkpoint at times.

    Args:
        name: Of the format.
        steps: Of the training.
        folder: Where all is.
        rng: The moments, and places of damage.
        count: What the kills met so far.
    """
    checkpoints = folder / "checkpoints"
    newest = max(saved_steps(checkpoints), default=0)
    ahead, share = rng.randrange(_FARTHEST + 1), rng.random()
    hears, tells = damage.SPAWN.Pipe(duplex=False)
    given = (name, steps, checkpoints, tells, folder / "none")
    process = damage.SPAWN.Process(target=one_life, args=given)
    born, begun = time.monotonic(), time.time()
    process.start()
    tells.close()
    try:
        first = at = _hear(hears)
        while at < first + ahead:
            at = _hear(hears)
        if ahead:  # files of the last step are written, until the next is told
            hears.poll(0.5 * share)
        else:  # it compiles
            time.sleep(0.2 * share * (time.monotonic() - born))
    except EOFError:
        log = (folder / "log").read_text()[-3000:]
        raise AssertionError(f"a process ended before it was killed: {log}") from None
    process.kill()
    process.join()
    count.kills += 1
    count.back += first < newest
    count.fresh += not ahead
    half = [path for path in checkpoints.glob("*tmp*") if path.stat().st_mtime > begun]
    count.half += bool(half)
    whole = saved_steps(checkpoints)
    said = f"{name}, kill {count.kills}, from {first} to {at}: whole are {whole}"
    said += f", half written {len(half)}"
    if count.kills % 4 == 0 and len(whole) > 1:
        where = damage.inflict(checkpoints / str(whole[-1]), damage.draw(rng))
        count.damaged += 1
        said += f"; damaged {whole[-1]}: {re.sub('[0-9a-f]{32}', '*', where)}"
    print(said, flush=True)


def _hear(pipe: Connection) -> int:
    """Return the next step that a process tells."""
    if not pipe.poll(_PATIENCE):
        raise AssertionError("a process hangs")
    return int(pipe.recv())


def kills(names: Sequence[str], times: int, seed: int, folder: Path) -> None:
    """Kill trainings so many times, and compare the bits on which they end.

    Raises:
        AssertionError: If they are not those of a training that nobody disturbed.
    """
    count, start = Count(), time.monotonic()
    for place, name in enumerate(names):
        here, rng = folder / f"killed{place}", random.Random(f"{seed}/{name}")
        here.mkdir()
        share = times * (place + 1) // len(names) - times * place // len(names)
        steps = (_FARTHEST + 1) * share + 2  # no process comes to the end before it is killed
        if not share:
            continue
        _finish(undisturbed, name, steps, here / "alone")
        for _ in range(share):
            kill(name, steps, here, rng, count)
        newest = max(saved_steps(here / "checkpoints"), default=0)
        _finish(one_life, name, steps, here / "checkpoints", None, here / "ended")
        refused = (here / "checkpoints" / f"damaged-{newest}").exists()
        count.back += refused
        if (here / "alone").read_bytes() != (here / "ended").read_bytes():
            raise AssertionError(f"{name}: the killed training ended on other bits")
        said = f"{'did not take' if refused else 'went on from'} checkpoint {newest}"
        print(f"{name}: the bits of an undisturbed training; the last process {said}")
    print(
        f"killed {count.kills} times: {count.fresh} before a step was made, {count.half} while a "
        f"checkpoint was written; {count.damaged} newest checkpoints damaged, {count.back} not "
        f"taken; all formats ended on the bits of undisturbed trainings "
        f"({time.monotonic() - start:.0f} s)",
        flush=True,
    )


def _finish(work: Callable[..., None], *given: Any) -> None:
    """Run a function in a process of its own to the end."""
    process = damage.SPAWN.Process(target=work, args=given)
    process.start()
    process.join(_PATIENCE)
    process.kill()
    process.join()
    if process.exitcode:
        log = given[-1].parent / "log"
        raise AssertionError(f"exit code {process.exitcode}: {log.read_text()[-3000:]}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the searches that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=0, help="of all trainings (0)")
    parser.add_argument("--flips", type=int, default=0, help="places of damage (0)")
    parser.add_argument("--seed", type=int, default=0, help="of moments and places (0)")
    parser.add_argument(
        "--formats", nargs="+", choices=small_run.NAMES, default=small_run.NAMES, help="(all)"
    )
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {  # of the processes, which would else compile all anew
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        if args.kills:
            kills(args.formats, args.kills, args.seed, folder)
        if args.flips:
            start = time.monotonic()
            damage.search(args.formats, args.flips, args.seed, folder)
            print(f"{args.flips} damages in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
