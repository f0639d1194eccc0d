"""Test what MARS, AdamH, Adam-atan2 and AdEMAMix's warm-ups promise beside their formulas.

The formulas themselves are held to the oracle with those of the whole family, in `test_family`.
"""

import math
from decimal import Decimal, localcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from adam_optax._core.numerics import angle
from tests.support import oracle, oracle_mars_adamh
from tests.support.cases import LEARNING_RATE, run
from tests.support.family import GRADS, START
from tests.support.formats import FORMATS
from tests.support.oracle import relative_rms
from tests.support.oracle_mars_adamh import norm, read

SHORT = GRADS[:40]
STEPS = 256_000
"""Of the paper's longest run: 1.3 B parameters, 131 B tokens."""


# --- AdEMAMix's warm-ups -----------------------------------------------------------------------


def over_counts(schedule: Any, counts: int) -> Any:
    return np.asarray(jax.jit(jax.vmap(schedule))(jnp.arange(counts, dtype=jnp.int32)))


def test_b3_is_the_nearest_float32_or_its_neighbour_over_256_000_steps() -> None:
    counts = STEPS + 9
    found = over_counts(ao.schedules.ademamix_b3(0.9999, STEPS), counts)
    left = oracle_mars_adamh.one_minus_b3(np.arange(counts), 0.9999, STEPS)
    off = np.abs(1 - found.astype(np.longdouble) - left)
    assert off.max() < 2**-24 * 1.05  # half a float32 below 1, and a rounding of 1 - b3
    assert (off / left).max() < 4e-4  # what that is of 1 - b3 at .9999
    # The paper's formula as it stands, as Apple's port to optax computes it, is off 70 times more.
    whole = lambda b: jnp.log(0.5) / jnp.log(b) - 1  # noqa: E731
    share = lambda n: (jnp.astype(n, jnp.float32) + 1) / STEPS  # noqa: E731
    mixed = lambda n: (1 - share(n)) * whole(0.9) + share(n) * whole(0.9999)  # noqa: E731
    naive = over_counts(lambda n: jnp.power(0.5, 1 / (mixed(n) + 1)), STEPS)
    assert np.abs(1 - naive.astype(np.longdouble) - left[:STEPS]).max() > 2e-6


def test_alpha_is_within_a_rounding_over_256_000_steps() -> None:
    found = over_counts(ao.schedules.ademamix_alpha(8.0, STEPS), STEPS + 9)
    right = oracle_mars_adamh.ademamix_alpha(np.arange(STEPS + 9), 8.0, STEPS)
    assert (np.abs(found - right) / right).max() < 1.2e-7  # two roundings of 6e-8


@pytest.mark.quick
def test_warm_ups_in_float64_equal_the_paper_with_60_digits(x64: None) -> None:
    counts = [0, 1, 1000, 127_999, 255_998, 255_999, 256_000, 10**6]
    b3 = ao.schedules.ademamix_b3(0.9999, STEPS)
    alpha = ao.schedules.ademamix_alpha(8.0, STEPS, start=1.0)
    with localcontext(prec=60):
        first, last = (Decimal(b).ln() for b in (float("0.9"), float("0.9999")))
        for n in counts:
            t = min(Decimal(n + 1) / STEPS, Decimal(1))
            right = (first * last / ((1 - t) * last + t * first)).exp()
            assert abs(float(Decimal(read(b3, n)) - right)) < 2e-16
            assert abs(read(alpha, n) - float(1 + 7 * t)) < 1e-15
            oracle_s = oracle_mars_adamh.one_minus_b3(n, 0.9999, STEPS)
            assert abs(float(oracle_s) - float(1 - right)) < 1e-19  # of 1e-4: in long double


@pytest.mark.quick
def test_a_warm_up_from_no_memory_and_one_of_no_steps() -> None:
    b3 = ao.schedules.ademamix_b3(0.5, 10, start=0.0)
    # A half-life of 1 at the end, of 0 at the start: .1 and 1 of it after 1 and 10 steps.
    np.testing.assert_allclose([read(b3, 0), read(b3, 9)], [0.5**10, 0.5], rtol=1e-6)  # roundings
    assert read(ao.schedules.ademamix_b3(0.0, 5, start=0.0), 0) == 0
    assert read(ao.schedules.ademamix_alpha(3.0, 0), 0) == 3


@pytest.mark.heavy
def test_ademamix_with_its_warm_ups_is_right_over_256_000_steps() -> None:
    """Float32 against float64, once with the schedule's float32 rates and once with the paper's."""
    alpha, b3 = ao.schedules.ademamix_alpha(8.0, STEPS), ao.schedules.ademamix_b3(0.9999, STEPS)
    rng = np.random.default_rng(7)
    means = np.array([0.0, 0.1, 1.0, 10.0])
    g = (rng.standard_normal((STEPS, 4)) + means).astype(np.float32)
    tx = ao.scale_by_ademamix(b3=b3, alpha=alpha)
    scan = lambda s, x: tx.update(x, s)[::-1]  # noqa: E731
    found = np.asarray(jax.jit(lambda g: jax.lax.scan(scan, tx.init(g[0]), g))(jnp.asarray(g))[1])
    alphas = np.float64(oracle_mars_adamh.ademamix_alpha(np.arange(STEPS), 8.0, STEPS))
    ideal = np.float64(1 - oracle_mars_adamh.one_minus_b3(np.arange(STEPS), 0.9999, STEPS))
    for rates, bound in ((np.float64(over_counts(b3, STEPS)), 4e-6), (ideal, 1e-4)):
        right = ademamix(np.float64(g), alphas, rates)
        assert relative_rms(found, right) < bound


def ademamix(g: Any, alphas: Any, b3s: Any) -> Any:
    """Return AdEMAMix's directions, b1 = .9 and b2 = .999, in float64."""
    mu, slow, nu = (np.zeros(g.shape[1]) for _ in range(3))
    out = np.empty(g.shape)
    for i, (x, alpha, b3) in enumerate(zip(g, alphas, b3s, strict=True)):
        mu, nu = 0.9 * mu + 0.1 * x, 0.999 * nu + 0.001 * x * x
        slow = b3 * slow + (1 - b3) * x
        seen = (
            oracle.decay_power_complement(0.9, i + 1),
            oracle.decay_power_complement(0.999, i + 1),
        )
        out[i] = (mu / seen[0] + alpha * slow) / (np.sqrt(nu / seen[1]) + 1e-8)
    return out


@pytest.mark.quick
@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda s: s.ademamix_b3(1.0, 9), ValueError, r"b3 must be in \[0, 1\), not 1.0"),
        (lambda s: s.ademamix_b3(0.5, 9), ValueError, "start must not be above b3, 0.5, not 0.9"),
        (lambda s: s.ademamix_b3(0.99, 9.0), TypeError, "steps must be an integer, not 9.0"),
        (lambda s: s.ademamix_alpha(5.0, -1), ValueError, "steps must be at least 0, not -1"),
        (lambda s: s.ademamix_alpha("5", 9), TypeError, "alpha must be a number or a scalar array"),
        (lambda s: s.ademamix_alpha(-5.0, 9), ValueError, "alpha must be finite and not negative"),
    ],
)
def test_what_is_no_warm_up_is_refused(make: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        make(ao.schedules)


# --- Adam-atan2 --------------------------------------------------------------------------------


@pytest.mark.quick
def test_the_angle_is_right_to_two_roundings() -> None:
    rng = np.random.default_rng(0)
    x = np.float32(10.0 ** rng.uniform(-18, 18, 100_000))
    y = np.float32(x * 10.0 ** rng.uniform(-8, 8, x.size) * rng.choice([-1, 1], x.size))
    found = np.float64(jax.jit(angle)(jnp.asarray(y), jnp.asarray(x)))
    right = np.arctan2(np.float64(y), np.float64(x))
    assert (np.abs(found - right) / np.abs(right)).max() < 2e-7
    zero, one = jnp.float32(0), jnp.float32(1)
    assert [float(angle(*at)) for at in ((zero, zero), (zero, one), (one, zero))] == [
        0,
        0,
        pytest.approx(math.pi / 2),
    ]
    assert float(jax.grad(angle)(zero, one)) == 1
    assert np.isfinite(jax.grad(angle, argnums=(0, 1))(zero, zero)).all()


@pytest.mark.quick
def test_steps_do_not_depend_on_the_scale_of_gradients_which_adams_do() -> None:
    start, scale = jnp.float32(START), 2.0**-40  # exact, so that no step may differ
    there = lambda make: run(make(LEARNING_RATE), jnp.float32(SHORT), start)[0]  # noqa: E731
    small = lambda make: run(make(LEARNING_RATE), jnp.float32(SHORT) * scale, start)[0]  # noqa: E731
    np.testing.assert_array_equal(there(ao.adam_atan2), small(ao.adam_atan2))
    assert relative_rms(small(ao.adam), there(ao.adam)) > 0.1


@pytest.mark.quick
def test_any_variant_takes_the_direction(x64: None) -> None:
    replaced = ao.directions.atan2(a=1.0, b=2.0)

    @ao.variant(decay_rates=("b1",))
    def belief(b1: Any = 0.9) -> ao.Rule:
        return ao.Rule(ao.rules.adabelief(b1).moments, replaced)

    tx = ao.optimizer(belief(), LEARNING_RATE)
    updates, _, _ = run(tx, jnp.float64(SHORT), jnp.float64(START))
    mu, nu = np.zeros_like(START), np.zeros_like(START)
    for t, (g, u) in enumerate(zip(SHORT, updates, strict=True), start=1):
        mu = 0.9 * mu + 0.1 * g
        nu = 0.999 * nu + 0.001 * (g - mu) ** 2 + 1e-16
        angles = np.arctan2(mu / (1 - 0.9**t), 2 * np.sqrt(nu / (1 - 0.999**t)))
        assert relative_rms(u, -LEARNING_RATE * angles) < 1e-12


# --- MARS --------------------------------------------------------------------------------------


@pytest.mark.quick
@pytest.mark.parametrize("zero_start", [False, True])
def test_where_mars_starts_is_an_argument(zero_start: bool, x64: None) -> None:
    """A clipped first gradient has the same length either way: here nothing is clipped."""
    how: dict[str, Any] = {"gamma": 0.5, "max_norm": math.inf}
    tx = ao.mars(LEARNING_RATE, zero_start=zero_start, **how)
    updates, _, _ = run(tx, jnp.float64(SHORT), jnp.float64(START))
    right, other = (
        oracle.optimise(
            oracle_mars_adamh.Mars(zero_start=start, **how), SHORT, START, LEARNING_RATE
        )["updates"]
        for start in (zero_start, not zero_start)
    )
    assert relative_rms(updates, right) < 1e-12  # rounding
    assert relative_rms(updates, other) > 1e-3


@pytest.mark.quick
def test_one_norm_of_all_parameters_is_levanters_mars(x64: None) -> None:
    link = ao.scale_by(ao.rules.mars_correction(b1=0.95, gamma=0.2))
    adamw = ao.adamw(LEARNING_RATE, b1=0.95, b2=0.99, weight_decay=0.1)
    tx = optax.chain(link, ao.clip_by_global_norm(1.0), adamw)
    cut = {"a": slice(0, 1), "b": slice(1, 3)}
    tree = lambda x: {n: jnp.float64(x[..., s, :]) for n, s in cut.items()}  # noqa: E731
    updates, _, _ = run(tx, tree(SHORT), tree(START))
    # One parameter of all is clipped by the norm of all.
    rule = oracle_mars_adamh.Mars(gamma=0.2)
    right = oracle.optimise(rule, SHORT, START, LEARNING_RATE, 0.1)["updates"]
    for n, s in cut.items():
        assert relative_rms(updates[n], right[:, s]) < 1e-12  # rounding


@pytest.mark.quick
def test_vectors_are_adamws_by_path_as_in_the_authors_code(x64: None) -> None:
    matrix = lambda yes, no: ao.by_path(lambda path, p: yes if p.ndim > 1 else no)  # noqa: E731
    tx = ao.mars(
        matrix(LEARNING_RATE, 0.03),
        b1=matrix(0.95, 0.9),
        b2=matrix(0.99, 0.95),
        gamma=matrix(0.025, 0.0),
        max_norm=matrix(1.0, math.inf),
        zero_start=True,
        weight_decay=matrix(0.01, 0.1),
    )
    tree = lambda x: {"w": jnp.float64(x[..., 1:, :]), "b": jnp.float64(x[..., 0, :])}  # noqa: E731
    updates, _, _ = run(tx, tree(SHORT), tree(START))
    mars = oracle_mars_adamh.Mars(zero_start=True)
    w = oracle.optimise(mars, SHORT[:, 1:], START[1:], LEARNING_RATE, 0.01)["updates"]
    b = oracle.optimise(oracle.Adam(0.9, 0.95), SHORT[:, 0], START[0], 0.03, 0.1)["updates"]
    assert relative_rms(updates["w"], w) < 1e-12
    assert relative_rms(updates["b"], b) < 1e-12


@pytest.mark.quick
@pytest.mark.parametrize(
    ("max_norm", "error", "text"),
    [
        (0.0, ValueError, "max_norm must be positive, not 0.0; math.inf clips nothing"),
        (math.nan, ValueError, "max_norm must be positive, not nan"),
        (None, TypeError, "max_norm must be a number, .* not NoneType; math.inf clips nothing"),
    ],
)
def test_a_norm_that_clips_all_is_refused(max_norm: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        ao.mars(1e-3, max_norm=max_norm)


def test_numbers_of_mars_may_follow_schedules(x64: None) -> None:
    moving: dict[str, Any] = {
        "gamma": lambda n: 0.3 / (1 + jnp.asarray(n, float)),
        "max_norm": lambda n: 1.0 + jnp.asarray(n, float),
    }
    updates, _, _ = run(ao.mars(LEARNING_RATE, **moving), jnp.float64(SHORT), jnp.float64(START))
    right = oracle.optimise(oracle_mars_adamh.Mars(**moving), SHORT, START, LEARNING_RATE)[
        "updates"
    ]
    assert relative_rms(updates, right) < 1e-12


# --- AdamH -------------------------------------------------------------------------------------


@pytest.mark.matrix(keep=0, quick=["pair()", "float8()"])
@pytest.mark.parametrize("name", FORMATS)
def test_the_norm_stays_in_every_format(name: str) -> None:
    storage: Any = FORMATS[name]
    if name == "factored()":
        storage = {"nu": ao.storage.factored(0)}
    tx = ao.adamh(0.03, storage=storage)
    _, params, state = run(tx, jnp.float32(GRADS[:60]), jnp.float32(START))
    (radius,) = jax.tree.leaves(ao.read_moments(state, tx, jnp.float32(START))["radius"])
    assert radius.dtype == jnp.float32
    assert float(radius) == pytest.approx(norm(START), rel=2e-7)  # of float32
    assert norm(np.float64(params)) == pytest.approx(norm(START), rel=3e-7)
    assert norm(np.asarray(params, np.float64) - START) > 0.3


@pytest.mark.quick
def test_which_parameters_keep_their_norm_is_by_path(x64: None) -> None:
    matrix = lambda yes, no: ao.by_path(lambda path, p: yes if p.ndim > 1 else no)  # noqa: E731
    decay = matrix(0.0, 0.1)
    tx = ao.adamh(matrix(0.02, 1e-3), fixed_norm=matrix(True, False), weight_decay=decay)
    tree = lambda x: {"w": jnp.float64(x[..., 1:, :]), "b": jnp.float64(x[..., 0, :])}  # noqa: E731
    updates, params, state = run(tx, tree(SHORT), tree(START))
    rule = oracle_mars_adamh.AdamH(learning_rate=0.02)
    w = oracle.optimise(rule, SHORT[:, 1:], START[1:], 0.02)["updates"]
    b = oracle.optimise(oracle.Adam(b2=0.95), SHORT[:, 0], START[0], 1e-3, 0.1)["updates"]
    assert relative_rms(updates["w"], w) < 1e-12
    assert relative_rms(updates["b"], b) < 1e-12
    assert norm(np.asarray(params["w"])) == pytest.approx(norm(START[1:]), rel=1e-14)
    assert float(ao.read_moments(state)["radius"]["b"]) == 0


@pytest.mark.quick
def test_a_step_is_the_angle_that_the_learning_rate_says() -> None:
    """Whatever the gradient's size is, here of a step at right angles to the parameter."""
    p = jnp.float32([3.0, 0.0])
    g = jnp.float32([0.0, 1e-4])
    tx = ao.adamh(0.01)
    updates, _ = tx.update(g, tx.init(p), p)
    new = np.asarray(p + updates, np.float64)
    assert math.atan2(-new[1], new[0]) == pytest.approx(math.atan(0.01), rel=1e-5)
    flat, _ = tx.update(jnp.zeros(2), tx.init(p), p)
    np.testing.assert_array_equal(flat, 0)  # without a gradient nothing turns


@pytest.mark.quick
def test_a_parameter_that_is_zero_takes_adams_step_and_one_thawed_late_has_its_norm() -> None:
    params = {"zero": jnp.zeros(4), "late": jnp.full(4, 2.0)}
    grads = {"zero": jnp.full(4, 0.5), "late": jnp.float32([1, -1, 1, -1])}
    tx, adam = ao.adamh(0.1, eps=0.0), ao.adam(0.1, b2=0.95, eps=0.0)
    state, other = tx.init(params), adam.init(params["zero"])
    for given in ({**grads, "late": None}, grads, grads):
        updates, state = tx.update(given, state, params)
        right, other = adam.update(grads["zero"], other)
        np.testing.assert_allclose(updates["zero"], right, rtol=1e-6)  # fused otherwise
        params = {n: p if updates[n] is None else p + updates[n] for n, p in params.items()}
    assert float(ao.read_moments(state)["radius"]["late"]) == 4
    assert norm(np.float64(params["late"])) == pytest.approx(4, rel=3e-7)
    assert not np.allclose(params["late"], 2.0, atol=0.05)


@pytest.mark.quick
def test_bfloat16_parameters_keep_their_norm_where_a_norm_taken_anew_drifts() -> None:
    """Levanter takes the norm of each step's parameter, with the roundings of all before it."""
    rng = np.random.default_rng(0)
    start = jnp.asarray(rng.standard_normal((8, 8)), jnp.bfloat16)
    grads = jnp.asarray(rng.standard_normal((3000, 8, 8)), jnp.float32)
    tx, adam = ao.adamh(0.03), ao.scale_by_adam(b2=0.95)

    def anew(carry: Any, g: Any) -> Any:
        p, state = carry
        u, state = adam.update(g, state)
        wide = p.astype(jnp.float32)
        size = jnp.linalg.norm(wide)
        to = wide - 0.03 * size * u / jnp.linalg.norm(u)
        return ((to / jnp.linalg.norm(to) * size).astype(jnp.bfloat16), state), None

    ours = lambda carry, g: (ao.step(tx, g, carry[1], carry[0]), None)  # noqa: E731
    (kept, _), _ = jax.lax.scan(ours, (start, tx.init(start)), grads)
    (theirs, _), _ = jax.lax.scan(anew, (start, adam.init(jnp.float32(start))), grads)
    first = norm(np.float64(start))
    off = [abs(norm(np.float64(p)) / first - 1) for p in (kept, theirs)]
    assert off[0] < 2e-3  # 64 roundings of up to 4e-3, each of an eighth of the norm: 1.3e-3
    assert off[1] > 0.01  # a walk of 3,000 steps; measured: .020, and .047 of other gradients


@pytest.mark.quick
def test_adamh_without_a_learning_rate_is_refused() -> None:
    rate: Any = None
    with pytest.raises(TypeError, match="ends on a sphere, which no later factor could do"):
        ao.adamh(rate)
