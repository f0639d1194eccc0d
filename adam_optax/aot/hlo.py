"""Bytes that a compiled module moves to and from main memory, read off its text.

XLA's own count is of no use on TPUs: it counts what moves inside the chip, too. An array's layout
says in which memory it is: `S(1)` is on the chip.
"""

import collections
import re
from collections.abc import Iterator
from typing import NamedTuple

SIZES = {"pred": 1, "s4": 0.5, "u4": 0.5, "bf16": 2, "f8e4m3fn": 1, "f8e5m2": 1}
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
MOVES = {"copy-start", "slice-start", "copy"}
"""Between memories and places; `copied` and `moved` count their bytes."""
COLLECTIVE = re.compile(
    r" (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)


class Instruction(NamedTuple):
    """A line of a module's entry: its type, operation and operands."""

    type: str
    operation: str
    operands: list[str]


def moved(text: str) -> float:
    """Bytes read from and written to main memory by the entry computation."""
    found = dict(_instructions(text))
    total = 0.0
    for one in found.values():
        if one.operation in ("copy-start", "slice-start"):
            total += _transfer(one)
        elif one.operation not in FREE:
            operands = [found[n].type for n in one.operands if n in found]
            total += sum(_main(kind) for kind in (one.type, *operands))
    return total


def kernels(text: str) -> int:
    """How many kernels the entry computation runs: all that makes an array, but for mere copies.

    What is computed of scalars alone is none: a TPU has a core for that.
    """
    return sum(_is_kernel(one) for _, one in _instructions(text))


def collectives(text: str) -> dict[str, int]:
    """How often each way of devices to talk to one another is there, wherever in the module.

    >>> collectives("  %a = f32[] all-reduce(%b), to_apply=%add")
    {'all-reduce': 1}
    """
    return dict(collections.Counter(COLLECTIVE.findall(text)))


def _is_kernel(one: Instruction) -> bool:
    if one.operation in FREE or one.operation in MOVES:
        return False
    return one.operation == "fusion" or any(size > 8 for size, _ in _arrays(one.type))


def _transfer(one: Instruction) -> float:
    """A copy between memories counts on its sides in main memory, with the size of what arrives."""
    sides = list(_arrays(one.type))[:2]
    there = sides[0] if one.operation == "copy-start" else sides[1]
    return sum(there[0] for _, chip in sides if not chip)


def _main(kind: str) -> float:
    return sum(size for size, chip in _arrays(kind) if not chip)


def _arrays(kind: str) -> Iterator[tuple[float, bool]]:
    """The size of every array of a type, and whether it is on the chip."""
    for name, dims, layout in ARRAY.findall(kind):
        size = SIZES.get(name) or int(re.findall(r"\d+", name)[0]) / 8
        for length in filter(None, dims.split(",")):
            size *= int(length)
        yield size, "S(" in layout


def _instructions(text: str) -> Iterator[tuple[str, Instruction]]:
    entry = re.search(r"^ENTRY [^\n]*\{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE)
    assert entry is not None
    for line in entry[1].splitlines():
        if named := re.match(r"\s*(?:ROOT )?%?([\w.\-]+) = (.*)$", line):
            kind, rest = _split(named[2])
            if operation := re.match(r"([\w\-]+)\(", rest):
                arguments = _parenthesis(rest[operation.end() - 1 :])
                operands = re.findall(r"%([\w.\-]+)", arguments)
                joined = 'custom_call_target="ConcatBitcast"' in line  # slices, already in place
                yield named[1], Instruction(kind, "bitcast" if joined else operation[1], operands)


def _split(text: str) -> tuple[str, str]:
    """A type, which may be a tuple, and what follows it."""
    if not text.startswith("("):
        kind, _, rest = text.partition(" ")
        return kind, rest
    kind = _parenthesis(text)
    return kind, text[len(kind) :].strip()


def _parenthesis(text: str) -> str:
    """A text that starts with a parenthesis, up to where that is closed."""
    depth = 0
    for i, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return text[: i + 1]
    return text
