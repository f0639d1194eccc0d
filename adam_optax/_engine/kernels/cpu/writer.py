"""Hold instructions of LLVM that are being written, with vectors written out.

Numbers of elements are vectors. LLVM cuts them into what the processor has, and nothing depends on
its loop vectoriser; several registers side by side keep a long chain of operations from waiting for
itself.
"""

import struct

from adam_optax._engine.kernels.cpu.program import (
    Level,
    Operation,
    UntranslatableError,
    Value,
)

TYPES = {
    "float32": "float",
    "float16": "half",
    "bfloat16": "i16",
    "float8_e4m3fn": "i8",
    "int32": "i32",
    "uint32": "i32",
    "int16": "i16",
    "uint16": "i16",
    "int8": "i8",
    "uint8": "i8",
    "bool": "i1",
}
"""LLVM's types; floats that a processor does not compute with are kept as their bits."""
BYTES = {"float": 4, "half": 2, "i32": 4, "i16": 2, "i8": 1}
"""The bytes of a number in memory."""


def is_signed(dtype: str) -> bool:
    """Tell whether integers of a dtype may be negative."""
    return dtype.startswith("int")


def is_float(dtype: str) -> bool:
    """Tell whether LLVM computes with a dtype as with a float."""
    return dtype in ("float32", "float16")


class Writer:
    """Write instructions for a part of a program, and hold what was written.

    Args:
        lanes: how many elements a vector has.
        contract: whether a product and a sum may be rounded once, as XLA lets them.
        part: tells the names that are made here from those of other parts.
        variant: tells the values of one program from those of another.
        in_range: whether all numbers that become integers are in the range of these.
        at: the name of the index in its unit of a vector's first element.
    """

    def __init__(
        self,
        lanes: int,
        contract: bool,
        part: str = "",
        at: str = "0",
        variant: str = "",
        in_range: bool = False,
    ) -> None:
        self.lanes, self.part, self.at, self.variant = lanes, part, at, variant
        self.in_range = in_range
        self.flag = "contract " if contract else ""
        self.renamed: dict[Value, str] = {}
        self.lines: list[str] = []
        self.declared: set[str] = set()
        self._count = 0
        self._spread: dict[Value, str] = {}

    # --- Names, types and constants

    def type_of(self, x: Value) -> str:
        """Return the type of a value at its own level."""
        return self.typed(x.dtype, x.level == Level.ELEMENT)

    def typed(self, dtype: str, vector: bool) -> str:
        """Return the type of a number, or of a vector of numbers."""
        if dtype not in TYPES:
            raise UntranslatableError(dtype)
        return f"<{self.lanes} x {TYPES[dtype]}>" if vector else TYPES[dtype]

    def number(self, dtype: str, x: object, vector: bool) -> str:
        """Return a constant, for each element if `vector`."""
        if dtype == "float32":  # as LLVM has it: the bits of the same number in float64
            text = f"0x{struct.unpack('<Q', struct.pack('<d', float(x)))[0]:016X}"  # type: ignore[arg-type]
        elif dtype == "bool":
            text = "true" if x else "false"
        elif dtype in ("float16", "bfloat16", "float8_e4m3fn"):
            raise UntranslatableError(f"a constant of {dtype}")
        else:
            text = str(int(x) - (2**32 if int(x) >= 2**31 else 0))  # type: ignore[call-overload]
        return f"splat ({TYPES[dtype]} {text})" if vector else text

    def name(self, x: Value) -> str:
        """Return the name of a value; scalars are common to all programs."""
        own = f"%{x.name}" if x.level == Level.SCALAR else f"%{self.variant}{x.name}"
        return self.renamed.get(x, own)

    def operand(self, x: Value, vector: bool) -> str:
        """Return a value as an operand; what is one number for many elements is spread."""
        if x.constant is not None:
            return self.number(x.dtype, x.constant, vector)
        if not vector or x.level == Level.ELEMENT:
            return self.name(x)
        if x not in self._spread:
            one, many = self.typed(x.dtype, False), self.typed(x.dtype, True)
            first = self.new(f"insertelement {many} poison, {one} {self.name(x)}, i64 0")
            lanes = f"<{self.lanes} x i32> zeroinitializer"
            self._spread[x] = self.new(f"shufflevector {many} {first}, {many} poison, {lanes}")
        return self._spread[x]

    # --- Instructions

    def new(self, instruction: str) -> str:
        """Write an instruction, and return the name of its result."""
        self._count += 1
        name = f"%{self.variant}{self.part}t{self._count}"
        self.lines.append(f"{name} = {instruction}")
        return name

    def put(self, x: Value, instruction: str) -> None:
        """Write the instruction whose result is a value."""
        self.lines.append(f"{self.name(x)} = {instruction}")

    def call(self, function: str, kind: str, *operands: str, more: str = "") -> str:
        """Return a call of LLVM's function on operands of one type, with that type as result."""
        suffix = kind.replace("<", "v").replace(" x ", "").replace(">", "")
        suffix = suffix.replace("float", "f32").replace("half", "f16")
        name = f"@llvm.{function}.{suffix}"
        types = ", ".join([kind] * len(operands))
        self.declared.add(f"declare {kind} {name}({types}{', i1' if more else ''})")
        return f"call {kind} {name}({', '.join(f'{kind} {x}' for x in operands)}{more})"

    def select(self, vector: bool, mask: str, kind: str, yes: str, no: str) -> str:
        """Return the choice between two operands by a mask."""
        return f"select {self.typed('bool', vector)} {mask}, {kind} {yes}, {kind} {no}"


def parts(w: Writer, operation: Operation) -> tuple[Value, bool, str, list[str]]:
    """Return the result, whether it is a vector, its type, and the operands."""
    x = operation.result
    vector = x.level == Level.ELEMENT
    return x, vector, w.type_of(x), [w.operand(y, vector) for y in operation.operands]
