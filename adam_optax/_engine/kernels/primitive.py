"""Define the primitive that is a kernel when it is compiled for an accelerator.

The primitive computes the plain step, by which it is also differentiated, mapped and compiled for
other platforms. Over several devices it is a kernel on each of them.
"""

import functools as ft
from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

import jax
from jax import Array
from jax.extend import core
from jax.extend.core import ClosedJaxpr
from jax.extend.mlir import ir
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding

from adam_optax._engine.kernels.kernel import BACKENDS, Kernel
from adam_optax._engine.kernels.partition import Run, partitioned

fused_step_p = core.Primitive("adam_optax_fused_step")
fused_step_p.multiple_results = True


class Parameters(TypedDict):
    """Name the parameters of the primitive.

    Attributes:
        kernel: the step of the leaf.
        plain: the step without a kernel.
        spread: the step as a kernel on each of several devices; None on one device.
        where: the leaf's sharding, if known.
    """

    kernel: Kernel
    plain: ClosedJaxpr
    spread: ClosedJaxpr | None
    where: NamedSharding | None


def bind(
    kernel: Kernel, *operands: Array, where: NamedSharding | None = None, local: bool = False
) -> list[Array]:
    """Return the results of a kernel's step, of flat arguments and their start in the leaf.

    Args:
        kernel: the step of the leaf.
        operands: the arguments, then an index for each axis.
        where: the leaf's sharding, if known.
        local: whether the operands are a part of the leaf, on one device.
    """
    plain = jax.make_jaxpr(kernel.plain)(*operands)
    spread = None
    if not local:
        here = ft.partial(bind, kernel, local=True)
        spread = jax.make_jaxpr(partitioned(kernel.layout, kernel.plain, here, where))(*operands)
    how = Parameters(kernel=kernel, plain=plain, spread=spread, where=where)
    return list(fused_step_p.bind(*operands, **how))


def _plain(*operands: Array, plain: ClosedJaxpr, **_: object) -> list[Array]:
    return list(core.jaxpr_as_fun(plain)(*operands))


def _jvp(
    primals: Sequence[Array],
    tangents: Sequence[Array | ad.Zero],
    *,
    plain: ClosedJaxpr,
    **_: object,
) -> tuple[list[Array], list[Array]]:
    whole = [ad.instantiate_zeros(t) for t in tangents]
    return jax.jvp(core.jaxpr_as_fun(plain), tuple(primals), tuple(whole))


def _batched(
    operands: Sequence[Array], axes: Sequence[int | None], *, plain: ClosedJaxpr, **_: object
) -> tuple[list[Array], list[int]]:
    done = jax.vmap(core.jaxpr_as_fun(plain), in_axes=tuple(axes))(*operands)
    return done, [0] * len(done)


def _devices(context: mlir.LoweringRuleContext) -> int | None:
    """Return for how many devices the program, or this part, is compiled; None if unknown."""
    axes: Any = context.module_context.axis_context
    if hasattr(axes, "manual_axes"):  # inside shard_map
        return 1 if set(axes.manual_axes) == set(axes.mesh.axis_names) else None
    return getattr(axes, "num_devices", None)


def _lowered(
    platform: str,
    context: mlir.LoweringRuleContext,
    *operands: ir.Value[Any],
    **how: Unpack[Parameters],
) -> Sequence[ir.Value[Any]]:
    run = _chosen(platform, _devices(context), **how)
    lowered: Sequence[ir.Value[Any]]
    lowered = mlir.lower_fun(run, multiple_results=True)(context, *operands)
    return lowered


def _chosen(
    platform: str,
    devices: int | None,
    *,
    kernel: Kernel,
    plain: ClosedJaxpr,
    spread: ClosedJaxpr | None,
    where: NamedSharding | None,
) -> Run:
    """Return the kernel; over several devices, one on each if no block can be on two of them."""
    if platform in kernel.platforms and devices == 1:
        return ft.partial(kernel.on, platform)
    if platform in kernel.platforms and devices and spread is not None:
        asked = platform != "tpu" and kernel.layout.divides(devices)  # XLA for TPUs cannot ask
        if where is not None or asked:
            return _function(spread)
    return _function(plain)


def _function(jaxpr: ClosedJaxpr) -> Run:
    run: Run = core.jaxpr_as_fun(jaxpr)
    return run


fused_step_p.def_impl(_plain)
fused_step_p.def_abstract_eval(lambda *_, plain, **__: plain.out_avals)
ad.primitive_jvps[fused_step_p] = _jvp
batching.primitive_batchers[fused_step_p] = _batched
mlir.register_lowering(fused_step_p, mlir.lower_fun(_plain, multiple_results=True))
for _platform in BACKENDS:
    mlir.register_lowering(fused_step_p, ft.partial(_lowered, _platform), platform=_platform)
