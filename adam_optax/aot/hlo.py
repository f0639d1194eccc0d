"""Count the bytes that a compiled module moves to and from main memory, from the module's text.

XLA's own count is of no use on TPUs, because it includes what moves inside the chip. An array's
layout says in which memory the array is: `S(1)` is on the chip.

An operation in which devices communicate may be written down in parts, so that other work is done
meanwhile: as `all-gather-start` and `all-gather-done`, or as several fusions for TPUs, each of
which names the whole operation. It counts once.
"""

import collections
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

SIZES = {"pred": 1, "s4": 0.5, "u4": 0.5, "bf16": 2, "f8e4m3fn": 1, "f8e5m2": 1}
"""Bytes of an element. Of other dtypes, the first number in the name is the number of bits."""
ARRAY = re.compile(r"\b(pred|bf16|[suf]\d+\w*)\[([\d,]*)\](\{[^{}]*\})?")
FREE = {
    "parameter",
    "constant",
    "get-tuple-element",
    "tuple",
    "bitcast",
    "after-all",
    "opt-barrier",
}
FREE |= {"partition-id", "copy-done", "slice-done"}
"""Operations that move no bytes."""
MOVES = {"copy-start", "slice-start", "copy"}
"""Operations that move an array between memories or places; they are not kernels."""
COLLECTIVE = re.compile(
    r"= (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|ragged-all-to-all"
    r"|collective-permute|collective-broadcast)(-start)?\("
)
DONE = re.compile(r"= (.*?) [\w\-]+-done\([^%]*%([\w.\-]+)\)")
CHANNEL = re.compile(r"channel_id=(\d+)")
ALIASES = re.compile(r"\{(\d*)[\d, ]*\}: \((\d+),")


class Instruction(NamedTuple):
    """Hold one line of a module's entry computation: its type, operation, operands, and the rest.

    The rest is the text of the operands and attributes.
    """

    type: str
    operation: str
    operands: list[str]
    rest: str
    is_root: bool


def moved(text: str) -> float:
    """Count the bytes that the entry computation reads from and writes to main memory.

    A loop or a branch is counted as one operation. A collective reads its operand and writes its
    result once.
    """
    found = dict(instructions(text))
    chained = _computations_with_collectives(text)
    total = 0.0
    for one in found.values():
        if one.operation in ("copy-start", "slice-start"):
            total += _transfer(one)
        elif one.operation not in FREE:
            operands = [found[n].type if n in found else "" for n in one.operands]
            kinds = [one.type, *operands]
            if one.operation.endswith(("-start", "-update")):  # what arrives is the type of -done
                kinds = operands if one.operation.endswith("-start") else []
            elif one.operation.endswith("-done"):
                kinds = [one.type]
            elif (calls := re.search(r"calls=%([\w.\-]+)", one.rest)) and calls[1] in chained:
                kinds = _not_passed_on(one, operands)
            total += sum(map(_main, kinds))
    return total


def kernels(text: str) -> int:
    """Count the kernels of the entry computation: operations that compute an array.

    Copies are not counted, nor are operations on scalars alone, which run on a TPU's scalar core.
    """
    return sum(_is_kernel(one) for _, one in instructions(text))


def collectives(text: str) -> dict[str, int]:
    """Count the operations in which devices communicate, by kind, in the whole module.

    >>> collectives("  %a = f32[] all-reduce(%b), to_apply=%add")
    {'all-reduce': 1}
    """
    return dict(collections.Counter(kind for kind, _, _ in _collectives(text)))


def received(text: str) -> dict[str, float]:
    """Count the bytes that a device receives from others, by kind of operation.

    Of n devices that share an array of B bytes, each receives the part (n - 1) / n of B in an
    all-gather, a reduce-scatter or an all-to-all, and twice that in an all-reduce, which is one of
    each; in a permutation or a broadcast it receives what arrives. These are the least bytes, those
    of a ring; a device sends as many. What is in a loop counts once.

    >>> received("  %a = f32[64] all-gather(%b), replica_groups={{0,1,2,3}}, dimensions={0}")
    {'all-gather': 192.0}
    """
    found: dict[str, float] = {}
    for kind, arrives, line in _collectives(text):
        size, n = sum(size for size, _ in arrays(arrives)), _group(line, text)
        parts = {"reduce-scatter": n - 1, "all-reduce": 2 * (n - 1) / n}
        parts |= dict.fromkeys(("collective-permute", "collective-broadcast"), 1)
        found[kind] = found.get(kind, 0.0) + size * parts.get(kind, (n - 1) / n)
    return found


def _collectives(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield the kind, the type of what arrives, and the line of each collective.

    The parts of one have the same channel; without a channel each line is one.
    """
    types: dict[str, str] = {}  # of what arrives, by the name of the operation that starts
    for line in text.splitlines():
        if end := DONE.search(line):
            types[end[2]] = end[1]
    seen = set()
    for line in text.splitlines():
        if one := COLLECTIVE.search(line):
            channel = CHANNEL.search(line)
            key = one[2], channel[1] if channel else line
            if key not in seen:
                seen.add(key)
                name = re.match(r"\s*(?:ROOT )?%?([\w.\-]+) =", line)
                yield one[2], types.get(name[1] if name else "", one[1]), line


def _group(line: str, text: str) -> int:
    """Return how many devices take part in a collective together."""
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", line):
        return listed[1].count(",") + 1
    if counted := re.search(r"replica_groups=\[\d+,(\d+)\]<=", line):
        return int(counted[1])
    if named := re.search(r"replica_groups=@?mesh\w*\[(.*?)\] \{(.*?)\}", line):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", named[1]))
        # A part of an axis is written 'name':(before)size.
        parts = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", named[2])
        return math.prod(int(part or sizes[name]) for name, part in parts)
    return math.prod(map(int, re.findall(r"(?:num_partitions|replica_count)=(\d+)", text[:10000])))


def _computations_with_collectives(text: str) -> set[str]:
    """Return the names of the computations, of fusions say, in which devices communicate."""
    found, name = set(), ""
    for line in text.splitlines():
        if head := re.match(r"%([\w.\-]+) \(.*\{$", line):
            name = head[1]
        elif COLLECTIVE.search(line):
            found.add(name)
    return found


def _not_passed_on(one: Instruction, operands: list[str]) -> list[str]:
    """Return the types of the arrays of a fusion that are not written over each other.

    A fusion with a part of a collective hands the arrays of the collective on to the next part.
    """
    listed = re.search(r"output_to_operand_aliasing=\{(.*?\))\}", one.rest)
    pairs = ALIASES.findall(listed[1]) if listed else []
    results = _parts(one.type)
    if any(result == "" for result, _ in pairs):
        results = []
    kept = [kind for i, kind in enumerate(results) if str(i) not in {r for r, _ in pairs}]
    return kept + [kind for i, kind in enumerate(operands) if str(i) not in {o for _, o in pairs}]


def _is_kernel(one: Instruction) -> bool:
    if one.operation in FREE | MOVES or one.operation.endswith(("-update", "-done")):
        return False
    return one.operation == "fusion" or any(size > 8 for size, _ in arrays(one.type))


def _transfer(one: Instruction) -> float:
    """Count the bytes of a copy between memories: once for each side that is in main memory.

    The size is that of the array that arrives.
    """
    sides = list(arrays(one.type))[:2]
    there = sides[0] if one.operation == "copy-start" else sides[1]
    return sum(there[0] for _, chip in sides if not chip)


def _main(kind: str) -> float:
    return sum(size for size, chip in arrays(kind) if not chip)


def arrays(kind: str) -> Iterator[tuple[float, bool]]:
    """Yield the bytes of every array of a type, and whether the array is on the chip."""
    for name, dims, layout in ARRAY.findall(kind):
        size = SIZES.get(name) or int(re.findall(r"\d+", name)[0]) / 8
        for length in filter(None, dims.split(",")):
            size *= int(length)
        yield size, "S(" in layout


def instructions(text: str) -> Iterator[tuple[str, Instruction]]:
    """Yield the entry computation's instructions, by name."""
    entry = re.search(r"^ENTRY [^\n]*\{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE)
    assert entry is not None
    for line in entry[1].splitlines():
        if named := re.match(r"\s*(?:ROOT )?%?([\w.\-]+) = (.*)$", line):
            kind, rest = _split(named[2])
            if operation := re.match(r"([\w\-]+)\(", rest):
                arguments = _parenthesis(rest[operation.end() - 1 :])
                operands = re.findall(r"%([\w.\-]+)", arguments)
                # This call joins slices that are in place already: it moves nothing.
                joined = 'custom_call_target="ConcatBitcast"' in line
                kind_of = "bitcast" if joined else operation[1]
                root = line.lstrip().startswith("ROOT ")
                yield named[1], Instruction(kind, kind_of, operands, rest, root)


def _parts(kind: str) -> list[str]:
    """Return the types in a tuple's type, or the type of one array."""
    return [match[0] for match in ARRAY.finditer(kind)]


def _split(text: str) -> tuple[str, str]:
    """Split a text into the type at its start, which may be a tuple, and the rest."""
    if not text.startswith("("):
        kind, _, rest = text.partition(" ")
        return kind, rest
    kind = _parenthesis(text)
    return kind, text[len(kind) :].strip()


def _parenthesis(text: str) -> str:
    """Return the beginning of a text, from its opening parenthesis to the closing one."""
    depth = 0
    for i, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return text[: i + 1]
    return text
