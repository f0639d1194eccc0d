"""Compare Keras itself with our forms of its optimisers, in float32 on the JAX backend."""

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adam_optax as ao
from adam_optax.conventions import KERAS, scheduled_nadam
from tests.support import oracle_frameworks as oracle
from tests.support.cases import gradients, run
from tests.support.oracle import relative_rms


@contextlib.contextmanager
def mixed_dtypes_allowed() -> Iterator[None]:
    """Allow the mixed dtypes and ranks that Keras computes with."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


os.environ["KERAS_BACKEND"] = "jax"
with mixed_dtypes_allowed(), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its imports warn of what others deprecate
    keras = pytest.importorskip("keras", reason="pip install 'adam-optax[witness]'")

GRADS = gradients(500, 24)
START = np.float64(np.float32(np.linspace(-1.0, 1.0, 24) + 0.03))

# 500 steps round a parameter near 1 by up to 6e-8 each, here and there: 20 times that.
PARAMETERS = 1.2e-6
# Keras rounds the decay into the parameter by itself: 4e-6 of it by up to 3e-8, every time alike.
DECAYED = 1e-5
# Keras takes 1 - pow(b2, t) in float32: .999 is .99900001 there, so 1 - b2 is off by 1.3e-5 and its
# root by 6.4e-6; the rest is rounding. In Nadam it rounds 1 - b2 in the average alike, so that at
# the first step both cancel, and AdaMax corrects b1 alone.
FIRST_STEP = 7e-6
OFF = 6e-6
ROUNDING = 3e-7  # of five operations

MEANS: dict[str, Any] = {"b1": 0.9, "b2": 0.999, "eps": 1e-7}


@dataclasses.dataclass(frozen=True)
class Pair:
    """Hold Keras's optimiser, ours, the oracle's updates, and the decoupled decay on top."""

    theirs: str
    options: Mapping[str, Any]
    ours: Callable[[float], Any]
    oracle: Callable[[Any], Any]
    decay: float = 0.0

    @property
    def id(self) -> str:
        """Return the call in Keras."""
        return "-".join([self.theirs, *(f"{n}={v}" for n, v in self.options.items())])

    def expected_path(self, start: Any) -> Any:
        """Compute the parameters after each step in float64."""
        path, p = [], start
        for update in self.oracle(GRADS):
            p = p + update - oracle.RATE * self.decay * p
            path.append(p)
        return np.stack(path)


def _hat(grads: Any) -> Any:
    return oracle.epsilon_hat(grads, **MEANS)


PAIRS = [
    Pair("Adam", {}, lambda rate: ao.adam(rate, **KERAS.adam), _hat),
    Pair(
        "Adam",
        {"weight_decay": 0.1},
        lambda rate: ao.adamw(rate, **{**KERAS.adamw, "weight_decay": 0.1}),
        _hat,
        0.1,
    ),
    Pair("AdamW", {}, lambda rate: ao.adamw(rate, **KERAS.adamw), _hat, 4e-3),
    Pair(
        "Adam",
        {"amsgrad": True},
        lambda rate: ao.amsgrad(rate, **KERAS.amsgrad),
        lambda grads: oracle.amsgrad_hat(grads, **MEANS),
    ),
    Pair(
        "Adamax",
        {},
        lambda rate: ao.adamax(rate, **KERAS.adamax),
        lambda grads: oracle.adamax_outside(grads, **MEANS),
    ),
    Pair(
        "Nadam",
        {},
        lambda rate: scheduled_nadam(rate, **KERAS.scheduled_nadam),
        lambda grads: oracle.scheduled_nadam(grads, **MEANS, momentum_decay=1.0),
    ),
]
EACH = pytest.mark.parametrize("pair", PAIRS, ids=[pair.id for pair in PAIRS])


def keras_run(pair: Pair, start: Any, steps: int = 500) -> Any:
    """Return the parameters after each step of Keras's optimiser."""
    path = []
    with mixed_dtypes_allowed():
        p = keras.Variable(np.float32(start))
        optimizer = getattr(keras.optimizers, pair.theirs)(oracle.RATE, **pair.options)
        optimizer.build([p])
        for g in GRADS[:steps]:
            optimizer.apply([jnp.float32(g)], [p])
            path.append(np.float64(p.value))
    return np.stack(path)


def our_run(pair: Pair, start: Any, steps: int = 500) -> Any:
    """Return the parameters after each step of ours."""
    tx, path, p = pair.ours(oracle.RATE), [], jnp.float32(start)
    updates, _, _ = run(tx, jnp.float32(GRADS[:steps]), p)
    for update in updates:
        p = p + update
        path.append(np.float64(p))
    return np.stack(path)


@EACH
def test_float32_run_equals_keras(pair: Pair) -> None:
    ours, theirs, right = our_run(pair, START), keras_run(pair, START), pair.expected_path(START)
    assert relative_rms(ours, right) < PARAMETERS
    assert relative_rms(ours, theirs) < (DECAYED if pair.decay else PARAMETERS)


@EACH
def test_where_the_first_step_differs_keras_is_off(pair: Pair) -> None:
    start = np.zeros_like(START)  # so that the step is what is rounded, not the parameter
    right = pair.expected_path(start)[0]
    assert relative_rms(our_run(pair, start, 1)[0], right) < ROUNDING
    off = relative_rms(keras_run(pair, start, 1)[0], right)
    assert off < ROUNDING if pair.theirs in ("Adamax", "Nadam") else OFF < off < FIRST_STEP


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("Adam", "adam"), ("AdamW", "adamw"), ("Adamax", "adamax"), ("Nadam", "scheduled_nadam")],
)
def test_the_numbers_are_keras_defaults(theirs: str, ours: str) -> None:
    with mixed_dtypes_allowed():
        optimizer = getattr(keras.optimizers, theirs)()
    options = getattr(KERAS, ours)
    assert np.float32(optimizer.learning_rate.value) == np.float32(KERAS.learning_rate)
    assert (optimizer.beta_1, optimizer.beta_2) == (options["b1"], options["b2"])
    assert optimizer.epsilon == options["eps"]
    assert optimizer.weight_decay == options.get("weight_decay")
