"""Every storage format, by the call that makes it: one table for tests and benchmarks."""

from typing import Any

import jax
import jax.numpy as jnp

import adam_optax as ao

FORMATS: dict[str, Any] = {
    "dense()": ao.storage.dense(),
    "dense('bfloat16')": ao.storage.dense("bfloat16"),
    "factored()": {"nu": ao.storage.factored()},
    "stochastic()": ao.storage.stochastic(),
    "pair(4)": ao.storage.pair(4),
    "pair(3)": ao.storage.pair(3),
    "pair(block=128)": ao.storage.pair(block=128),
    "pair()": ao.storage.pair(),
    "pair(1, block=64)": ao.storage.pair(1, block=64),
    "float8()": ao.storage.float8(),
    "int8()": ao.storage.int8(),
    "int4()": ao.storage.int4(),
}
"""Of `ao.storage`; the factored one keeps nu alone, and mu is dense."""

ROUNDED = [name for name in FORMATS if name[:5] not in ("dense", "facto")]
"""Those that round by a dither: unbiased, and guarded against gradients that are not finite."""


def size(storage: Any, params: Any = None) -> float:
    """Bytes a parameter of Adam's state, of a matrix of 1024 by 1024 if of nothing else."""
    params = jax.ShapeDtypeStruct((1024, 1024), jnp.float32) if params is None else params
    state = jax.eval_shape(ao.scale_by_adam(storage=storage).init, params)
    return _bytes(state) / float(sum(leaf.size for leaf in jax.tree.leaves(params)))


def _bytes(tree: Any) -> float:
    return float(sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree)))
