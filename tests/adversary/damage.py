"""Damage checkpoints of Orbax at random places, and see whether what is restored is what was saved.

A place does not depend on the random names that Orbax gives files: files of one kind stand in the
order of their sizes, and the place is one of all their bytes. How many files there are, and what
is in which, depends on Orbax's threads, so that two runs of one seed differ by a few cases.
"""

import collections
import json
import multiprocessing
import os
import random
import re
import shutil
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from docs.how_to.programs import go_on_after_a_crash as program
from tests.adversary import small_run

KINDS = {
    "arrays and their index": re.compile(r"(^|/)d/"),
    "manifests": re.compile(r"manifest\.ocdbt$"),
    "descriptions": re.compile(r"/(_METADATA|_sharding|array_metadatas/.*)$"),
    "marks of the step": re.compile(r"(_CHECKPOINT_METADATA|commit_success\.txt)$"),
}
"""Files of a checkpoint, by what is in them."""
WEIGHTS = (14, 2, 3, 1)
"""Shares of the damages: most bytes of a large run are in its arrays."""
OUTCOMES = ORBAX, FINGERPRINT, DIED, RIGHT, WRONG = (
    "refused by Orbax",
    "refused by the fingerprint",
    "process died or hung",
    "restored right",
    "restored wrong",
)
"""What may come of a damage; the last must not."""
SPAWN = multiprocessing.get_context("spawn")
"""How processes start: afresh, for a fork of a process with threads may hang."""
_STEP, _PATIENCE = 3, 600.0
"""Which checkpoint is damaged; seconds after which one that is read hangs."""


@dataclass(frozen=True)
class Damage:
    """Say what is damaged, and how.

    Attributes:
        kind: of the file, a key of `KINDS`.
        place: a share of the bytes of all files of the kind.
        bit: the bit that flips; None: the file ends here.
    """

    kind: str
    place: float
    bit: int | None


def draw(rng: random.Random) -> Damage:
    """Draw a damage; one in four is a truncation."""
    (kind,) = rng.choices(tuple(KINDS), WEIGHTS)
    place, bit = rng.random(), rng.randrange(8)
    return Damage(kind, place, bit if rng.random() < 0.75 else None)


def inflict(folder: Path, damage: Damage) -> str:
    """Damage a file of a checkpoint, and return its name and the byte."""
    files = list(_files(folder, damage.kind))
    byte = int(damage.place * sum(path.stat().st_size for path in files))
    for path in files:
        content = bytearray(path.read_bytes())
        if byte < len(content):
            break
        byte -= len(content)
    if damage.bit is None:
        del content[byte:]
    else:
        content[byte] ^= 1 << damage.bit
    path.write_bytes(content)
    return f"{path.relative_to(folder)}, byte {byte}, bit {damage.bit}"


def _files(folder: Path, kind: str) -> Iterator[Path]:
    """Yield the files of a kind, the largest first."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    known = [path for path in found if KINDS[kind].search(f"/{path.relative_to(folder)}")]
    yield from sorted(known, key=lambda path: (-path.stat().st_size, path.read_bytes()))


def outcome(folder: Path, like: Any, truth: bytes) -> str:
    """Restore a damaged checkpoint, and return what came of it.

    Args:
        folder: Where the step of the checkpoint is.
        like: A run of the same structure.
        truth: The bits that were saved.
    """
    try:
        with ocp.CheckpointManager(folder) as manager:
            restored = program.restore(manager, _STEP, like)
    except Exception as error:
        # Those of `check_fingerprint`, and no other, come from there.
        here = [code.co_name for code in _frames(error)]
        return FINGERPRINT if "check_fingerprint" in here else ORBAX
    return RIGHT if small_run.bits(restored) == truth else WRONG


def _frames(error: BaseException) -> Iterator[types.CodeType]:
    """Yield the code through which an error came."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame.f_code
        trace = trace.tb_next


def write_to(log: Path) -> None:
    """Send all that this process prints to a file."""
    descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(descriptor, number)


def read_damaged(name: str, damages: list[Damage], folder: Path, begin: int) -> None:
    """Save a run in a format, damage copies one by one, and write what came of each.

    Args:
        name: The format's name.
        damages: What is done to each copy.
        folder: Where all is; `outcomes` has a line for each.
        begin: From which damage on: an earlier process may have died.
    """
    write_to(folder / "log")
    train, run = small_run.steps_of([name]), small_run.fresh([name])
    for number in range(_STEP):
        run = train(run, number)
    saved = folder / "saved"
    if not saved.exists():
        with ocp.CheckpointManager(folder / "writing") as manager:
            program.save(manager, _STEP, run)
        (folder / "writing").rename(saved)
    truth, like = small_run.bits(run), small_run.fresh([name])
    with (folder / "outcomes").open("a") as out:
        for number, damage in enumerate(damages[begin:], begin):
            shutil.rmtree(folder / "copy", ignore_errors=True)
            shutil.copytree(saved, folder / "copy")
            place = inflict(folder / "copy" / str(_STEP), damage)
            print(json.dumps([number, place]), file=out, flush=True)
            found = outcome(folder / "copy", like, truth)
            print(json.dumps([number, found]), file=out, flush=True)


def search(names: Sequence[str], flips: int, seed: int, folder: Path) -> None:
    """Damage checkpoints of each format, and print what came of it by kind of file.

    Raises:
        AssertionError: If a damaged checkpoint was restored wrong in silence.
    """
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    for place, name in enumerate(names):
        rng = random.Random(f"{seed}/{name}")
        share = flips * (place + 1) // len(names) - flips * place // len(names)
        damages = [draw(rng) for _ in range(share)]
        here = folder / f"damaged{place}"
        here.mkdir()
        told: collections.Counter[str] = collections.Counter()
        for damage, (found, where) in zip(damages, _outcomes(name, damages, here), strict=True):
            counts[damage.kind, found] += 1
            told[found] += 1
            if found == WRONG:
                raise AssertionError(f"{name}: restored wrong in silence: {where}")
        each = ", ".join(f"{number} {what}" for what, number in told.most_common())
        print(f"{name}, {share} damages: {each}", flush=True)
        shutil.rmtree(here)
    for line in table(counts):
        print(line)


def table(counts: collections.Counter[tuple[str, str]]) -> Iterator[str]:
    """Yield the lines of a table of outcomes by kind of file."""
    yield f"| damaged | times | {' | '.join(OUTCOMES)} |"
    yield "|---" * (len(OUTCOMES) + 2) + "|"
    rows = {kind: [counts[kind, what] for what in OUTCOMES] for kind in KINDS}
    rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    for kind, row in rows.items():
        yield f"| {kind} | {sum(row)} | {' | '.join(map(str, row))} |"


def _outcomes(name: str, damages: list[Damage], folder: Path) -> list[tuple[str, str]]:
    """Return what came of each damage, and where it was."""
    found: dict[int, str] = {}
    places: dict[int, str] = {}
    written = folder / "outcomes"
    written.touch()
    while len(found) < len(damages):
        begin = len(found)
        process = SPAWN.Process(target=read_damaged, args=(name, damages, folder, begin))
        process.start()
        size = -1
        while process.is_alive() and size < (size := written.stat().st_size):
            process.join(_PATIENCE)
        process.kill()
        process.join()
        for line in written.read_text().splitlines():
            number, said = json.loads(line)
            (found if said in OUTCOMES else places)[number] = said
        if len(found) == begin and len(places) == begin:
            raise AssertionError(f"{name}: {(folder / 'log').read_text()[-2000:]}")
        if len(found) < len(damages):
            found[len(found)] = DIED
    return [(found[number], places[number]) for number in range(len(damages))]
