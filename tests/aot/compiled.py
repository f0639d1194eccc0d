"""A training step's last part, update and apply, compiled for an accelerator."""

import math
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from tests.aot import hlo, targets

SHAPES = {"a": (8192, 2048), "b": (8192, 4096), "c": (4096,)}  # too big for a TPU's own memory


class Compiled(NamedTuple):
    """What was found.

    Attributes:
        moved: bytes a parameter to and from main memory.
        fusions: kernels.
        copied: bytes of output that are not in the place of an input.
        scratch: bytes of temporary memory.
    """

    moved: float
    fusions: int
    copied: int
    scratch: int


def compiled(target: str, tx: Any, dtype: Any = jnp.float32) -> Compiled:
    """Update and apply of large parameters, with parameters and state donated."""
    sharding = jax.sharding.SingleDeviceSharding(targets.device(target))
    params = {n: jax.ShapeDtypeStruct(shape, dtype) for n, shape in SHAPES.items()}
    there = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)  # noqa: E731
    params, state = jax.tree.map(there, (params, jax.eval_shape(tx.init, params)))

    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    traced = jax.jit(step, donate_argnums=(0, 1)).trace(params, state, params)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of buffers that were not usable
        done = traced.lower(lowering_platforms=(targets.platform(target),)).compile()
    return _facts(done)


def _facts(done: Any) -> Compiled:
    text, memory = done.as_text(), done.memory_analysis()
    copied = memory.output_size_in_bytes - memory.alias_size_in_bytes
    moved = hlo.moved(text) / sum(map(math.prod, SHAPES.values()))
    return Compiled(moved, hlo.fusions(text), copied, memory.temp_size_in_bytes)
