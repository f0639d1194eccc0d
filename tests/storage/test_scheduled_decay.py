"""Hold formats that take the decay of nu out of their codes to a decay rate on a schedule."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adam_optax as ao
from tests.rules.test_scheduled_betas import SCHEDULES
from tests.support.formats import FORMATS
from tests.support.streams import compare, gradients, worst

SCHEDULE = SCHEDULES["linear"]
N, IDLE = 256, 1500
DATED = ["pair()", "pair(3)", "pair(4)", "pair(block=128)", "pair(1, block=64)", "float8()"]
EACH = pytest.mark.parametrize("name", DATED)


def nu_over_time(storage: Any) -> Any:
    """Return nu after each step of a burst of gradients and a long rest without any."""
    tx = ao.scale_by_adam(b2=SCHEDULE, storage=storage)
    burst = gradients("rows", N)

    def step(state: Any, n: Any) -> Any:
        _, state = tx.update(jnp.where(n < 20, burst(n), 0.0), state)
        return state, ao.read_moments(state, tx, jnp.zeros(N))["nu"]

    run = jax.jit(lambda state: jax.lax.scan(step, state, jnp.arange(20 + IDLE))[1])
    return np.float64(run(tx.init(jnp.zeros(N))))


@pytest.mark.matrix(keep=1, quick=["pair()"])
@EACH
def test_without_gradients_nu_decays_exactly(name: str) -> None:
    """Show that no rest step rounds nu anew: what is off stays off by the same factor."""
    off = nu_over_time(FORMATS[name])[20:] / nu_over_time(None)[20:]
    # 1,500 decays, each rounded in float32. At a constant rate, too, 2 % of the codes move, where
    # float32 puts a number on the other side of a step or the number leaves the fine grid.
    assert np.mean(np.abs(off / off[0] - 1) > 2e-4) < 0.03


@pytest.mark.heavy
@EACH
def test_steps_stay_as_close_to_float32_as_at_a_constant_rate(name: str) -> None:
    rms = {}
    for which, b2 in (("constant", 0.999), ("scheduled", SCHEDULE)):
        rule = ao.rules.adam(b2=b2)
        tx, twin = ao.scale_by(rule, storage=FORMATS[name]), ao.scale_by(rule)
        rms[which] = worst(compare(tx, twin, gradients("rows", 512), 512)).rms
    # A rate that moves spreads the roundings of a window of steps less evenly: measured 1.27 times
    # for pair() (.153), 1.32 for pair(3), below 1.1 for the others, but for what float32 itself is
    # off beside pair(4); at rates that stay, .9 to .99, less than at .999. The claim for pair() at
    # any rate is .16.
    worse = 1.4 if name in ("pair()", "pair(3)") else 1.15
    assert rms["scheduled"] < worse * rms["constant"] + 0.002
    assert name != "pair()" or rms["scheduled"] < 0.16


@pytest.mark.quick
def test_a_leaf_without_gradient_keeps_nu_while_the_rate_moves() -> None:
    tx = ao.scale_by_adam(b2=SCHEDULE, storage=ao.storage.pair())
    params = {"w": jnp.ones(8), "still": jnp.ones(8)}
    _, state = tx.update({"w": jnp.ones(8), "still": 2 * jnp.ones(8)}, tx.init(params))
    first = ao.read_moments(state, tx, params)["nu"]["still"]
    for _ in range(3):
        _, state = tx.update({"w": jnp.ones(8), "still": None}, state)
    last = ao.read_moments(state, tx, params)["nu"]["still"]
    np.testing.assert_allclose(last, first, rtol=0.3)  # rounded anew at each step, by 1/8 at most
