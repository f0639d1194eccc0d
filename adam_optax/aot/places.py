"""Read off a compiled module's text where results are written, and what is copied."""

import dataclasses
import functools
import re

from adam_optax.aot import hlo

ALIAS = re.compile(r"\{\s*(\d*)\s*\}: \((\d+), \{\s*\}")
"""One result written over one parameter, in the first line of a module's text."""
NAME = re.compile(r'op_name="((?:[^"\\]|\\.)*)"')
"""The name that JAX gave a parameter, with quotes behind backslashes."""


@dataclasses.dataclass(frozen=True)
class Places:
    """Hold where a compiled module reads its parameters and writes its results.

    Attributes:
        parameters: JAX's name of each parameter by its number, as `state[0].mu['w']`, or an empty
            text.
        results: The instruction that makes each result.
        aliases: The result that is written over a parameter, by the parameter's number.
        instructions: All instructions of the entry computation, by name.
    """

    parameters: dict[int, str]
    results: list[str]
    aliases: dict[int, int]
    instructions: dict[str, hlo.Instruction]

    @classmethod
    def read(cls, text: str) -> "Places":
        """Read a module's text.

        Raises:
            ValueError: If the text is that of no module.
        """
        if re.search(r"^ENTRY ", text, re.MULTILINE) is None:
            raise ValueError("the compiled function has no text of a module of XLA (as_text)")
        found = dict(hlo.instructions(text))
        given = [one for one in found.values() if one.operation == "parameter"]
        parameters = {_number(one): _jax_name(one) for one in given}
        ((root, last),) = [(name, one) for name, one in found.items() if one.is_root]
        results = [root] * len(list(hlo.arrays(last.type)))
        if last.operation == "tuple":
            results = last.operands
        head = text.splitlines()[0].partition("input_output_alias=")[2]
        aliases = {int(p): int(r or 0) for r, p in ALIAS.findall(head)}
        return cls(parameters, results, aliases, found)

    def copies(self, parameter: int, result: int) -> bool:
        """Tell whether a parameter is copied, or the result that is written over it.

        A copy that changes the layout, or brings an array to the memory on the chip, is none: XLA
        makes it for other reasons.
        """
        return parameter in self._copied or self._is_copy(self._source(self.results[result]))

    def depends(self, result: int, parameter: int) -> bool:
        """Tell whether a result is computed from a parameter, as far as instructions show."""
        return bool(self._read[self.results[result]] >> parameter & 1) if parameter >= 0 else False

    @functools.cached_property
    def _copied(self) -> set[int]:
        """Return the numbers of the parameters that are copied."""
        numbers = set()
        for name, one in self.instructions.items():
            if self._is_copy(name):
                source = self.instructions[self._source(one.operands[0])]
                if source.operation == "parameter":
                    numbers.add(_number(source))
        return numbers

    @functools.cached_property
    def _read(self) -> dict[str, int]:
        """Return the parameters that each instruction is computed from, as bits of a number."""
        read: dict[str, int] = {}
        for name, one in self.instructions.items():  # operands come before what reads them
            bits = 1 << _number(one) if one.operation == "parameter" else 0
            for operand in one.operands:
                bits |= read.get(operand, 0)
            read[name] = bits
        return read

    def _is_copy(self, name: str) -> bool:
        one = self.instructions[name]
        if one.operation == "copy" and one.operands[0] in self.instructions:
            return one.type == self.instructions[one.operands[0]].type
        if one.operation == "copy-start":
            there_and_here = list(hlo.arrays(one.type))[:2]
            return not any(on_chip for _, on_chip in there_and_here)
        return False

    def _source(self, name: str) -> str:
        """Return the instruction that makes an array, which bitcasts and waiting do not."""
        while (one := self.instructions[name]).operation in ("bitcast", "copy-done"):
            name = one.operands[0]
        return name


def _number(parameter: hlo.Instruction) -> int:
    return int(parameter.rest.removeprefix("parameter(").partition(")")[0])


def _jax_name(parameter: hlo.Instruction) -> str:
    found = NAME.search(parameter.rest)
    return found[1].replace("\\", "") if found else ""
