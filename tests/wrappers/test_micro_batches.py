"""Micro-batches that enter the moments one by one are held to the sums that are not kept."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.support.cases import run
from tests.support.oracle import relative_rms
from tests.support.oracle_micro_batches import folded

STEPS, SIZE = 40, 6
START = np.linspace(-1.0, 1.0, SIZE) + 0.03


def gradients(k: int, noise: float = 1.0) -> Any:
    """Return gradients of shape (steps, k, size) that agree more or less."""
    rng = np.random.default_rng(k)
    return rng.standard_normal((STEPS, 1, SIZE)) + noise * rng.standard_normal((STEPS, k, SIZE))


def walked(tx: Any, grads: Any) -> tuple[Any, Any]:
    """Return the parameters after each step, and the state."""
    k = grads.shape[1]
    flat = jnp.asarray(grads.reshape(STEPS * k, SIZE))
    with jax.numpy_dtype_promotion("standard"):  # optax's
        updates, _, state = run(tx, flat, jnp.asarray(START))
    return START + np.cumsum(np.asarray(updates), axis=0)[k - 1 :: k], state


def falling(count: Any) -> Any:
    return 0.02 * (1 - (count.astype(float) if isinstance(count, jax.Array) else count) / 80)


@pytest.mark.quick
@pytest.mark.parametrize("k", [1, 4])
def test_float64_equals_the_oracle(k: int, x64: None) -> None:
    grads = gradients(k)
    tx = ao.fold_micro_batches(ao.adamw, k, learning_rate=falling, b2=0.99, weight_decay=0.1)
    mine, state = walked(tx, grads)
    right, mu, nu = folded(grads, START, falling, 0.1, b2=0.99)
    assert relative_rms(mine, right) < 1e-11  # 160 roundings of 1e-16, and those of 1 - b_i
    found = ao.read_moments(state, tx, jnp.asarray(START))
    assert relative_rms(found["mu"], mu) < 1e-11
    assert relative_rms(found["nu"], nu) < 1e-11
    (numbers,) = ao.hyperparameters(state, tx)
    assert float(numbers["learning_rate"]) == (falling(STEPS) if k == 1 else 0.0)


@pytest.mark.quick
def test_nu_exceeds_that_of_the_batch_by_the_average_variance(x64: None) -> None:
    """The exact relation: `mean(g^2) = mean(g)^2 + var(g)`, averaged as nu is."""
    k, grads = 4, gradients(4)
    tx = ao.fold_micro_batches(ao.adam, k, learning_rate=1e-3)
    found = ao.read_moments(walked(tx, grads)[1])
    _, mu, nu = folded(grads, START, lambda t: 1e-3, 0.0, squares="whole")
    variance = np.zeros(SIZE)
    for batch in grads:
        variance = 0.999 * variance + 0.001 * batch.var(axis=0)
    assert relative_rms(found["mu"], mu) < 1e-11  # as above
    assert relative_rms(found["nu"], nu + variance) < 1e-11
    assert np.all(variance > 0.2 * nu)
    # The exact way is that of the oracle's whole batch; optax divides by k in float32.
    exact = optax.MultiSteps(ao.adam(1e-3), k)
    theirs = ao.read_moments(walked(exact, grads)[1].inner_opt_state)
    assert relative_rms(theirs["mu"], mu) < 1e-6
    assert relative_rms(theirs["nu"], nu) < 1e-6


@pytest.mark.quick
def test_adama_is_the_same_with_root_k_times_the_rate_and_eps(x64: None) -> None:
    k, grads = 4, gradients(4)
    tx = ao.fold_micro_batches(ao.adam, k, learning_rate=0.01 * k**0.5, eps=1e-3 * k**0.5)
    mine, _ = walked(tx, grads)
    right, _, _ = folded(grads, START, lambda t: 0.01, 0.0, eps=1e-3, squares="AdamA")
    assert relative_rms(mine, right) < 1e-11


@pytest.mark.quick
def test_parameters_rest_between_steps_and_float32_is_near() -> None:
    k, grads = 3, gradients(3)
    tx = ao.fold_micro_batches(
        ao.adamw, k, learning_rate=0.01, weight_decay=0.3, coupling=ao.couplings.INDEPENDENT
    )
    params, state = jnp.float32(START), tx.init(jnp.float32(START))
    for i, g in enumerate(grads.reshape(-1, SIZE)[: 3 * k]):
        before = params
        params, state = ao.step(tx, jnp.float32(g), state, params)
        if (i + 1) % k:
            np.testing.assert_array_equal(params, before)
        else:
            assert np.all(np.asarray(params) != np.asarray(before))
    single = ao.fold_micro_batches(ao.adamw, k, learning_rate=0.01, weight_decay=0.1)
    mine, _ = walked(single, np.float32(grads))
    right, _, _ = folded(grads, START, lambda t: 0.01, 0.1)
    # 1 - b_i of a b2 of 0.999 has four digits in float32, and a step the half of that.
    assert relative_rms(mine - START, right - START) < 1e-4


@pytest.mark.parametrize("storage", [ao.storage.stochastic(), ao.storage.pair(4)], ids=str)
def test_formats_keep_what_is_folded(storage: Any) -> None:
    grads = gradients(4).astype(np.float32)
    arguments: dict[str, Any] = {"learning_rate": 0.01, "b2": 0.99}
    tx = ao.fold_micro_batches(ao.adamw, 4, **arguments, storage=storage)
    mine, _ = walked(tx, grads)
    right, _, _ = folded(grads.astype(np.float64), START, lambda t: 0.01, 1e-4, b2=0.99)
    assert relative_rms(mine - START, right - START) < 0.02  # roundings of 2^-9, at random


@pytest.mark.parametrize("name", ["groups", "lamb"])
def test_groups_by_path_and_lamb_step_as_with_a_mean(name: str) -> None:
    """With equal micro-batches the batch's nu is the same, and so is all else."""
    make: Any = ao.lamb if name == "lamb" else ao.adamw
    by_path = ao.by_path({"w": 0.1, "b": ao.FROZEN})
    decay = ao.by_path({"w": 0.1, "b": 0.0})
    arguments: dict[str, Any] = {"learning_rate": by_path, "b1": ao.by_path({"w": 0.8, "b": 0.9})}
    arguments |= {"weight_decay": decay}
    if name == "lamb":
        arguments = {"learning_rate": 0.1, "weight_decay": 0.1}
    params = {"w": jnp.linspace(1, 2, 5), "b": jnp.ones(2)}
    grads = jax.tree.map(jnp.sin, params)
    folds, plain = ao.fold_micro_batches(make, 2, **arguments), make(**arguments)
    one, state = params, folds.init(params)
    other, kept = params, plain.init(params)
    for _ in range(3):
        for _ in range(2):
            one, state = ao.step(folds, grads, state, one)
        other, kept = ao.step(plain, grads, kept, other)
    chex.assert_trees_all_close(one, other, rtol=1e-5)  # float32, over three steps
    assert np.array_equal(one["b"], params["b"]) == (name == "groups")


@pytest.mark.quick
def test_a_scan_over_micro_batches_holds_no_sum() -> None:
    """Of accumulation the program holds the sum beside a micro-batch's gradient."""
    k, n = 4, 256
    p = jax.ShapeDtypeStruct((n, n), jnp.float32)
    batches = jax.ShapeDtypeStruct((k, 8, n), jnp.float32)
    tx = ao.fold_micro_batches(ao.adam, k, learning_rate=0.1)
    exact = ao.adam(0.1)
    gradient = jax.grad(lambda p, x: jnp.sum(jnp.sin(x @ p)))

    def fold(params: Any, state: Any, batches: Any) -> Any:
        def body(state: Any, x: Any) -> Any:
            return tx.update(gradient(params, x), state, params)[1], None

        state, _ = jax.lax.scan(body, state, batches[:-1])
        return ao.step(tx, gradient(params, batches[-1]), state, params)

    def accumulate(params: Any, state: Any, batches: Any) -> Any:
        def body(total: Any, x: Any) -> Any:
            return total + gradient(params, x), None

        total, _ = jax.lax.scan(body, jnp.zeros_like(params), batches)
        return ao.step(exact, total / k, state, params)

    sizes = {}
    for name, step, each in (("fold", fold, tx), ("sum", accumulate, exact)):
        lowered = jax.jit(step, donate_argnums=(0, 1)).lower(
            p, jax.eval_shape(each.init, p), batches
        )
        memory = lowered.compile().memory_analysis()
        assert memory is not None
        sizes[name] = memory.temp_size_in_bytes
    assert sizes["fold"] <= sizes["sum"] - 0.8 * 4 * n * n, sizes  # but for the smaller ones


@pytest.mark.quick
def test_what_cannot_be_folded_is_refused() -> None:
    wrong: Any = 2.0
    fold, rate = ao.fold_micro_batches, {"learning_rate": 0.1}
    for make, error, text in (
        (lambda: fold(ao.adam, wrong, **rate), TypeError, "k must be an integer, not 2.0"),
        (lambda: fold(ao.adam, 0, **rate), ValueError, "k must be at least 1, not 0"),
        (lambda: fold(ao.lion, 2, **rate), ValueError, "takes adam, adamw or lamb .*, not lion"),
        (lambda: fold(ao.nadam, 2, **rate), ValueError, "without nesterov, not nadam"),
        (lambda: fold(ao.adam, 2, lr=0.1), TypeError, "'lr', which is learning_rate here"),
        (lambda: fold(optax.adam, 2, **rate), ValueError, "for others take optax.MultiSteps"),
        (lambda: fold(ao.adam, 2, b1=1.0, **rate), ValueError, r"b1 must be in \[0, 1\)"),
    ):
        with pytest.raises(error, match=text):
            make()
