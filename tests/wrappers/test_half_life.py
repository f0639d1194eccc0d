"""Decay rates held in tokens forget by tokens, also while the batch grows."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import adam_optax as ao
from tests.support.cases import gradients
from tests.support.oracle import relative_rms


@pytest.mark.quick
@pytest.mark.parametrize(("tokens", "batch"), [(6.8e6, 0.5e6), (1e7, 4096), (3.0, 3)])
def test_half_is_left_after_so_many_tokens(tokens: float, batch: float) -> None:
    b = ao.half_life(tokens, batch)
    assert isinstance(b, float)
    assert b ** (tokens / batch) == pytest.approx(0.5, rel=1e-12)  # a power of many steps
    # The rule of Marek et al.: the rate for another batch is a power of the rate.
    assert ao.half_life(tokens, 4 * batch) == pytest.approx(b**4, rel=1e-14)


@pytest.mark.quick
def test_a_ramp_weighs_gradients_by_the_tokens_since(x64: None) -> None:
    """Nu is the average of squares, each weighed by its batch and by the tokens after it."""
    sizes = np.array([100.0] * 20 + [250.0] * 20 + [1000.0] * 20)
    grads = gradients(60, 5, seed=3)
    half = 2000.0
    rates = ao.half_life(half, lambda count: jnp.asarray(sizes)[count])
    tx = ao.adam(1.0, b1=0.0, b2=rates, eps=0.0)
    state = tx.init(jnp.zeros(5))
    for g in grads:
        updates, state = tx.update(jnp.asarray(g), state)
    seen = np.cumsum(sizes)
    # A step of B tokens has the share 1 - 2^(-B / half), of which 2^(-n / half) is left n later.
    left = (1 - 0.5 ** (sizes / half)) * 0.5 ** ((seen[-1] - seen) / half)
    assert left.sum() == pytest.approx(1 - 0.5 ** (seen[-1] / half))
    nu = np.einsum("t,ti->i", left / left.sum(), grads**2)
    right = -grads[-1] / np.sqrt(np.where(nu > 0, nu, 1.0))
    assert relative_rms(updates, right) < 1e-12  # 60 roundings of 1e-16, and those of a power


def test_it_is_traced_and_of_any_dtype() -> None:
    rates = ao.half_life(1000.0, lambda count: 10 * (1 + count))
    assert float(rates(jnp.int32(9))) == pytest.approx(math.exp2(-0.1), rel=1e-6)  # float32
    assert float(rates(jnp.int32(0))) > float(rates(jnp.int32(1)))


@pytest.mark.quick
@pytest.mark.parametrize(
    ("tokens", "batch", "text"),
    [
        (0, 1, "tokens must be positive"),
        (-1.0, 1, "tokens must be finite and not negative, not -1.0"),
        (1e6, 0, "batch must be positive"),
        (1e6, "4096", "batch must be a number, a schedule"),
        (lambda n: n, 1, "tokens must be a number or a scalar array, not function"),
    ],
)
def test_what_is_no_number_of_tokens_is_refused(tokens: Any, batch: Any, text: str) -> None:
    with pytest.raises((ValueError, TypeError), match=text):
        ao.half_life(tokens, batch)
