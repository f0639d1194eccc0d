"""What the tests of precision share: links, runs and bits."""

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
    """The `apply_updates` of optax, which mixes dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        return optax.apply_updates(params, updates)


def stepper(tx: Any) -> Any:
    """The step of training."""

    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = tx.update(grads, state, params)
        return apply(params, updates), state

    return step


def same_bits(one: Any, other: Any) -> None:
    """Of one structure, dtypes and bits: -0 is not 0, and NaN is itself."""
    chex.assert_trees_all_equal_structs(one, other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def float32(x: Any) -> Any:
    """As NumPy's float32."""
    return np.asarray(jnp.asarray(x).astype(jnp.float32))
