"""Define the primitive that is a kernel when it is compiled for an accelerator.

The primitive computes the plain step, by which it is also differentiated, mapped and compiled for
other platforms. Over several devices it is a kernel on each of them.
"""

import contextlib
import functools as ft
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, TypedDict, Unpack

import jax
from jax import Array
from jax.extend import core
from jax.extend.core import ClosedJaxpr
from jax.extend.mlir import ir
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding

from adam_optax._engine.kernels.backends import MODULES, backend
from adam_optax._engine.kernels.kernel import Kernel
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


def device_count(context: mlir.LoweringRuleContext) -> int | None:
    """Return for how many devices the program, or this part, is compiled; None if unknown."""
    axes: Any = context.module_context.axis_context
    if hasattr(axes, "manual_axes"):  # inside shard_map
        return 1 if set(axes.manual_axes) == set(axes.mesh.axis_names) else None
    return getattr(axes, "num_devices", None)


def _device(context: mlir.LoweringRuleContext) -> jax.Device | None:
    """Return a device for which the program is compiled; None if the program is only lowered."""
    client: Any = context.module_context.backend
    return client.devices()[0] if client is not None else None


def _lowered(
    platform: str,
    context: mlir.LoweringRuleContext,
    *operands: ir.Value[Any],
    **how: Unpack[Parameters],
) -> Sequence[ir.Value[Any]]:
    kernel, devices, device = how["kernel"], device_count(context), _device(context)
    made = backend(platform) if devices and platform in kernel.platforms else None
    lowering: AbstractContextManager[None] = contextlib.nullcontext()
    run = _function(how["plain"])
    if made is not None and made.fits(kernel.layout, device):
        if devices == 1:
            run, lowering = ft.partial(kernel.on, made), made.lowering()
        elif how["spread"] is not None and _can_be_spread(platform, devices, kernel, how["where"]):
            run = _function(how["spread"])
    lowered: Sequence[ir.Value[Any]]
    with lowering:
        lowered = mlir.lower_fun(run, multiple_results=True)(context, *operands)
    return lowered


def _can_be_spread(
    platform: str, devices: int | None, kernel: Kernel, where: NamedSharding | None
) -> bool:
    """Tell whether each of several devices can run a kernel: no block is on two of them."""
    if where is not None:
        return True
    asks = platform != "tpu"  # XLA for TPUs cannot
    return asks and devices is not None and kernel.layout.divides(devices)


def _function(jaxpr: ClosedJaxpr) -> Run:
    run: Run = core.jaxpr_as_fun(jaxpr)
    return run


fused_step_p.def_impl(_plain)
fused_step_p.def_abstract_eval(lambda *_, plain, **__: plain.out_avals)
ad.primitive_jvps[fused_step_p] = _jvp
batching.primitive_batchers[fused_step_p] = _batched
mlir.register_lowering(fused_step_p, mlir.lower_fun(_plain, multiple_results=True))
for _platform in MODULES:
    mlir.register_lowering(fused_step_p, ft.partial(_lowered, _platform), platform=_platform)
