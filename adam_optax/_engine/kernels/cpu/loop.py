"""Make the loop of a leaf's step, and call it from a program that JAX compiles for CPUs."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
from jax import Array

from adam_optax._engine.kernels.cpu import machine
from adam_optax._engine.kernels.cpu.instructions import write
from adam_optax._engine.kernels.cpu.module import module_text
from adam_optax._engine.kernels.cpu.program import (
    Level,
    Operation,
    Program,
    UntranslatableError,
    Value,
    traced,
)
from adam_optax._engine.kernels.cpu.special import specialised
from adam_optax._engine.kernels.cpu.sums import scalars_of_leaf
from adam_optax._engine.kernels.cpu.writer import Writer

WIDEST = 1024
"""The elements of the largest block of which a loop keeps numbers on its stack."""


@dataclasses.dataclass(frozen=True, eq=False)
class Loop:
    """Hold the loop of a step, for leaves of any size.

    Attributes:
        program: the operations on a unit.
        outside: the operations on scalars for which there is no instruction, and those on which
            they depend: JAX evaluates them.
        given: the scalars that the loop takes.
        text: the loop as LLVM IR.
        by_row: whether units end with a row of the leaf, as blocks do.
    """

    program: Program
    outside: tuple[Operation, ...]
    given: tuple[Value, ...]
    text: str
    by_row: bool

    def target(self) -> str:
        """Return the name by which XLA calls the loop, compiled once in a process."""
        program = self.program
        sizes = len(self.given), len(program.arrays), len(program.results)
        return machine.ffi_target(self.text, machine.Signature(*sizes, program.width, self.by_row))

    def run(
        self,
        operands: Sequence[Array],
        results: Sequence[jax.ShapeDtypeStruct],
        aliases: Mapping[int, int],
        whole: Callable[..., list[Array]],
    ) -> list[Array]:
        """Take the step of a leaf.

        Args:
            operands: the flat arguments of the step.
            results: the types of the results.
            aliases: from arguments to the results that take their places.
            whole: the step of the whole leaf, from which comes what follows from all of it.

        Raises:
            UntranslatableError: if the step of the whole leaf has other equations.
        """
        program = self.program
        numbers = dict(program.of_leaf) | {n: None for _, n in program.leaf_results}
        found: dict[int, Array] = {}
        if numbers:
            found = scalars_of_leaf(whole, operands, numbers, program.equations)
        outer = {i: found[n] for i, n in program.leaf_results}
        inner = [i for i in range(len(results)) if i not in outer]
        arguments = dict(enumerate(operands))
        scalars = [arguments.pop(i) for i in program.scalar_places]  # arrays are left
        known = dict(zip(program.scalars, scalars, strict=True))
        known |= {x: found[n] for n, x in program.of_leaf}
        for operation in self.outside:
            assert operation.evaluate is not None
            values = [
                x.constant if x.constant is not None else known[x] for x in operation.operands
            ]
            known[operation.result] = operation.evaluate(*values)
        at = {i: len(self.given) + n for n, i in enumerate(arguments)}
        in_place = {at[i]: inner.index(result) for i, result in aliases.items() if i in at}
        call = jax.ffi.ffi_call(
            self.target(), [results[i] for i in inner], input_output_aliases=in_place
        )
        made = iter(call(*(known[x] for x in self.given), *arguments.values()))
        return [outer[i] if i in outer else next(made) for i in range(len(results))]


def make_loop(
    step: Callable[..., list[Array]],
    roles: Sequence[str],
    types: Sequence[jax.ShapeDtypeStruct],
    rank: int,
    block: int,
    alike: Sequence[tuple[int, int]] = (),
    contract: bool = True,
    in_range: bool = False,
) -> Loop:
    """Make the loop of a step.

    Args:
        step: from flat arguments and a unit's first index to flat results.
        roles: the roles of the arguments, as `layout` has them.
        types: the dtypes of the arguments; their shapes are not read.
        rank: how many axes the leaf has.
        block: how many neighbours along the last axis share something; 1 for none.
        alike: pairs of arguments, scalars that may be equal and mostly are.
        contract: whether a product and a sum may be rounded once, as XLA lets them.
        in_range: whether all numbers that become integers are in the range of these, or not used.

    Raises:
        UntranslatableError: if something in the step has no instruction here.
    """
    if not 1 <= block <= WIDEST:
        raise UntranslatableError(f"blocks of {block}")
    lanes = machine.lanes()
    program = traced(step, roles, types, rank, lanes if block == 1 else block)
    outside = _outside(program)
    inside = [x for x in program.operations if x not in outside]
    read = {x for operation in inside for x in operation.operands} | set(program.results)
    computed = [x.result for x in outside]
    of_leaf = [x for _, x in program.of_leaf]
    given = tuple(x for x in (*program.scalars, *of_leaf, *computed) if x in read)
    by_place = dict(zip(program.scalar_places, program.scalars, strict=True))
    pairs = [(by_place[i], by_place[j]) for i, j in alike]
    special = specialised(program, pairs)
    text = module_text(program, given, lanes, outside, special, contract, in_range)
    return Loop(program, outside, given, text, by_row=block != 1)


def _outside(program: Program) -> tuple[Operation, ...]:
    """Return the operations on scalars that have no instruction, and those on which they depend."""
    needed: set[Value] = set()
    found: list[Operation] = []
    for operation in reversed(program.operations):
        if operation.result.level == Level.SCALAR and (
            operation.result in needed or not _has_instruction(operation)
        ):
            needed |= set(operation.operands)
            found.append(operation)
    return tuple(reversed(found))


def _has_instruction(operation: Operation) -> bool:
    try:
        write(Writer(1, contract=True), operation)
    except UntranslatableError:
        return False
    return True
