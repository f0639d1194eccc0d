"""Count the bytes that a compiled module moves to and from main memory, from the module's text.

XLA's own count is of no use on TPUs, because it includes what moves inside the chip. An array's
layout says in which memory the array is: `S(1)` is on the chip.
"""

import collections
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
FREE |= {"partition-id", "copy-done", "slice-done", "async-done"}
"""Operations that move no bytes."""
MOVES = {"copy-start", "slice-start", "copy"}
"""Operations that move an array between memories or places; they are not kernels."""
COLLECTIVE = re.compile(
    r" (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)


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
    """Count the bytes that the entry computation reads from and writes to main memory."""
    found = dict(instructions(text))
    total = 0.0
    for one in found.values():
        if one.operation in ("copy-start", "slice-start"):
            total += _transfer(one)
        elif one.operation not in FREE:
            operands = [found[n].type for n in one.operands if n in found]
            total += sum(_main(kind) for kind in (one.type, *operands))
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
    return dict(collections.Counter(COLLECTIVE.findall(text)))


def _is_kernel(one: Instruction) -> bool:
    if one.operation in FREE or one.operation in MOVES:
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
