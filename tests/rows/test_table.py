"""Test the life of a table: other rules, materialise, adopt, rebase, JAX's transformations."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

import adam_optax as ao
from adam_optax import rows
from tests.rows.worlds import World, by_optax, by_oracle, by_rows, kinked, world
from tests.support import oracle, oracle_other

SMALL = world(60)


def half(given: World, first: bool) -> World:
    """Return the first or the second half of the steps."""
    part = slice(None, 30) if first else slice(30, None)
    return given._replace(ids=given.ids[part], grads=given.grads[part])


def go_on(tx: rows.RowOptimizer, state: Any, given: World) -> Any:
    """Return the state after more steps, one by one."""
    for ids, grads in zip(given.ids, given.grads, strict=True):
        state = step(tx, state, ids, grads)
    return state


@functools.partial(jax.jit, static_argnums=0)
def step(tx: rows.RowOptimizer, state: Any, ids: Any, grads: Any) -> Any:
    distinct = rows.unique(ids, len(SMALL.table))
    found = tx.lookup(state, distinct.ids)
    summed = jnp.zeros_like(found.params).at[distinct.local].add(grads)
    return tx.apply(state, found, summed)


OTHERS = {
    "sgd": (rows.sgd(0.1), oracle_other.Momentum(0.0)),
    "momentum": (rows.sgd(0.1, 0.9), oracle_other.Momentum(0.9)),
    "nesterov": (rows.sgd(kinked, 0.9, nesterov=True), oracle_other.Momentum(0.9, True)),
    "rmsprop": (rows.rmsprop(kinked), oracle_other.RMSProp()),
    "adagrad": (rows.adagrad(0.1), oracle_other.AdaGrad()),
}


SOME = ("momentum",)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in SOME else pytest.mark.heavy) for n in OTHERS]
)
def test_other_rules_are_exact(name: str) -> None:
    tx, rule = OTHERS[name]
    found, _ = tx.materialize(by_rows(tx, SMALL))
    rate: Any = kinked if callable(tx.learning_rate) else 0.1
    right = by_oracle(rule, SMALL, rate)
    scale = np.abs(right).max(0)  # gradients span nine decades, and so do the rows of sgd
    assert np.all(np.abs(found - right) <= 1e-6 * np.maximum(scale, 1))  # ten roundings


@pytest.mark.quick
def test_lazy_rows_stand_still_as_in_sparse_adam() -> None:
    """Compare with `torch.optim.SparseAdam`: only touched rows step, by the step's bias factors."""
    table = np.asarray(SMALL.table, np.float64)
    mu, nu = np.zeros(table.shape), np.zeros(table.shape)
    for t, g in enumerate(SMALL.dense, 1):
        at = np.unique(SMALL.ids[t - 1])
        mu[at] = 0.9 * mu[at] + 0.1 * g[at]
        nu[at] = 0.999 * nu[at] + 0.001 * g[at] ** 2
        hat, var = mu[at] / (1 - 0.9**t), nu[at] / (1 - 0.999**t)
        table[at] -= 0.01 * hat / (np.sqrt(var) + 1e-8)
    tx = rows.adam(0.01, exact=False)
    state = by_rows(tx, SMALL)
    found, dense = tx.materialize(state)
    assert state.last is None
    np.testing.assert_allclose(found, table, atol=3e-7)  # a few roundings
    np.testing.assert_allclose(dense.mu, mu, rtol=1e-5, atol=1e-12)
    exact, _ = rows.adam(0.01).materialize(by_rows(rows.adam(0.01), SMALL))
    assert np.abs(exact - table).max() > 0.01  # another algorithm


@pytest.mark.heavy
def test_lazy_decay_acts_where_it_is_touched() -> None:
    tx = rows.adamw(0.1, weight_decay=0.5, exact=False)
    state = step(tx, tx.init(jnp.ones((60, 2))), jnp.array([3]), jnp.zeros((1, 2)))
    found, _ = tx.materialize(state)
    np.testing.assert_allclose(found[2:5, 0], [1, 0.95, 1], rtol=1e-6)


@pytest.mark.heavy
def test_a_run_is_carried_to_optax_and_back() -> None:
    """Take thirty steps here and thirty there, either way round: they end where sixty dense do."""
    tx, dense = rows.adam(kinked), optax.adam(kinked)
    right = by_oracle(oracle.Adam(), SMALL, kinked)
    table, state = by_optax(dense, half(SMALL, first=True))
    found, _ = tx.materialize(go_on(tx, tx.adopt(table, state), half(SMALL, first=False)))
    np.testing.assert_allclose(found, right, atol=1e-5)  # optax's rounding of 1 - b2^t

    table, link = tx.materialize(by_rows(tx, half(SMALL, first=True)))
    assert isinstance(link, optax.ScaleByAdamState)
    assert link.count == 30
    update = jax.jit(ao.adam(kinked).update)
    state = (link, optax.ScaleByScheduleState(link.count))
    for g in half(SMALL, first=False).dense:
        updates, state = update(jnp.float32(g), state, table)
        table = optax.apply_updates(table, updates)
    np.testing.assert_allclose(table, right, atol=1e-6)  # roundings of 30 dense steps


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["adamw", "amsgrad"])
def test_rebase_is_a_change_of_the_rate_by_hand(name: str) -> None:
    rule: Any = {"adamw": oracle.Adam, "amsgrad": oracle.AmsGrad}[name]()
    decay = {"adamw": {"weight_decay": 0.1}}.get(name, {})
    before, after = (getattr(rows, name)(rate, **decay) for rate in (0.01, 0.002))
    state = by_rows(before, half(SMALL, first=True))
    wrong = go_on(after, state, half(SMALL, first=False))
    state = go_on(after, before.rebase(state, onto=after), half(SMALL, first=False))
    right = by_oracle(rule, SMALL, lambda c: jnp.where(c < 30, 0.01, 0.002), *decay.values())
    np.testing.assert_allclose(after.materialize(state)[0], right, atol=3e-7)  # a few roundings
    assert np.abs(after.materialize(wrong)[0] - right).max() > 1e-3  # without rebase


@pytest.mark.quick
def test_rows_that_are_never_touched_decay() -> None:
    """Shrink rows that are never touched by a factor of e^-5 in 100 steps."""
    given = world(100)
    tx = rows.adamw(0.01, weight_decay=5.0)
    state = by_rows(tx, given)
    right = by_oracle(oracle.Adam(), given, 0.01, 5.0)
    found, _ = tx.materialize(state)
    np.testing.assert_allclose(found, right, atol=2e-7)  # a few roundings
    assert np.abs(right[-1]).max() < 1e-2 * np.abs(given.table[-1]).max()
    np.testing.assert_allclose(found[-1], right[-1], rtol=1e-6)  # of P and of -log P


@pytest.mark.quick
def test_transformations_change_nothing_and_donation_is_in_place() -> None:
    tx = rows.adamw(kinked, weight_decay=0.1)
    ids, grads = jnp.asarray(SMALL.ids[:5]), jnp.asarray(SMALL.grads[:5])
    start = lambda: tx.init(jnp.array(SMALL.table))  # noqa: E731
    body = lambda s, x: (step(tx, s, *x), None)  # noqa: E731
    scanned = jax.jit(lambda s: jax.lax.scan(body, s, (ids, grads))[0])(start())

    def maybe(state: Any, i: Any, g: Any) -> Any:
        return jax.lax.cond(jnp.all(jnp.isfinite(g)), lambda: step(tx, state, i, g), lambda: state)

    once: Any = jax.jit(maybe, donate_argnums=0)
    state = start()
    for i, g in zip(ids, grads, strict=True):
        given = jax.tree.leaves(state)
        state = once(state, i, g)
        assert all(x.is_deleted() for x in given)
    assert once._cache_size() == 1  # a second step compiles nothing
    structure: Any = jax.tree.structure
    assert structure(state) == structure(start())
    for one, other in zip(jax.tree.leaves(scanned), jax.tree.leaves(state), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)  # XLA fuses in other places


@pytest.mark.heavy
def test_scratch_does_not_grow_with_the_table() -> None:
    tx = rows.adamw(1e-3)

    def scratch(num_rows: int) -> int:
        state = jax.eval_shape(tx.init, jax.ShapeDtypeStruct((num_rows, 64), jnp.float32))

        def run(state: Any, ids: Any) -> Any:
            batch = rows.unique(ids, num_rows)
            found = tx.lookup(state, batch.ids)
            return tx.apply(state, found, found.params[batch.local])

        ids = jax.ShapeDtypeStruct((512,), jnp.int32)
        made = jax.jit(run, donate_argnums=0).lower(state, ids).compile()
        done: Any = made.memory_analysis()
        assert done.output_size_in_bytes - done.alias_size_in_bytes < 1024
        return int(done.temp_size_in_bytes)

    assert scratch(1_000_000) <= scratch(10_000) + 4096 < 6_000_000


@pytest.mark.heavy
def test_a_checkpoint_goes_on(tmp_path: Path) -> None:
    for tx in (rows.adamw(kinked), rows.adam(kinked, exact=False)):
        state = by_rows(tx, half(SMALL, first=True))
        with ocp.StandardCheckpointer() as checkpointer:
            path = tmp_path / str(tx.exact)
            checkpointer.save(path, state)
            checkpointer.wait_until_finished()
            restored = checkpointer.restore(path, jax.eval_shape(lambda s=state: s))
        jax.tree.map(np.testing.assert_array_equal, restored, state)


@pytest.mark.heavy
def test_batches_that_come_apart_are_added_up() -> None:
    """Accumulate gradients: two batches give what their union gives."""
    tx = rows.adam(0.1)
    state = go_on(tx, tx.init(jnp.array(SMALL.table)), half(SMALL, first=True))
    ids, grads = jnp.asarray(SMALL.ids[30:32]), jnp.asarray(SMALL.grads[30:32])
    each = [rows.unique(i, 60) for i in ids]
    parts = [
        jnp.zeros((len(u.ids), 6)).at[u.local].add(g) for u, g in zip(each, grads, strict=True)
    ]
    merged, total = rows.add(jnp.stack([u.ids for u in each]), jnp.stack(parts), 60)
    apart = tx.apply(state, tx.lookup(state, merged), total)
    union = step(tx, state, ids.ravel(), grads.reshape(-1, 6))
    for one, other in zip(jax.tree.leaves(apart), jax.tree.leaves(union), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=1e-7)  # sums in another order


@pytest.mark.heavy
def test_biases_and_matrices_can_be_rows() -> None:
    for shape in ((60,), (60, 2, 3)):
        tx = rows.adam(0.1)
        state = tx.init(jnp.ones(shape))
        found = tx.lookup(state, rows.unique([4, 9], 60).ids)
        table, _ = tx.materialize(tx.apply(state, found, jnp.ones_like(found.params)))
        np.testing.assert_allclose(table[jnp.array([4, 9])], np.full((2, *shape[1:]), 0.9), 1e-6)
        assert tx.lookup(state, jnp.zeros((2, 5), int)).params.shape == (2, 5, *shape[1:])
