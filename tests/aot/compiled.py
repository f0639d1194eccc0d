"""Compile updates of two models, or skip the test if the target has no compiler here."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from adam_optax.aot import Compiled, compile_update, targets

SHAPES = {"a": (8192, 2048), "b": (8192, 4096), "c": (4096,)}
"""Leaves too big for a TPU's own memory, which hides passes over a smaller model."""
SMALL = {f"leaf{i}": (256, 128 * (i + 1)) for i in range(6)}


def shapes(of: Any = SMALL, dtype: Any = jnp.float32) -> Any:
    """Build a tree of shapes."""
    return {n: jax.ShapeDtypeStruct(shape, dtype) for n, shape in of.items()}


def spread(leaf: Any) -> PartitionSpec:
    """Shard the first axis over eight devices; replicate scalars."""
    return PartitionSpec("x") if leaf.shape and leaf.shape[0] % 8 == 0 else PartitionSpec()


def compiled(target: str, tx: Any, dtype: Any = jnp.float32, **how: Any) -> Compiled:
    """Compile update and apply of large parameters; parameters and state are donated."""
    return measured(target, tx, shapes(SHAPES, dtype), **how)


def measured(target: str, tx: Any, params: Any = None, **how: Any) -> Compiled:
    """Compile update and apply of the given parameters, or of small ones."""
    if absent := targets.missing(target):
        pytest.skip(f"{targets.INSTALL} ({', '.join(absent)})")
    return compile_update(target, tx, shapes() if params is None else params, **how)


def size(of: Any) -> int:
    """Return the number of parameters."""
    return sum(map(math.prod, of.values()))
