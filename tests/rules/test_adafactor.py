"""Test Adafactor: a rule, factored storage and a decay that no learning rate multiplies."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.support.cases import run, witness
from tests.support.oracle import relative_rms
from tests.support.oracle_factored import optimise_adafactor
from tests.support.shapes import SHAPES, STEPS, data

HEAVY = pytest.mark.heavy
TREE = {"w": jnp.float32(data((6, 3), 1)[1]), "b": jnp.ones(4)}
RATES, DECAYS = 0.05 / (1 + np.arange(STEPS) / 50), 1e-3 / (1 + np.arange(STEPS) / 9)
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"learning_rate": 0.01},
    "no rate": {"clipping_threshold": 0.01},
    "schedule": {"learning_rate": RATES},
    "no scale": {"learning_rate": 0.01, "multiply_by_parameter_scale": False},
    "no clip": {"learning_rate": 0.01, "clipping_threshold": None},
    "tight clip": {"learning_rate": 0.01, "clipping_threshold": 0.3},
    "momentum": {"learning_rate": RATES, "momentum": 0.9},
    "decay": {"learning_rate": RATES, "weight_decay_rate": 1e-3},
    "scheduled decay": {"learning_rate": 0.01, "weight_decay_rate": DECAYS},
    "rate and offset": {"learning_rate": 0.01, "decay_rate": 0.5, "decay_offset": -7},
    "eps": {"learning_rate": 0.01, "eps": 1e-3},
    "dense": {"learning_rate": 0.01, "factored": False, "momentum": 0.5},
    "all": {
        "learning_rate": RATES,
        "decay_rate": 0.9,
        "decay_offset": -1,
        "momentum": 0.8,
        "weight_decay_rate": DECAYS,
        "clipping_threshold": 0.7,
        "eps": 1e-6,
    },
}


def scheduled(options: dict[str, Any], read: Callable[[Any, Any], Any]) -> dict[str, Any]:
    """Return the options with a function from counts for each table."""
    return {
        n: (lambda count, v=v: read(v, count)) if isinstance(v, np.ndarray) else v
        for n, v in options.items()
    }


def in_jax(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options for ours and for optax, in whose float64 the momentum needs a dtype."""
    dtype = {"dtype_momentum": jnp.float64} if jax.config.read("jax_enable_x64") else {}
    schedules = scheduled(options, lambda table, count: jnp.asarray(table)[count])
    return {"min_dim_size_to_factor": 0, **dtype, **schedules}


def expected_adafactor(name: str, shape: tuple[int, ...], steps: int) -> Any:
    """Return the oracle's updates."""
    options = scheduled(OPTIONS[name], lambda table, count: table[count])
    return optimise_adafactor(*data(shape, steps), **options)["updates"]


def exact_optax(
    learning_rate: Any = None,
    min_dim_size_to_factor: int = 0,
    decay_rate: float = 0.8,
    decay_offset: int = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: float | None = 1.0,
    momentum: float | None = None,
    dtype_momentum: Any = None,
    weight_decay_rate: Any = None,
    eps: float = 1e-30,
    factored: bool = True,
) -> Any:
    """Build optax.adafactor's own chain, with a decay rate that is not rounded to float32."""
    fade = lambda i, e: 1.0 - (jnp.asarray(i, float) + 1.0) ** (-e)  # noqa: E731
    least = min_dim_size_to_factor
    links = [
        optax.scale_by_factored_rms(factored, decay_rate, decay_offset, least, eps, fade),
        clipping_threshold and optax.clip_by_block_rms(clipping_threshold),
        learning_rate and optax.scale_by_learning_rate(learning_rate, flip_sign=False),
        multiply_by_parameter_scale and optax.scale_by_param_block_rms(),
        momentum and optax.ema(momentum, debias=False, accumulator_dtype=dtype_momentum),
        weight_decay_rate and optax.add_decayed_weights(weight_decay_rate),
        optax.scale(-1),
    ]
    return optax.chain(*(link for link in links if link))


MOSTLY = ("dense", "all")
MATRIX = [
    pytest.param(
        name,
        shape,
        id=f"{name}-{shape}",
        marks=[] if name in MOSTLY and shape == "tall" else [HEAVY],
    )
    for name in OPTIONS
    for shape in SHAPES
]


@pytest.mark.matrix(keep=2)
@pytest.mark.parametrize(("name", "shape"), MATRIX)
def test_adafactor_in_float64_equals_the_oracle_and_optax(name: str, shape: str, x64: None) -> None:
    grads, start = (jnp.float64(x) for x in data(SHAPES[shape], 200))
    options = in_jax(OPTIONS[name])
    updates, _, _ = run(ao.adafactor(**options), grads, start)
    right = expected_adafactor(name, SHAPES[shape], 200)
    assert relative_rms(updates, right) < 1e-12  # 200 roundings of 1e-16
    assert relative_rms(witness(exact_optax(**options), grads, start), right) < 1e-12
    # Its alias rounds the decay rate to float32: 3e-8 of 1 - b >= 200^-.9 = .008.
    assert relative_rms(updates, witness(optax.adafactor(**options), grads, start)) < 1e-5


@pytest.mark.quick
@pytest.mark.parametrize("name", ["plain", "all"])
def test_adafactor_in_float32_equals_the_oracle_step_by_step(name: str) -> None:
    grads, start = (jnp.float32(x) for x in data((6, 3), 20))
    updates, _, _ = run(ao.adafactor(**in_jax(OPTIONS[name])), grads, start)
    for mine, theirs in zip(updates, expected_adafactor(name, (6, 3), 20), strict=True):
        assert relative_rms(mine, theirs) < 3e-6  # a few dozen roundings of 6e-8


@pytest.mark.quick
def test_the_offset_starts_the_averages_anew(x64: None) -> None:
    grads, start = (jnp.float64(x) for x in data((6, 3), 30))
    whole = ao.adafactor(0.01, 0)
    _, _, state = run(whole, grads[:10], start)
    tuned = ao.adafactor(0.01, 0, decay_offset=10)
    resumed = optax.GradientTransformationExtraArgs(lambda _: state, tuned.update)
    updates, _, _ = run(resumed, grads[10:], start)
    anew, _, _ = run(whole, grads[10:], start)
    assert relative_rms(updates, anew) < 1e-12  # the first step forgets all that was before


def test_its_mask_restricts_the_decay_and_its_momentum_has_a_dtype() -> None:
    params = {"w": TREE["w"], "b": TREE["b"]}
    grads = jax.tree.map(jnp.cos, params)
    plain = ao.adafactor(0.01, 0, momentum=0.9)
    bare, _ = plain.update(grads, plain.init(params), params)
    mask = {"w": True, "b": False}
    tx = ao.adafactor(0.01, 0, momentum=0.9, weight_decay_rate=0.1, weight_decay_mask=mask)
    updates, _ = tx.update(grads, tx.init(params), params)
    np.testing.assert_array_equal(updates["b"], bare["b"])
    # 0.1 of the parameter, not multiplied by the rate; float32
    np.testing.assert_allclose(updates["w"], bare["w"] - 0.1 * params["w"], rtol=1e-5, atol=1e-8)
    low = ao.adafactor(0.01, 0, momentum=0.9, dtype_momentum=jnp.bfloat16).init(params)
    assert {m.dtype for m in jax.tree.leaves(low)} >= {jnp.dtype("bfloat16")}


def test_the_rule_is_dense_and_its_storage_factors(x64: None) -> None:
    grads, start = (jnp.float64(x) for x in data((6, 3), 30))
    for storage, factored in ((None, False), ({"nu": ao.storage.factored(0)}, True)):
        tx = ao.optimizer(ao.rules.adafactor(), 0.01, storage=storage)
        right = optimise_adafactor(*data((6, 3), 30), 0.01, factored=factored)["updates"]
        assert relative_rms(run(tx, grads, start)[0], right) < 1e-12  # roundings


def test_it_is_smaller() -> None:
    state = ao.adafactor(0.01).init({"w": jnp.zeros((256, 512))})
    kept = sum(m.nbytes for m in jax.tree.leaves(state) if m.ndim)
    assert kept == 4 * (256 + 512)
