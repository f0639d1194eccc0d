"""Compare runs handed over between Keras and this library, in float32, with one in Keras."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from adam_optax.cli import main
from adam_optax.conventions import KERAS, scheduled_nadam
from adam_optax.convert._keras_files import read_keras, write_keras
from tests.conventions.test_witness_keras import keras, mixed_dtypes_allowed
from tests.support.cases import gradients, run
from tests.support.oracle import relative_rms

STEPS, HALF, RATE = 200, 100, 1e-2
SHAPES = {"kernel": (3, 4), "bias": (4,)}
GRADS = {
    "kernel": gradients(STEPS, 12).reshape(STEPS, 3, 4).astype(np.float32),
    "bias": gradients(STEPS, 4, seed=1).astype(np.float32),
}
START = {
    "kernel": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4),
    "bias": np.ones(4, np.float32),
}
NAMES: ao.convert.Names = {"model/dense/kernel": "kernel", "model/dense/bias": "bias"}

# 200 steps round parameters near 1 by up to 6e-8 each, here and there, over a way of 0.1 to 1.
ROUNDING = 3e-6
# Keras takes 1 - pow(b2, t) in float32, where 0.999 is 0.99900001: as long as b2**t is near 1, that
# is off by 1.3e-5 and its root, a factor of the way, by 6.4e-6. Nadam rounds 1 - b2 alike in the
# average, so that both cancel, and AdaMax corrects b1 alone.
CANCELLED = 1e-5


@dataclasses.dataclass(frozen=True)
class Pair:
    """Hold Keras's optimizer and ours, and how far apart they may end."""

    theirs: str
    ours: Callable[[], Any]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    off: float = CANCELLED

    @property
    def id(self) -> str:
        """Return the call in Keras as text."""
        return "-".join([self.theirs, *(f"{n}={v}" for n, v in self.options.items())])


PAIRS = [
    Pair("Adam", lambda: ao.adam(RATE, **KERAS.adam)),
    Pair("AdamW", lambda: ao.adamw(RATE, **KERAS.adamw)),
    Pair("Nadam", lambda: scheduled_nadam(RATE, **KERAS.scheduled_nadam), off=ROUNDING),
    Pair("Adamax", lambda: ao.adamax(RATE, **KERAS.adamax), off=ROUNDING),
    Pair("Adam", lambda: ao.amsgrad(RATE, **KERAS.amsgrad), {"amsgrad": True}),
]
EACH = pytest.mark.parametrize("pair", PAIRS, ids=[pair.id for pair in PAIRS])


class Keras:
    """Train a dense layer with one of Keras's optimizers."""

    def __init__(self, pair: Pair, start: Mapping[str, Any] = START) -> None:
        with mixed_dtypes_allowed():
            self.layer = keras.layers.Dense(4, name="dense")
            self.model = keras.Sequential([keras.Input((3,)), self.layer], name="model")
            self.layer.set_weights([start["kernel"], start["bias"]])
            self.optimizer = getattr(keras.optimizers, pair.theirs)(RATE, **pair.options)
            self.model.compile(self.optimizer, "mse")
            self.optimizer.build(self.model.trainable_variables)

    def run(self, first: int, last: int) -> "Keras":
        """Make the steps of this range."""
        with mixed_dtypes_allowed():
            for step in range(first, last):
                grads = [jnp.asarray(GRADS[name][step]) for name in SHAPES]
                self.optimizer.apply(grads, self.model.trainable_variables)
        return self

    @property
    def params(self) -> dict[str, Any]:
        """Return the parameters."""
        values = [np.array(v.value) for v in self.model.trainable_variables]
        return dict(zip(SHAPES, values, strict=True))


def our_run(tx: Any, state: Any, params: Any, first: int, last: int) -> tuple[Any, Any]:
    """Return the parameters and the state after the steps of this range."""
    resumed = optax.GradientTransformationExtraArgs(lambda _: state, tx.update)
    grads = jax.tree.map(lambda g: jnp.asarray(g[first:last]), GRADS)
    _, params, state = run(resumed, grads, jax.tree.map(jnp.asarray, params))
    return params, state


def off(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
    """Return how far apart two ends are, as a fraction of the way there."""
    return max(relative_rms(ours[n] - START[n], theirs[n] - START[n]) for n in START)


def test_the_parameters_have_these_paths() -> None:
    assert [v.path for v in Keras(PAIRS[0]).model.trainable_variables] == list(NAMES)


@EACH
def test_100_steps_in_keras_and_100_here_are_200_in_keras(pair: Pair) -> None:
    alone, half, tx = Keras(pair).run(0, STEPS), Keras(pair).run(0, HALF), pair.ours()
    template = tx.init(jax.tree.map(jnp.asarray, half.params))
    state = ao.convert.from_keras(half.optimizer.variables, template, NAMES)
    assert int(state[0].count) == HALF
    params, _ = our_run(tx, state, half.params, HALF, STEPS)
    assert off(params, alone.params) < pair.off


@EACH
def test_100_steps_here_and_100_in_keras_are_200_in_keras(pair: Pair) -> None:
    alone, tx = Keras(pair).run(0, STEPS), pair.ours()
    params, state = our_run(tx, tx.init(jax.tree.map(jnp.asarray, START)), START, 0, HALF)
    other = Keras(pair, {n: np.asarray(x) for n, x in params.items()})
    values = ao.convert.to_keras(state, NAMES, other.optimizer.variables)
    assert int(other.optimizer.iterations.value) == 0  # nothing is assigned yet
    for variable, value in zip(other.optimizer.variables, values, strict=True):
        variable.assign(value)
    assert float(other.optimizer.learning_rate.value) == np.float32(RATE)
    assert off(other.run(HALF, STEPS).params, alone.params) < pair.off


@EACH
def test_there_and_back_is_the_same_to_the_bit(pair: Pair) -> None:
    variables = Keras(pair).run(0, 3).optimizer.variables
    template = pair.ours().init(jax.tree.map(jnp.asarray, START))
    state = ao.convert.from_keras(variables, template, NAMES)
    back = ao.convert.to_keras(state, NAMES, variables)
    for variable, value in zip(variables, back, strict=True):
        assert value.dtype == variable.dtype
        np.testing.assert_array_equal(value, np.asarray(variable.value))


def test_what_keras_keeps_besides_is_refused() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"use_ema": True}, "carry the averages over by themselves"),
        ({"gradient_accumulation_steps": 2}, "use optax.MultiSteps"),
    ]
    for options, text in cases:
        variables = Keras(Pair("Adam", PAIRS[0].ours, options)).optimizer.variables
        template = PAIRS[0].ours().init(jax.tree.map(jnp.asarray, START))
        with pytest.raises(ao.convert.ConversionError, match=text):
            ao.convert.from_keras(variables, template, NAMES)


def test_parameters_of_one_name_need_their_order() -> None:
    with mixed_dtypes_allowed():
        twins = [keras.Variable(np.full(2, x, np.float32), name="w") for x in (1.0, 2.0)]
        optimizer = keras.optimizers.Adam(RATE)
        optimizer.build(twins)
        optimizer.apply([jnp.ones(2), jnp.full(2, 2.0)], twins)
    template = ao.adam(RATE).init({"a": jnp.ones(2), "b": jnp.ones(2)})
    names = {"one": "a", "two": "b"}
    with pytest.raises(ao.convert.ConversionError, match="not recorded there; pass order="):
        ao.convert.from_keras(optimizer.variables, template, names)
    state = ao.convert.from_keras(optimizer.variables, template, names, order=["one", "two"])
    assert float(state[0].mu["b"][0]) == 2 * float(state[0].mu["a"][0])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
@EACH
@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_files_by_the_command_and_back(
    pair: Pair, suffix: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    half, fresh = Keras(pair).run(0, 3), Keras(pair)
    with mixed_dtypes_allowed():
        for net, name in [(half, "half"), (fresh, "fresh")]:
            save = net.model.save if suffix == ".keras" else net.model.save_weights
            save(name + suffix)
    pathlib.Path("names.json").write_text(json.dumps(NAMES))
    there = "--names names.json --out state.safetensors"
    assert main.main(["convert", f"half{suffix}", *there.split()]) == 0
    back = f"--to keras --like fresh{suffix} --names names.json --out new{suffix}"
    assert main.main(["convert", "state.safetensors", *back.split()]) == 0
    with mixed_dtypes_allowed():
        if suffix == ".keras":
            optimizer = keras.saving.load_model("new.keras").optimizer
        else:
            fresh.model.load_weights("new.weights.h5")
            optimizer = fresh.optimizer
    for one, other in zip(optimizer.variables, half.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(one.value), np.asarray(other.value))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
def test_bfloat16_variables_are_read_and_written_in_files(tmp_path: pathlib.Path) -> None:
    with mixed_dtypes_allowed():
        dense = keras.layers.Dense(2, name="dense", dtype="bfloat16")
        model = keras.Sequential([keras.Input((3,)), dense], name="model")
        model.compile(keras.optimizers.Adam(), "mse")
        model.optimizer.build(model.trainable_variables)
        grads = [jnp.full(v.shape, 0.3, jnp.bfloat16) for v in model.trainable_variables]
        model.optimizer.apply(grads)
        model.save(tmp_path / "model.keras")
        stored = read_keras(tmp_path / "model.keras", list(NAMES))
        write_keras(tmp_path / "model.keras", tmp_path / "new.keras", [x.value for x in stored])
        again = keras.saving.load_model(tmp_path / "new.keras")
    assert stored[2].value.dtype == jnp.bfloat16
    for one, other in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(one.value), np.asarray(other.value))
