"""A training step's last part, update and apply, compiled for an accelerator."""

import math
import time
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from adam_optax._transform import step as applied
from adam_optax.aot import hlo, targets

AXIS = "x"
"""The name of the only axis of a mesh of all devices."""


class Compiled(NamedTuple):
    """What was found in a compiled step.

    Attributes:
        moved: bytes a parameter to and from a device's main memory, of all its devices.
        kernels: what a device runs one after the other.
        copied: bytes of output that are not in the place of an input.
        scratch: bytes of temporary memory on a device.
        collectives: how often devices talk to one another, by kind.
        seconds: to trace, lower and compile.
    """

    moved: float
    kernels: int
    copied: int
    scratch: int
    collectives: Mapping[str, int] = MappingProxyType({})
    seconds: float = 0.0


def compile_update(
    target: str,
    tx: Any,
    params: Any,
    *,
    donate: bool = True,
    spec: Callable[[Any], PartitionSpec] | None = None,
    in_one: bool = False,
) -> Compiled:
    """Compile `tx.update` and `optax.apply_updates` for an accelerator, and measure the result.

    Args:
        target: `v5e`, `v6e`, `v5p`, `a100`, `h100`, `b200`, or `cpu` for this machine.
        tx: any optax transformation.
        params: a tree of arrays or `jax.ShapeDtypeStruct`s; nothing is allocated.
        donate: whether the step may overwrite parameters and state.
        spec: how a leaf of parameters, state or gradients is spread over the mesh of all devices,
            whose one axis is `"x"`; None: all is on one device.
        in_one: compile `ao.step(tx, ...)`, which is both, instead of the two.

    Raises:
        ValueError: if there is no such target.
        ModuleNotFoundError: if its compiler is not installed; says what to install.

    >>> import jax, adam_optax as ao
    >>> params = {"w": jax.ShapeDtypeStruct((256, 128), "float32")}
    >>> compile_update("cpu", ao.adam(1e-3), params).copied < 256  # all is updated in place
    True
    """
    step, arguments = update_and_apply(tx, params, in_one)
    donated = (0, 1) if donate else ()
    return compile_step(target, step, arguments, _parameters(params), donated, spec)


def update_and_apply(
    tx: Any, params: Any, in_one: bool = False
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The step, and the shapes of its arguments: parameters, state and gradients."""

    def step(params: Any, state: Any, grads: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):  # which optax needs
            if in_one:
                return applied(tx, grads, state, params)
            updates, state = tx.update(grads, state, params)
            return optax.apply_updates(params, updates), state

    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype), params)
    return step, (shapes, jax.eval_shape(tx.init, shapes), shapes)


def compile_step(
    target: str,
    step: Callable[..., Any],
    arguments: tuple[Any, ...],
    parameters: int,
    donate: tuple[int, ...] = (),
    spec: Callable[[Any], PartitionSpec] | None = None,
) -> Compiled:
    """Compile any step for an accelerator; see `compile_update`.

    Args:
        target: as there.
        step: the function.
        arguments: trees of shapes.
        parameters: how many there are, for bytes a parameter.
        donate: the arguments that the step may overwrite.
        spec: as there.
    """
    platform = targets.platform(target)
    if absent := targets.missing(target):
        what = f"{target} needs {', '.join(absent)}"
        raise ModuleNotFoundError(f"{what}: {targets.INSTALL}", name=absent[0])
    there = _placed(targets.devices(target), spec)
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Some donated buffers were not usable"
        )  # `copied` says so
        traced = jax.jit(step, donate_argnums=donate).trace(*jax.tree.map(there, arguments))
        done = traced.lower(lowering_platforms=(platform,)).compile()
    seconds = time.perf_counter() - started
    shards = 1 if spec is None else len(targets.devices(target))
    return facts(done, parameters, shards)._replace(seconds=seconds)


def facts(compiled: Any, parameters: int, shards: int = 1) -> Compiled:
    """What there is to know of a compiled function on so many devices."""
    text, memory = compiled.as_text(), compiled.memory_analysis()
    return Compiled(
        moved=hlo.moved(text) * shards / max(parameters, 1),
        kernels=hlo.kernels(text),
        copied=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        scratch=memory.temp_size_in_bytes,
        collectives=hlo.collectives(text),
    )


def _placed(devices: tuple[Any, ...], spec: Callable[[Any], PartitionSpec] | None) -> Any:
    """A shape with a place on these devices."""
    mesh = Mesh(devices, (AXIS,))

    def placed(x: Any) -> jax.ShapeDtypeStruct:
        place: Any = SingleDeviceSharding(devices[0])
        if spec is not None:
            place = NamedSharding(mesh, spec(x))
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)

    return placed


def _parameters(params: Any) -> int:
    return sum(math.prod(jnp.shape(p)) for p in jax.tree.leaves(params))
