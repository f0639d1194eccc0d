"""A loop written by hand: `r = x / a` and, in y's place, `q = y + 1`, which counts the visits."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend import core
from jax.interpreters import mlir

from adam_optax._engine.kernels.cpu import machine

WIDTH = 128
LOOP = """
declare i64 @llvm.umin.i64(i64, i64)

define void @loop(ptr %scalars, ptr %in, ptr %out, i64 %begin, i64 %end, i64 %columns) {
entry:
  %a.at = load ptr, ptr %scalars
  %a = load float, ptr %a.at
  %x = load ptr, ptr %in
  %y.place = getelementptr ptr, ptr %in, i64 1
  %y = load ptr, ptr %y.place
  %r = load ptr, ptr %out
  %q.place = getelementptr ptr, ptr %out, i64 1
  %q = load ptr, ptr %q.place
  %rounded = add i64 %columns, 127
  %per.row = udiv i64 %rounded, 128
  br label %unit
unit:
  %u = phi i64 [ %begin, %entry ], [ %u.next, %done ]
  %row = udiv i64 %u, %per.row
  %in.row = urem i64 %u, %per.row
  %column = mul i64 %in.row, 128
  %left = sub i64 %columns, %column
  %n = call i64 @llvm.umin.i64(i64 %left, i64 128)
  %row.start = mul i64 %row, %columns
  %start = add i64 %row.start, %column
  br label %element
element:
  %i = phi i64 [ 0, %unit ], [ %i.next, %element ]
  %k = add i64 %start, %i
  %x.at = getelementptr float, ptr %x, i64 %k
  %y.at = getelementptr float, ptr %y, i64 %k
  %r.at = getelementptr float, ptr %r, i64 %k
  %q.at = getelementptr float, ptr %q, i64 %k
  %x.now = load float, ptr %x.at
  %y.now = load float, ptr %y.at
  %ratio = fdiv float %x.now, %a
  %count = fadd float %y.now, 1.0
  store float %ratio, ptr %r.at
  store float %count, ptr %q.at
  %i.next = add i64 %i, 1
  %more = icmp ult i64 %i.next, %n
  br i1 %more, label %element, label %done
done:
  %u.next = add i64 %u, 1
  %again = icmp ult i64 %u.next, %end
  br i1 %again, label %unit, label %return
return:
  ret void
}
"""

divide_p = core.Primitive("test_divide")
divide_p.multiple_results = True


def _types(a: Any, x: Any, y: Any, **_: object) -> list[Any]:
    return [x, y]


divide_p.def_abstract_eval(_types)


def _lowering(ctx: Any, *operands: Any, by_row: bool) -> Any:
    """Make the loop known to XLA here alone, where the program is lowered."""
    name = machine.ffi_target(LOOP, machine.Signature(1, 2, 2, WIDTH, by_row))
    rule = jax.ffi.ffi_lowering(name, operand_output_aliases={1: 0, 2: 1})
    return rule(ctx, *operands)


mlir.register_lowering(divide_p, _lowering, platform="cpu")


def divide(a: Array, x: Array, y: Array, by_row: bool = False) -> tuple[Array, Array]:
    """Return x / a, and y + 1."""
    r, q = divide_p.bind(a, x, y, by_row=by_row)
    return r, q


def arguments(shape: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """Return a, x and y of a leaf."""
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    return jnp.asarray(np.float32(3)), jnp.asarray(x), jnp.asarray(np.zeros(shape, np.float32))
