"""Write a program as a module of LLVM IR: one loop over the units of a leaf.

In a unit the stages of the program follow on each other, each a pass over the unit's elements,
vector by vector. A vector at the end of a row may be short: it goes through the same instructions
by way of a buffer, in which numbers beyond the end are zero.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from adam_optax._engine.kernels.cpu.instructions import write
from adam_optax._engine.kernels.cpu.program import Level, Operation, Program, Value
from adam_optax._engine.kernels.cpu.special import Special, condition
from adam_optax._engine.kernels.cpu.stages import Stage, staged
from adam_optax._engine.kernels.cpu.writer import BYTES, TYPES, Writer

NEUTRAL = {"reduce_max": 0, "reduce_min": -1}
"""The bits that are no larger, or no smaller, than those of any number that is not negative."""


def module_text(
    program: Program,
    scalars: Sequence[Value],
    lanes: int,
    outside: Collection[Operation] = (),
    special: Special | None = None,
    contract: bool = True,
    in_range: bool = False,
) -> str:
    """Return the module, which defines `@loop`.

    The loop takes pointers to pointers to the scalars, the arrays and the results, the first unit
    and the one after the last, and the length of a row.

    Args:
        program: the step of a unit.
        scalars: the scalars that the loop is given.
        lanes: how many elements a vector has.
        outside: the operations on scalars that the loop does not do.
        special: a shorter program, and for which units it is right.
        contract: whether a product and a sum may be rounded once, as XLA lets them.
        in_range: whether all numbers that become integers are in the range of these, or not used.

    Raises:
        UntranslatableError: if there is no instruction for an operation.
    """
    how = _How(lanes, contract, in_range)
    return _Module(program, special, how).text(scalars, outside)


class _How(NamedTuple):
    """Say how instructions are written; see `Writer`."""

    lanes: int
    contract: bool
    in_range: bool

    def writer(self, part: str, variant: str = "", at: str = "0") -> Writer:
        """Return what writes a part of a program."""
        return Writer(self.lanes, self.contract, part, at, variant, self.in_range)


class _Module:
    """Collect the lines of a module."""

    def __init__(self, program: Program, special: Special | None, how: _How) -> None:
        self._program, self._special, self._how = program, special, how
        self._lanes = how.lanes
        programs = {"": program} | ({} if special is None else {"short.": special.program})
        self._programs = {name: (one, staged(one)) for name, one in programs.items()}
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
        for variant, (_, stages) in self._programs.items():
            for x in (x for stage in stages for x in stage.kept):
                self._add(f"%{variant}{x.name}.kept = alloca [{room} x {_kind(x)}], align 64")
        w = self._how.writer("entry.")
        for i, x in enumerate(scalars):
            at = w.new(f"getelementptr ptr, ptr %scalars, i64 {i}")
            _load(w, x, w.new(f"load ptr, ptr {at}"), vector=False)
        known = {*scalars, *(x.result for x in outside)}
        for one, _ in self._programs.values():
            for operation in one.operations:
                if operation.result.level == Level.SCALAR and operation.result not in known:
                    write(w, operation)
                    known.add(operation.result)
        if self._special is not None:
            same = "true"
            for before, now in self._special.equal:
                equal = w.new(f"icmp eq i32 {w.operand(before, False)}, {w.operand(now, False)}")
                same = w.new(f"and i1 {same}, {equal}")
            w.lines.append(f"%same = and i1 {same}, true")
        self._take(w)

    def _write_base(self, side: str, i: int) -> None:
        self._add(
            f"%{side}{i}.at = getelementptr ptr, ptr %{side}, i64 {i}",
            f"%{side}{i}.base = load ptr, ptr %{side}{i}.at",
        )

    def _write_unit(self) -> None:
        """Write the step of a unit, by the shorter program where that is right."""
        if self._special is not None:
            self._write_choice(self._special)
        for variant in self._programs:
            self._write_variant(variant)

    def _write_choice(self, special: Special) -> None:
        """Write the test whether the shorter program is right for a unit."""
        lanes, masks = self._lanes, special.masks
        ones = f"<{lanes} x i1>"
        self._add(
            "%may.be.short = and i1 %same, %is.whole",
            "br i1 %may.be.short, label %choice.begin, label %any.begin",
            "choice.begin:",
            "br label %choice.vector",
            "choice.vector:",
            "%choice.at = phi i64 [ 0, %choice.begin ], [ %choice.at.next, %choice.vector ]",
            f"%choice.all = phi {ones} [ splat (i1 true), %choice.begin ], "
            "[ %choice.all.next, %choice.vector ]",
            "%choice.index = add i64 %first, %choice.at",
        )
        w = self._how.writer("", "choice.", "0")
        operations = condition(special, self._program)
        read = {x for operation in operations for x in operation.operands}
        for i, x in enumerate(self._program.arrays):
            if x in read:
                _load(w, x, _place(w, x, f"%in{i}.base", "%choice.index"), vector=True)
        for operation in operations:
            write(w, operation)
        found = "%choice.all"
        for mask in masks:
            found = w.new(f"and {ones} {found}, {w.operand(mask, True)}")
        w.lines.append(f"%choice.all.next = and {ones} {found}, splat (i1 true)")
        self._take(w)
        self._declared.add(f"declare i1 @llvm.vector.reduce.and.v{lanes}i1({ones})")
        self._add(
            f"%choice.at.next = add i64 %choice.at, {lanes}",
            f"%choice.more = icmp slt i64 %choice.at.next, {self._program.width}",
            "br i1 %choice.more, label %choice.vector, label %choice.end",
            "choice.end:",
            f"%is.short = call i1 @llvm.vector.reduce.and.v{lanes}i1({ones} %choice.all.next)",
            "br i1 %is.short, label %short.begin, label %any.begin",
        )

    def _write_variant(self, variant: str) -> None:
        """Write the step of a unit by one of the programs."""
        program, stages = self._programs[variant]
        if self._special is not None:
            self._add(f"{variant or 'any.'}begin:")
        w = self._how.writer("unit.", variant)
        w.put(program.start, "trunc i64 %first to i32")
        for i, x in enumerate(program.arrays):
            if x.level == Level.UNIT:
                _load(w, x, _place(w, x, f"%in{i}.base", "%number"), vector=False)
        self._take(w)
        for k in range(len(stages)):
            self._write_stage(variant, k)
        w = self._how.writer("end.", variant)
        for i, (x, level) in enumerate(zip(program.results, program.result_levels, strict=True)):
            if level == Level.UNIT:
                _store(w, x, _place(w, x, f"%out{i}.base", "%number"), vector=False)
        self._take(w)
        self._add("br label %unit.end")

    def _write_stage(self, variant: str, k: int) -> None:
        """Write one pass over the unit's elements."""
        program, stages = self._programs[variant]
        stage, name = stages[k], f"{variant}s{k}"
        lanes, integers = self._lanes, f"<{self._lanes} x i32>"
        before = self._how.writer(f"s{k}.before.", variant)
        for operation in stage.before:
            write(before, operation)
        self._take(before)
        last = k == len(stages) - 1
        outs = [
            (i, x)
            for i, (x, level) in enumerate(zip(program.results, program.result_levels, strict=True))
            if last and level == Level.ELEMENT
        ]
        self._add(
            f"br label %{name}.begin",
            f"{name}.begin:",
            f"br label %{name}.vector",
            f"{name}.vector:",
            f"%{name}.at = phi i64 [ 0, %{name}.begin ], [ %{name}.at.next, %{name}.end ]",
        )
        for operation in stage.reductions:
            own, neutral = f"{variant}{operation.result.name}", NEUTRAL[operation.primitive]
            self._add(
                f"%{own}.bits = phi {integers} [ splat (i32 {neutral}), %{name}.begin ], "
                f"[ %{own}.bits.next, %{name}.end ]"
            )
        self._add(
            f"%{name}.index = add i64 %first, %{name}.at",
            f"%{name}.left = sub i64 %count, %{name}.at",
            f"%{name}.short = icmp slt i64 %{name}.left, {lanes}",
            f"%{name}.at32 = trunc i64 %{name}.at to i32",
        )
        w = self._how.writer(f"s{k}.", variant, f"%{name}.at32")
        sides = [("in", i, program.arrays[i]) for i in stage.arrays]
        sides += [("out", i, x) for i, x in outs]
        for side, i, x in sides:
            here = _place(w, x, f"%{side}{i}.base", f"%{name}.index")
            w.lines.append(f"%{name}.{side}{i}.here = getelementptr i8, ptr {here}, i64 0")
            w.lines.append(
                f"%{name}.{side}{i} = select i1 %{name}.short, ptr %{side}{i}.buffer, ptr {here}"
            )
        self._take(w)
        w.lines = []
        self._write_copies(name, "fill", "body", [s for s in sides if s[0] == "in"])
        for _, i, x in (s for s in sides if s[0] == "in"):
            w.renamed[x] = f"%{variant}{x.name}.{k}"
            _load(w, x, f"%{name}.in{i}", vector=True)
        for x in stage.fetched:
            w.renamed[x] = f"%{variant}{x.name}.{k}"
            _load(w, x, _place(w, x, f"%{variant}{x.name}.kept", f"%{name}.at"), vector=True)
        for operation in stage.within:
            write(w, operation)
        if stage.reductions:
            self._write_accumulation(w, name, stage)
        for x in stage.kept:
            _store(w, x, _place(w, x, f"%{variant}{x.name}.kept", f"%{name}.at"), vector=True)
        for i, x in outs:
            _store(w, x, f"%{name}.out{i}", vector=True)
        self._take(w)
        self._write_copies(name, "spill", "end", [s for s in sides if s[0] == "out"])
        self._add(
            f"%{name}.at.next = add i64 %{name}.at, {lanes}",
            f"%{name}.more = icmp slt i64 %{name}.at.next, %count",
            f"br i1 %{name}.more, label %{name}.vector, label %{name}.done",
            f"{name}.done:",
        )
        for operation in stage.reductions:
            own = f"{variant}{operation.result.name}"
            function = f"@llvm.vector.reduce.u{operation.primitive[-3:]}.v{lanes}i32"
            self._declared.add(f"declare i32 {function}({integers})")
            self._add(
                f"%{own}.found = call i32 {function}({integers} %{own}.bits.next)",
                f"%{own} = bitcast i32 %{own}.found to float",
            )

    def _write_accumulation(self, w: Writer, name: str, stage: Stage) -> None:
        """Write what a vector adds to reductions: of numbers not negative, the bits are compared.

        What is beyond the end of the row does not count.
        """
        lanes = self._lanes
        integers, real = w.typed("int32", True), w.typed("float32", True)
        left = w.new(f"trunc i64 %{name}.left to i32")
        first = w.new(f"insertelement {integers} poison, i32 {left}, i64 0")
        many = w.new(
            f"shufflevector {integers} {first}, {integers} poison, {integers} zeroinitializer"
        )
        places = ", ".join(f"i32 {i}" for i in range(lanes))
        within = w.new(f"icmp slt {integers} <{places}>, {many}")
        for operation in stage.reductions:
            own, neutral = f"{w.variant}{operation.result.name}", NEUTRAL[operation.primitive]
            number = w.operand(operation.operands[0], True)
            signed = w.new(f"bitcast {real} {number} to {integers}")
            # Neither -0 nor a NaN with a sign is what its bits say.
            bits = w.new(f"and {integers} {signed}, {w.number('int32', 2**31 - 1, True)}")
            sound = w.new(w.select(True, within, integers, bits, f"splat (i32 {neutral})"))
            most = w.call(f"u{operation.primitive[-3:]}", integers, f"%{own}.bits", sound)
            w.lines.append(f"%{own}.bits.next = {most}")

    def _write_copies(
        self, name: str, label: str, then: str, sides: Sequence[tuple[str, int, Value]]
    ) -> None:
        """Write the copies between a short vector's place and its buffer."""
        self._add(
            f"br i1 %{name}.short, label %{name}.{label}, label %{name}.{then}",
            f"{name}.{label}:",
        )
        for side, i, x in sides:
            size, own = BYTES[_kind(x)], f"{name}.{side}{i}"
            buffer, here = f"ptr %{side}{i}.buffer", f"ptr %{own}.here"
            self._add(f"%{own}.bytes = mul i64 %{name}.left, {size}")
            if side == "in":
                room = f"i64 {self._lanes * size}, i1 false"
                self._add(f"call void @llvm.memset.p0.i64({buffer}, i8 0, {room})")
            to, of = (buffer, here) if side == "in" else (here, buffer)
            self._add(f"call void @llvm.memcpy.p0.p0.i64({to}, {of}, i64 %{own}.bytes, i1 false)")
        self._add(f"br label %{name}.{then}", f"{name}.{then}:")


def _kind(x: Value) -> str:
    """Return the type of a number in memory, where a bool is a byte."""
    return "i8" if x.dtype == "bool" else TYPES[x.dtype]


def _place(w: Writer, x: Value, base: str, index: str) -> str:
    """Return a pointer to the number of an index."""
    return w.new(f"getelementptr {_kind(x)}, ptr {base}, i64 {index}")


def _load(w: Writer, x: Value, place: str, vector: bool) -> None:
    """Write the load of a value."""
    name, align = w.name(x), BYTES[_kind(x)]
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
