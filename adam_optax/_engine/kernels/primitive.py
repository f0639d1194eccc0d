"""The primitive that is a kernel when it is compiled for an accelerator.

What it computes is the plain step, which is also how it is differentiated, mapped and compiled for
other platforms. Over several devices it is a kernel on each of them.
"""

import functools as ft
from collections.abc import Sequence
from typing import Any

import jax
from jax import Array
from jax.extend import core
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding

from adam_optax._engine.kernels.kernel import FLAVOURS, Kernel
from adam_optax._engine.kernels.partition import Run, partitioned

one_pass_p = core.Primitive("adam_optax_one_pass")
one_pass_p.multiple_results = True


def bound(
    kernel: Kernel, *operands: Array, where: NamedSharding | None = None, local: bool = False
) -> list[Array]:
    """The results of a kernel's step, of flat arguments and their start in the leaf.

    Args:
        kernel: of the leaf.
        operands: the arguments, then an index for each axis.
        where: how the leaf is sharded, if that is known.
        local: they are a part of the leaf, on one device.
    """
    plain = jax.make_jaxpr(kernel.plain)(*operands)
    spread = None
    if not local:
        here = ft.partial(bound, kernel, local=True)
        spread = jax.make_jaxpr(partitioned(kernel.layout, kernel.plain, here, where))(*operands)
    how = {"kernel": kernel, "plain": plain, "spread": spread, "where": where}
    return list(one_pass_p.bind(*operands, **how))


def _plain(*operands: Array, plain: Any, **_: Any) -> list[Array]:
    return list(core.jaxpr_as_fun(plain)(*operands))


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, plain: Any, **_: Any) -> Any:
    whole = [ad.instantiate_zeros(t) for t in tangents]
    return jax.jvp(core.jaxpr_as_fun(plain), tuple(primals), tuple(whole))


def _batched(operands: Sequence[Any], axes: Sequence[Any], *, plain: Any, **_: Any) -> Any:
    done = jax.vmap(core.jaxpr_as_fun(plain), in_axes=tuple(axes))(*operands)
    return done, [0] * len(done)


def _devices(context: Any) -> int | None:
    """For how many devices the program, or this part of it, is compiled; None if nobody knows."""
    axes = context.module_context.axis_context
    if hasattr(axes, "manual_axes"):  # inside shard_map
        return 1 if set(axes.manual_axes) == set(axes.mesh.axis_names) else None
    return getattr(axes, "num_devices", None)


def _lowered(platform: str, context: Any, *operands: Any, **how: Any) -> Any:
    run = _chosen(platform, _devices(context), **how)
    return mlir.lower_fun(run, multiple_results=True)(context, *operands)


def _chosen(
    platform: str, devices: int | None, *, kernel: Kernel, plain: Any, spread: Any, where: Any
) -> Run:
    """The kernel; over several devices, one on each if no block can be on two of them."""
    if platform in kernel.platforms and devices == 1:
        return ft.partial(kernel.on, platform)
    if platform in kernel.platforms and devices and spread is not None:
        asked = platform != "tpu" and kernel.layout.divides(devices)  # XLA for TPUs cannot ask
        if where is not None or asked:
            return _function(spread)
    return _function(plain)


def _function(jaxpr: Any) -> Run:
    run: Run = core.jaxpr_as_fun(jaxpr)
    return run


one_pass_p.def_impl(_plain)
one_pass_p.def_abstract_eval(lambda *_, plain, **__: plain.out_avals)
ad.primitive_jvps[one_pass_p] = _jvp
batching.primitive_batchers[one_pass_p] = _batched
mlir.register_lowering(one_pass_p, mlir.lower_fun(_plain, multiple_results=True))
for _platform in FLAVOURS:
    mlir.register_lowering(one_pass_p, ft.partial(_lowered, _platform), platform=_platform)
