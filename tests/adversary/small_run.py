"""Train small networks in all storage formats side by side, to be killed and damaged."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import adam_optax as ao
from tests.support.formats import FORMATS

NAMES = tuple(FORMATS)
"""Of all formats."""
_IN, _HIDDEN, _BATCH = 12, 256, 16
Run = Any
"""A dictionary of parameters and states by format, and a random key."""


def fresh(names: Sequence[str]) -> Run:
    """Return a run that has made no step: the same parameters for each format, one in 16 bits."""
    rng = np.random.default_rng(0)
    params = {
        "in": jnp.asarray(rng.normal(0, 0.3, (_IN, _HIDDEN)), jnp.float32),
        "bias": jnp.zeros(_HIDDEN, jnp.bfloat16),
        "out": jnp.asarray(rng.normal(0, 0.1, (_HIDDEN, 1)), jnp.float32),
    }
    return {
        "params": dict.fromkeys(names, params),
        "state": {name: _optimizer(name).init(params) for name in names},
        "key": jax.random.key(3),
    }


def steps_of(names: Sequence[str]) -> Callable[[Run, int], Run]:
    """Return a compiled step, of a run and the number of the batch, for all formats at once."""
    optimizers = {name: _optimizer(name) for name in names}

    @jax.jit
    def train(run: Run, number: Any) -> Run:
        key, noise = jax.random.split(run["key"])
        x = jax.random.normal(jax.random.fold_in(jax.random.key(1), number), (_BATCH, _IN))
        y = jnp.sin(jnp.sum(x, 1, keepdims=True))
        x += 0.1 * jax.random.normal(noise, x.shape)

        def loss(params: Any) -> jax.Array:
            hidden = jnp.tanh(x @ params["in"] + params["bias"].astype(x.dtype)[None])
            return jnp.mean((hidden @ params["out"] - y) ** 2)

        new: Run = {"params": {}, "state": {}, "key": key}
        for name, tx in optimizers.items():
            params = run["params"][name]
            params, state = ao.step(tx, jax.grad(loss)(params), run["state"][name], params)
            new["params"][name], new["state"][name] = params, state
        return new

    return train


def bits(run: Run) -> bytes:
    """Return all that a run is: paths, dtypes, shapes and the bytes of arrays."""
    said = []
    for path, leaf in jax.tree.leaves_with_path(run):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        said.append(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        said.append(np.asarray(leaf).tobytes())
    return b"\n".join(said)


def _optimizer(name: str) -> optax.GradientTransformationExtraArgs:
    """Return AdamW in a format, with clipping and a schedule, whose counts are saved, too."""
    rate = optax.cosine_decay_schedule(1e-2, 1000)
    return optax.chain(ao.clip_by_global_norm(1.0), ao.adamw(rate, storage=FORMATS[name]))
