"""Encode and decode moments outside an optimiser."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import adam_optax as ao
from adam_optax._engine.leaf import decode, encode, storage_frames, storage_scalars
from adam_optax.storage import LeafContext
from adam_optax.storage._plan import LeafStorage, plan_storage

MOMENTS = ao.rules.adam().moments


def leaf_storage(storage: Any) -> LeafStorage:
    """Return the `LeafStorage` of Adam's moments for a value of the argument `storage`."""
    (one,) = plan_storage(storage, MOMENTS).of_leaves(jnp.zeros(()))
    return one


def encode_decode(one: LeafStorage, mu: Array, nu: Array, count: Array) -> dict[str, Array]:
    """Encode the moments at a count, decode them again, and return the result."""
    context = LeafContext((), mu.shape, count, 0)
    (scalars,) = storage_scalars(one, storage_frames(one, MOMENTS, count, {}))
    kept = encode(one, {"mu": mu, "nu": nu}, MOMENTS, context, scalars)
    return decode(one, kept, MOMENTS, context, scalars)


def roundtrip(storage: Any, mu: Any, nu: Any, count: Any = 5) -> dict[str, Array]:
    """Encode and decode arrays of moments once, under jit."""
    mu, nu = (jnp.asarray(m, jnp.float32) for m in (mu, nu))
    kept: dict[str, Array] = _roundtrip(leaf_storage(storage), mu, nu, jnp.int32(count))
    return kept


_roundtrip = jax.jit(encode_decode, static_argnums=0)


def roundtrip_often(storage: Any, mu: float, nu: float, peak: float, draws: int) -> Any:
    """Encode and decode an element at `draws` counts, beside the largest element of its block."""
    one = leaf_storage(storage)

    def step(count: Array) -> Any:
        mus, nus = (jnp.array(m, jnp.float32) for m in ([mu, peak], [nu, peak * peak]))
        out = encode_decode(one, mus, nus, count)
        return out["mu"][0], out["nu"][0]

    counts = jnp.arange(1, draws + 1, dtype=jnp.int32)
    return tuple(np.asarray(m, np.float64) for m in jax.jit(jax.vmap(step))(counts))
