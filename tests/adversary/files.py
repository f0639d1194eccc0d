"""Mutate valid files of every format, and look for one that is read wrongly or not refused well.

A mutant must be refused with the library's own error, or be read as the truth, to the bit. Where a
format has no checksum (`.weights.h5`, `names.json`), or the mutant was given a right one, what is
read may differ; the error, the time and the memory may not.
"""

import collections
import io
import json
import os
import random
import resource
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import safetensors.numpy

from adam_optax.convert import ConversionError
from adam_optax.convert._files import _CHECKSUM, _checksum, _read_metadata
from tests.adversary import memory
from tests.adversary.memory import Broken, is_whole
from tests.support.budgets import within
from tests.support.valid_files import Kind, same, valid_files

SECONDS, MEGABYTES = 10, 400
"""What one mutant may take: valid files take 10 ms, and 64 MiB may always be expanded."""
NUMBERS = (
    0,
    1,
    2,
    100,
    2**8 - 1,
    2**16,
    2**26,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**62,
    2**63,
    2**64 - 1,
)


def mutate(random_: random.Random, content: bytes) -> bytes:
    """Return a file with one to eight changes."""
    changed = bytearray(content)
    for _ in range(random_.choice((1, 1, 1, 2, 3, 8))):
        _change(random_, changed)
    return bytes(changed)


def _change(random_: random.Random, b: bytearray) -> None:
    """Change bytes in place: a flip, a number, a cut, a splice, bytes that come or go."""
    here, there = random_.randrange(len(b) + 1), random_.randrange(len(b) + 1)
    few = random_.choice((1, 2, 4, 8, 16, 64))
    some = random_.randbytes(few)
    match random_.randrange(8):
        case 0 | 1 if here < len(b):
            b[here] ^= 1 << random_.randrange(8)
        case 2:
            b[here : here + 1] = random_.choice((b"\0", b"\x7f", b"\x80", b"\xff", some[:1]))
        case 3 if random_.random() < 0.3:
            del b[here:]
        case 4:
            b[here : here + few] = b[there : there + few]
        case 5:
            del b[here : here + few]
        case 6:
            b[here:here] = some
        case 7:
            size = random_.choice((2, 4, 8))
            number = random_.choice((*NUMBERS, random_.randrange(2**20))) % 2 ** (8 * size)
            b[here : here + size] = number.to_bytes(size, random_.choice(("little", "big")))


def mutate_member(random_: random.Random, content: bytes) -> bytes:
    """Return an archive in which a member is mutated, and has a right checksum again."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
        members = old.infolist()
        # Pickles and HDF5, which have most to say.
        chosen = max(members, key=lambda info: info.file_size)
        for info in members:
            member = old.read(info)
            member = mutate(random_, member) if info is chosen else member
            new.writestr(info, member, info.compress_type)
    return stream.getvalue()


def mutate_header(random_: random.Random, content: bytes) -> bytes:
    """Return a `.safetensors` file with other values in its header, and its length right again."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    for _ in range(random_.choice((1, 2, 4))):
        entry = random_.choice(list(header.values()))
        key = random_.choice(list(entry))
        entry[key] = random_.choice(
            (None, [], {}, "", "F64", "U8", "[" * 9999, [0, 0], [2**62, 4], [-1], 2**70, 0.5, "\0")
        )
        if random_.random() < 0.3:
            header[random_.choice(("mu/x", "", "\ud800", "x" * 9999))] = header.pop(
                random_.choice(list(header))
            )
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def mutate_facts(random_: random.Random, content: bytes) -> bytes:
    """Return a `.safetensors` file with another text in its metadata, and a right checksum."""
    stored = safetensors.numpy.load(content)
    facts = _read_metadata(content)
    del facts[_CHECKSUM]
    name = random_.choice(sorted(facts))
    facts[name] = mutate(random_, facts[name].encode()).decode(errors="replace")
    facts[_CHECKSUM] = _checksum(stored, facts)
    return bytes(safetensors.numpy.save(stored, facts))


def mutants(kind: Kind, seed: int) -> Iterator[tuple[bytes, bool]]:
    """Yield mutants without end, and whether what is read of one must be the truth."""
    ways: dict[str, tuple[Callable[[random.Random, bytes], bytes], ...]] = {
        ".pt": (mutate_member,),
        ".keras": (mutate_member,),
        ".safetensors": (mutate_header, mutate_facts),
    }
    deeper = ways.get(Path(kind.name).suffix, (mutate,))
    for i in range(10**9):
        random_ = random.Random(f"{kind.name} {seed} {i}")
        way = random_.choice(deeper) if i % 3 == 2 else mutate
        yield way(random_, kind.content), kind.proven and way in (mutate, mutate_header)


def attack(
    kind: Kind, seed: int, folder: Path, mutants_: int, seconds: float = 1e9
) -> collections.Counter[str]:
    """Read mutants of a kind of file, and return how many were refused and how many were read.

    Args:
        kind: the kind.
        seed: which mutants.
        folder: where they are written.
        mutants_: how many at most.
        seconds: for how long at most.

    Raises:
        Broken: for the first mutant that broke the claim, which stays in the folder.
    """
    path, found = folder / kind.name, collections.Counter[str]()
    path.write_bytes(kind.content)
    truth, start = kind.read(path), time.monotonic()
    for number, (content, proven) in zip(range(mutants_), mutants(kind, seed), strict=False):
        if time.monotonic() - start > seconds:
            break
        path.write_bytes(content)
        found[_verdict(kind, path, truth, proven, f"{kind.name}, seed {seed}, {number}")] += 1
        if left := [name for name in os.listdir(folder) if name != kind.name]:
            raise Broken(f"{kind.name}, seed {seed}, {number}: left {left}; see {path}")
    path.unlink()
    return found


def _verdict(kind: Kind, path: Path, truth: Any, proven: bool, which: str) -> str:
    """Return what became of a mutant.

    Raises:
        Broken: if that breaks the claim.
    """
    before, start = _peak(), time.monotonic()
    try:
        with within(3 * SECONDS, Broken, f"{which}: "):
            got = kind.read(path)
    except ConversionError as error:
        if len(str(error)) > 12_000:
            raise Broken(
                f"{which}: a message of {len(str(error))} characters; see {path}"
            ) from error
        verdict = "refused"
    except Exception as error:
        raise Broken(f"{which}: {type(error).__name__}: {str(error)[:200]}; see {path}") from error
    else:
        verdict = "read as it was" if same(got, truth) else "read otherwise"
        if verdict == "read otherwise" and (proven or not is_whole(got)):
            raise Broken(f"{which}: other values were read; see {path}")
    taken, grown = time.monotonic() - start, _peak() - before
    if taken > SECONDS or grown > MEGABYTES:
        raise Broken(f"{which}: took {taken:.0f} s and {grown} MB; see {path}")
    return verdict


def _peak() -> int:
    """Return the most memory that the process has had, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def search(seed: int, seconds: float) -> None:
    """Attack every kind of file and memory, each for its share, and print what was found.

    Raises:
        SystemExit: with 1, if a mutant broke the claim; its file stays, and the message says where.
    """
    folder = Path(tempfile.mkdtemp(prefix="adversary-files-"))
    kinds = valid_files(folder)
    share = seconds / (len(kinds) + 1)
    for kind in kinds:
        # First: a crash of HDF5's library leaves this line as the last, and the file in the folder.
        print(f"{kind.name} in {folder}:", end=" ", flush=True)
        try:
            found = attack(kind, seed, folder, 10**9, share)
        except Broken as broken:
            print(broken)
            raise SystemExit(1) from broken
        _report(found)
    folder.rmdir()
    print("states in memory:", end=" ", flush=True)
    try:
        _report(memory.attack(seed, 10**9, share))
    except Broken as broken:
        print(broken)
        raise SystemExit(1) from broken


def _report(found: collections.Counter[str]) -> None:
    """Print how many mutants there were, and what became of them."""
    each = ", ".join(f"{number} {what}" for what, number in found.most_common())
    print(f"{sum(found.values())} mutants: {each}", flush=True)
