"""Define the primitive that is a loop where a program is compiled for one CPU.

Everywhere else the primitive is the step without the loop, which is traced only then: where a leaf
is differentiated or mapped, on accelerators, spread over devices by XLA, or exported, since
another process does not know the loop.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypedDict, Unpack

import jax
import numpy as np
from jax import Array
from jax.core import ShapedArray
from jax.extend import core
from jax.extend.core import ClosedJaxpr
from jax.extend.mlir import ir
from jax.interpreters import ad, batching, mlir

from adam_optax._engine.kernels.cpu import machine
from adam_optax._engine.kernels.cpu.loop import Loop
from adam_optax._engine.kernels.cpu.program import UntranslatableError
from adam_optax._engine.kernels.primitive import device_count

loop_step_p = core.Primitive("adam_optax_loop_step")
loop_step_p.multiple_results = True


class Parameters(TypedDict):
    """Name the parameters of the primitive.

    Attributes:
        loop: the loop.
        otherwise: the step without the loop, from flat arguments to flat results.
        like: for each result the argument that it is like, and its dtype.
        in_place: for each result the argument whose place it takes, or -1.
        whole: the step of the whole leaf, for rules that sum over it.
        seen: the step without the loop, traced, where that has a kernel on several devices: JAX
            looks into the parameters for what must know the devices.
    """

    loop: Loop
    otherwise: Callable[..., list[Array]]
    like: tuple[tuple[int, np.dtype[np.generic]], ...]
    in_place: tuple[int, ...]
    whole: Callable[..., list[Array]]
    seen: ClosedJaxpr | None


def bind(*operands: Array, **how: Unpack[Parameters]) -> list[Array]:
    """Return the results of a step that is a loop on one CPU."""
    return list(loop_step_p.bind(*operands, **how))


def _otherwise(*operands: Array, otherwise: Callable[..., list[Array]], **_: object) -> list[Array]:
    return otherwise(*operands)


def _abstract(
    *operands: ShapedArray, like: tuple[tuple[int, np.dtype[np.generic]], ...], **_: object
) -> list[ShapedArray]:
    return [operands[i].update(dtype=dtype, weak_type=False) for i, dtype in like]


def _jvp(
    primals: Sequence[Array],
    tangents: Sequence[Array | ad.Zero],
    *,
    otherwise: Callable[..., list[Array]],
    **_: object,
) -> tuple[list[Array], list[Array]]:
    whole = [ad.instantiate_zeros(t) for t in tangents]
    return jax.jvp(otherwise, tuple(primals), tuple(whole))


def _batched(
    operands: Sequence[Array],
    axes: Sequence[int | None],
    *,
    otherwise: Callable[..., list[Array]],
    **_: object,
) -> tuple[list[Array], list[int]]:
    done = jax.vmap(otherwise, in_axes=tuple(axes))(*operands)
    return done, [0] * len(done)


def _lowered(
    context: mlir.LoweringRuleContext, *operands: ir.Value[Any], **how: Unpack[Parameters]
) -> Sequence[ir.Value[Any]]:
    run: Callable[..., list[Array]] = how["otherwise"]
    exported = context.module_context.lowering_parameters.for_export
    if device_count(context) == 1 and not exported and not machine.why_not():
        types = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in context.avals_out]
        aliases = {i: result for result, i in enumerate(how["in_place"]) if i >= 0}
        run = lambda *flat: how["loop"].run(flat, types, aliases, how["whole"])  # noqa: E731
    lowered: Sequence[ir.Value[Any]]
    try:
        lowered = mlir.lower_fun(run, multiple_results=True)(context, *operands)
    except UntranslatableError:  # the leaf as a whole has other equations than a part of it
        lowered = mlir.lower_fun(how["otherwise"], multiple_results=True)(context, *operands)
    return lowered


loop_step_p.def_impl(_otherwise)
loop_step_p.def_abstract_eval(_abstract)
ad.primitive_jvps[loop_step_p] = _jvp
batching.primitive_batchers[loop_step_p] = _batched
mlir.register_lowering(loop_step_p, mlir.lower_fun(_otherwise, multiple_results=True))
mlir.register_lowering(loop_step_p, _lowered, platform="cpu")
