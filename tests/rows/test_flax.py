"""Train models of nnx and linen with a table of rows, as with a dense one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import adam_optax as ao
from adam_optax import rows
from adam_optax.rows.nnx import Embed

ROWS, WIDTH, STEPS = 200, 8, 40


def rate(count: Any) -> Any:
    """Return a learning rate that falls to a tenth."""
    return 0.03 / (1 + 9 * jnp.asarray(count, jnp.float32) / STEPS)


def batches() -> Any:
    rng = np.random.default_rng(0)
    ids = (rng.zipf(1.3, (STEPS, 8, 6)) - 1) % ROWS
    return zip(
        jnp.asarray(ids), jnp.asarray(rng.standard_normal((STEPS, 8, 1)), "float32"), strict=True
    )


def loss(prediction: Any, target: Any) -> Any:
    return jnp.mean((prediction - target) ** 2)


class Network(nnx.Module):
    """Predict from a bag of embeddings; `layer` makes the embedding."""

    def __init__(self, layer: Any, rngs: nnx.Rngs) -> None:
        self.embed = layer(ROWS, WIDTH, rngs=rngs)
        self.head = nnx.Linear(WIDTH, 1, rngs=rngs)

    def __call__(self, ids: Any) -> Any:
        """Return the prediction."""
        return self.head(jnp.tanh(self.embed(ids)).mean(1))


def trained(layer: Any, embedded: bool) -> tuple[Any, Any]:
    """Return losses and table of a network whose gradients are clipped by their common norm."""
    model = Network(layer, nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, ao.adamw(rate), wrt=nnx.Param)
    clip = ao.clip_by_global_norm(0.1)

    @nnx.jit
    def step(model: Any, optimizer: Any, ids: Any, target: Any) -> Any:
        if embedded:
            model.embed.fetch(ids)
        value, grads = nnx.value_and_grad(lambda m: loss(m(ids), target))(model)
        grads, _ = clip.update(grads, clip.init(grads))
        if embedded:
            model.embed.commit(grads.pop("embed"))
        optimizer.update(model, grads)
        return value

    losses = [step(model, optimizer, *batch) for batch in batches()]
    return np.array(losses), model.embed(jnp.arange(ROWS))


@pytest.mark.heavy
def test_nnx_trains_with_three_changed_lines() -> None:
    layer = lambda n, width, rngs: Embed(n, width, rows.adamw(rate), rngs=rngs)  # noqa: E731
    (ours, table), (theirs, dense) = trained(layer, True), trained(nnx.Embed, False)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)  # roundings, fed back for 40 steps
    np.testing.assert_allclose(table, dense, atol=2e-5)
    assert np.abs(table - Network(nnx.Embed, nnx.Rngs(0)).embed(jnp.arange(ROWS))).max() > 0.1


class Perceptron(linen.Module):
    """Predict as `Network` does, in linen, from a table of any size."""

    rows: int

    @linen.compact
    def __call__(self, ids: Any) -> Any:
        """Return the prediction."""
        embedded = linen.Embed(self.rows, WIDTH, name="embed")(ids)
        return linen.Dense(1)(jnp.tanh(embedded).mean(1))


@pytest.mark.heavy
def test_linen_takes_the_rows_of_a_batch_as_its_table() -> None:
    ids, _ = next(iter(batches()))
    params = Perceptron(ROWS).init(jax.random.key(0), ids)["params"]
    dense = optax.adam(rate)
    state: Any = dense.init(params)
    whole = params

    rest = {n: p for n, p in params.items() if n != "embed"}
    tx = rows.adam(rate)
    table = tx.init(params["embed"]["embedding"])
    other = dense.init(rest)

    @jax.jit
    def step(table: Any, rest: Any, other: Any, ids: Any, target: Any) -> Any:
        batch = rows.unique(ids, ROWS)
        found = tx.lookup(table, batch.ids)

        def objective(embedding: Any, rest: Any) -> Any:
            params = {**rest, "embed": {"embedding": embedding}}
            return loss(Perceptron(len(batch.ids)).apply({"params": params}, batch.local), target)

        value, (g, grads) = jax.value_and_grad(objective, (0, 1))(found.params, rest)
        updates, other = dense.update(grads, other, rest)
        return tx.apply(table, found, g), optax.apply_updates(rest, updates), other, value

    @jax.jit
    def densely(params: Any, state: Any, ids: Any, target: Any) -> Any:
        objective = lambda p: loss(Perceptron(ROWS).apply({"params": p}, ids), target)  # noqa: E731
        value, grads = jax.value_and_grad(objective)(params)
        updates, state = dense.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    with jax.numpy_dtype_promotion("standard"):
        for batch in batches():
            table, rest, other, ours = step(table, rest, other, *batch)
            whole, state, theirs = densely(whole, state, *batch)
            np.testing.assert_allclose(ours, theirs, rtol=2e-5)  # optax rounds 1 - b2^t
    np.testing.assert_allclose(tx.materialize(table)[0], whole["embed"]["embedding"], atol=5e-5)


@pytest.mark.heavy
def test_micro_batches_of_one_step_share_their_rows() -> None:
    """Accumulate where all ids of a step are known: one lookup, gradients summed, one step."""
    tx = rows.adam(0.1)
    state = tx.init(jnp.ones((ROWS, WIDTH)))
    ids, target = next(iter(batches()))
    batch = rows.unique(ids, ROWS)
    found = tx.lookup(state, batch.ids)

    def grads(params: Any, local: Any, target: Any) -> Any:
        return jax.grad(lambda p: loss(jnp.sin(p[local]).sum((1, 2))[:, None], target))(params)

    def micro(total: Any, part: Any) -> Any:
        return total + grads(found.params, *part) / 4, None

    parts = batch.local.reshape(4, 2, -1), target.reshape(4, 2, 1)
    summed, _ = jax.lax.scan(micro, jnp.zeros_like(found.params), parts)
    whole = grads(found.params, batch.local, target)
    np.testing.assert_allclose(summed, whole, rtol=1e-5, atol=1e-6)  # another order of sums
    for g in (summed, whole):
        table, _ = tx.materialize(tx.apply(state, found, g))
        assert np.abs(table - 1).max() > 0.09
