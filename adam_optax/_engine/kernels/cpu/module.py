"""Write a program as a module of LLVM IR: one loop over the units of a leaf.

In a unit the stages of the program follow on each other, each a pass over the unit's elements,
vector by vector. A vector at the end of a row may be short: it goes through the same instructions
by way of a buffer, in which numbers beyond the end are zero.
"""

from collections.abc import Collection, Sequence

from adam_optax._engine.kernels.cpu.instructions import write
from adam_optax._engine.kernels.cpu.program import Level, Operation, Program, Value
from adam_optax._engine.kernels.cpu.stages import Stage, staged
from adam_optax._engine.kernels.cpu.writer import BYTES, TYPES, Writer

NEUTRAL = {"reduce_max": 0, "reduce_min": -1}
"""The bits that are no larger, or no smaller, than those of any number that is not negative."""


def module_text(
    program: Program,
    scalars: Sequence[Value],
    lanes: int,
    outside: Collection[Operation] = (),
    contract: bool = True,
) -> str:
    """Return the module, which defines `@loop`.

    The loop takes pointers to pointers to the scalars, the arrays and the results, the first unit
    and the one after the last, and the length of a row.

    Args:
        program: the step of a unit.
        scalars: the scalars that the loop is given.
        lanes: how many elements a vector has.
        outside: the operations on scalars that the loop does not do.
        contract: whether a product and a sum may be rounded once, as XLA lets them.

    Raises:
        UntranslatableError: if there is no instruction for an operation.
    """
    return _Module(program, lanes, contract).text(scalars, outside)


class _Module:
    """Collect the lines of a module."""

    def __init__(self, program: Program, lanes: int, contract: bool) -> None:
        self._program, self._lanes, self._contract = program, lanes, contract
        self._stages = staged(program)
        self._lines: list[str] = []
        self._declared = {
            "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)",
            "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)",
        }

    def text(self, scalars: Sequence[Value], outside: Collection[Operation]) -> str:
        """Return the module."""
        width = self._program.width
        self._add(
            "define void @loop(ptr %scalars, ptr %in, ptr %out, i64 %begin, i64 %end, "
            "i64 %columns) {",
            "entry:",
        )
        self._write_entry(scalars, outside)
        self._add(
            f"%more.columns = add i64 %columns, {width - 1}",
            f"%row.units = sdiv i64 %more.columns, {width}",
            "%row = sdiv i64 %begin, %row.units",
            "%row.unit = srem i64 %begin, %row.units",
            f"%column.begin = mul i64 %row.unit, {width}",
            "%row.begin = mul i64 %row, %columns",
            "%first.begin = add i64 %row.begin, %column.begin",
            "%any = icmp slt i64 %begin, %end",
            "br i1 %any, label %unit, label %exit",
            "unit:",
            "%number = phi i64 [ %begin, %entry ], [ %number.next, %unit.end ]",
            "%first = phi i64 [ %first.begin, %entry ], [ %first.next, %unit.end ]",
            "%column = phi i64 [ %column.begin, %entry ], [ %column.next, %unit.end ]",
            "%left = sub i64 %columns, %column",
            f"%is.whole = icmp sge i64 %left, {width}",
            f"%count = select i1 %is.whole, i64 {width}, i64 %left",
        )
        self._write_unit()
        self._add(
            "br label %unit.end",
            "unit.end:",
            "%first.next = add i64 %first, %count",
            "%column.more = add i64 %column, %count",
            "%row.ends = icmp eq i64 %column.more, %columns",
            "%column.next = select i1 %row.ends, i64 0, i64 %column.more",
            "%number.next = add i64 %number, 1",
            "%more = icmp slt i64 %number.next, %end",
            "br i1 %more, label %unit, label %exit",
            "exit:",
            "ret void",
            "}",
        )
        return "\n".join([*self._lines, *sorted(self._declared), ""])

    def _add(self, *lines: str) -> None:
        self._lines += lines

    def _take(self, w: Writer) -> None:
        """Add what was written."""
        self._lines += w.lines
        self._declared |= w.declared

    def _write_entry(self, scalars: Sequence[Value], outside: Collection[Operation]) -> None:
        """Write what all units share: pointers, buffers and scalars."""
        program = self._program
        for i in range(len(program.arrays)):
            self._write_base("in", i)
        for i in range(len(program.results)):
            self._write_base("out", i)
        for i, x in enumerate(program.arrays):
            if x.level == Level.ELEMENT:
                self._add(f"%in{i}.buffer = alloca [{self._lanes} x {_kind(x)}], align 64")
        for i, (x, level) in enumerate(zip(program.results, program.result_levels, strict=True)):
            if level == Level.ELEMENT:
                self._add(f"%out{i}.buffer = alloca [{self._lanes} x {_kind(x)}], align 64")
        room = -(-program.width // self._lanes) * self._lanes
        for x in (x for stage in self._stages for x in stage.kept):
            self._add(f"%{x.name}.kept = alloca [{room} x {_kind(x)}], align 64")
        w = Writer(self._lanes, self._contract, "entry.")
        for i, x in enumerate(scalars):
            at = w.new(f"getelementptr ptr, ptr %scalars, i64 {i}")
            _load(w, x, w.new(f"load ptr, ptr {at}"), vector=False)
        for operation in program.operations:
            of_all = operation.result.level == Level.SCALAR
            if of_all and operation.result not in scalars and operation not in outside:
                write(w, operation)
        self._take(w)

    def _write_base(self, side: str, i: int) -> None:
        self._add(
            f"%{side}{i}.at = getelementptr ptr, ptr %{side}, i64 {i}",
            f"%{side}{i}.base = load ptr, ptr %{side}{i}.at",
        )

    def _write_unit(self) -> None:
        """Write the step of a unit."""
        program = self._program
        w = Writer(self._lanes, self._contract, "unit.")
        w.put(program.start, "trunc i64 %first to i32")
        for i, x in enumerate(program.arrays):
            if x.level == Level.UNIT:
                _load(w, x, _place(w, x, f"%in{i}.base", "%number"), vector=False)
        self._take(w)
        for k, stage in enumerate(self._stages):
            self._write_stage(k, stage)
        w = Writer(self._lanes, self._contract, "unit.end.")
        for i, (x, level) in enumerate(zip(program.results, program.result_levels, strict=True)):
            if level == Level.UNIT:
                _store(w, x, _place(w, x, f"%out{i}.base", "%number"), vector=False)
        self._take(w)

    def _write_stage(self, k: int, stage: Stage) -> None:
        """Write one pass over the unit's elements."""
        lanes, integers = self._lanes, f"<{self._lanes} x i32>"
        before = Writer(lanes, self._contract, f"s{k}.before.")
        for operation in stage.before:
            write(before, operation)
        self._take(before)
        last = k == len(self._stages) - 1
        outs = [
            (i, x)
            for i, (x, level) in enumerate(
                zip(self._program.results, self._program.result_levels, strict=True)
            )
            if last and level == Level.ELEMENT
        ]
        self._add(
            f"br label %s{k}.begin",
            f"s{k}.begin:",
            f"br label %s{k}.vector",
            f"s{k}.vector:",
            f"%s{k}.at = phi i64 [ 0, %s{k}.begin ], [ %s{k}.at.next, %s{k}.end ]",
        )
        for operation in stage.reductions:
            name, neutral = operation.result.name, NEUTRAL[operation.primitive]
            self._add(
                f"%{name}.bits = phi {integers} [ splat (i32 {neutral}), %s{k}.begin ], "
                f"[ %{name}.bits.next, %s{k}.end ]"
            )
        self._add(
            f"%s{k}.index = add i64 %first, %s{k}.at",
            f"%s{k}.left = sub i64 %count, %s{k}.at",
            f"%s{k}.short = icmp slt i64 %s{k}.left, {lanes}",
            f"%s{k}.at32 = trunc i64 %s{k}.at to i32",
        )
        w = Writer(lanes, self._contract, f"s{k}.", at=f"%s{k}.at32")
        sides = [("in", i, self._program.arrays[i]) for i in stage.arrays]
        sides += [("out", i, x) for i, x in outs]
        for side, i, x in sides:
            here = _place(w, x, f"%{side}{i}.base", f"%s{k}.index")
            w.lines.append(f"%s{k}.{side}{i}.here = getelementptr i8, ptr {here}, i64 0")
            w.lines.append(
                f"%s{k}.{side}{i} = select i1 %s{k}.short, ptr %{side}{i}.buffer, ptr {here}"
            )
        self._take(w)
        w.lines = []
        self._write_copies(k, "fill", "body", [s for s in sides if s[0] == "in"])
        for _, i, x in (s for s in sides if s[0] == "in"):
            w.renamed[x] = f"%{x.name}.{k}"
            _load(w, x, f"%s{k}.in{i}", vector=True)
        for x in stage.fetched:
            w.renamed[x] = f"%{x.name}.{k}"
            _load(w, x, _place(w, x, f"%{x.name}.kept", f"%s{k}.at"), vector=True)
        for operation in stage.within:
            write(w, operation)
        if stage.reductions:
            self._write_accumulation(w, k, stage)
        for x in stage.kept:
            _store(w, x, _place(w, x, f"%{x.name}.kept", f"%s{k}.at"), vector=True)
        for i, x in outs:
            _store(w, x, f"%s{k}.out{i}", vector=True)
        self._take(w)
        self._write_copies(k, "spill", "end", [s for s in sides if s[0] == "out"])
        self._add(
            f"%s{k}.at.next = add i64 %s{k}.at, {lanes}",
            f"%s{k}.more = icmp slt i64 %s{k}.at.next, %count",
            f"br i1 %s{k}.more, label %s{k}.vector, label %s{k}.done",
            f"s{k}.done:",
        )
        for operation in stage.reductions:
            x = operation.result
            function = f"@llvm.vector.reduce.u{operation.primitive[-3:]}.v{lanes}i32"
            self._declared.add(f"declare i32 {function}({integers})")
            self._add(
                f"%{x.name}.found = call i32 {function}({integers} %{x.name}.bits.next)",
                f"%{x.name} = bitcast i32 %{x.name}.found to float",
            )

    def _write_accumulation(self, w: Writer, k: int, stage: Stage) -> None:
        """Write what a vector adds to reductions: of numbers not negative, the bits are compared.

        What is beyond the end of the row does not count.
        """
        lanes = self._lanes
        integers, real = w.typed("int32", True), w.typed("float32", True)
        left = w.new(f"trunc i64 %s{k}.left to i32")
        first = w.new(f"insertelement {integers} poison, i32 {left}, i64 0")
        many = w.new(f"shufflevector {integers} {first}, {integers} poison, {integers} zeroinitializer")
        places = ", ".join(f"i32 {i}" for i in range(lanes))
        within = w.new(f"icmp slt {integers} <{places}>, {many}")
        for operation in stage.reductions:
            name, neutral = operation.result.name, NEUTRAL[operation.primitive]
            number = w.operand(operation.operands[0], True)
            bits = w.new(f"bitcast {real} {number} to {integers}")
            sound = w.new(w.select(True, within, integers, bits, f"splat (i32 {neutral})"))
            most = w.call(f"u{operation.primitive[-3:]}", integers, f"%{name}.bits", sound)
            w.lines.append(f"%{name}.bits.next = {most}")

    def _write_copies(
        self, k: int, name: str, then: str, sides: Sequence[tuple[str, int, Value]]
    ) -> None:
        """Write the copies between a short vector's place and its buffer."""
        self._add(
            f"br i1 %s{k}.short, label %s{k}.{name}, label %s{k}.{then}",
            f"s{k}.{name}:",
        )
        for side, i, x in sides:
            size, own = BYTES[_kind(x)], f"s{k}.{side}{i}"
            buffer, here = f"ptr %{side}{i}.buffer", f"ptr %{own}.here"
            self._add(f"%{own}.bytes = mul i64 %s{k}.left, {size}")
            if side == "in":
                room = f"i64 {self._lanes * size}, i1 false"
                self._add(f"call void @llvm.memset.p0.i64({buffer}, i8 0, {room})")
            to, of = (buffer, here) if side == "in" else (here, buffer)
            self._add(
                f"call void @llvm.memcpy.p0.p0.i64({to}, {of}, i64 %{own}.bytes, i1 false)"
            )
        self._add(f"br label %s{k}.{then}", f"s{k}.{then}:")


def _kind(x: Value) -> str:
    """Return the type of a number in memory, where a bool is a byte."""
    return "i8" if x.dtype == "bool" else TYPES[x.dtype]


def _place(w: Writer, x: Value, base: str, index: str) -> str:
    """Return a pointer to the number of an index."""
    return w.new(f"getelementptr {_kind(x)}, ptr {base}, i64 {index}")


def _load(w: Writer, x: Value, place: str, vector: bool) -> None:
    """Write the load of a value."""
    name, align = w.renamed.get(x, f"%{x.name}"), BYTES[_kind(x)]
    if x.dtype != "bool":
        w.lines.append(f"{name} = load {w.typed(x.dtype, vector)}, ptr {place}, align {align}")
        return
    kind = w.typed("uint8", vector)
    byte = w.new(f"load {kind}, ptr {place}, align 1")
    w.lines.append(f"{name} = icmp ne {kind} {byte}, {w.number('uint8', 0, vector)}")


def _store(w: Writer, x: Value, place: str, vector: bool) -> None:
    """Write the store of a value."""
    kind, number = w.typed(x.dtype, vector), w.operand(x, vector)
    if x.dtype == "bool":
        byte = w.typed("uint8", vector)
        kind, number = byte, w.new(f"zext {kind} {number} to {byte}")
    w.lines.append(f"store {kind} {number}, ptr {place}, align {BYTES[_kind(x)]}")
