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

from adam_optax.kernels.kernel import FLAVOURS, Kernel
from adam_optax.kernels.partition import partitioned

one_pass_p = core.Primitive("adam_optax_one_pass")
one_pass_p.multiple_results = True


def bound(kernel: Kernel, *operands: Array, local: bool = False) -> list[Array]:
    """The results of a kernel's step, of flat arguments and their start in the leaf.

    Args:
        kernel: of the leaf.
        operands: the arguments, then an index for each axis.
        local: they are a part of the leaf, on one device.
    """
    plain = jax.make_jaxpr(kernel.plain)(*operands)
    spread = None
    if not local:
        here = ft.partial(bound, kernel, local=True)
        spread = jax.make_jaxpr(partitioned(kernel.layout, kernel.plain, here))(*operands)
    return list(one_pass_p.bind(*operands, kernel=kernel, plain=plain, spread=spread))


def _plain(*operands: Array, plain: Any, **_: Any) -> list[Array]:
    return list(core.jaxpr_as_fun(plain)(*operands))


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, plain: Any, **_: Any) -> Any:
    whole = [ad.instantiate_zeros(t) for t in tangents]
    return jax.jvp(core.jaxpr_as_fun(plain), primals, whole)


def _batched(operands: Sequence[Any], axes: Sequence[Any], *, plain: Any, **_: Any) -> Any:
    done = jax.vmap(core.jaxpr_as_fun(plain), in_axes=tuple(axes))(*operands)
    return done, [0] * len(done)


def _alone(context: Any) -> bool:
    """Whether the program being compiled, or this part of it, is for one device."""
    axes = context.module_context.axis_context
    if hasattr(axes, "manual_axes"):  # inside shard_map
        return set(axes.manual_axes) == set(axes.mesh.axis_names)
    return getattr(axes, "num_devices", None) == 1


def _lowered(platform: str, context: Any, *operands: Any, kernel: Kernel, plain: Any, spread: Any):
    run = core.jaxpr_as_fun(plain)
    if platform in kernel.platforms and _alone(context):
        run = ft.partial(kernel.on, platform)
    elif platform in kernel.platforms and spread is not None:
        run = core.jaxpr_as_fun(spread)
    return mlir.lower_fun(run, multiple_results=True)(context, *operands)


one_pass_p.def_impl(_plain)
one_pass_p.def_abstract_eval(lambda *_, plain, **__: plain.out_avals)
ad.primitive_jvps[one_pass_p] = _jvp
batching.primitive_batchers[one_pass_p] = _batched
mlir.register_lowering(one_pass_p, mlir.lower_fun(_plain, multiple_results=True))
for _platform in FLAVOURS:
    mlir.register_lowering(one_pass_p, ft.partial(_lowered, _platform), platform=_platform)
