"""Run steps as loops, without contraction too, and op by op, which is the truth of their bits."""

import contextlib
import dataclasses
import functools as ft
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

import adam_optax as ao
from adam_optax._engine import tree
from adam_optax._engine.kernels.cpu import looped_step
from adam_optax._engine.kernels.cpu.loop import make_loop
from adam_optax._engine.leaf import compile_leaf_step, leaf_step
from adam_optax._engine.stacked import over_layers
from tests.engine.kernels.running import engine

S = ao.storage
FORMATS: dict[str, Any] = {
    "dense()": None,
    "dense('bfloat16')": S.dense("bfloat16"),
    "dense('float16')": S.dense("float16"),
    "stochastic()": S.stochastic(),
    "pair()": S.pair(),
    "pair(3)": S.pair(3),
    "pair(4)": S.pair(4),
    "pair(block=128)": S.pair(block=128),
    "pair(1, block=64)": S.pair(1, block=64),
    "int8()": S.int8(),
    "int8(100)": S.int8(100),
    "float8()": S.float8(),
    "int4()": S.int4(),
}
"""Formats by the call that makes them; of `int8(100)` the blocks are no multiple of a vector."""
INTEGERS = {1: np.uint8, 2: np.uint16, 4: np.uint32}


def loops_in(run: Any, *arguments: Any) -> int:
    """Count the loops in the program that XLA gets of a function."""
    return jax.jit(run).lower(*arguments).as_text().count("@adam_optax_loop_")


@contextlib.contextmanager
def uncontracted() -> Iterator[None]:
    """Make loops that round each product before it is added, as XLA does op by op."""
    with pytest.MonkeyPatch.context() as patch:
        exact = ft.partial(make_loop, contract=False)
        patch.setattr(looped_step, "make_loop", exact)
        compile_leaf_step.cache_clear()
        yield
    compile_leaf_step.cache_clear()


@contextlib.contextmanager
def op_by_op() -> Iterator[None]:
    """Take leaves' steps op by op; what all leaves share is still compiled."""

    def steps(
        recipe: Any, storage: Any, coupling: Any, applies: bool, layers: int = 0, *_: Any, **__: Any
    ) -> Any:
        step: Any = ft.partial(leaf_step, recipe, storage, coupling, applies)
        step = over_layers(step, layers, 3) if layers else step

        def run(*arguments: Any) -> Any:
            with jax.disable_jit():
                return step(*arguments)

        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree, "compile_leaf_step", steps)
        yield


def wild(seed: int, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Return gradients over sixteen decades, with 0, -0, subnormal, huge and not finite ones.

    In the second half all are below 1e19 and finite, for which a loop has a shorter program.
    """
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    g = rng.standard_normal(size) * 10.0 ** rng.uniform(-12, 4, size)
    special = [0.0, -0.0, 1e-40, -1e-42, 1e30, -3e38, np.inf, -np.inf, np.nan]
    at = rng.random(size) < 0.15
    g[at] = rng.choice(special, at.sum())
    at &= np.arange(size) > size // 2
    g[at] = rng.choice(special[:4], at.sum())
    with np.errstate(over="ignore"):
        return jnp.asarray(g.reshape(shape).astype(np.float32)).astype(dtype)


def parameters(shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Return parameters of which some are 0, -0 or subnormal."""
    p = np.random.default_rng(99).standard_normal(shape).astype(np.float32)
    p.flat[:3] = [0.0, -0.0, 1e-41][: p.size]
    return jnp.asarray(p).astype(dtype)


def rated(rule: Any, storage: Any, decay: Any = 0.01, rate: Any = 1e-3) -> Any:
    """Return an engine with a learning rate and a weight decay."""
    one = engine(rule, storage)
    own = dataclasses.replace(one.grouping, learning_rate=rate, weight_decay=decay)
    return dataclasses.replace(one, grouping=own)


def run(one: Any, p: Array, grads: Sequence[Array], applies: bool = True) -> list[Array]:
    """Return the results of all steps and the last state, as a list of arrays."""
    state, found, now = one.init(p), [], p
    for g in grads:
        result, state = one.update(g, state, now, applies=applies)
        found.append(result)
        now = result if applies else now
    return [*found, *jax.tree.leaves(state)]


def apart(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Count the elements whose bits differ; NaN is NaN."""
    return sum(_apart(np.asarray(a), np.asarray(b)) for a, b in zip(one, other, strict=True))


def _apart(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> int:
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    if a.dtype == bool:
        return int(np.sum(a != b))
    bits = INTEGERS[a.dtype.itemsize]
    differ = a.view(bits) != b.view(bits)
    if jnp.issubdtype(a.dtype, jnp.floating):
        differ &= ~(np.isnan(a.astype(np.float32)) & np.isnan(b.astype(np.float32)))
    return int(np.sum(differ))
