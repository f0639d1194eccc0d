"""Check that what cannot be exact is refused, with what to write instead."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from adam_optax import conventions, rows
from adam_optax.rows.nnx import Embed

TABLE = jnp.ones((20, 3))


def refused(kind: type[Exception], text: str) -> Any:
    return pytest.raises(kind, match=text)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("name", "options", "kind", "text"),
    [
        ("adam", {"b1": 0.99, "b2": 0.95}, ValueError, r"b1=0.99 must be well below sqrt\(b2\)"),
        ("nadamw", {"b1": 0.95, "b2": 0.9}, ValueError, r"would not come to rest; lower b1"),
        ("adam", {"b1": 0.9486, "b2": 0.9}, ValueError, r"well below"),  # ages without end
        ("adam", {"b1": 0.99, "b2": 0.9802}, ValueError, r"well below"),
        ("adam", {"b1": 0.3, "b2": 0.091}, ValueError, r"well below"),  # nu vanishes before
        ("adamw", {"b1": lambda c: 0.9}, TypeError, r"b1 must be a Python number: over a gap"),
        ("adam", {"b2": jnp.array(0.99)}, TypeError, r"b2 must be .* an array has no closed form"),
        ("rmsprop", {"decay": jnp.array(0.9)}, TypeError, r"decay must be a Python number"),
        ("adam", {"b1": 1.0}, ValueError, r"b1 must be in \[0, 1\)"),
        ("adam", {"weight_decay": 0.1}, TypeError, r"gradient at every step; take rows.adamw"),
        ("nadam", {"weight_decay": 0.1}, TypeError, r"take rows.nadamw, whose decay is decoupled"),
        ("adamw", {"l2": 0.1}, TypeError, r"rows.adamw takes no l2"),
        ("adamw", {"mask": True}, TypeError, r"no path; keep tables with and without it apart"),
        ("adam", {"storage": ao.storage.pair()}, TypeError, r"kept in the table's dtype"),
        ("adam", {"eps_hat": True}, TypeError, r"no closed form over a gap"),
        ("rmsprop", {"centered": True}, TypeError, r"variance about a fading mean"),
        ("adam", {"beta": 1}, TypeError, r"takes no beta: it takes learning_rate, b1, b2"),
        ("adamw", {"weight_decay": 2000.0}, ValueError, r"must be at most 1, not 2 at count 0"),
        ("adamw", {"weight_decay": lambda c: 2 * c}, ValueError, r"not 1.002 at count 501"),
    ],
)
def test_numbers(name: str, options: Any, kind: type[Exception], text: str) -> None:
    with refused(kind, text):
        getattr(rows, name)(1e-3, **options)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("rate", "kind", "text"),
    [
        (jnp.array(1e-3), TypeError, r"not an array: .*tx.rebase\(state, onto=rows.adam"),
        (lambda count: 1e-3 if count < 5 else 1e-4, TypeError, r"that JAX can trace .*rebase"),
        (lambda count: np.linspace(1, 0, 9)[count], TypeError, r"jnp.asarray\(values\)\[count\]\)"),
        (lambda count: jnp.ones(3), ValueError, r"must give a scalar, not .*\(3,\)"),
        (lambda count: 1j, TypeError, r"must give a real number, not .*complex64"),
        (lambda count: None, TypeError, r"must give a real number, not None"),
        (-1.0, ValueError, r"learning_rate must be finite and not negative"),
    ],
)
def test_learning_rates(rate: Any, kind: type[Exception], text: str) -> None:
    with refused(kind, text):
        rows.adam(rate)


@pytest.mark.quick
def test_an_optimiser_shows_the_call_that_made_it() -> None:
    def warm(count: Any) -> Any:
        return 1e-3 * jnp.minimum(count / 10, 1.0)

    assert repr(rows.adam(1e-3)) == "rows.adam(learning_rate=0.001)"
    shown = "rows.adamw(learning_rate=warm, weight_decay=0.1, exact=False)"
    assert repr(rows.adamw(warm, weight_decay=0.1, exact=False)) == shown


@pytest.mark.quick
def test_tables_and_states() -> None:
    tx = rows.adam(1e-3)
    with refused(TypeError, r"must be float32 or float64, not bfloat16: .*keep a float32 table"):
        tx.init(TABLE.astype(jnp.bfloat16))
    with refused(ValueError, r"rows along its first axis, not shape \(\)"):
        tx.init(jnp.ones(()))
    with refused(TypeError, r"the state is what tx.init\(table\) makes, not Array"):
        tx.lookup(TABLE, jnp.array([1]))  # type: ignore[arg-type]
    with refused(TypeError, r"ids must be integers, not float32"):
        tx.lookup(tx.init(TABLE), jnp.ones(2))
    with refused(TypeError, r"must hold one state with mu, nu.*got \[\['sum_of_squares'\]\]"):
        tx.adopt(TABLE, ao.adagrad(1e-3).init(TABLE))
    with refused(ValueError, r"mu must be float32\[20, 3\] like the table, not a dict; .*_replace"):
        tx.adopt(TABLE, optax.adam(1e-3).init({"a": TABLE}))
    with refused(ValueError, r"mu must be float32\[20, 3\] like the table, not float32\[19, 3\]"):
        tx.adopt(TABLE, optax.adam(1e-3).init(TABLE[1:]))


@pytest.mark.quick
def test_gradients_and_ids() -> None:
    tx = rows.adam(1e-3)
    state = tx.init(TABLE)
    found = tx.lookup(state, rows.unique([1, 2], 20).ids)
    with refused(ValueError, r"the gradient is float32\[20, 3\], its rows float32\[2, 3\].* tied"):
        tx.apply(state, found, jnp.ones((20, 3)))
    with refused(ValueError, r"not distinct and rising; look up rows.unique"):
        tx.apply(state, tx.lookup(state, jnp.array([2, 2])), jnp.ones((2, 3)))
    with refused(ValueError, r"not distinct and rising"):
        tx.apply(state, tx.lookup(state, jnp.zeros((2, 2), int)), jnp.ones((2, 2, 3)))
    wrong = jax.jit(lambda s, i: tx.apply(s, tx.lookup(s, i), jnp.ones((2, 3))))
    table, _ = tx.materialize(wrong(state, jnp.array([2, 2])))
    np.testing.assert_array_equal(np.isnan(table).all(1), np.arange(20) == 2)


@pytest.mark.quick
def test_ids_that_do_not_fit() -> None:
    with refused(ValueError, r"3 distinct ids do not fit size=2; leave size out"):
        rows.unique([4, 5, 6, 4], 20, size=2)
    with refused(ValueError, r"id 20 is not in a table of 20 rows"):
        rows.unique([4, 20], 20)
    with refused(ValueError, r"id -1 is not in a table"):
        rows.unique([[4, -1]], 20)
    with refused(TypeError, r"ids must be integers, not float32"):
        rows.unique(jnp.ones(3), 20)
    with refused(ValueError, r"num_rows=20 and size=0 must be positive"):
        rows.unique([1], 20, size=0)
    with refused(ValueError, r"2 distinct ids do not fit size=1"):
        rows.add(jnp.array([[4], [5]]), jnp.ones((2, 1, 3)), 20, size=1)


@pytest.mark.quick
def test_inside_jit_ids_that_do_not_fit_make_the_loss_nan_and_write_nothing() -> None:
    tx = rows.adam(1e-3)

    @jax.jit
    def step(state: Any, ids: Any) -> Any:
        batch = rows.unique(ids, 20, size=2)
        found = tx.lookup(state, batch.ids)
        loss, grads = jax.value_and_grad(lambda p: p[batch.local].sum())(found.params)
        return loss, tx.apply(state, found, grads)

    for ids in ([4, 5, 6, 4], [4, 4, 20, 5], [4, -1, 5, 5]):
        loss, state = step(tx.init(TABLE), jnp.array(ids))
        assert np.isnan(loss)
        assert state.count == 1
        np.testing.assert_array_equal(state.table, TABLE)
    loss, _ = step(state, jnp.array([4, 5, 5, 4]))
    assert loss == 12


@pytest.mark.quick
def test_it_is_no_link_of_a_chain() -> None:
    tx: Any = rows.adam(1e-3)
    coupled = conventions.l2(0.1, tx)
    for misused in (tx, coupled):
        with refused(TypeError, r"adam is no optax transformation, and goes into no chain"):
            misused.update(TABLE, misused.init(TABLE), TABLE)


def test_layers() -> None:
    from flax import nnx

    layer = Embed(20, 3, rows.adam(1e-3), rngs=nnx.Rngs(0))
    with refused(TypeError, r"tied to the table .*use nnx.Embed and a dense optimiser"):
        layer.attend(jnp.ones(3))
    with refused(ValueError, r"call fetch\(ids\) before the gradient"):
        layer.commit({})
    layer.fetch(jnp.array([1, 2]))
    assert np.isnan(layer(jnp.array([1, 3]))).all(1).tolist() == [False, True]
