"""Write conversions between dtypes as instructions of LLVM, rounded as XLA rounds."""

from collections.abc import Callable
from typing import TypeAlias

from adam_optax._engine.kernels.cpu.program import Operation, UntranslatableError
from adam_optax._engine.kernels.cpu.writer import TYPES, Writer, is_signed, parts

Emit: TypeAlias = Callable[[Writer, Operation], None]
"""A function that writes an operation."""


def write_conversion(w: Writer, operation: Operation) -> None:
    """Write the conversion of numbers to another dtype."""
    x, vector, kind, (a,) = parts(w, operation)
    old, new = operation.operands[0].dtype, x.dtype
    before = w.typed(old, vector)
    if (old, new) in FLOAT_CONVERSIONS:
        FLOAT_CONVERSIONS[old, new](w, operation)
    elif {old, new} & {"bfloat16", "float8_e4m3fn", "float16"}:
        raise UntranslatableError(f"{old} to {new}")
    elif old == "float32":
        if new == "bool":
            w.put(x, f"fcmp une {before} {a}, {w.number(old, 0, vector)}")
            return
        _to_integer(w, operation)
    elif new == "float32":
        w.put(x, f"{'sitofp' if is_signed(old) else 'uitofp'} {before} {a} to {kind}")
    else:
        narrower = _bits(new) < _bits(old)
        if new == "bool":
            w.put(x, f"icmp ne {before} {a}, {w.number(old, 0, vector)}")
        elif _bits(old) == _bits(new):
            w.put(x, f"bitcast {before} {a} to {kind}")
        else:
            way = "trunc" if narrower else "sext" if is_signed(old) else "zext"
            w.put(x, f"{way} {before} {a} to {kind}")


def _bits(dtype: str) -> int:
    return int(TYPES[dtype][1:])


def _to_integer(w: Writer, operation: Operation) -> None:
    """Write the conversion that cuts off the fraction: beyond the range, the nearest integer."""
    x, vector, kind, (a,) = parts(w, operation)
    if x.dtype != "int32":
        raise UntranslatableError(f"float32 to {x.dtype}")
    before = w.typed("float32", vector)
    if w.in_range:  # of what is chosen against afterwards, any integer does
        found = w.new(f"fptosi {before} {a} to {kind}")
        w.put(x, f"freeze {kind} {found}")
        return
    limit, zero = (w.number("float32", n, vector) for n in (2.0**31, 0))
    size = w.new(w.call("fabs", before, a))
    fits = w.new(f"fcmp olt {before} {size}, {limit}")
    safe = w.new(w.select(vector, fits, before, a, zero))  # zero for NaN
    found = w.new(f"fptosi {before} {safe} to {kind}")
    high = w.new(f"fcmp oge {before} {a}, {limit}")
    found = w.new(w.select(vector, high, kind, w.number("int32", 2**31 - 1, vector), found))
    low = w.new(f"fcmp ole {before} {a}, {w.number('float32', -(2.0**31), vector)}")
    w.put(x, w.select(vector, low, kind, w.number("int32", -(2**31), vector), found))


def _from_bfloat16(w: Writer, operation: Operation) -> None:
    x, vector, kind, (a,) = parts(w, operation)
    short, integer = (w.typed(d, vector) for d in ("uint16", "int32"))
    wide = w.new(f"zext {short} {a} to {integer}")
    high = w.new(f"shl {integer} {wide}, {w.number('int32', 16, vector)}")
    w.put(x, f"bitcast {integer} {high} to {kind}")


def _to_bfloat16(w: Writer, operation: Operation) -> None:
    """Write rounding to the nearest bfloat16, to even in the middle."""
    x, vector, kind, (a,) = parts(w, operation)
    real, integer = (w.typed(d, vector) for d in ("float32", "int32"))
    number = lambda n: w.number("int32", n, vector)  # noqa: E731
    bits = w.new(f"bitcast {real} {a} to {integer}")
    high = w.new(f"lshr {integer} {bits}, {number(16)}")
    odd = w.new(f"and {integer} {high}, {number(1)}")
    half = w.new(f"add {integer} {odd}, {number(0x7FFF)}")
    raised = w.new(f"add {integer} {bits}, {half}")
    top = w.new(f"lshr {integer} {raised}, {number(16)}")
    short = w.new(f"trunc {integer} {top} to {kind}")
    nan = w.new(f"fcmp uno {real} {a}, {a}")
    w.put(x, w.select(vector, nan, kind, w.number("int16", 0x7FC0, vector), short))


def _from_float16(w: Writer, operation: Operation) -> None:
    x, vector, kind, (a,) = parts(w, operation)
    w.put(x, f"fpext {w.typed('float16', vector)} {a} to {kind}")


def _to_float16(w: Writer, operation: Operation) -> None:
    x, vector, kind, (a,) = parts(w, operation)
    w.put(x, f"fptrunc {w.typed('float32', vector)} {a} to {kind}")


def _from_float8(w: Writer, operation: Operation) -> None:
    """Write e4m3fn as float32: the bits moved, and scaled by 2^120, which subnormals survive."""
    x, vector, kind, (a,) = parts(w, operation)
    byte, integer = (w.typed(d, vector) for d in ("uint8", "int32"))
    number = lambda n: w.number("int32", n, vector)  # noqa: E731
    wide = w.new(f"zext {byte} {a} to {integer}")
    size = w.new(f"and {integer} {wide}, {number(0x7F)}")
    # Subnormals are counted in 2^-9, so that no float32 on the way is subnormal.
    counted = w.new(f"uitofp {integer} {size} to {kind}")
    small = w.new(f"fmul {kind} {counted}, {w.number('float32', 2.0**-9, vector)}")
    moved = w.new(f"shl {integer} {size}, {number(20)}")
    raised = w.new(f"add {integer} {moved}, {number(120 << 23)}")
    large = w.new(f"bitcast {integer} {raised} to {kind}")
    is_small = w.new(f"icmp ult {integer} {size}, {number(8)}")
    found = w.new(w.select(vector, is_small, kind, small, large))
    nan = w.new(f"icmp eq {integer} {size}, {number(0x7F)}")
    found = w.new(w.select(vector, nan, kind, w.number("float32", float("nan"), vector), found))
    bits = w.new(f"bitcast {kind} {found} to {integer}")
    signed = w.new(f"and {integer} {wide}, {number(0x80)}")
    sign = w.new(f"shl {integer} {signed}, {number(24)}")
    both = w.new(f"or {integer} {bits}, {sign}")
    w.put(x, f"bitcast {integer} {both} to {kind}")


def _to_float8(w: Writer, operation: Operation) -> None:
    """Write rounding to the nearest e4m3fn, to even in the middle; NaN beyond 464."""
    x, vector, kind, (a,) = parts(w, operation)
    real, integer = (w.typed(d, vector) for d in ("float32", "int32"))
    number = lambda n: w.number("int32", n, vector)  # noqa: E731
    bits = w.new(f"bitcast {real} {a} to {integer}")
    size = w.new(f"and {integer} {bits}, {number(0x7FFFFFFF)}")
    high = w.new(f"lshr {integer} {size}, {number(20)}")
    odd = w.new(f"and {integer} {high}, {number(1)}")
    half = w.new(f"add {integer} {odd}, {number(0x7FFFF - (120 << 23))}")
    raised = w.new(f"add {integer} {size}, {half}")
    large = w.new(f"lshr {integer} {raised}, {number(20)}")
    # A float32 of 2^14 has the digits of e4m3fn's subnormals, in 2^-9, at its end.
    positive = w.new(f"bitcast {integer} {size} to {real}")
    summed = w.new(f"fadd {real} {positive}, {w.number('float32', 2.0**14, vector)}")
    last = w.new(f"bitcast {real} {summed} to {integer}")
    small = w.new(f"sub {integer} {last}, {number((127 + 14) << 23)}")
    is_small = w.new(f"icmp ult {integer} {size}, {number((127 - 6) << 23)}")
    code = w.new(w.select(vector, is_small, integer, small, large))
    beyond = w.new(f"icmp ugt {integer} {size}, {number(0x43E80000)}")
    code = w.new(w.select(vector, beyond, integer, number(0x7F), code))
    shifted = w.new(f"lshr {integer} {bits}, {number(24)}")
    sign = w.new(f"and {integer} {shifted}, {number(0x80)}")
    both = w.new(f"or {integer} {code}, {sign}")
    w.put(x, f"trunc {integer} {both} to {kind}")


FLOAT_CONVERSIONS: dict[tuple[str, str], Emit] = {
    ("bfloat16", "float32"): _from_bfloat16,
    ("float32", "bfloat16"): _to_bfloat16,
    ("float16", "float32"): _from_float16,
    ("float32", "float16"): _to_float16,
    ("float8_e4m3fn", "float32"): _from_float8,
    ("float32", "float8_e4m3fn"): _to_float8,
}
"""How a float becomes one of another dtype."""
