"""Write operations as instructions of LLVM.

The bits are those of XLA for CPUs, whose way to round, to compare with NaN, to shift and to convert
each instruction follows.
"""

from adam_optax._engine.kernels.cpu.conversions import Emit, write_conversion
from adam_optax._engine.kernels.cpu.program import Operation, UntranslatableError
from adam_optax._engine.kernels.cpu.writer import BYTES, TYPES, Writer, is_float, is_signed, parts

FLOAT_ARITHMETIC = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
INTEGER_ARITHMETIC = {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "and": "and",
    "or": "or",
    "xor": "xor",
}
SHIFTS = {
    "shift_left": "shl",
    "shift_right_logical": "lshr",
    "shift_right_arithmetic": "ashr",
}
FLOAT_COMPARISONS = {
    "eq": "oeq",
    "ne": "une",
    "lt": "olt",
    "le": "ole",
    "gt": "ogt",
    "ge": "oge",
}
ROUNDINGS = {"floor": "floor", "ceil": "ceil"}


def write(w: Writer, operation: Operation) -> None:
    """Write an operation.

    Raises:
        UntranslatableError: if there is no instruction for it.
    """
    if operation.primitive not in EMITTERS:
        raise UntranslatableError(operation.primitive)
    EMITTERS[operation.primitive](w, operation)


def _arithmetic(w: Writer, operation: Operation) -> None:
    x, _, kind, (a, b) = parts(w, operation)
    name = operation.primitive
    if is_float(x.dtype):
        flag = "" if name == "div" else w.flag
        w.put(x, f"{FLOAT_ARITHMETIC[name]} {flag}{kind} {a}, {b}")
    elif name in INTEGER_ARITHMETIC and x.dtype != "bfloat16":
        w.put(x, f"{INTEGER_ARITHMETIC[name]} {kind} {a}, {b}")
    else:
        raise UntranslatableError(f"{name} of {x.dtype}")


def _shift(w: Writer, operation: Operation) -> None:
    """Write a shift; by more than there are bits, all bits go."""
    x, vector, kind, (a, b) = parts(w, operation)
    instruction, bits = SHIFTS[operation.primitive], 8 * BYTES[TYPES[x.dtype]]
    by, most = operation.operands[1], w.number(x.dtype, bits - 1, vector)
    if by.constant is not None and 0 <= int(by.constant) < bits:
        w.put(x, f"{instruction} {kind} {a}, {b}")
    elif instruction == "ashr":
        w.put(x, f"ashr {kind} {a}, {w.new(w.call('umin', kind, b, most))}")
    else:
        within = w.new(f"icmp ule {kind} {b}, {most}")
        shifted = w.new(f"{instruction} {kind} {a}, {b}")
        w.put(x, w.select(vector, within, kind, shifted, w.number(x.dtype, 0, vector)))


def _comparison(w: Writer, operation: Operation) -> None:
    x, vector, _, (a, b) = parts(w, operation)
    dtype, name = operation.operands[0].dtype, operation.primitive
    kind = w.typed(dtype, vector)
    if is_float(dtype):
        w.put(x, f"fcmp {FLOAT_COMPARISONS[name]} {kind} {a}, {b}")
    elif dtype in ("bfloat16", "float8_e4m3fn"):
        raise UntranslatableError(f"{name} of {dtype}")
    else:
        sign = "" if name in ("eq", "ne") else "s" if is_signed(dtype) else "u"
        w.put(x, f"icmp {sign}{name} {kind} {a}, {b}")


def _extreme(w: Writer, operation: Operation) -> None:
    """Write a maximum or minimum: NaN if an operand is, and -0 is less than 0, as XLA has it."""
    x, _, kind, (a, b) = parts(w, operation)
    name = operation.primitive
    if is_float(x.dtype):
        w.put(x, w.call(f"{name}imum", kind, a, b))
    else:
        w.put(x, w.call(f"{'s' if is_signed(x.dtype) else 'u'}{name}", kind, a, b))


def _select(w: Writer, operation: Operation) -> None:
    x, vector, kind, operands = parts(w, operation)
    if len(operands) != 3 or operation.operands[0].dtype != "bool":
        raise UntranslatableError("select_n of more than two")
    mask, no, yes = operands
    w.put(x, w.select(vector, mask, kind, yes, no))


def _negation(w: Writer, operation: Operation) -> None:
    x, vector, kind, (a,) = parts(w, operation)
    zero = w.number(x.dtype, 0, vector) if not is_float(x.dtype) else ""
    w.put(x, f"fneg {kind} {a}" if is_float(x.dtype) else f"sub {kind} {zero}, {a}")


def _absolute(w: Writer, operation: Operation) -> None:
    x, _, kind, (a,) = parts(w, operation)
    if is_float(x.dtype):
        w.put(x, w.call("fabs", kind, a))
    else:
        w.put(x, w.call("abs", kind, a, more=", i1 false"))


def _sign(w: Writer, operation: Operation) -> None:
    x, vector, kind, (a,) = parts(w, operation)
    if x.dtype != "float32":
        raise UntranslatableError(f"sign of {x.dtype}")
    zero, one = (w.number("float32", n, vector) for n in (0, 1))
    # A subnormal number is zero to a comparison.
    size = w.new(w.select(vector, w.new(f"fcmp une {kind} {a}, {zero}"), kind, one, zero))
    signed = w.new(w.call("copysign", kind, size, a))
    w.put(x, w.select(vector, w.new(f"fcmp uno {kind} {a}, {a}"), kind, a, signed))


def _power(w: Writer, operation: Operation) -> None:
    """Write a product of equal factors, in the order in which XLA multiplies them."""
    x, _, kind, (a,) = parts(w, operation)
    power = 2 if operation.primitive == "square" else operation.parameter
    if not is_float(x.dtype) or power not in (2, 3, 4):
        raise UntranslatableError(f"{operation.primitive} {power} of {x.dtype}")
    multiply = lambda b, c: f"fmul {w.flag}{kind} {b}, {c}"  # noqa: E731
    if power == 2:
        w.put(x, multiply(a, a))
    elif power == 3:
        w.put(x, multiply(w.new(multiply(a, a)), a))
    else:
        twice = w.new(multiply(a, a))
        w.put(x, multiply(twice, twice))


def _root(w: Writer, operation: Operation) -> None:
    x, _, kind, (a,) = parts(w, operation)
    if x.dtype != "float32":
        raise UntranslatableError(f"sqrt of {x.dtype}")
    w.put(x, w.call("sqrt", kind, a))


def _rounding(w: Writer, operation: Operation) -> None:
    x, _, kind, (a,) = parts(w, operation)
    w.put(x, w.call(ROUNDINGS[operation.primitive], kind, a))


def _is_finite(w: Writer, operation: Operation) -> None:
    x, vector, _, (a,) = parts(w, operation)
    dtype = operation.operands[0].dtype
    if dtype != "float32":
        raise UntranslatableError(f"is_finite of {dtype}")
    kind = w.typed(dtype, vector)
    size = w.new(w.call("fabs", kind, a))
    w.put(x, f"fcmp olt {kind} {size}, {w.number(dtype, float('inf'), vector)}")


def _not(w: Writer, operation: Operation) -> None:
    x, vector, kind, (a,) = parts(w, operation)
    w.put(x, f"xor {kind} {a}, {w.number(x.dtype, 1 if x.dtype == 'bool' else -1, vector)}")


def _bitcast(w: Writer, operation: Operation) -> None:
    x, vector, kind, (a,) = parts(w, operation)
    before = w.typed(operation.operands[0].dtype, vector)
    if BYTES[TYPES[x.dtype]] != BYTES[TYPES[operation.operands[0].dtype]]:
        raise UntranslatableError("bitcast_convert_type to another size")
    w.put(x, f"bitcast {before} {a} to {kind}")


def _iota(w: Writer, operation: Operation) -> None:
    x, _, kind, _ = parts(w, operation)
    if TYPES[x.dtype] != "i32":
        raise UntranslatableError(f"iota of {x.dtype}")
    lanes = ", ".join(f"i32 {i}" for i in range(w.lanes))
    at = w.new(f"insertelement {kind} poison, i32 {w.at}, i64 0")
    first = w.new(f"shufflevector {kind} {at}, {kind} poison, {kind} zeroinitializer")
    w.put(x, f"add {kind} {first}, <{lanes}>")


EMITTERS: dict[str, Emit] = {
    **dict.fromkeys((*FLOAT_ARITHMETIC, *INTEGER_ARITHMETIC), _arithmetic),
    **dict.fromkeys(SHIFTS, _shift),
    **dict.fromkeys(FLOAT_COMPARISONS, _comparison),
    **dict.fromkeys(ROUNDINGS, _rounding),
    "max": _extreme,
    "min": _extreme,
    "select_n": _select,
    "neg": _negation,
    "abs": _absolute,
    "sign": _sign,
    "square": _power,
    "integer_pow": _power,
    "sqrt": _root,
    "is_finite": _is_finite,
    "not": _not,
    "bitcast_convert_type": _bitcast,
    "convert_element_type": write_conversion,
    "iota": _iota,
}
"""What writes an operation, by the name of JAX's primitive."""
