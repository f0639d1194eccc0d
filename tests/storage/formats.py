"""Encode and decode moments outside an optimiser."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import adam_optax as ao
from adam_optax._engine.leaf import decode, encode
from adam_optax.storage import LeafContext
from adam_optax.storage._plan import LeafStorage, plan_storage

MOMENTS = ao.rules.adam().moments


def leaf_storage(storage: Any) -> LeafStorage:
    """Return how a leaf keeps Adam's moments."""
    (one,) = plan_storage(storage, MOMENTS).of_leaves(jnp.zeros(()))
    return one


def stored_once(one: LeafStorage, mu: Array, nu: Array, count: Array) -> dict[str, Array]:
    """Return the moments after they were encoded and decoded at a count."""
    context = LeafContext((), mu.shape, count, 0)
    kept = encode(one, {"mu": mu, "nu": nu}, MOMENTS, context)
    return decode(one, kept, MOMENTS, context)


def again(storage: Any, mu: Any, nu: Any, count: Any = 5) -> dict[str, Array]:
    """Return the moments after they were kept once."""
    mu, nu = (jnp.asarray(m, jnp.float32) for m in (mu, nu))
    kept: dict[str, Array] = _again(leaf_storage(storage), mu, nu, jnp.int32(count))
    return kept


_again = jax.jit(stored_once, static_argnums=0)


def often(storage: Any, mu: float, nu: float, peak: float, draws: int) -> Any:
    """Return an element kept at so many steps, beside one that is the largest of its block."""
    one = leaf_storage(storage)

    def step(count: Array) -> Any:
        both = (jnp.array(m, jnp.float32) for m in ([mu, peak], [nu, peak * peak]))
        out = stored_once(one, next(both), next(both), count)
        return out["mu"][0], out["nu"][0]

    counts = jnp.arange(1, draws + 1, dtype=jnp.int32)
    return tuple(np.asarray(m, np.float64) for m in jax.jit(jax.vmap(step))(counts))
