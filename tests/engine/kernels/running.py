"""Run a few steps of an optimiser, plain or by a kernel that is interpreted."""

import contextlib
import dataclasses
import functools as ft
import importlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adam_optax as ao
from adam_optax._engine.groups import Grouping
from adam_optax._engine.kernels import backends, fused_step
from adam_optax._engine.kernels.kernel import Kernel
from adam_optax._engine.kernels.partition import partitioned
from adam_optax._engine.leaf import compile_leaf_step
from adam_optax._engine.tree import Engine
from adam_optax.storage._plan import plan_storage

S = ao.storage
FORMATS: dict[str, Any] = {
    "stochastic": S.stochastic(),
    "pair(2)": S.pair(),
    "pair(3)": S.pair(3),
    "pair(4)": S.pair(4),
    "pair(block=128)": S.pair(block=128),
    "pair(3, block=128)": S.pair(3, block=128),
    "float8": S.float8(),
    "int8": S.int8(),
    "int4": S.int4(),
    "pair(1, block=128)": S.pair(1, block=128),
    "by moment": {"mu": S.int8(128), "nu": S.float8()},
}
FLAVOURS = {"tpu": "mosaic", "cuda": "triton", "hopper": "mosaic_gpu"}
"""The modules that make kernels."""
SHAPES = [(70, 1024), (3, 32, 1024)]
"""Rows that are no multiple of a tile's; three axes, whose rows follow on each other."""


def arrays(shape: tuple[int, ...], dtype: Any = jnp.float32) -> tuple[Any, Any]:
    """Return parameters and three gradients, of sizes four decades apart."""
    rng = np.random.default_rng(0)
    sizes = 10.0 ** rng.uniform(-4, 0, shape)
    p, grads = rng.standard_normal(shape), rng.standard_normal((3, *shape)) * sizes
    return jnp.asarray(p, dtype), jnp.asarray(grads, dtype)


def engine(rule: Any, storage: Any) -> Engine:
    """Return a rule and its storage."""
    return Engine(Grouping(rule, plan_storage(storage, rule.moments)))


@contextlib.contextmanager
def interpreted(flavour: str | None) -> Iterator[None]:
    """Run kernels of a flavour interpreted, on the platform that is there; None: run none.

    Compiled steps are forgotten before and after, since they do not know of this.

    Few frames of the stack are kept, because jaxlib 0.10.2 adds the frames of a call to those of
    every operation inlined from that call. An interpreted kernel nests calls deeply: under pytest's
    fifty frames one kernel's compilation did not end within 15 minutes.
    """

    def bind(kernel: Kernel, *operands: Any, where: Any = None) -> Any:
        assert flavour is not None
        made = importlib.import_module(f"{backends.__package__}.{FLAVOURS[flavour]}").BACKEND
        local = ft.partial(kernel.on, made, interpret=True)
        if flavour == "hopper":  # its interpreter has effects, which are not for parts
            return local(*operands)
        return partitioned(kernel.layout, local, local, where)(*operands)

    frames = jax.config.values["jax_traceback_in_locations_limit"]
    with pytest.MonkeyPatch.context() as patch:
        if flavour is not None:
            patch.setattr(fused_step, "bind", bind)
            jax.config.update("jax_traceback_in_locations_limit", min(frames, 10))
        compile_leaf_step.cache_clear()
        try:
            with ao.cpu_loops("never"):
                yield
        finally:
            jax.config.update("jax_traceback_in_locations_limit", frames)
    compile_leaf_step.cache_clear()


def run(
    one: Engine,
    p: Any,
    grads: Any,
    flavour: str | None = None,
    *,
    decay: Any = None,
    applies: bool = True,
    shardings: Any = None,
) -> Any:
    """Return the last result and the state after all gradients."""
    rated = dataclasses.replace(one.grouping, learning_rate=0.1, weight_decay=decay)
    one = dataclasses.replace(one, grouping=rated)

    @jax.jit
    def step(g: Any, state: Any, p: Any) -> Any:
        return one.update(g, state, p, applies=applies, shardings=shardings)

    state, result = one.init(p), p
    with interpreted(flavour):
        for g in grads:
            result, state = step(g, state, result if applies else p)
    return result, state


def kernels_in(run: Any, *arguments: Any) -> int:
    """Count the kernels with which a function would be compiled."""
    with ao.cpu_loops("never"):  # a loop holds the kernel where nobody sees it
        return str(jax.make_jaxpr(run)(*arguments)).count("adam_optax_fused_step[")
