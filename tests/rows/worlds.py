"""Run sequences of sparse gradients by exact rows, by dense optax and by the float64 oracle."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from adam_optax import rows
from tests.support import oracle


class World(NamedTuple):
    """Hold what every run is given.

    Attributes:
        table: the table before the first step, `(V, D)`.
        ids: the rows of each step, with duplicates, `(steps, B)`.
        grads: a gradient for each id, `(steps, B, D)`.
    """

    table: Any
    ids: Any
    grads: Any

    @property
    def dense(self) -> Any:
        """Return the gradients of the whole table, `(steps, V, D)`."""
        whole = np.zeros((len(self.ids), *self.table.shape))
        for step, ids, grads in zip(whole, self.ids, self.grads, strict=True):
            np.add.at(step, ids, grads)
        return whole


@functools.cache
def world(steps: int = 300, num_rows: int = 60, width: int = 6, batch: int = 8) -> World:
    """Draw Zipf's ids and gradients over nine decades, exact in float32; two rows have no id."""
    rng = np.random.default_rng(7)
    ids = (rng.zipf(1.3, (steps, batch)) - 1) % (num_rows - 2)
    grads = rng.standard_normal((steps, batch, width)) * 10.0 ** np.linspace(-6, 3, width)
    table = 0.1 * rng.standard_normal((num_rows, width))
    return World(*(np.float32(x) if x.dtype == float else np.int32(x) for x in (table, ids, grads)))


def by_rows(tx: rows.RowOptimizer, given: World, dtype: Any = jnp.float32) -> Any:
    """Return the state of exact rows after all steps."""

    def step(state: Any, batch: Any) -> Any:
        ids, grads = batch
        distinct = rows.unique(ids, len(given.table))
        found = tx.lookup(state, distinct.ids)
        _, pull = jax.vjp(lambda params: params[distinct.local], found.params)
        return tx.apply(state, found, *pull(grads)), None

    run = jax.jit(lambda state, batches: jax.lax.scan(step, state, batches)[0])
    return run(tx.init(jnp.asarray(given.table, dtype)), (given.ids, given.grads.astype(dtype)))


def by_optax(tx: Any, given: World) -> Any:
    """Return the table and the state after all steps of a dense optimiser."""

    def step(carry: Any, batch: Any) -> Any:
        params, state = carry
        ids, grads = batch
        updates, state = tx.update(jnp.zeros_like(params).at[ids].add(grads), state, params)
        return (optax.apply_updates(params, updates), state), None

    table = jnp.asarray(given.table)
    with jax.numpy_dtype_promotion("standard"):
        run = jax.jit(lambda carry, batches: jax.lax.scan(step, carry, batches)[0])
        return run((table, tx.init(table)), (given.ids, given.grads))


def by_oracle(rule: Any, given: World, rate: Any, decay: float = 0.0) -> Any:
    """Return the table after all steps in float64."""
    if callable(rate):
        rates = np.asarray(jax.vmap(rate)(jnp.arange(len(given.ids))), np.float64)
        rate = rates.__getitem__
    return oracle.optimise(rule, given.dense, given.table, rate, decay)["params"][-1]


def kinked(count: Any) -> Any:
    """Return a rate that warms up, falls along a cosine and drops to a tenth at step 250."""
    x = jnp.asarray(count, jnp.float32)
    rate = 1e-2 * jnp.minimum(x / 40, 0.5 * (1 + jnp.cos(x / 500)))
    return jnp.where(x < 250, rate, rate / 10)


def rms(found: Any, right: Any) -> float:
    """Return the root mean square of an error."""
    return float(np.sqrt(np.mean((np.float64(found) - right) ** 2)))
