"""A few steps of an optimiser, plain or by a kernel that is interpreted."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import adam_optax as ao
from adam_optax._engine.tree import Engine
from adam_optax.storage import resolve

S = ao.storage
FORMATS: dict[str, Any] = {
    "pair(2)": S.pair(),
    "pair(3)": S.pair(3),
    "pair(4)": S.pair(4),
    "pair(block=128)": S.pair(block=128),
    "pair(3, block=128)": S.pair(3, block=128),
    "float8": S.float8(),
    "int8": S.int8(),
    "int4": S.int4(),
    "by moment": {"mu": S.int8(128), "nu": S.float8()},
}
SHAPES = [(70, 1024), (3, 32, 1024)]
"""Rows that are no multiple of a tile's; three axes, whose rows follow on each other."""


def arrays(shape: tuple[int, ...], dtype: Any = jnp.float32) -> tuple[Any, Any]:
    """Parameters and three gradients, of sizes four decades apart."""
    rng = np.random.default_rng(0)
    sizes = 10.0 ** rng.uniform(-4, 0, shape)
    p, grads = rng.standard_normal(shape), rng.standard_normal((3, *shape)) * sizes
    return jnp.asarray(p, dtype), jnp.asarray(grads, dtype)


def engine(rule: Any, storage: Any, flavour: str | None) -> Engine:
    """A rule and its storage, interpreted where there is a flavour."""
    return Engine(rule, resolve(storage, rule.moments), interpret=flavour)


def run(one: Engine, p: Any, grads: Any, *, decay: Any = None, applies: bool = True) -> Any:
    """The last result and the state after all gradients."""

    @jax.jit
    def step(g: Any, state: Any, p: Any) -> Any:
        return one.update(g, state, p, decay, 0.1, None, applies)

    state, result = one.init(p), p
    for g in grads:
        result, state = step(g, state, result if applies else p)
    return result, state


def kernels_in(run: Any, *arguments: Any) -> int:
    """How many kernels a function would be compiled with."""
    return str(jax.make_jaxpr(run)(*arguments)).count("adam_optax_one_pass[")
