"""Options that optax has on some optimisers do here what they do there, or say why not."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.support.cases import gradients, run, witness
from tests.support.oracle import relative_rms

GRADS, START = gradients(60, 12, seed=5) / 10, np.linspace(-1.0, 1.0, 12) + 0.03


def lion_by_hand(mode: str, beta: float = 1.0) -> np.ndarray[Any, Any]:
    """Lion's rescaled gradients in float64 NumPy, with optax's stand-ins for the sign."""
    mu, steps = np.zeros_like(GRADS[0]), []
    for g in GRADS:
        c = 0.9 * mu + 0.1 * g
        mu = 0.99 * mu + 0.01 * g
        refined = np.where(np.abs(c) < 1, c, np.sign(c))
        steps.append(np.tanh(beta * c) if mode == "smooth" else refined)
    return np.stack(steps)


@pytest.mark.quick
@pytest.mark.parametrize(("mode", "beta"), [("smooth", 1.0), ("smooth", 7.0), ("refined", 1.0)])
def test_what_stands_for_lions_sign(mode: Any, beta: float, x64: None) -> None:
    grads, start = jnp.asarray(GRADS), jnp.asarray(START)
    right = lion_by_hand(mode, beta)
    assert 0.1 < np.mean(np.abs(right) < 0.9) < 0.98  # neither only signs nor only small numbers
    mine, _, _ = run(ao.scale_by_lion(mode=mode, smooth_beta=beta), grads, start)
    assert relative_rms(mine, right) < 1e-14  # roundings
    theirs = witness(optax.scale_by_lion(mode=mode, smooth_beta=beta), grads, start)
    assert relative_rms(mine, theirs) < 1e-14
    whole, _, _ = run(ao.lion(0.1, mode=mode, smooth_beta=beta, weight_decay=None), grads, start)
    assert relative_rms(whole, -0.1 * right) < 1e-14


def test_lions_smoothness_may_follow_a_schedule(x64: None) -> None:
    grads, start = jnp.asarray(GRADS), jnp.asarray(START)
    tx = ao.scale_by_lion(
        mode="smooth", smooth_beta=lambda count: 1 + 0.1 * jnp.astype(count, float)
    )
    steps = np.stack([lion_by_hand("smooth", 1 + 0.1 * i)[i] for i in range(len(GRADS))])
    assert relative_rms(run(tx, grads, start)[0], steps) < 1e-14  # roundings


def test_lions_sign_stays_the_default_bit_by_bit() -> None:
    grads, start = jnp.asarray(GRADS, jnp.float32), jnp.asarray(START, jnp.float32)
    hard = run(ao.lion(0.1, mode="hard", smooth_beta=3.0), grads, start)[0]
    np.testing.assert_array_equal(hard, run(ao.lion(0.1), grads, start)[0])


def test_lions_modes_that_cannot_be() -> None:
    wrong: Any = "soft"
    for make in (ao.scale_by_lion, lambda mode: ao.lion(0.1, mode=mode)):
        with pytest.raises(ValueError, match=r"^mode must be 'hard', 'smooth' or 'refined', not"):
            make(mode=wrong)
    p = jnp.ones(2, jnp.complex64)
    refined, _ = ao.scale_by_lion(mode="refined").update(p, ao.scale_by_lion().init(p))
    np.testing.assert_allclose(refined, 0.1 * p, rtol=1e-6)  # one rounding
    tx = ao.scale_by_lion(mode="smooth")
    with pytest.raises(TypeError, match=r"lion cannot smooth complex numbers; set mode='refined'"):
        tx.update(p, tx.init(p))


def test_inject_hyperparams_makes_of_lion_the_state_that_it_makes_of_optaxs() -> None:
    p = jnp.ones(3)
    for ours, theirs, first in (
        (ao.lion, optax.lion, (0.1,)),
        (ao.scale_by_lion, optax.scale_by_lion, ()),
        (ao.scale_by_novograd, optax.scale_by_novograd, ()),
        (ao.sgd, optax.sgd, (0.1,)),
    ):
        mine = optax.inject_hyperparams(ours)(*first).init(p)
        other = optax.inject_hyperparams(theirs)(*first).init(p)
        assert mine.hyperparams.keys() == other.hyperparams.keys()


@pytest.mark.quick
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_scale_by_novograd_averages_its_decay(weight_decay: float, x64: None) -> None:
    grads, start = jnp.asarray(GRADS), jnp.asarray(START)
    mine, _, state = run(ao.scale_by_novograd(weight_decay=weight_decay), grads, start)
    theirs = witness(optax.scale_by_novograd(weight_decay=weight_decay), grads, start)
    assert relative_rms(mine, theirs) < 1e-13  # roundings, summed
    assert set(ao.read_moments(state)) == {"mu", "nu"}
    # By itself and in the optimiser the decay is one thing.
    link = ao.scale_by_novograd(eps=1e-6, weight_decay=weight_decay)
    chained = optax.chain(link, optax.scale_by_learning_rate(0.1))
    whole = ao.novograd(0.1, weight_decay=weight_decay)
    assert relative_rms(run(chained, grads, start)[0], run(whole, grads, start)[0]) < 1e-14


def test_scale_by_novograd_says_what_its_decay_needs() -> None:
    p = jnp.ones(3)
    tx = ao.scale_by_novograd(weight_decay=0.1)
    with pytest.raises(ValueError, match="this rule needs the parameters"):
        tx.update(p, tx.init(p))
    plain = ao.scale_by_novograd()
    plain.update(p, plain.init(p))
    with pytest.raises(ValueError, match=r"^weight_decay must be finite and not negative, not -1"):
        ao.scale_by_novograd(weight_decay=-1)
    assert (
        ao.scale_by_novograd(0.9, 0.25, 1e-8, 0.0, 0.0, "bfloat16").init(p).mu.dtype == "bfloat16"
    )


def test_sgd_keeps_its_trace_in_optaxs_accumulator_dtype() -> None:
    p = jnp.ones(3)
    states = [
        ao.sgd(0.1, 0.9, False, "bfloat16").init(p),
        ao.sgd(0.1, 0.9, accumulator_dtype=jnp.bfloat16).init(p),
        ao.sgd(0.1, 0.9, mu_dtype="bfloat16").init(p),
    ]
    theirs = optax.sgd(0.1, 0.9, accumulator_dtype=jnp.bfloat16).init(p)
    for state in states:
        assert state[0].trace.dtype == theirs[0].trace.dtype == "bfloat16"
    assert ao.sgd(0.1, 0.9).init(p)[0].trace.dtype == "float32"
    with pytest.raises(ValueError, match=r"^accumulator_dtype and mu_dtype both say how trace is"):
        ao.sgd(0.1, 0.9, accumulator_dtype="bfloat16", mu_dtype="bfloat16")
    with pytest.raises(ValueError, match=r"^accumulator_dtype: without momentum there is no trace"):
        ao.sgd(0.1, accumulator_dtype="bfloat16")
