"""Name the precision links, apply updates, and compare bits."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

import adam_optax as ao

LINKS: dict[str, Any] = {
    "stochastic_rounding": ao.precision.stochastic_rounding,
    "kahan": ao.precision.kahan,
    "split_master": ao.precision.split_master,
}


def apply(params: Any, updates: Any) -> Any:
    """Apply updates by optax, which mixes dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        return optax.apply_updates(params, updates)


def stepper(tx: Any) -> Any:
    """Return the step `(params, state, grads) -> (params, state)` of a transformation."""

    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = tx.update(grads, state, params)
        return apply(params, updates), state

    return step


def same_bits(one: Any, other: Any) -> None:
    """Assert equal structure, dtypes and bits: -0 differs from 0, and NaN equals itself."""
    chex.assert_trees_all_equal_structs(one, other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def float32(x: Any) -> Any:
    """Return an array as NumPy's float32."""
    return np.asarray(jnp.asarray(x).astype(jnp.float32))
