"""Test how weight decay is coupled to the learning rate, and to the step."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from adam_optax import couplings
from tests.support import oracle, oracle_decay, oracle_family, oracle_frameworks, oracle_other
from tests.support.cases import gradients, run, witness
from tests.support.oracle import relative_rms

STEPS, SHAPE, PEAK, DECAY = 200, (3, 5), 0.02, 0.3
GRADS = gradients(STEPS, 15, seed=5).reshape(STEPS, *SHAPE)
START = (np.linspace(-1.0, 1.0, 15) + 0.03).astype(np.float32).astype(np.float64).reshape(SHAPE)


COUNTS = np.arange(STEPS)
FALL = 0.1 + 0.9 * (1 + np.cos(COUNTS * (np.pi / STEPS))) / 2
RATES = PEAK * np.minimum((COUNTS + 1) / 20, FALL)  # it climbs and falls to a tenth; never 0
DECAYS = 1 / (1 + COUNTS / 50)


def rate(n: Any) -> Any:
    """Return the learning rate for ours and for optax; the oracle reads the table itself."""
    return jnp.asarray(RATES)[n]


@dataclasses.dataclass(frozen=True)
class Pair:
    """Hold a coupling of ours, made at a call, and the oracle's."""

    ours: Callable[[], Any]
    oracle: oracle_decay.Coupling


PAIRS = {
    "RATE": Pair(lambda: couplings.RATE, oracle_decay.RATE),
    "INDEPENDENT": Pair(lambda: couplings.INDEPENDENT, oracle_decay.INDEPENDENT),
    "relative": Pair(lambda: couplings.relative(PEAK), oracle_decay.relative(PEAK)),
    "corrected": Pair(lambda: couplings.corrected(PEAK), oracle_decay.corrected(PEAK)),
}
PAIRS |= {
    f"cautious-{name}": Pair(
        lambda pair=pair: couplings.cautious(pair.ours()),  # type: ignore[misc]
        oracle_decay.cautious(pair.oracle),
    )
    for name, pair in PAIRS.items()
}


def weight(pair: str) -> float:
    """Return a decay that shrinks by DECAY times PEAK at the rate's peak, coupled or not."""
    coupling = PAIRS[pair].oracle
    return DECAY * PEAK / (coupling.inside(PEAK) * PEAK + coupling.outside)


@dataclasses.dataclass(frozen=True)
class Variant:
    """Hold a rule of ours, the oracle's, and the oracle's postprocessing."""

    rule: Callable[[], ao.Rule]
    oracle: Callable[[], oracle.Leaf]
    finish: oracle_decay.Finish | None = None


VARIANTS = {
    "adam": Variant(ao.rules.adam, oracle.Adam),
    "lion": Variant(ao.rules.lion, oracle_family.Lion),
    "amsgrad": Variant(ao.rules.amsgrad, oracle.AmsGrad),
    "rmsprop": Variant(
        lambda: ao.rules.rmsprop(momentum=0.9, nesterov=True),
        lambda: oracle_other.RMSProp(momentum=0.9, nesterov=True, learning_rate=lambda n: RATES[n]),
    ),
    "lamb": Variant(ao.rules.lamb, lambda: oracle.Adam(eps=1e-6), finish=oracle_decay.trust_ratio),
    "stable_adam": Variant(
        ao.rules.stable_adam,
        lambda: oracle.Adam(b2=0.99, eps=1e-6),
        finish=oracle_decay.stabilised,
    ),
}
QUICKLY = ("adam-cautious-INDEPENDENT", "adam-corrected", "rmsprop-INDEPENDENT")
EVERY = [
    pytest.param(v, p, id=f"{v}-{p}", marks=[] if f"{v}-{p}" in QUICKLY else [pytest.mark.heavy])
    for v in VARIANTS
    for p in PAIRS
]
SHORT = [pytest.param(v, p, id=f"{v}-{p}") for v in VARIANTS for p in PAIRS]


def ours(variant: str, pair: str, learning_rate: Any = rate, decay: Any = None) -> Any:
    """Build the optimiser."""
    amount = weight(pair) if decay is None else decay
    return ao.optimizer(
        VARIANTS[variant].rule(),
        learning_rate,
        decay=ao.Decay(amount, coupling=PAIRS[pair].ours()),
    )


def right(variant: str, pair: str, steps: int, decay: Any = None) -> dict[str, Any]:
    """Return the oracle's run."""
    amount, v = weight(pair) if decay is None else decay, VARIANTS[variant]
    coupling, schedule = PAIRS[pair].oracle, lambda n: RATES[n]
    grads = GRADS[:steps]
    return oracle_decay.optimise(v.oracle(), grads, START, schedule, amount, coupling, v.finish)


@pytest.mark.parametrize(("variant", "pair"), EVERY)
def test_a_run_equals_the_oracle(variant: str, pair: str, x64: None) -> None:
    updates, params, _ = run(ours(variant, pair), jnp.float64(GRADS), jnp.float64(START))
    expected = right(variant, pair, STEPS)
    assert relative_rms(updates, expected["updates"]) < 1e-12  # 200 roundings of 1e-16
    assert relative_rms(params, expected["params"][-1]) < 1e-12


@pytest.mark.parametrize("pair", ["RATE", "INDEPENDENT", "relative", "corrected"])
def test_the_couplings_differ(pair: str) -> None:
    mine = right("adam", pair, 50, decay=0.03)["updates"]
    for other in PAIRS:
        if other != pair:
            assert relative_rms(mine, right("adam", other, 50, decay=0.03)["updates"]) > 1e-4


@pytest.mark.quick
@pytest.mark.parametrize("pair", ["RATE", "INDEPENDENT", "corrected", "cautious-relative"])
def test_a_short_float32_run_equals_the_oracle_step_by_step(pair: str) -> None:
    updates, _, _ = run(ours("adam", pair), jnp.float32(GRADS[:12]), jnp.float32(START))
    for mine, theirs in zip(updates, right("adam", pair, 12)["updates"], strict=True):
        assert relative_rms(mine, theirs) < 2e-6  # a dozen roundings of 6e-8, the schedule's too


@pytest.mark.heavy
@pytest.mark.parametrize(("variant", "pair"), SHORT)
def test_a_float32_run_equals_the_oracle(variant: str, pair: str) -> None:
    updates, _, _ = run(ours(variant, pair), jnp.float32(GRADS), jnp.float32(START))
    # A few dozen roundings; a sign of d p that they turn shows only where d is next to 0.
    assert relative_rms(updates, right(variant, pair, STEPS)["updates"]) < 5e-6


@pytest.mark.quick
@pytest.mark.parametrize(
    ("variant", "pair"), [("lamb", "INDEPENDENT"), ("lamb", "corrected"), ("stable_adam", "RATE")]
)
def test_only_what_has_no_rate_stays_outside_the_finish(variant: str, pair: str, x64: None) -> None:
    updates, _, _ = run(ours(variant, pair), jnp.float64(GRADS[:20]), jnp.float64(START))
    assert relative_rms(updates, right(variant, pair, 20)["updates"]) < 1e-12  # roundings


def test_both_schedules_are_read_at_the_count_before_the_step(x64: None) -> None:
    for pair in ("corrected", "INDEPENDENT"):
        amounts = weight(pair) * DECAYS
        tx = ours("adam", pair, decay=lambda n, a=amounts: jnp.asarray(a)[n])
        updates, _, _ = run(tx, jnp.float64(GRADS[:60]), jnp.float64(START))
        expected = right("adam", pair, 60, decay=lambda n, a=amounts: a[n])["updates"]
        assert relative_rms(updates, expected) < 1e-12  # roundings


@pytest.mark.quick
def test_rate_is_the_default_bit_for_bit_and_no_coupling_has_a_state() -> None:
    plain = ao.adamw(rate, weight_decay=DECAY)
    grads, start = jnp.float32(GRADS[:10]), jnp.float32(START)
    expected = run(plain, grads, start)
    chex.assert_trees_all_equal(
        run(ao.adamw(rate, weight_decay=DECAY, coupling=couplings.RATE), grads, start), expected
    )
    for pair in PAIRS.values():
        tx = ao.adamw(rate, weight_decay=DECAY, coupling=pair.ours())
        chex.assert_trees_all_equal_shapes_and_dtypes(tx.init(start), plain.init(start))


@pytest.mark.quick
def test_at_the_peak_corrected_is_rate_and_relative_is_independent(x64: None) -> None:
    def at(coupling: Any) -> Any:
        tx = ao.adamw(PEAK, weight_decay=0.01, coupling=coupling)
        return run(tx, jnp.float64(GRADS[:20]), jnp.float64(START))[0]

    # Roundings, of which no two ways have the same.
    assert relative_rms(at(couplings.corrected(PEAK)), at(couplings.RATE)) < 1e-12
    assert relative_rms(at(couplings.relative(PEAK)), at(couplings.INDEPENDENT)) < 1e-12
    assert relative_rms(at(couplings.RATE), at(couplings.INDEPENDENT)) > 1e-2


@pytest.mark.quick
def test_cautious_decay_by_hand() -> None:
    p = jnp.array([2.0, -2.0, 2.0, -2.0, 3.0, 0.0])
    g = jnp.array([1.0, 1.0, -1.0, -1.0, 0.0, 1.0])  # with b1 = b2 = 0 the step is its sign
    kept = np.array([1.0, 0.0, 0.0, 1.0, 1.0, 1.0])  # where g p >= 0: no step, and it decays
    for coupling, factor in ((couplings.RATE, 0.1), (couplings.INDEPENDENT, 1.0)):
        tx = ao.adamw(0.1, 0.0, 0.0, weight_decay=0.5, coupling=couplings.cautious(coupling))
        updates, _ = tx.update(g, tx.init(p), p)
        expected = -0.1 * np.sign(g) - factor * 0.5 * kept * np.asarray(p)
        np.testing.assert_allclose(updates, expected, rtol=1e-6)  # float32 and eps


@pytest.mark.heavy
def test_cautious_of_nothing_is_cautious_of_rate() -> None:
    grads, start = jnp.float32(GRADS[:5]), jnp.float32(START)
    one, other = (
        run(ao.adamw(rate, weight_decay=DECAY, coupling=c), grads, start)[0]
        for c in (couplings.cautious(), couplings.cautious(couplings.RATE))
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("pair", ["cautious-INDEPENDENT"])
def test_complex_leaves_agree_where_the_real_part_of_their_product_does(
    pair: str, x64: None
) -> None:
    rng = np.random.default_rng(1)
    grads = rng.standard_normal((30, 8)) + 1j * rng.standard_normal((30, 8))
    start = rng.standard_normal(8) + 1j * rng.standard_normal(8)
    tx = ours("adam", pair)
    updates, _, _ = run(tx, jnp.asarray(grads), jnp.asarray(start))
    expected = oracle_decay.optimise(
        oracle.Adam(), grads, start, lambda n: RATES[n], weight(pair), PAIRS[pair].oracle
    )
    assert relative_rms(updates, expected["updates"]) < 1e-12  # roundings


@pytest.mark.quick
@pytest.mark.parametrize("pair", ["cautious-INDEPENDENT"])
def test_what_the_mask_leaves_out_does_not_decay(pair: str) -> None:
    params = {"w": jnp.float32(START), "b": jnp.float32(START)}
    free = ao.adam(0.1)
    mask, coupling = {"w": True, "b": False}, PAIRS[pair].ours()
    tx = ao.adamw(0.1, weight_decay=DECAY, mask=mask, coupling=coupling)
    updates, _ = tx.update(params, tx.init(params), params)
    bare, _ = free.update(params, free.init(params), params)
    np.testing.assert_array_equal(updates["b"], bare["b"])
    assert relative_rms(updates["w"], bare["w"]) > 1e-2  # or the mask would not matter


def _chained(pair: str) -> Any:
    """Build optax's chain of the same numbers, with the decay on the side where it belongs."""
    speed = optax.scale_by_learning_rate(rate)
    inside = optax.add_decayed_weights
    amount = weight(pair)
    links = {
        "RATE": (inside(amount), speed),
        "INDEPENDENT": (speed, inside(-amount)),
        "relative": (speed, inside(lambda n: -amount * rate(n) / PEAK)),
        "corrected": (inside(lambda n: amount * rate(n) / PEAK), speed),
    }
    return optax.chain(optax.scale_by_adam(), *links[pair])


@pytest.mark.parametrize(
    "pair",
    [pytest.param(p, marks=pytest.mark.heavy) for p in ("RATE", "relative")]
    + ["INDEPENDENT", "corrected"],
)
def test_optax_s_chain_says_the_same(pair: str, x64: None) -> None:
    grads, start = jnp.float64(GRADS), jnp.float64(START)
    theirs = witness(_chained(pair), grads, start)
    assert relative_rms(theirs, right("adam", pair, STEPS)["updates"]) < 1e-12  # the oracle too
    assert relative_rms(run(ours("adam", pair), grads, start)[0], theirs) < 1e-12  # roundings


MEANS: dict[str, Any] = {"b1": 0.9, "b2": 0.999}


def _framework(name: str, decay: float) -> tuple[Any, Any]:
    """Return ours and the framework's formula, at weight decay `decay`."""
    lr, eta = oracle_frameworks.RATE, 0.25

    def unbiased(n: Any) -> Any:
        t = jnp.asarray(n, float) + 1
        return decay * jnp.sqrt(-jnp.expm1(t * np.log(0.999))) / -jnp.expm1(t * np.log(0.9))

    hat: dict[str, Any] = {**MEANS, "eps_hat": True}
    given: dict[str, Any] = {**MEANS, "eps": 1e-8, "decay": decay}
    return {
        "Paddle": (
            lambda: ao.adamw(lr, **MEANS, weight_decay=decay),
            lambda: oracle_frameworks.adamw_paddle(GRADS, START, **given),
        ),
        "Chainer": (
            lambda: ao.adamw(lr, **hat, weight_decay=decay, coupling=couplings.INDEPENDENT),
            lambda: oracle_frameworks.adamw_chainer(GRADS, START, **given),
        ),
        "Chainer-eta": (
            lambda: ao.adamw(eta * lr, **hat, weight_decay=decay, coupling=couplings.relative(lr)),
            lambda: oracle_frameworks.adamw_chainer(GRADS, START, **given, eta=eta),
        ),
        "MXNet": (
            lambda: ao.adamw(lr, **hat, eps=1e-6, weight_decay=unbiased),
            lambda: oracle_frameworks.adamw_mxnet(GRADS, START, **{**given, "eps": 1e-6}),
        ),
    }[name]


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.heavy) for n in ("Paddle", "Chainer")]
    + ["Chainer-eta", "MXNet"],
)
def test_frameworks_adamw_is_a_coupling(name: str, x64: None) -> None:
    mine, theirs = _framework(name, decay=1e-2)
    updates, _, _ = run(mine(), jnp.float64(GRADS), jnp.float64(START))
    # Paddle's are differences of parameters of 1, so roundings of 1e-16 in updates of 1e-3.
    assert relative_rms(updates, theirs()) < 1e-11


def test_what_decays_inside_its_average_has_some_couplings_only(x64: None) -> None:
    for coupling in (couplings.INDEPENDENT, couplings.cautious()):
        with pytest.raises(ValueError, match="coupling"):
            ao.novograd(0.1, weight_decay=0.1, coupling=coupling)
    grads, start = jnp.float64(GRADS[:20]), jnp.float64(START)
    same = {couplings.relative(0.25): 0.1 / 0.25, couplings.corrected(0.25): 0.1 * 0.1 / 0.25}
    for coupling, decay in same.items():
        updates, _, _ = run(ao.novograd(0.1, weight_decay=0.1, coupling=coupling), grads, start)
        plain, _, _ = run(ao.novograd(0.1, weight_decay=decay), grads, start)
        assert relative_rms(updates, plain) < 1e-14  # one rounding of 1e-16, averaged


@pytest.mark.quick
def test_all_that_take_weight_decay_take_a_coupling_by_keyword() -> None:
    found = []
    for name in dir(ao):
        make = getattr(ao, name)
        if not (name.islower() and callable(make)):
            continue
        # Decay is L2, in the direction whose norm is fixed, or knows no learning rate.
        if name in ("adadelta", "adamh", "scale_by_novograd"):
            continue
        parameters = inspect.signature(make).parameters
        if "weight_decay" in parameters:
            found.append(name)
            assert parameters["coupling"].kind is inspect.Parameter.KEYWORD_ONLY, name
    assert {"adamw", "nadamw", "adamaxw", "amsgrad", "lion", "lamb", "adan"} <= set(found)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["amsgrad", "adamaxw", "nadamw", "lion", "lamb", "adan"])
def test_optimisers_hand_their_coupling_on(name: str) -> None:
    grads, start = jnp.float32(GRADS[:5]), jnp.float32(START)
    make = getattr(ao, name)
    seen = [
        run(make(rate, weight_decay=0.1, coupling=pair.ours()), grads, start)[0]
        for pair in PAIRS.values()
    ]
    for i, one in enumerate(seen):
        assert all(relative_rms(one, other) > 1e-5 for other in seen[:i])


@pytest.mark.parametrize("pair", ["cautious-corrected"])
def test_a_second_step_compiles_nothing(pair: str) -> None:
    chex.clear_trace_counter()  # it counts by name
    tx = ours("adam", pair)
    step = jax.jit(chex.assert_max_traces(tx.update, n=1))
    params = {"w": jnp.float32(START), "b": jnp.ones(4)}
    state = tx.init(params)
    for _ in range(3):
        _, state = step(params, state, params)


def test_rates_and_decays_may_be_traced_and_mapped() -> None:
    grads, start = jnp.float32(GRADS[:5]), jnp.float32(START)

    def final(speed: Any, decay: Any) -> Any:
        coupling = couplings.cautious(couplings.corrected(PEAK))
        return run(ao.adamw(speed, weight_decay=decay, coupling=coupling), grads, start)[1]

    speeds, decays = jnp.array([0.01, 0.02]), jnp.array([0.5, 0.0])
    together = jax.vmap(final)(speeds, decays)
    for speed, decay, params in zip(speeds, decays, together, strict=True):
        np.testing.assert_allclose(params, final(speed, decay), rtol=1e-6)  # fused otherwise


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_leaves_keep_their_dtype(dtype: str) -> None:
    params = jax.ShapeDtypeStruct(SHAPE, jnp.dtype(dtype))
    for pair in PAIRS:
        tx = ours("adam", pair, 0.01)
        state = jax.eval_shape(tx.init, params)
        updates, after = jax.eval_shape(tx.update, params, state, params)
        assert updates.dtype == jnp.dtype(dtype)
        chex.assert_trees_all_equal_shapes_and_dtypes(after, state)


def test_parameters_are_asked_for() -> None:
    for pair in PAIRS.values():
        tx = ao.adamw(0.1, weight_decay=0.1, coupling=pair.ours())
        with pytest.raises(ValueError, match="needs the parameters"):
            tx.update(jnp.ones(3), tx.init(jnp.ones(3)))
