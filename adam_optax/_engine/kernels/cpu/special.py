"""Specialise a program for what is so at nearly all steps and elements.

Formats of few bits do more for an element whose gradient is not finite, and draw two dithers where
one does as long as a window of steps lasts. A loop has a second, shorter program for units without
such elements in steps without such a change.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from adam_optax._engine.kernels.cpu.program import (
    Level,
    Operation,
    Program,
    Value,
    needed,
)

WORTH = 0.95
"""A shorter program must have fewer than this part of the operations on elements."""


@dataclasses.dataclass(frozen=True, eq=False)
class Special:
    """Hold a program that is right under conditions.

    Attributes:
        program: the program.
        masks: what must be true for each element of the unit.
        equal: pairs of scalars that must be equal.
    """

    program: Program
    masks: tuple[Value, ...]
    equal: tuple[tuple[Value, Value], ...]


def specialised(program: Program, alike: Sequence[tuple[Value, Value]]) -> Special | None:
    """Return a program that is shorter under conditions which mostly hold; None if none is.

    The conditions are that gradients are below a bound, if the program asks for that, and that
    scalars are equal which are the same number of two steps.

    Args:
        program: the step of a unit.
        alike: pairs of scalars that may be equal.
    """
    equal = []
    for one, other in alike:
        if one.dtype == "uint32" and _size(_assuming(program, {other: one})) < _size(program):
            equal.append((one, other))
    masks = tuple(x.result for x in program.operations if _is_bound(x, program))
    known = dict.fromkeys(masks, _constant(True)) | {other: one for one, other in equal}
    short = _assuming(program, known)
    if _size(short) > WORTH * _size(program):
        return None
    return Special(short, masks, tuple(equal))


def condition(special: Special, program: Program) -> list[Operation]:
    """Return the operations of the whole program that compute the masks."""
    return list(needed(program.operations, special.masks))


def _size(program: Program) -> int:
    return sum(x.result.level == Level.ELEMENT for x in program.operations)


def _is_bound(operation: Operation, program: Program) -> bool:
    """Tell whether an operation asks whether an argument's size is below a constant."""
    if operation.primitive != "lt" or operation.result.level != Level.ELEMENT:
        return False
    size, bound = operation.operands
    of = list(needed(program.operations, [size]))
    return bound.constant is not None and (
        [x.primitive for x in of] in (["abs"], ["convert_element_type", "abs"])
        and of[0].operands[0] in program.arrays
    )


def _assuming(program: Program, known: Mapping[Value, Value]) -> Program:
    """Return a program in which values are replaced by others."""
    values: dict[Value, Value] = dict(known)
    seen: dict[tuple[object, ...], Value] = {}
    operations: list[Operation] = []
    for operation in program.operations:
        x = operation.result
        if x in values:
            continue
        operands = tuple(values.get(y, y) for y in operation.operands)
        simple = _simplified(operation.primitive, operands)
        key = operation.primitive, operands, x.dtype, operation.parameter
        if simple is not None:
            values[x] = simple
        elif key in seen:
            values[x] = seen[key]
        elif operands == operation.operands:
            operations.append(operation)
            seen[key] = x
        else:
            new = dataclasses.replace(x, name=f"{x.name}.short")
            operations.append(dataclasses.replace(operation, operands=operands, result=new))
            values[x] = seen[key] = new
    results = tuple(values.get(x, x) for x in program.results)
    return dataclasses.replace(
        program, operations=tuple(needed(operations, results)), results=results
    )


def _simplified(primitive: str, operands: tuple[Value, ...]) -> Value | None:
    """Return the operand or constant that is an operation's result, if one is."""
    rule = _RULES.get(primitive)
    if rule is None or operands[0].dtype != "bool":
        return None
    return rule(operands)


def _select(operands: tuple[Value, ...]) -> Value | None:
    mask, *cases = operands
    return None if mask.constant is None else cases[int(mask.constant)]


def _not(operands: tuple[Value, ...]) -> Value | None:
    (x,) = operands
    return None if x.constant is None else _constant(not bool(x.constant))


def _and(operands: tuple[Value, ...]) -> Value | None:
    for x, other in (operands, operands[::-1]):
        if x.constant is not None:
            return other if x.constant else x
    return None


def _or(operands: tuple[Value, ...]) -> Value | None:
    for x, other in (operands, operands[::-1]):
        if x.constant is not None:
            return x if x.constant else other
    return None


def _constant(x: bool) -> Value:
    return Value("known", "bool", Level.SCALAR, np.asarray(x))


_RULES: dict[str, Callable[[tuple[Value, ...]], Value | None]] = {
    "select_n": _select,
    "not": _not,
    "and": _and,
    "or": _or,
}
