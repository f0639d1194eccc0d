"""Keras's `fit` takes the library's steps, and its checkpoints have the state."""

import os
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao

os.environ["KERAS_BACKEND"] = "jax"
pytest.importorskip("keras", reason="pip install 'adam-optax[witness]'")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 6)).astype(np.float32)
Y = np.tanh(X @ RNG.standard_normal((6, 2))).astype(np.float32)


@pytest.fixture(autouse=True)
def _as_keras_runs() -> Iterator[None]:
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def model(dtype: str = "float32") -> Any:
    import keras

    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(16, "tanh", name="a"), keras.layers.Dense(2, name="b")]
    made = keras.Sequential([keras.Input((6,)), *layers], name="net")
    if dtype != "float32":
        made = keras.models.clone_model(
            made, clone_function=lambda x: type(x).from_config({**x.get_config(), "dtype": dtype})
        )
    return made


def fitted(optimizer: Any, dtype: str = "float32", epochs: int = 3) -> tuple[Any, list[float]]:
    net = model(dtype)
    net.compile(optimizer, "mse")
    history = net.fit(X, Y, batch_size=16, epochs=epochs, shuffle=False, verbose=0)
    return net, history.history["loss"]


@pytest.mark.heavy
def test_fit_takes_the_steps_of_kerass_adam() -> None:
    """One line is another: the optimiser, with Keras's numbers."""
    import keras

    from adam_optax.conventions import KERAS

    _, theirs = fitted(keras.optimizers.Adam(1e-2))
    _, ours = fitted(ao.adapters.keras_optimizer(lambda rate: ao.adam(rate, **KERAS.adam), 1e-2))
    # Keras's float32 `1 - b2^t` is off by up to 6e-5 at first, and a step by half of that.
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert ours[-1] < 0.8 * ours[0]


@pytest.mark.heavy
def test_sixteen_bit_weights_learn_by_stochastic_rounding() -> None:
    """Steps of 1e-3 of a bfloat16 weight are lost without it."""
    make = lambda rate: optax.chain(  # noqa: E731
        ao.adamw(rate, storage=ao.storage.pair()), ao.precision.stochastic_rounding()
    )
    net, losses = fitted(ao.adapters.keras_optimizer(make, 3e-4), "bfloat16", 20)
    _, lost = fitted(ao.adapters.keras_optimizer(ao.adamw, 3e-4), "bfloat16", 20)
    assert {v.dtype for v in net.trainable_variables} == {"bfloat16"}
    assert {v.dtype for v in net.optimizer.variables} >= {"uint16"}
    assert losses[-1] < lost[-1]


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
def test_schedules_masks_by_path_and_weights_files_are_kerass(tmp_path: pathlib.Path) -> None:
    import keras

    rate = keras.optimizers.schedules.ExponentialDecay(1e-2, 4, 0.9)
    decay = ao.by_path({".*/bias": 0.0, ".*/kernel": 0.1})
    make = lambda rate: ao.adamw(rate, weight_decay=decay)  # noqa: E731
    optimizer = ao.adapters.keras_optimizer(make, rate, global_clipnorm=1.0)
    net, _ = fitted(optimizer)
    assert int(optimizer.iterations.value) == 12
    net.save_weights(path := tmp_path / "net.weights.h5")

    again = model()
    again.compile(ao.adapters.keras_optimizer(make, rate, global_clipnorm=1.0), "mse")
    again.optimizer.build(again.trainable_variables)
    again.load_weights(path)
    for a, b in zip(optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(a.value), np.asarray(b.value))
    with pytest.raises(TypeError, match="is code, and not in the file: load it with compile=False"):
        type(optimizer).from_config(optimizer.get_config())


@pytest.mark.quick
def test_a_step_is_ao_step() -> None:
    tx = lambda rate: ao.adamw(rate, storage={"nu": ao.storage.stochastic()})  # noqa: E731
    net, optimizer = model(), ao.adapters.keras_optimizer(tx, 1e-2)
    weights = net.trainable_variables
    params = {v.path: v.value for v in weights}
    grads = {path: jnp.cos(p) for path, p in params.items()}
    optimizer.apply([grads[v.path] for v in weights], weights)
    new, state = ao.step(tx(jnp.float32(1e-2)), grads, tx(0.1).init(params), params)
    for v in weights:
        np.testing.assert_array_equal(v.value, new[v.path])
    kept = [v for v in optimizer.variables if v.path.endswith("_mu_net_a_kernel")]
    np.testing.assert_array_equal(kept[0].value, state[0].mu["net/a/kernel"])


@pytest.mark.quick
def test_a_schedule_of_keras_is_read_at_the_count_before_the_step() -> None:
    """As Keras's own optimisers read it, which count a step when it is taken."""
    import keras

    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0, 1], [0.5, 0.25, 0.125])
    weight = keras.Variable(np.ones(3, np.float32), name="w")
    optimizer = ao.adapters.keras_optimizer(ao.sgd, schedule)
    optimizer.build([weight])
    for right in (0.5, 0.25, 0.125, 0.125):
        before = np.asarray(weight.value)
        optimizer.apply([jnp.ones(3)], [weight])
        np.testing.assert_array_equal(before - np.asarray(weight.value), np.full(3, right))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(TypeError, match="make must be a function of the learning rate, such as ao"):
        ao.adapters.keras_optimizer(ao.adamw(1e-3))
