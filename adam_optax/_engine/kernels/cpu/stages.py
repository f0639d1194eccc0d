"""Divide a program into stages, between which lie its reductions over a unit."""

import dataclasses
from collections.abc import Iterable

from adam_optax._engine.kernels.cpu.program import REDUCTIONS, Level, Operation, Program, Value


@dataclasses.dataclass(frozen=True)
class Stage:
    """Hold what is done in one pass over a unit's elements.

    Attributes:
        before: the operations on numbers of the whole unit, which come first.
        within: the operations on elements.
        reductions: the reductions that the pass computes.
        arrays: the places of the arrays of elements that the pass reads.
        fetched: the values that an earlier pass has kept and this one reads.
        kept: the values that a later pass reads.
    """

    before: tuple[Operation, ...]
    within: tuple[Operation, ...]
    reductions: tuple[Operation, ...]
    arrays: tuple[int, ...]
    fetched: tuple[Value, ...]
    kept: tuple[Value, ...]


def staged(program: Program) -> list[Stage]:
    """Return the stages of a program: each operation in the last pass in which it can be done.

    So few values are kept from one pass to the next, and what is computed from arguments alone is
    computed where it is read. The results are written in the last pass, since they may lie where
    arguments do.
    """
    last = max(_reductions_before(program).values(), default=0)
    stages = dict.fromkeys(program.results, last)
    for operation in reversed(program.operations):
        own = stages.get(operation.result, last) - (operation.primitive in REDUCTIONS)
        stages[operation.result] = own  # of a reduction, the pass that computes it
        for x in operation.operands:
            stages[x] = min(stages.get(x, last), own)
    readers: dict[Value, set[int]] = {}
    for operation in program.operations:
        for x in operation.operands:
            readers.setdefault(x, set()).add(stages[operation.result])
    for x in program.results:
        readers.setdefault(x, set()).add(last)
    arrays = {x: i for i, x in enumerate(program.arrays) if x.level == Level.ELEMENT}
    made = [x for x in program.operations if x.result.level != Level.SCALAR]
    found = []
    for stage in range(last + 1):
        own_made = [x for x in made if stages[x.result] == stage]
        reductions = [x for x in own_made if x.primitive in REDUCTIONS]
        others = [x for x in own_made if x.primitive not in REDUCTIONS]
        read = [x for x, at in readers.items() if stage in at and x.level == Level.ELEMENT]
        elements = [x for x in read if x not in arrays]
        found.append(
            Stage(
                tuple(x for x in others if x.result.level == Level.UNIT),
                tuple(x for x in others if x.result.level == Level.ELEMENT),
                tuple(reductions),
                tuple(arrays[x] for x in read if x in arrays),
                tuple(x for x in elements if stages[x] < stage),
                tuple(_kept(own_made, readers, stage)),
            )
        )
    return found


def _kept(made: Iterable[Operation], readers: dict[Value, set[int]], stage: int) -> list[Value]:
    elements = [x.result for x in made if x.result.level == Level.ELEMENT]
    return [x for x in elements if any(at > stage for at in readers.get(x, ()))]


def _reductions_before(program: Program) -> dict[Value, int]:
    """Return how many reductions follow on each other before a value is known."""
    depth: dict[Value, int] = {}
    for operation in program.operations:
        before = max((depth.get(x, 0) for x in operation.operands), default=0)
        depth[operation.result] = before + (operation.primitive in REDUCTIONS)
    return depth
