"""Compare the forms of training stacks with transcriptions of their sources, over 500 steps."""

import functools as ft
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from adam_optax import conventions as c
from tests.support import oracle_shared
from tests.support import oracle_stacks as oracle
from tests.support.cases import gradients, run
from tests.support.oracle import relative_rms
from tests.support.oracle_frameworks import RATE, epsilon_hat

GRADS = gradients(500, 24, seed=5)
START = np.linspace(-1.0, 1.0, 24) + 0.03
MATRICES = gradients(500, 40 * 33, seed=6).reshape(500, 40, 33)
MATRIX = np.linspace(-1.0, 1.0, 40 * 33).reshape(40, 33) + 0.003
# 500 steps of averages and quotients, each off by some roundings of 1.1e-16.
ROUNDING = 1e-12

DECAY = 0.3
PEAK = 4e-3
FULL: dict[str, Any] = {"dtype_momentum": jnp.float64}
NUMBERS: dict[str, Any] = {"b1": 0.9, "b2": 0.999, "eps": 1e-8}


def of(convention: c.Convention, name: str, **more: Any) -> Any:
    """Build a convention's optimiser, with some of its numbers exchanged."""
    make = getattr(ao, name, None) or getattr(c, name)
    return make(RATE, **{**getattr(convention, name), **more})


def optimi(**more: Any) -> Callable[..., Any]:
    return ft.partial(oracle.optimi_adam, b1=0.9, b2=0.99, eps=1e-6, **more)


def adafactor(size: int = 32, **more: Any) -> Callable[..., Any]:
    return ft.partial(oracle.big_vision_adafactor, min_dim_size_to_factor=size, **more)


VECTORS: dict[str, tuple[Any, Callable[..., Any]]] = {
    "maxtext": (
        of(c.MAXTEXT, "adamw"),
        ft.partial(oracle.adam_pax, b1=0.9, b2=0.95, eps=1e-8, eps_root=0.0, decay=0.1),
    ),
    "maxtext eps_root": (
        of(c.MAXTEXT, "adamw", eps_root=1e-3, eps=1e-2),
        ft.partial(oracle.adam_pax, b1=0.9, b2=0.95, eps=1e-2, eps_root=1e-3, decay=0.1),
    ),
    "levanter lion": (
        of(c.LEVANTER, "lion"),
        ft.partial(oracle.lion, b1=0.9, b2=0.95, decay=0.1),
    ),
    "bert": (
        of(c.BERT, "uncorrected_adam"),
        ft.partial(oracle.bert_adam, b1=0.9, b2=0.999, eps=1e-6, decay=0.01),
    ),
    "adamd": (of(c.ADAMD, "uncorrected_adam"), ft.partial(oracle.adamd, **NUMBERS)),
    "optimi adam": (of(c.OPTIMI, "adam"), optimi(decay=0.0)),
    "optimi l2": (c.l2(DECAY, of(c.OPTIMI, "adam")), optimi(decay=DECAY, coupled=True)),
    "optimi adamw": (of(c.OPTIMI, "adamw"), optimi(decay=1e-2)),
    "optimi decouple_lr": (
        of(c.OPTIMI, "adamw", weight_decay=1e-3, coupling=ao.couplings.relative(PEAK)),
        optimi(decay=1e-3, max_lr=PEAK),
    ),
    "optimi stable": (of(c.OPTIMI, "stable_adamw"), optimi(decay=1e-2, stable=True)),
    "optimi radam": (of(c.OPTIMI, "radam"), optimi(decay=0.0, rectified=True)),
    "optimi lion": (of(c.OPTIMI, "lion"), ft.partial(oracle.lion, b1=0.9, b2=0.99, decay=0.0)),
    "timm nadamw": (
        of(c.TIMM, "simplified_nadam"),
        ft.partial(oracle.nadamw, **NUMBERS, decay=1e-2),
    ),
    "timm nadamc": (
        of(c.TIMM, "simplified_nadam", coupling=ao.couplings.corrected(PEAK)),
        ft.partial(oracle.nadamw, **NUMBERS, decay=1e-2, max_lr=PEAK),
    ),
    "matlab l2": (
        c.l2(1e-4, of(c.MATLAB, "adam")),
        lambda grads, start: _with_l2(ft.partial(epsilon_hat, **NUMBERS), grads, start, 1e-4),
    ),
}
FACTORED: dict[str, tuple[Any, Callable[..., Any]]] = {
    "big_vision": (of(c.BIG_VISION, "capped_adafactor", **FULL), adafactor()),
    "timm": (of(c.TIMM, "capped_adafactor", **FULL), adafactor(16)),
    "not factored": (of(c.BIG_VISION, "capped_adafactor", **FULL), adafactor(34)),
    "clipped": (
        of(c.BIG_VISION, "capped_adafactor", **FULL, clipping_threshold=0.7),
        adafactor(clipping_threshold=0.7),
    ),
    "without momentum": (
        of(c.BIG_VISION, "capped_adafactor", momentum=None, b2_cap=0.9, decay_rate=0.5),
        adafactor(momentum=None, beta2_cap=0.9, decay_rate=0.5),
    ),
    "with wd": (
        of(
            c.BIG_VISION,
            "capped_adafactor",
            **FULL,
            weight_decay=1e-3,
            coupling=ao.couplings.relative(PEAK),
        ),
        adafactor(decay=1e-3, peak=PEAK),
    ),
}


def _with_l2(formula: Callable[..., Any], grads: Any, start: Any, decay: float) -> Any:
    """Return the updates of a formula that sees `g + decay p`, step by step."""
    p, seen, updates = start, [], []
    for g in grads:
        seen.append(g + decay * p)
        updates.append(formula(np.stack(seen))[-1])
        p = p + updates[-1]
    return np.stack(updates)


def check(tx: Any, expected: Any, grads: Any, start: Any) -> None:
    updates, _, _ = run(tx, jnp.float64(grads), jnp.float64(start))
    off = [relative_rms(*pair) for pair in zip(updates, expected, strict=True)]
    assert max(off) < ROUNDING


@pytest.mark.matrix(keep=3, quick=["bert"])
@pytest.mark.parametrize("name", VECTORS)
def test_500_steps_follow_the_source(name: str, x64: None) -> None:
    tx, formula = VECTORS[name]
    grads = GRADS[:60] if name == "matlab l2" else GRADS  # which begins anew at each step
    check(tx, formula(grads, START), grads, START)


@pytest.mark.matrix(keep=2)
@pytest.mark.parametrize("name", FACTORED)
def test_500_steps_of_a_matrix_follow_the_source(name: str, x64: None) -> None:
    tx, formula = FACTORED[name]
    if name == "not factored":
        tx = of(c.BIG_VISION, "capped_adafactor", **FULL, min_dim_size_to_factor=34)
    check(tx, formula(MATRICES, MATRIX), MATRICES, MATRIX)


@pytest.mark.quick
def test_timms_adamp_is_adamp_on_matrices(x64: None) -> None:
    start, rule, found = MATRIX[:4, :6], oracle_shared.AdamP(**c.TIMM.adamp), []
    grads, p = MATRICES[:60, :4, :6] * 1e-3, MATRIX[:4, :6]
    for g in grads:
        found.append(-RATE * rule.step(g, p))
        p = p + found[-1]
    check(of(c.TIMM, "adamp"), np.stack(found), grads, start)


@pytest.mark.quick
def test_big_visions_optimiser_keeps_what_it_says() -> None:
    p = {"w": jnp.ones((40, 33)), "b": jnp.ones(33)}
    moments = of(c.BIG_VISION, "capped_adafactor").init(p)[0].moments
    assert {n: m["w"].shape for n, m in moments.items() if hasattr(m["w"], "shape")} == {
        "nu_row": (33,),
        "nu_col": (40,),
        "mu": (40, 33),
    }
    assert moments["mu"]["w"].dtype == jnp.bfloat16
    assert moments["nu"]["b"].shape == (33,)


def test_optaxs_factored_rms_with_big_visions_rate_is_this_one() -> None:
    """Its parts are optax's; with a mean in float32, for optax rounds products to bfloat16."""

    def rate(i: Any, exponent: Any) -> Any:
        return jnp.minimum(0.999, 1.0 - (jnp.array(i, jnp.float32) + 1.0) ** -exponent)

    theirs = optax.chain(
        optax.scale_by_factored_rms(min_dim_size_to_factor=32, decay_rate_fn=rate),
        optax.ema(0.9, debias=False),
        optax.scale(-RATE),
    )
    grads, p = jnp.float32(MATRICES[:50]), jnp.float32(MATRIX)
    with jax.numpy_dtype_promotion("standard"):
        expected, _, _ = run(theirs, grads, p)
    tx = of(c.BIG_VISION, "capped_adafactor", dtype_momentum=jnp.float32)
    updates, _, _ = run(tx, grads, p)
    assert relative_rms(updates, expected) < 3e-6  # some 20 roundings of 6e-8, and t^-.8 of 1e-6


@pytest.mark.quick
@pytest.mark.parametrize("storage", [ao.storage.int8(), {"nu": ao.storage.dense()}])
def test_nu_is_factored_and_nothing_else(storage: Any) -> None:
    with pytest.raises(ValueError, match=r"nu is factored .* name other moments in storage"):
        of(c.BIG_VISION, "capped_adafactor", storage=storage)
    tx = of(
        c.BIG_VISION, "capped_adafactor", storage={"mu": ao.storage.int8()}, dtype_momentum=None
    )
    assert tx.init(jnp.ones(3))


@pytest.mark.quick
def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"b2_cap must be in \[0, 1\)"):
        c.capped_adafactor(RATE, b2_cap=1.0)
    with pytest.raises(ValueError, match=r"b2 must be in \[0, 1\)"):
        c.uncorrected_adam(RATE, b2=1.0)
    with pytest.raises(ValueError, match="eps must be finite and not negative"):
        c.simplified_nadam(RATE, eps=-1.0)


@pytest.mark.parametrize(
    ("make", "formula"),
    [
        (c.uncorrected_adam, ft.partial(oracle.bert_adam, b1=0.9, b2=0.999, eps=1e-6, decay=DECAY)),
        (c.simplified_nadam, ft.partial(oracle.nadamw, **NUMBERS, decay=DECAY)),
    ],
)
def test_their_optimisers_take_what_all_take(make: Any, formula: Any) -> None:
    with jax.numpy_dtype_promotion("standard"):
        tx = optax.inject_hyperparams(make)(RATE, weight_decay=DECAY)
        updates, _, _ = run(tx, jnp.float32(GRADS[:40]), jnp.float32(START))
    # .999 as a float32 array is .99900001: 1 - b2 is off by 1.3e-5, and BERT's form shows it.
    assert relative_rms(updates, formula(GRADS[:40], START)) < 1e-4


@pytest.mark.parametrize(
    ("tx", "share"),
    [
        (of(c.ADAMD, "uncorrected_adam"), 1.0),
        (of(c.BLOCKS, "fading_adam"), 1.0),
        (of(c.KERAS, "adam", eps=1e-8), 1.0),
        (of(c.PYTORCH, "adam"), 0.0),
    ],
    ids=["AdamD", "Blocks", "Keras", "PyTorch"],
)
def test_watch_knows_an_epsilon_hat(tx: Any, share: float) -> None:
    """Of a first gradient of 1e-7 the uncorrected root is 3e-9, the corrected one 1e-7."""
    g = jnp.full(8, 1e-7)
    watched = ao.watch(tx)
    _, state = watched.update(g, watched.init(g), g)
    (found,) = ao.watch.read(state).values()
    assert float(found["eps_share"][0]) == share


def test_watch_knows_a_mean_of_steps() -> None:
    """The signal is that of steps of about 1, whatever the gradient's scale."""
    g = jnp.full(8, 1e-3)
    watched = ao.watch(of(c.BIG_VISION, "capped_adafactor", dtype_momentum=jnp.float32))
    state = watched.init(g)
    for _ in range(60):
        _, state = watched.update(g, state, g)
    (found,) = ao.watch.read(state).values()
    last = found["signal_to_noise"][-1]
    assert float(last) == pytest.approx(1.0, abs=0.02)  # 0.9^50 of the mean's start is left
