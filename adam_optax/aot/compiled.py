"""Compile the last part of a training step, update and apply, for an accelerator."""

import math
import time
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from adam_optax._step import step as applied
from adam_optax.aot import hlo, targets
from adam_optax.aot.donation import Donation, donation

AXIS = "x"
"""The name of the only axis of a mesh of all devices."""


class Compiled(NamedTuple):
    """Hold the facts of a compiled step.

    Attributes:
        moved: Bytes per parameter that move to and from main memory, of all devices together.
        kernels: Number of kernels that a device runs one after the other.
        copied: Bytes of output that are not in the place of an input.
        scratch: Bytes of temporary memory on a device.
        collectives: Number of operations in which devices communicate, by kind.
        seconds: Seconds to trace, lower and compile.
        donation: Which results are written over the donated arguments, and what XLA copies; `None`:
            they cannot be read off the module, as those of a step with ordered effects.
        received: Bytes that a device receives in them from others, by kind: the least, those of a
            ring, and of what is in a loop once; it sends as many.
    """

    moved: float
    kernels: int
    copied: int
    scratch: int
    collectives: Mapping[str, int] = MappingProxyType({})
    seconds: float = 0.0
    donation: Donation | None = None
    received: Mapping[str, float] = MappingProxyType({})


def compile_update(
    target: str,
    tx: optax.GradientTransformation,
    params: optax.Params,
    *,
    donate: bool = True,
    spec: Callable[[jax.ShapeDtypeStruct], PartitionSpec] | None = None,
    in_one: bool = False,
) -> Compiled:
    """Compile `tx.update` and `optax.apply_updates` for an accelerator, and measure the result.

    Args:
        target: `v5e`, `v6e`, `v5p`, `a100`, `h100`, `b200`, or `cpu` for this machine.
        tx: Any optax transformation.
        params: A tree of arrays or `jax.ShapeDtypeStruct`s; nothing is allocated.
        donate: Whether the step may overwrite parameters and state.
        spec: Maps a leaf of parameters, state or gradients to its sharding over the mesh of all
            devices, whose one axis is `"x"`; `None`: everything is on one device.
        in_one: Whether to compile `ao.step(tx, ...)`, which updates and applies in one, instead of
            the two functions.

    Raises:
        ValueError: If there is no such target.
        ModuleNotFoundError: If the compiler of the target is not installed; the message says what
            to install.

    >>> import jax, adam_optax as ao
    >>> params = {"w": jax.ShapeDtypeStruct((256, 128), "float32")}
    >>> compile_update("cpu", ao.adam(1e-3), params).copied < 256  # all is updated in place
    True
    """
    step, arguments = update_and_apply(tx, params, in_one)
    donated = (0, 1) if donate else ()
    return compile_step(target, step, arguments, _parameters(params), donated, spec)


def update_and_apply(
    tx: optax.GradientTransformation, params: optax.Params, in_one: bool = False
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return the step, and the shapes of its arguments: parameters, state and gradients.

    Args:
        tx: Any optax transformation.
        params: A tree of arrays or `jax.ShapeDtypeStruct`s.
        in_one: Whether the step is `ao.step(tx, ...)` instead of `tx.update` and
            `optax.apply_updates`.
    """

    def step(params: optax.Params, state: optax.OptState, grads: optax.Updates) -> Any:
        with jax.numpy_dtype_promotion("standard"):  # optax needs it
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
    spec: Callable[[jax.ShapeDtypeStruct], PartitionSpec] | None = None,
) -> Compiled:
    """Compile any step for an accelerator, and measure the result.

    Args:
        target: The accelerator, as in `compile_update`.
        step: The function. One that `jax.jit` returned keeps what it donates.
        arguments: The step's arguments, as trees of shapes.
        parameters: Number of parameters, for the bytes per parameter.
        donate: Positions of the arguments that a step without `jax.jit` may overwrite.
        spec: Maps a leaf to its sharding, as in `compile_update`.

    Raises:
        ValueError: If there is no such target, or `donate` is given for a step under `jax.jit`.
        ModuleNotFoundError: If the compiler of the target is not installed.
    """
    platform = targets.platform(target)
    if absent := targets.missing(target):
        what = f"{target} needs {', '.join(absent)}"
        raise ModuleNotFoundError(f"{what}: {targets.INSTALL}", name=absent[0])
    if isinstance(step, jax.stages.Wrapped):
        if donate:
            what = f"donate={donate} is for a step without jax.jit"
            raise ValueError(f"{what}; write jax.jit(step, donate_argnums={donate})")
        jitted = step
    else:
        jitted = jax.jit(step, donate_argnums=donate)
    there = _placed(targets.devices(target), spec)
    started = time.perf_counter()
    with warnings.catch_warnings():
        # `copied` and `donation` report the same.
        warnings.filterwarnings("ignore", "Some donated buffers were not usable")
        # JAX's persistent cache keeps what is compiled for a device that is not there, and cannot
        # read it again without that device: JAX then warns, and compiles anew as it should.
        warnings.filterwarnings("ignore", "Error reading persistent compilation cache entry")
        traced = jitted.trace(*jax.tree.map(there, arguments))
        done = traced.lower(lowering_platforms=(platform,)).compile()
    seconds = time.perf_counter() - started
    shards = 1 if spec is None else len(targets.devices(target))
    return facts(done, parameters, shards)._replace(seconds=seconds)


def facts(compiled: jax.stages.Compiled, parameters: int, shards: int = 1) -> Compiled:
    """Measure a function that is compiled already.

    Args:
        compiled: The result of `jax.jit(...).lower(...).compile()`.
        parameters: Number of parameters, for the bytes per parameter.
        shards: Number of devices over which the function is sharded.
    """
    text, memory = compiled.as_text(), compiled.memory_analysis()
    assert text is not None
    assert memory is not None  # the backends of all targets report both
    try:
        donated = donation(compiled)
    except ValueError:
        donated = None
    return Compiled(
        moved=hlo.moved(text) * shards / max(parameters, 1),
        kernels=hlo.kernels(text),
        copied=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        scratch=memory.temp_size_in_bytes,
        collectives=hlo.collectives(text),
        donation=donated,
        received=hlo.received(text),
    )


def _placed(
    devices: tuple[jax.Device, ...], spec: Callable[[jax.ShapeDtypeStruct], PartitionSpec] | None
) -> Callable[[jax.ShapeDtypeStruct], jax.ShapeDtypeStruct]:
    """Return a function that gives a shape its sharding on these devices."""
    mesh = Mesh(devices, (AXIS,))

    def placed(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        place: Sharding = SingleDeviceSharding(devices[0])
        if spec is not None:
            place = NamedSharding(mesh, spec(x))
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)

    return placed


def _parameters(params: optax.Params) -> int:
    return sum(math.prod(jnp.shape(p)) for p in jax.tree.leaves(params))
