"""Encoding and decoding outside an optimiser."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import adam_optax as ao
from adam_optax.storage import Codec, Place, resolve

MOMENTS = ao.rules.adam().moments


def codec(storage: Any) -> Codec:
    """Of Adam's moments."""
    (one,) = resolve(storage, MOMENTS).codecs(jnp.zeros(()))
    return one


def again(storage: Any, mu: Any, nu: Any, count: Any = 5) -> dict[str, Array]:
    """The moments after they were kept once."""
    mu, nu = (jnp.asarray(m, jnp.float32) for m in (mu, nu))
    kept: dict[str, Array] = _again(codec(storage), mu, nu, jnp.int32(count))
    return kept


@jax.jit(static_argnums=0)
def _again(codec: Codec, mu: Array, nu: Array, count: Array) -> dict[str, Array]:
    place = Place(mu.shape, count)
    return codec.decode(codec.encode({"mu": mu, "nu": nu}, MOMENTS, place), MOMENTS, place)


def often(storage: Any, mu: float, nu: float, peak: float, draws: int) -> Any:
    """The same element kept at so many steps, beside one that is the largest of its block."""
    one, step = codec(storage), lambda c: again_of(one, c)

    def again_of(one: Codec, count: Array) -> Any:
        values = {"mu": jnp.array([mu, peak]), "nu": jnp.array([nu, peak * peak])}
        values = {n: v.astype(jnp.float32) for n, v in values.items()}
        place = Place((2,), count)
        out = one.decode(one.encode(values, MOMENTS, place), MOMENTS, place)
        return out["mu"][0], out["nu"][0]

    counts = jnp.arange(1, draws + 1, dtype=jnp.int32)
    return tuple(np.asarray(m, np.float64) for m in jax.jit(jax.vmap(step))(counts))
