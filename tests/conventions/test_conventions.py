"""Compare every convention with its framework's own formula in NumPy."""

import dataclasses
import functools as ft
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.example_libraries import optimizers as examples

import adam_optax as ao
from adam_optax import conventions
from adam_optax.conventions import ALL, KERAS, PYTORCH, Convention
from tests.support import oracle_frameworks as oracle
from tests.support import oracle_stacks as stacks
from tests.support.cases import gradients, run
from tests.support.oracle import relative_rms

GRADS = gradients(40, 24, seed=3)
START = np.linspace(-1.0, 1.0, 24) + 0.03

MEANS: dict[str, Any] = {"b1": 0.9, "b2": 0.999}
NEAR: dict[str, Any] = {**MEANS, "eps": 1e-8}
ALG1 = ft.partial(oracle.algorithm_1, **NEAR)
HAT8 = ft.partial(oracle.epsilon_hat, **NEAR)
HAT7 = ft.partial(oracle.epsilon_hat, **MEANS, eps=1e-7)
INSIDE = ft.partial(oracle.adamax_inside, **NEAR)
OUTSIDE = ft.partial(oracle.adamax_outside, **NEAR)
NESTEROV = ft.partial(oracle.nesterov, **NEAR)
PAX: dict[str, Any] = {"b1": 0.9, "b2": 0.95, "eps": 1e-8}
OPTIMI: dict[str, Any] = {"b1": 0.9, "b2": 0.99, "eps": 1e-6}


def _free(formula: Callable[..., Any], **numbers: Any) -> Callable[[Any], Any]:
    """Return a formula without its decay, which does not look at the parameters then."""
    if formula is not stacks.big_vision_adafactor:
        numbers["decay"] = 0.0
    return lambda grads: formula(grads, START, **numbers)


# Each framework's formula and weight decay, from its source; nothing here is read from the library.
FORMULAS: dict[tuple[str, str], tuple[Callable[[Any], Any], float]] = {
    ("Kingma & Ba 2015", "adam"): (ALG1, 0.0),
    ("Kingma & Ba 2015", "adamax"): (ft.partial(oracle.adamax_inside, **MEANS, eps=0.0), 0.0),
    ("optax", "adam"): (ALG1, 0.0),
    ("optax", "adamw"): (ALG1, 1e-4),
    ("optax", "nadam"): (NESTEROV, 0.0),
    ("optax", "nadamw"): (NESTEROV, 1e-4),
    ("optax", "amsgrad"): (ft.partial(oracle.amsgrad_corrected, **NEAR), 0.0),
    ("optax", "adamax"): (INSIDE, 0.0),
    ("optax", "adamaxw"): (INSIDE, 1e-4),
    ("optax", "radam"): (ft.partial(oracle.radam, **NEAR), 0.0),
    ("PyTorch", "adam"): (ALG1, 0.0),
    ("PyTorch", "adamw"): (ALG1, 1e-2),
    ("PyTorch", "amsgrad"): (ft.partial(oracle.amsgrad_pytorch, **NEAR), 0.0),
    ("PyTorch", "adamax"): (INSIDE, 0.0),
    ("PyTorch", "radam"): (ft.partial(oracle.radam_hat, **NEAR), 0.0),
    ("PyTorch", "scheduled_nadam"): (
        ft.partial(oracle.scheduled_nadam, **NEAR, momentum_decay=4e-3),
        0.0,
    ),
    ("TensorFlow 1", "adam"): (HAT8, 0.0),
    ("Keras 3", "adam"): (HAT7, 0.0),
    ("Keras 3", "adamw"): (HAT7, 4e-3),
    ("Keras 3", "amsgrad"): (ft.partial(oracle.amsgrad_hat, **MEANS, eps=1e-7), 0.0),
    ("Keras 3", "adamax"): (ft.partial(oracle.adamax_outside, **MEANS, eps=1e-7), 0.0),
    ("Keras 3", "scheduled_nadam"): (
        ft.partial(oracle.scheduled_nadam, **MEANS, eps=1e-7, momentum_decay=1.0),
        0.0,
    ),
    ("Keras 2", "adam"): (HAT7, 0.0),
    ("Keras 2", "adamw"): (HAT7, 4e-3),
    ("Keras 2", "amsgrad"): (ft.partial(oracle.amsgrad_hat, **MEANS, eps=1e-7), 0.0),
    ("Torch7", "adam"): (HAT8, 0.0),
    ("Lasagne", "adam"): (HAT8, 0.0),
    ("Lasagne", "amsgrad"): (ft.partial(oracle.amsgrad_hat, **NEAR), 0.0),
    ("Lasagne", "adamax"): (OUTSIDE, 0.0),
    ("Lasagne", "adadelta"): (ft.partial(oracle.adadelta, rho=0.95, eps=1e-6), 0.0),
    ("Blocks", "fading_adam"): (
        ft.partial(oracle.fading_adam, **NEAR, decay_factor=1 - 1e-8),
        0.0,
    ),
    ("Caffe", "adam"): (ft.partial(oracle.epsilon_hat, b1=0.0, b2=0.999, eps=1e-8), 0.0),
    ("MXNet", "adam"): (HAT8, 0.0),
    ("Chainer", "adam"): (HAT8, 0.0),
    ("Chainer", "adamw"): (HAT8, 0.0),
    ("Paddle", "adam"): (ALG1, 0.0),
    ("Paddle", "adamw"): (ALG1, 1e-2),
    ("JAX examples", "adam"): (ALG1, 0.0),
    ("JAX examples", "adamax"): (OUTSIDE, 0.0),
    ("DeepSpeed", "adam"): (ALG1, 0.0),
    ("DeepSpeed", "adamw"): (ALG1, 0.0),
    ("bitsandbytes", "adam"): (ALG1, 0.0),
    ("ODL", "constant_adam"): (ft.partial(oracle.constant_adam, **NEAR), 0.0),
    ("H2O", "adadelta"): (ft.partial(oracle.adadelta, rho=0.99, eps=1e-8), 0.0),
    ("MaxText", "adamw"): (_free(stacks.adam_pax, **PAX, eps_root=0.0), 0.1),
    ("Levanter", "adamw"): (ft.partial(oracle.algorithm_1, **PAX), 0.1),
    ("Levanter", "lion"): (_free(stacks.lion, b1=0.9, b2=0.95), 0.1),
    ("BERT", "uncorrected_adam"): (_free(stacks.bert_adam, **MEANS, eps=1e-6), 0.01),
    ("AdamD", "uncorrected_adam"): (lambda grads: stacks.adamd(grads, START, **NEAR), 0.0),
    ("optimi", "adam"): (_free(stacks.optimi_adam, **OPTIMI), 0.0),
    ("optimi", "adamw"): (_free(stacks.optimi_adam, **OPTIMI), 1e-2),
    ("optimi", "radam"): (_free(stacks.optimi_adam, **OPTIMI, rectified=True), 0.0),
    ("optimi", "lion"): (_free(stacks.lion, b1=0.9, b2=0.99), 0.0),
    ("timm", "adamw"): (ALG1, 1e-2),
    ("timm", "simplified_nadam"): (_free(stacks.nadamw, **NEAR), 1e-2),
    ("timm", "adamp"): (ALG1, 0.0),  # of vectors; of matrices: `test_stacks`
    ("timm", "capped_adafactor"): (_free(stacks.big_vision_adafactor), 0.0),
    ("big_vision", "capped_adafactor"): (_free(stacks.big_vision_adafactor), 0.0),
    ("MATLAB", "adam"): (HAT8, 0.0),
}
WITH_DECAY_INSIDE = {("optimi", "stable_adamw")}
"""Optimisers whose decay is not added to the formula: `test_stacks` has them."""
ENTRIES = [(c, name) for c in ALL for name in c.options if (c.name, name) in FORMULAS]
EACH = pytest.mark.parametrize(
    ("convention", "name"), ENTRIES, ids=[f"{c.name}-{name}" for c, name in ENTRIES]
)


def build(convention: Convention, name: str) -> Any:
    """Build an optimiser with the arguments of a convention, its moments in full precision."""
    optimizer = getattr(ao, name, None) or getattr(conventions, name)
    options = dict(getattr(convention, name))
    if "dtype_momentum" in options:
        options["dtype_momentum"] = jnp.float64  # two bytes would hide the formula
    return optimizer(oracle.RATE, **options)


def expected_updates(convention: Convention, name: str, grads: Any) -> Any:
    """Compute the updates by the framework's formula, with its decoupled decay."""
    formula, decay = FORMULAS[convention.name, name]
    p, found = START, []
    for update in formula(grads):
        found.append(update - oracle.RATE * decay * p)
        p = p + found[-1]
    return np.stack(found)


def test_every_entry_has_a_formula() -> None:
    every = {(c.name, name) for c in ALL for name in c.options}
    assert every == FORMULAS.keys() | WITH_DECAY_INSIDE


@pytest.mark.matrix(keep=8)
@EACH
def test_every_step_follows_the_frameworks_formula(
    convention: Convention, name: str, x64: None
) -> None:
    updates, _, _ = run(build(convention, name), jnp.float64(GRADS), jnp.float64(START))
    for ours, theirs in zip(updates, expected_updates(convention, name, GRADS), strict=True):
        assert relative_rms(ours, theirs) < 1e-12  # a few dozen roundings of 1.1e-16


@pytest.mark.matrix(keep=6)
@EACH
def test_the_first_step_shows_which_epsilon_it_is(
    convention: Convention, name: str, x64: None
) -> None:
    grads = np.geomspace(1e-9, 1e-5, 24)[None]  # around 1e-8 and 1e-7, where every eps weighs
    updates, _, _ = run(build(convention, name), jnp.float64(grads), jnp.float64(START))
    difference = np.abs(updates - expected_updates(convention, name, grads))
    assert (
        np.max(difference / np.abs(expected_updates(convention, name, grads))) < 1e-12
    )  # as above


@pytest.mark.quick
def test_one_step_by_hand() -> None:
    g = jnp.array([1e-6])
    for convention, eps in ((PYTORCH, 1e-8), (KERAS, 1e-7 / 0.001**0.5)):
        tx = ao.adam(1.0, **convention.adam)
        updates, _ = tx.update(g, tx.init(g), g)
        assert float(updates[0]) == pytest.approx(-1e-6 / (1e-6 + eps), rel=1e-6)  # float32


@pytest.mark.parametrize("name", ["adam", "adamax"])
def test_jax_examples_agree(name: str, x64: None) -> None:
    init, update, read = getattr(examples, name)(oracle.RATE)
    state, grads = init(jnp.float64(START)), jnp.float64(GRADS)
    with jax.numpy_dtype_promotion("standard"):
        for i, g in enumerate(grads):
            state = update(i, g, state)
    tx = build(conventions.JAX_EXAMPLES, name)
    _, params, _ = run(tx, grads, jnp.float64(START))
    assert relative_rms(params, read(state)) < 1e-14  # 40 roundings of 1.1e-16 of a parameter


@pytest.mark.heavy
def test_optax_has_its_own_defaults(x64: None) -> None:
    for name in conventions.OPTAX.options:
        tx = build(conventions.OPTAX, name)
        updates, _, _ = run(tx, jnp.float64(GRADS), jnp.float64(START))
        with jax.numpy_dtype_promotion("standard"):
            theirs = getattr(optax, name)(oracle.RATE)
            expected, _, _ = run(theirs, jnp.float64(GRADS), jnp.float64(START))
        assert relative_rms(updates, expected) < 1e-10  # optax's length of RAdam's window cancels


def test_every_member_is_there_and_says_what_differs() -> None:
    members = {c.name for c in vars(conventions).values() if isinstance(c, Convention)}
    assert members == {c.name for c in ALL}
    for convention in ALL:
        assert convention.source
        assert "step" in convention.differs, convention.name
        assert convention.rates.keys() <= convention.options.keys()


@pytest.mark.parametrize(("convention", "eps"), [(KERAS, 1e-7), (conventions.LASAGNE, 1e-8)])
def test_the_stated_epsilons_are_those_that_act(convention: Convention, eps: float) -> None:
    found = re.search(r"eps = (\S+) at step 1, (\S+) at step 100 and (\S+) at", convention.differs)
    assert found is not None
    for t, stated in zip((1, 100, 10_000), found.groups(), strict=True):
        assert float(stated) == pytest.approx(eps / (1 - 0.999**t) ** 0.5, rel=2e-3)  # 3 digits


def test_a_missing_optimiser_is_named_with_what_is_there() -> None:
    with pytest.raises(AttributeError, match=r"Keras 3 has no radam.*it has adam, adamw, amsgrad"):
        _ = KERAS.radam
    assert not hasattr(conventions.H2O, "adam")
    assert "adadelta" in dir(conventions.H2O)


def test_nobody_changes_a_convention() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        KERAS.learning_rate = 0.1  # type: ignore[misc]
    with pytest.raises(TypeError, match="does not support item assignment"):
        KERAS.adam["eps"] = 1.0  # type: ignore[index]
    with pytest.raises(TypeError, match="does not support item assignment"):
        KERAS.options["adam"] = {}  # type: ignore[index]
    with pytest.raises(TypeError, match="does not support item assignment"):
        KERAS.rates["adam"] = 1.0  # type: ignore[index]


def test_time_decay_is_that_of_keras_2() -> None:
    tx = ao.sgd(conventions.time_decay(0.5, decay=0.25))
    updates, _, _ = run(tx, jnp.ones((5, 1)), jnp.ones(1))
    np.testing.assert_allclose(updates[:, 0], [-0.5 / (1 + 0.25 * t) for t in range(5)], rtol=1e-6)


def test_l2_is_seen_by_the_moments_where_it_is_not_masked(x64: None) -> None:
    g, p = jnp.float64(1.0), {"w": jnp.float64(3.0), "b": jnp.float64(2.0)}
    tx = conventions.l2(0.5, ao.adam(1.0), mask={"w": True, "b": False})
    _, state = tx.update({"w": g, "b": g}, tx.init(p), p)
    mu = ao.read_moments(state)["mu"]
    assert float(mu["w"]) == pytest.approx(0.1 * (1.0 + 0.5 * 3.0), rel=1e-14)  # roundings
    assert float(mu["b"]) == pytest.approx(0.1, rel=1e-14)


def test_maximize_climbs_and_still_shrinks() -> None:
    tx = conventions.maximize(conventions.l2(0.5, ao.sgd(0.1)))
    p = jnp.array([4.0])
    updates, _ = tx.update(jnp.array([1.0]), tx.init(p), p)
    np.testing.assert_allclose(updates, [-0.1 * (-1.0 + 0.5 * 4.0)], rtol=1e-6)  # float32


@pytest.mark.parametrize("name", ["scheduled_nadam", "fading_adam", "constant_adam"])
def test_frameworks_own_optimisers_take_what_all_take(name: str) -> None:
    make = optax.inject_hyperparams(getattr(conventions, name))
    with jax.numpy_dtype_promotion("standard"):
        updates, _, _ = run(make(oracle.RATE), jnp.float32(GRADS), jnp.float32(START))
    formula = getattr(oracle, name)
    extra: dict[str, Any] = {
        "scheduled_nadam": {"momentum_decay": 4e-3},
        "fading_adam": {"decay_factor": 1.0},
    }
    expected = formula(GRADS, **NEAR, **extra.get(name, {}))
    # .999 as a float32 array is .99900001: 1 - b2 is off by 1.3e-5, which its correction undoes
    # except where there is none; 1 - 1e-8 is 1.
    assert relative_rms(updates, expected) < 1e-4
