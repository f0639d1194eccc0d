"""The gradient's norm is recorded as it comes in, and as it arrives at the optimiser."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.support import oracle_spikes

PARAMS = {"w": jnp.ones((3, 4)), "b": jnp.ones(2)}
SIZES = (1.0, 1.1, 0.9, 8.0)
CHAINS: dict[str, tuple[Any, tuple[float, ...]]] = {
    "clip": (
        lambda: optax.chain(ao.clip_by_global_norm(1.05), ao.adamw(0.1)),
        (1, 1.05, 0.9, 1.05),
    ),
    "spikes": (
        lambda: ao.skip_spikes(optax.chain(optax.clip_by_global_norm(1.05), ao.sgd(0.1)), 2),
        (1, 1.05, 0.9, 1.05),
    ),
    "zclip": (
        lambda: optax.chain(ao.zclip(warmup_steps=2), optax.adam(0.1)),
        tuple(oracle_spikes.zclip(SIZES, warmup=2)),
    ),
    "two": (
        lambda: optax.chain(optax.chain(optax.scale(0.5), optax.scale_by_adam()), optax.scale(9.0)),
        (0.5, 0.55, 0.45, 4.0),
    ),
    "none": (lambda: ao.adamw(0.1), SIZES),
}


@pytest.mark.matrix(keep=1, quick=["clip", "zclip"])
@pytest.mark.parametrize("name", CHAINS)
def test_norms_before_and_after_clipping(name: str) -> None:
    make, right = CHAINS[name]
    tx = ao.watch(make(), every=1)
    state = tx.init(PARAMS)
    step = jax.jit(tx.update)
    with jax.numpy_dtype_promotion("standard"):  # optax's
        for size in SIZES:
            grads = jax.tree.map(lambda p, size=size: p * size / np.sqrt(14.0), PARAMS)
            _, state = step(grads, state, PARAMS)
    found = ao.watch.norms(state, PARAMS)
    assert found["step"].tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(found["before"], SIZES, rtol=1e-6)  # roundings
    np.testing.assert_allclose(found["after"], right, rtol=1e-6)  # roundings
    layer = ao.watch.read(state)["w"]
    np.testing.assert_allclose(layer["clipped_rms"] * np.sqrt(14.0), found["after"], rtol=1e-6)
    rows = {quantity for _, _, quantity, _ in ao.watch.rows(state)}
    assert {"grad_rms", "clipped_rms"} <= rows
