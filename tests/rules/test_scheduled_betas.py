"""Hold averages whose decay rate follows a schedule to the weight that they have seen.

`1 - b^t` of the present rate is that weight for a constant rate alone; optax, Keras and PyTorch use
it for all. The oracle has `1 - b_1 b_2 ... b_t`.
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from adam_optax._core import log_decay
from adam_optax._core.numerics import one_minus_power
from tests.support.cases import CASES, Case, run
from tests.support.family import GRADS, MEMBERS, START, Member
from tests.support.oracle import relative_rms

STEPS = 100_000


def linear(start: float, end: float, steps: int) -> Callable[[Any], Any]:
    """Return the schedule from start to end, constant afterwards."""
    return lambda n: start + (end - start) * jnp.minimum(jnp.asarray(n, float) / steps, 1)


def cosine(n: Any) -> Any:
    return 0.999 - 0.025 * (1 + jnp.cos(jnp.pi * jnp.minimum(jnp.asarray(n, float) / 20_000, 1)))


def steps(n: Any) -> Any:
    return jnp.where(n < 1000, 0.9, jnp.where(n < 50_000, 0.99, 0.999)) * jnp.ones(())


def palm(n: Any) -> Any:
    return 1 - (jnp.asarray(n, float) + 1) ** -0.8  # 0 at first: that step forgets the start


SCHEDULES = {
    "linear": linear(0.95, 0.999, 1000),
    "step": steps,
    "cosine": cosine,
    "PaLM": palm,
    "warm-up": linear(0.5, 0.99, 100),
}
RATES = {
    name: np.asarray(jax.jit(jax.vmap(schedule))(jnp.arange(STEPS)), np.float64)
    for name, schedule in SCHEDULES.items()
}


def weights(rates: np.ndarray[Any, np.dtype[np.float64]]) -> Any:
    """Return `1 - b_1 ... b_t` at every step."""
    return -np.expm1(np.cumsum(np.log(np.maximum(rates, 1e-300))))


def over_steps(tx: Any, grads: Any) -> Any:
    """Return the updates of `tx` under gradients, one after the other."""
    step = lambda state, g: tx.update(g, state)[::-1]  # noqa: E731
    return jax.jit(lambda: jax.lax.scan(step, tx.init(grads[0]), grads)[1])()


def of_both(name: str) -> dict[str, Any]:
    """Return the schedule as b1 beside a b2 of 0, and as b2 beside a b1 of 0."""
    return {"b1": {"b1": SCHEDULES[name], "b2": 0.0}, "b2": {"b1": 0.0, "b2": SCHEDULES[name]}}


@pytest.mark.matrix(keep=1, quick=["PaLM"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_weight_is_that_of_all_rates_over_100_000_steps(name: str) -> None:
    def step(total: Any, n: Any) -> Any:
        b = jnp.float32(SCHEDULES[name](n))
        total = log_decay.add_decay(total, b)
        age = log_decay.effective_age(total, b, jnp.float32)
        return total, one_minus_power(b, age)

    start = log_decay.no_decay()
    last, seen = jax.jit(lambda: jax.lax.scan(step, start, jnp.arange(STEPS)))()
    right = weights(RATES[name])
    assert np.abs(np.float64(seen) / right - 1).max() < 1e-6  # XLA's logarithm and expm1
    replayed = log_decay.log_decay_of(RATES[name])
    octaves = lambda x: np.asarray(x, float) @ [1.0, 2.0**-16, 2.0**-32, 2.0**-48]  # noqa: E731
    np.testing.assert_allclose(octaves(last), octaves(replayed), rtol=1e-6)  # float32's logarithm


@pytest.mark.matrix(keep=3, quick=["linear-b2", "PaLM-b2"])
@pytest.mark.parametrize("which", ["b1", "b2"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_constant_gradient_gives_steps_of_one(name: str, which: str) -> None:
    tx = ao.scale_by_adam(**of_both(name)[which], eps=0.0)
    steps = np.float64(over_steps(tx, jnp.ones((STEPS, 1))))
    # An average in float32 comes to rest within half a unit over 1 - b of its limit: 3e-5 at .999.
    # The schedules up to there are fast at first, so that little of that is left.
    rest = 1.6e-5 if (name, which) in {("step", "b1"), ("cosine", "b1")} else 2e-6
    assert np.abs(steps - 1).max() < rest


@pytest.mark.matrix(keep=1, quick=["linear"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_adam_is_within_2e_6_of_float64_over_100_000_steps(name: str) -> None:
    g = np.random.default_rng(0).standard_normal((STEPS, 2)).astype(np.float32)
    steps = over_steps(ao.scale_by_adam(b2=SCHEDULES[name], eps=0.0), jnp.asarray(g))
    mu, nu, right = np.zeros(2), np.zeros(2), np.empty(g.shape)
    seen_mu, seen_nu = weights(np.full(STEPS, 0.9)), weights(RATES[name])
    for i, (x, b2) in enumerate(zip(g.astype(np.float64), RATES[name], strict=True)):
        mu, nu = 0.9 * mu + 0.1 * x, b2 * nu + (1 - b2) * x * x
        right[i] = mu / seen_mu[i] / np.sqrt(nu / seen_nu[i])
    assert relative_rms(steps, right) < 2e-6
    # A single step is further off: at PaLM's last rate, .9999, float32 keeps nu within 5e-6.
    assert (np.abs(steps - right) / np.maximum(1, np.abs(right))).max() < 3e-6
    theirs = optax.inject_hyperparams(optax.scale_by_adam)(b2=SCHEDULES[name], eps=0.0)
    if name in ("linear", "PaLM", "warm-up"):
        with jax.numpy_dtype_promotion("standard"):
            off = np.abs(over_steps(theirs, jnp.asarray(g)) - right).max()
        assert off > 0.05


def _around(rate: float, i: int) -> Callable[[Any], Any]:
    swing = min(rate, 1 - rate) / 2
    return lambda n: rate - swing * jnp.cos(jnp.asarray(n, float) / 9 + i) ** 2


def scheduled(member: Member | Case) -> dict[str, Any]:
    """Return a schedule for each decay rate of a variant, around the rate that it has."""
    parameters = inspect.signature(getattr(ao, member.name)).parameters
    moving: dict[str, Any] = {}
    for i, name in enumerate(("b1", "b2", "b3", "decay", "momentum")):
        default = parameters[name].default if name in parameters else None
        rate = member.options.get(name, default)
        if isinstance(rate, float) and 0 < rate < 1:
            moving[name] = _around(rate, i)
    return moving


FOLLOWERS: list[Member | Case] = [c for c in CASES if scheduled(c)]
FOLLOWERS += [m for m in MEMBERS if scheduled(m)]


@pytest.mark.matrix(keep=5, quick=["1-adam-b1=0.0-b2=0.95"])
@pytest.mark.parametrize("member", FOLLOWERS, ids=[f"{i}-{m.id}" for i, m in enumerate(FOLLOWERS)])
def test_every_variant_follows_scheduled_betas(member: Member | Case, x64: None) -> None:
    moving = scheduled(member)
    start = jnp.float64(START)
    updates, _, _ = run(member.ours(**moving), jnp.float64(GRADS[:120]), start)
    expected = member.oracle(GRADS[:120], START, **moving)
    # Log decays have 48 digits after the point, and rates of 1e-3: 1e-12, a hundred times.
    assert relative_rms(updates, expected["updates"]) < 1e-10


@pytest.mark.quick
@pytest.mark.parametrize("back", [False, True], ids=["to a schedule", "to a number"])
def test_a_state_of_other_rates_is_refused_and_the_way_out_that_is_named_works(back: bool) -> None:
    params, c = {"w": jnp.ones(2)}, ao.convert
    made = [ao.adam(1e-3, b2=0.99), ao.adam(1e-3, b2=linear(0.99, 0.99, 1))]
    before, tx = reversed(made) if back else made
    _, state = before.update(params, before.init(params), params)
    held, needed = ("nu", "none") if back else ("none", "nu")
    text = f"on a schedule: {held}; this optimiser has {needed}; .* c.from_named"
    with pytest.raises(TypeError, match=text):
        tx.update(params, state, params)
    taken = c.from_named(c.to_named(state), tx.init(params), tx=tx, params=params)
    updates, _ = tx.update(params, taken, params)
    # The rate has been the same so far, and averages of a constant gradient stay one: rounding.
    np.testing.assert_allclose(updates["w"], -1e-3, rtol=1e-5)
