"""Write a program as a module of LLVM IR: one loop over the units of a leaf.

The last unit of a row may be shorter: it goes through the same instructions by way of a buffer, in
which numbers beyond the end are zero.
"""

from collections.abc import Collection, Sequence

from adam_optax._engine.kernels.cpu.instructions import write
from adam_optax._engine.kernels.cpu.program import Level, Operation, Program, Value
from adam_optax._engine.kernels.cpu.writer import BYTES, TYPES, Writer


def module_text(
    program: Program,
    scalars: Sequence[Value],
    outside: Collection[Operation] = (),
    contract: bool = True,
) -> str:
    """Return the module, which defines `@loop`.

    The loop takes pointers to pointers to the scalars, the arrays and the results, the first unit
    and the one after the last, and the length of a row.

    Args:
        program: the step of a unit.
        scalars: the scalars that the loop is given.
        outside: the operations on scalars that the loop does not do.
        contract: whether a product and a sum may be rounded once, as XLA lets them.

    Raises:
        UntranslatableError: if there is no instruction for an operation.
    """
    before = Writer(program.width, contract)
    for i, x in enumerate(scalars):
        at = before.new(f"getelementptr ptr, ptr %scalars, i64 {i}")
        place = before.new(f"load ptr, ptr {at}")
        before.put(x, _loaded(before, x, place, vector=False))
    shared = dict.fromkeys(scalars)
    within = Writer(program.width, contract)
    read: dict[Value, None] = dict.fromkeys(program.results)
    for operation in program.operations:
        if operation.result.level != Level.SCALAR:
            read |= dict.fromkeys(operation.operands)
        elif operation.result not in shared and operation not in outside:
            write(before, operation)
            shared[operation.result] = None
    carried = [x for x in shared if x in read]
    _write_unit(within, program)
    pointers = [f"ptr %{side}{i}" for side, i, _, _ in _memory(program)]
    given = [f"{within.type_of(x)} %{x.name}" for x in carried]
    parameters = ", ".join([*given, *pointers, "i64 %first", "i32 %count"])
    body = [f"define internal void @unit({parameters}) alwaysinline {{", *within.lines]
    texts = [*body, "ret void", "}", *_driver(program, before, carried)]
    declared = sorted(before.declared | within.declared)
    return "\n".join([*texts, *declared, *_DECLARED, ""])


_DECLARED = (
    "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)",
    "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)",
)


def _memory(program: Program) -> list[tuple[str, int, str, bool]]:
    """Return each array and result: its side, number, LLVM's type, and whether it has elements."""
    arrays = [
        ("in", i, TYPES[x.dtype], x.level == Level.ELEMENT) for i, x in enumerate(program.arrays)
    ]
    results = [
        ("out", i, TYPES[x.dtype], level == Level.ELEMENT)
        for i, (x, level) in enumerate(zip(program.results, program.result_levels, strict=True))
    ]
    return [(s, i, "i8" if kind == "i1" else kind, e) for s, i, kind, e in arrays + results]


def _loaded(w: Writer, x: Value, place: str, vector: bool) -> str:
    """Return the instruction that loads a value; bools are bytes in memory."""
    if x.dtype == "bool":
        kind = w.typed("uint8", vector)
        byte = w.new(f"load {kind}, ptr {place}, align 1")
        return f"icmp ne {kind} {byte}, {w.number('uint8', 0, vector)}"
    return f"load {w.typed(x.dtype, vector)}, ptr {place}, align {BYTES[TYPES[x.dtype]]}"


def _write_unit(w: Writer, program: Program) -> None:
    """Write the step of a unit: loads, operations, stores."""
    w.put(program.start, "trunc i64 %first to i32")
    lanes = ", ".join(f"i32 {i}" for i in range(program.width))
    count = w.new(f"insertelement <{program.width} x i32> poison, i32 %count, i64 0")
    many = w.new(
        f"shufflevector <{program.width} x i32> {count}, <{program.width} x i32> poison, "
        f"<{program.width} x i32> zeroinitializer"
    )
    w.lines.append(f"%within = icmp ult <{program.width} x i32> <{lanes}>, {many}")
    for i, x in enumerate(program.arrays):
        w.put(x, _loaded(w, x, f"%in{i}", x.level == Level.ELEMENT))
    for operation in program.operations:
        if operation.result.level != Level.SCALAR:
            write(w, operation)
    for i, (x, level) in enumerate(zip(program.results, program.result_levels, strict=True)):
        vector = level == Level.ELEMENT
        kind, number = w.typed(x.dtype, vector), w.operand(x, vector)
        if x.dtype == "bool":
            kind, number = (
                w.typed("uint8", vector),
                w.new(f"zext {kind} {number} to {w.typed('uint8', vector)}"),
            )
        align = BYTES[TYPES["uint8" if x.dtype == "bool" else x.dtype]]
        w.lines.append(f"store {kind} {number}, ptr %out{i}, align {align}")


def _driver(program: Program, before: Writer, carried: Sequence[Value]) -> list[str]:
    """Return the loop over units, of which the last of a row may be short."""
    width, memory = program.width, _memory(program)
    elements = [(side, i, kind) for side, i, kind, each in memory if each]
    shared = [f"{before.type_of(x)} %{x.name}" for x in carried]
    lines = [
        "define void @loop(ptr %scalars, ptr %in, ptr %out, i64 %begin, i64 %end, i64 %columns) {",
        "entry:",
        *before.lines,
    ]
    for side, i, kind, each in memory:
        lines.append(f"%{side}{i}.at = getelementptr ptr, ptr %{side}, i64 {i}")
        lines.append(f"%{side}{i}.base = load ptr, ptr %{side}{i}.at")
        if each:
            lines.append(f"%{side}{i}.buffer = alloca [{width} x {kind}], align 64")
    lines += [
        f"%more.columns = add i64 %columns, {width - 1}",
        f"%row.units = sdiv i64 %more.columns, {width}",
        "%row = sdiv i64 %begin, %row.units",
        "%row.unit = srem i64 %begin, %row.units",
        f"%column.begin = mul i64 %row.unit, {width}",
        "%row.begin = mul i64 %row, %columns",
        "%first.begin = add i64 %row.begin, %column.begin",
        "%any = icmp slt i64 %begin, %end",
        "br i1 %any, label %loop, label %exit",
        "loop:",
        "%unit = phi i64 [ %begin, %entry ], [ %unit.next, %next ]",
        "%first = phi i64 [ %first.begin, %entry ], [ %first.next, %next ]",
        "%column = phi i64 [ %column.begin, %entry ], [ %column.next, %next ]",
        "%left = sub i64 %columns, %column",
    ]
    for side, i, kind, each in memory:
        index = "%first" if each else "%unit"
        lines.append(f"%{side}{i}.here = getelementptr {kind}, ptr %{side}{i}.base, i64 {index}")
    whole = [f"ptr %{side}{i}.here" for side, i, _, _ in memory]
    short = [f"ptr %{side}{i}.{'buffer' if each else 'here'}" for side, i, _, each in memory]
    lines += [
        f"%is.whole = icmp sge i64 %left, {width}",
        "br i1 %is.whole, label %whole, label %short",
        "whole:",
        f"call void @unit({', '.join([*shared, *whole, 'i64 %first', f'i32 {width}'])})",
        "br label %next",
        "short:",
        "%left32 = trunc i64 %left to i32",
    ]
    copies = []
    for side, i, kind in elements:
        size, name = BYTES[kind], f"{side}{i}"
        lines.append(f"%{name}.bytes = mul i64 %left, {size}")
        to, of, by = f"ptr %{name}.buffer", f"ptr %{name}.here", f"i64 %{name}.bytes, i1 false"
        if side == "in":
            lines.append(f"call void @llvm.memset.p0.i64({to}, i8 0, i64 {width * size}, i1 false)")
            lines.append(f"call void @llvm.memcpy.p0.p0.i64({to}, {of}, {by})")
        else:
            copies.append(f"call void @llvm.memcpy.p0.p0.i64({of}, {to}, {by})")
    lines += [
        f"call void @unit({', '.join([*shared, *short, 'i64 %first', 'i32 %left32'])})",
        *copies,
        "br label %next",
        "next:",
        f"%done = select i1 %is.whole, i64 {width}, i64 %left",
        "%first.next = add i64 %first, %done",
        "%column.more = add i64 %column, %done",
        "%row.ends = icmp eq i64 %column.more, %columns",
        "%column.next = select i1 %row.ends, i64 0, i64 %column.more",
        "%unit.next = add i64 %unit, 1",
        "%more = icmp slt i64 %unit.next, %end",
        "br i1 %more, label %loop, label %exit",
        "exit:",
        "ret void",
        "}",
    ]
    return lines
