"""Spikes are skipped as the rule says, and a step that is skipped leaves no trace."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from adam_optax import aot
from tests.support.oracle_spikes import skipped
from tests.support.versions import SINCE_0_10_2

PARAMS = {"w": jnp.linspace(-1.0, 1.0, 24).reshape(4, 6), "b": jnp.ones(3)}
OPTIMIZERS: dict[str, Any] = {
    "adamw": lambda: ao.adamw(optax.linear_schedule(0.1, 0.0, 500)),
    "pair": lambda: ao.adamw(0.01, storage=ao.storage.pair()),
    "clip": lambda: optax.chain(ao.clip_by_global_norm(1.0), ao.adamw(0.01)),
    "average": lambda: optax.chain(ao.adam(0.01), ao.temporal_average()),
    "int8": lambda: ao.adam(0.01, storage=ao.storage.int8()),
    "betas": lambda: ao.adam(0.01, b2=optax.linear_schedule(0.9, 0.99, 100)),
    "rmsprop": lambda: ao.rmsprop(0.01, momentum=0.9),
    "optax": lambda: optax.adamw(0.01),
    "kahan": lambda: optax.chain(ao.adam(0.01), ao.precision.kahan()),
    "groups": lambda: ao.adamw(ao.by_path({"b": ao.FROZEN, ".*": 0.01}), weight_decay=0.1),
}
SOME = pytest.mark.matrix(keep=2, quick=["update-adamw", "update-optax", "step-pair"])
EACH = pytest.mark.parametrize("name", OPTIMIZERS)


def stream(steps: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return sizes with spikes among them, two in a row, NaN and inf, and a level that rises."""
    rng = np.random.default_rng(seed)
    sizes = np.exp(0.1 * rng.standard_normal(steps))
    sizes[steps // 2 :] *= 3.0
    sizes[[2, 20, 21, 30]] = 500.0, 60.0, 50.0, 1e15
    sizes[[0, 25, 33]] = np.nan, np.inf, np.nan
    return sizes


def grads_of(size: Any) -> Any:
    """Return gradients whose norm over both leaves is so large."""
    unit = np.sqrt(27.0)
    return jax.tree.map(lambda p: jnp.full(p.shape, size / unit, jnp.float32), PARAMS)


@pytest.mark.quick
@pytest.mark.parametrize(("window", "sigma"), [(8, 6.0), (16, 3.0)])
def test_the_steps_that_are_skipped_are_the_oracle_s(window: int, sigma: float) -> None:
    sizes = stream(60)
    losses = 2.0 + 0.1 * np.cos(np.arange(60.0))
    losses[[40, 44]] = 9.0, np.nan
    tx = ao.skip_spikes(ao.sgd(0.1), window, sigma)

    def step(state: Any, inputs: Any) -> Any:
        size, loss = inputs
        grads = jax.tree.map(lambda p: jnp.full_like(p, size / np.sqrt(27.0)), PARAMS)
        _, state = tx.update(grads, state, PARAMS, loss=loss)
        return state, state.last_skipped

    inputs = jnp.float32(sizes), jnp.float32(losses)
    state, found = jax.jit(lambda s, x: jax.lax.scan(step, s, x))(tx.init(PARAMS), inputs)
    right = skipped(list(zip(sizes, losses, strict=True)), window, sigma)
    assert np.asarray(found).tolist() == right
    assert right[0]  # NaN, in the first window, too
    assert not right[2]  # a spike there is none yet
    assert not all(right[34:40])  # NaN leaves the window as it was
    assert right[40]
    assert right[44]
    assert int(state.steps) == 60
    assert int(state.skipped) == sum(right)
    assert int(state.nonfinite) == 4
    alone = skipped([(size,) for size in sizes], window, sigma)
    assert alone != right  # the losses matter


@EACH
@SOME
@pytest.mark.parametrize("how", ["update", "step"])
def test_skipped_steps_leave_no_trace(name: str, how: str) -> None:
    """The run is that of the steps that are taken; at the others not a bit changes."""
    inner = OPTIMIZERS[name]()
    tx = ao.skip_spikes(inner, window=6, sigma=4.0)

    def step(tx: Any, grads: Any, state: Any, params: Any) -> Any:
        if how == "step":
            return ao.step(tx, grads, state, params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    with jax.numpy_dtype_promotion("standard"):  # optax's
        run = jax.jit(lambda g, s, p: step(tx, g, s, p))
        plain = jax.jit(lambda g, s, p: step(inner, g, s, p))
        params, state = PARAMS, tx.init(PARAMS)
        other, kept = PARAMS, inner.init(PARAMS)
        skips = []
        for size in (1.0, 1.2, 0.9, 1.1, 300.0, 1.0, np.nan, 0.8, np.inf, 1.0):
            before = params, state.inner_state
            params, state = run(grads_of(size), state, params)
            skips.append(bool(state.last_skipped))
            if skips[-1]:
                chex.assert_trees_all_equal((params, state.inner_state), before)
            else:
                other, kept = plain(grads_of(size), kept, other)
    assert skips == [False] * 4 + [True, False, True, False, True, False]
    # XLA may round a sum of products once or twice: codes, then, differ by one here and there.
    close = lambda a, b: np.testing.assert_allclose(  # noqa: E731
        np.asarray(a, np.float64),
        np.asarray(b, np.float64),
        rtol=2e-6,
        atol=2 if jnp.issubdtype(a.dtype, jnp.integer) else 1e-7,
    )
    jax.tree.map(close, (params, state.inner_state), (other, kept))


@pytest.mark.quick
def test_counts_are_found_in_a_chain_and_the_loss_is_optional() -> None:
    tx = optax.chain(ao.skip_spikes(ao.adamw(0.1), window=2), optax.identity())
    state = tx.init(PARAMS)
    for size in (1.0, 1.0, np.nan):
        updates, state = tx.update(grads_of(size), state, PARAMS)
    assert int(optax.tree.get(state, "skipped")) == 1
    assert all(not np.any(u) for u in jax.tree.leaves(updates))
    assert repr(ao.skip_spikes(ao.sgd(0.1))).startswith("skip_spikes(tx=sgd(")
    (found,) = ao.hyperparameters(state, tx)
    assert found["learning_rate"] == 0.1
    assert set(ao.read_moments(state, tx, PARAMS)) == {"mu", "nu"}


@pytest.mark.quick
@SINCE_0_10_2
@pytest.mark.parametrize(
    ("name", "loops"),
    [
        ("adamw", "never"),
        ("clip", "never"),
        ("pair", "auto"),
        ("int8", "auto"),
    ],
)
def test_a_donated_state_is_written_in_place(name: str, loops: Any) -> None:
    """What is selected is read and written once: no array is copied, and no second one is held."""
    tx = ao.skip_spikes(OPTIMIZERS[name]())
    params = {"w": jnp.ones((128, 256))}
    with ao.cpu_loops(loops):
        step = jax.jit(lambda p, s, g: ao.step(tx, g, s, p), donate_argnums=(0, 1))
        found = aot.facts(step.lower(params, tx.init(params), params).compile(), 128 * 256)
    assert found.donation is not None
    assert not found.donation.crossed
    copied = [one.argument for one in found.donation.arrays if one.copied]
    assert not [name for name in copied if "inner_state" in name]
    assert found.scratch < params["w"].nbytes / 8


def test_huge_values_stay_finite_and_a_new_level_is_taken_on() -> None:
    tx = ao.skip_spikes(ao.sgd(0.1), window=8, sigma=6.0)
    step = jax.jit(lambda g, s: tx.update(g, s)[1])
    state = tx.init(PARAMS)
    for size in (1e15, 1.1e15, 0.9e15, 1e15, 1.0, 1e17):  # the squares of which overflow
        state = step(grads_of(size), state)
    assert bool(state.last_skipped)
    for _ in range(8):
        state = step(grads_of(1e17), state)
    assert not bool(state.last_skipped)
    assert int(state.skipped) < 8
    assert bool(jnp.all(jnp.isfinite(state.norms.values)))


def test_a_rounding_is_no_spike() -> None:
    tx = ao.skip_spikes(ao.sgd(0.1), window=4)
    state = tx.init(PARAMS)
    for size in (1.0, 1.0, 1.0, 1.0 + 1e-6, 1.0, 1.0 + 1e-4):
        _, state = tx.update(grads_of(size), state)
    assert int(state.skipped) == 1
    assert bool(state.last_skipped)


def test_it_is_mapped_and_keeps_its_structure() -> None:
    tx = ao.skip_spikes(ao.adam(0.1), window=4)
    state = tx.init(PARAMS)
    _, after = tx.update(PARAMS, state, PARAMS, loss=jnp.bfloat16(1.0))
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)
    states = jax.vmap(lambda _: tx.init(PARAMS))(jnp.arange(2))
    sizes = jnp.array([1.0, jnp.nan])
    _, states = jax.vmap(lambda s, k: tx.update(grads_of(k), s, PARAMS))(states, sizes)
    assert np.asarray(states.skipped).tolist() == [0, 1]


@pytest.mark.quick
def test_what_makes_no_sense_is_refused() -> None:
    wrong: Any = 1.5
    for make, error, text in (
        (lambda: ao.skip_spikes(wrong), TypeError, "tx must be an optax transformation, not float"),
        (lambda: ao.skip_spikes(ao.sgd(1), wrong), TypeError, "window must be an integer, not 1.5"),
        (lambda: ao.skip_spikes(ao.sgd(1), 1), ValueError, "window must be at least 2, not 1: one"),
        (lambda: ao.skip_spikes(ao.sgd(1), sigma=0), ValueError, "sigma must be positive"),
    ):
        with pytest.raises(error, match=text):
            make()
    tx = ao.skip_spikes(ao.sgd(1.0))
    with pytest.raises(ValueError, match="loss must be a scalar, not an array of shape"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS, loss=jnp.ones(2))
