"""What users can get wrong: each message names what it was and what to write instead."""

import functools as ft
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adam_optax as ao

PARAMS = {"dense": {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}}
GRADS = jax.tree.map(jnp.ones_like, PARAMS)
NAMES = ["adam", "adamw", "nadam", "nadamw", "amsgrad", "adamax", "adamaxw"]


def expect(error: type[Exception], text: str, act: Callable[[], Any]) -> None:
    """Hold an act to an error with exactly this text, `*` standing for anything."""
    pattern = ".*".join(re.escape(part) for part in text.split("*"))
    with pytest.raises(error, match=f"(?s)^{pattern}$"):
        act()


@pytest.mark.quick
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate", ["b1", "b2"])
@pytest.mark.parametrize("value", [1.0, -0.1, float("nan"), 2, np.float32(1.5)])
def test_decay_rates(name: str, rate: str, value: float) -> None:
    make = getattr(ao, name)
    text = f"{rate} must be in [0, 1), not {value}: it is the share of the past kept"
    expect(ValueError, text, lambda: make(1e-3, **{rate: value}))


@pytest.mark.parametrize("name", NAMES)
def test_sizes(name: str) -> None:
    make = getattr(ao, name)
    expect(
        ValueError, "eps must be finite and not negative, not -1e-08", lambda: make(1, eps=-1e-8)
    )
    text = "learning_rate must be finite and not negative, not -0.1"
    expect(ValueError, text, lambda: make(-0.1))
    text = "learning_rate must be finite and not negative, not inf"
    expect(ValueError, text, lambda: make(float("inf")))


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [("adam", "eps_root", -1), ("adamw", "weight_decay", -1e-4), ("adamaxw", "weight_decay", -1)],
)
def test_sizes_of_some(name: str, argument: str, value: float) -> None:
    text = f"{argument} must be finite and not negative, not {value}"
    expect(ValueError, text, lambda: getattr(ao, name)(1e-3, **{argument: value}))


@pytest.mark.parametrize(("value", "kind"), [("x", "str"), (None, "NoneType"), (True, "bool")])
def test_what_is_not_a_number(value: Any, kind: str) -> None:
    for argument in ("b1", "eps"):
        text = f"{argument} must be a number, a schedule (count -> value) or a scalar array, not "
        expect(TypeError, text + kind, ft.partial(ao.adam, 1e-3, **{argument: value}))


def test_a_number_that_is_not_a_scalar() -> None:
    text = "b1 must be a scalar, not an array of shape (2,); for a value per parameter use *"
    expect(ValueError, text, lambda: ao.adam(1e-3, b1=jnp.ones(2)))
    tx = ao.adam(lambda count: jnp.full(3, count))
    text = "learning_rate must be a scalar, not an array of shape (3,)*"
    expect(ValueError, text, lambda: tx.update(GRADS, tx.init(PARAMS), PARAMS))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "NoneType"),
        pytest.param(1j, "complex64", marks=pytest.mark.quick),
        (True, "bool"),
        ({}, "dict"),
        (10**400, "so long an integer"),
        (np.array(1e-3, np.dtype("f4").newbyteorder()), "an array of dtype float32 in the other *"),
        (np.ma.masked_array(1e-3, mask=True), "a masked array"),
    ],
)
@pytest.mark.parametrize("argument", ["learning_rate", "weight_decay", "b1", "eps"])
def test_a_schedule_that_returns_no_number(argument: str, value: Any, kind: str) -> None:
    numbers: dict[str, Any] = {"learning_rate": 1e-3, argument: lambda _: value}
    tx = ao.adamw(**numbers)
    text = f"*{argument} must be a real number, not {kind}"
    expect(TypeError, text, lambda: tx.update(GRADS, tx.init(PARAMS), PARAMS))


@pytest.mark.parametrize("argument", ["learning_rate", "b1", "eps"])
def test_arrays_and_integers_that_are_no_numbers(argument: str) -> None:
    def make(value: Any) -> Any:
        return ao.adam(**{"learning_rate": 1e-3, argument: value})

    text = f"{argument} must be a real number, not "
    expect(TypeError, f"{text}a masked array", lambda: make(np.ma.masked))
    expect(TypeError, f"{text}complex64", lambda: make(jnp.array(1j)))
    text = f"{argument} must fit a float, which an integer of so many digits does not"
    expect(ValueError, text, lambda: make(10**5000))


def test_parameters_and_gradients_that_jax_does_not_take() -> None:
    swapped = np.ones(3, np.dtype("f4").newbyteorder())
    masked = np.ma.masked_array(np.ones(3, "f4"), mask=[False, True, False])
    tx, ending = ao.adam(1e-3), ", which has no gradient; make it floating, or leave it out with *"
    for value, kind in (
        (swapped, "is an array of dtype float32 in the other byte order"),
        (masked, "is a masked array"),
        (np.array([None]), "is an array of dtype object"),
    ):
        expect(TypeError, f"params['a'] {kind}{ending}", lambda: tx.init({"a": value}))  # noqa: B023
    state = tx.init({"a": jnp.ones(3)})
    for value in (swapped, masked):
        with pytest.raises((TypeError, ValueError), match=r"^updates\['a'\]: "):
            tx.update({"a": value}, state)


def test_an_eps_that_underflows() -> None:
    tx = ao.adam(1e-3, eps=1e-46)
    text = (
        "updates['dense']['b']: eps=1e-46 is 0 in float32, in which it would be added; "
        "use at least 1.18e-38, or eps=0 if none is wanted"
    )
    expect(ValueError, text, lambda: tx.update(GRADS, tx.init(PARAMS)))


def test_integer_parameters_and_gradients() -> None:
    text = (
        "params['a'][1] has dtype int32, which has no gradient; make it floating, or leave it out "
        "with optax.masked or adam_optax.FROZEN"
    )
    expect(TypeError, text, lambda: ao.adam(1e-3).init({"a": [jnp.ones(2), jnp.arange(3)]}))
    tx, p = ao.scale_by_adam(), jnp.ones(2)
    text = "updates['w']: dtype int32 is neither floating nor complex"
    expect(TypeError, text, lambda: tx.update({"w": jnp.arange(2)}, tx.init({"w": p})))


def test_gradients_of_other_parameters() -> None:
    tx = ao.adam(1e-3)
    state = tx.init(PARAMS)
    hint = "pass gradients of the parameters that tx.init saw"
    fewer = {"dense": {"w": GRADS["dense"]["w"]}}
    text = f"updates and mu are different trees: ['dense']['b'] is in mu but not in updates; {hint}"
    expect(ValueError, text, lambda: tx.update(fewer, state))
    more = {**GRADS, "extra": jnp.ones(1)}
    text = f"updates and mu are different trees: ['extra'] is in updates but not in mu; {hint}"
    expect(ValueError, text, lambda: tx.update(more, state))
    text = f"updates and params are different trees: ['dense']['b'] is in updates*; {hint}"
    expect(ValueError, text, lambda: tx.update(GRADS, state, fewer))
    as_tuple = {"dense": (GRADS["dense"]["b"], GRADS["dense"]["w"])}
    text = f"updates and mu are different trees: ['dense'][*; {hint}"
    expect(ValueError, text, lambda: tx.update(as_tuple, state))


def test_gradients_of_other_shapes() -> None:
    tx = ao.adam(1e-3)
    wrong = {"dense": {"w": jnp.ones((3, 2)), "b": jnp.ones(3)}}
    text = (
        "updates['dense']['w']: shapes differ: the gradient (3, 2), the parameter (2, 3), "
        "mu (2, 3), nu (2, 3); pass gradients of the parameters that tx.init saw"
    )
    expect(ValueError, text, lambda: tx.update(wrong, tx.init(PARAMS), PARAMS))
    jitted = lambda: jax.jit(tx.update)(wrong, tx.init(PARAMS), PARAMS)  # noqa: E731
    expect(ValueError, text + "*", jitted)  # JAX adds a note about its traceback


@pytest.mark.parametrize("name", ["adamw", "nadamw", "adamaxw"])
def test_weight_decay_without_parameters(name: str) -> None:
    tx = getattr(ao, name)(1e-3)
    text = "weight decay needs the parameters: tx.update(grads, state, params)"
    expect(ValueError, text, lambda: tx.update(GRADS, tx.init(PARAMS)))


def test_masks() -> None:
    text = "mask must be a tree of bools, or a function from params to one"
    for mask in ({"dense": "yes"}, lambda p: p):
        tx = ao.adamw(1e-3, mask=mask)
        expect(TypeError, text, ft.partial(tx.update, GRADS, tx.init(PARAMS), PARAMS))
    tx = ao.adamw(1e-3, mask={"other": True})
    text = "mask is not a prefix of the tree of parameters: *"
    expect(ValueError, text, lambda: tx.update(GRADS, tx.init(PARAMS), PARAMS))


def test_states_of_other_optimisers() -> None:
    tx = ao.adam(1e-3)
    text = (
        "the state is a tuple of 2 as tx.init makes it, not of 3; "
        "a schedule, weight decay or a mask each change its structure"
    )
    expect(TypeError, text, lambda: tx.update(GRADS, ao.adamw(1e-3).init(PARAMS), PARAMS))
    text = (
        "the state must hold mu, nu, nu_max, as tx.init makes it; got ScaleByAdamState with mu, "
        "nu; adam_optax.convert.change_storage takes it to another storage"
    )
    other = ao.scale_by_adam().init(PARAMS)
    expect(TypeError, text, lambda: ao.scale_by_amsgrad().update(GRADS, other))
    text = "the state must hold mu, nu, as tx.init makes it; got dict"
    expect(TypeError, text, lambda: ao.scale_by_adam().update(GRADS, {}))


def test_gradients_of_no_parameter() -> None:
    tx = ao.adam(1e-3)
    text = "updates['a']: the parameter was None at tx.init, but this gradient is not"
    none = {"a": None}
    expect(ValueError, text, lambda: tx.update({"a": jnp.ones(2)}, tx.init(none), none))


def test_real_and_complex() -> None:
    tx, real = ao.adam(1e-3), jnp.ones(2)
    both = jax.lax.complex(real, real)
    text = "updates: real and complex meet: the gradient complex64, mu float32; make them all *"
    expect(TypeError, text, lambda: tx.update(both, tx.init(real)))
    text = "updates: real and complex meet: the gradient float32, the parameter complex64, mu *"
    expect(TypeError, text, lambda: tx.update(real, tx.init(both), both))
    text = "a complex moment does not fit bfloat16; use complex64, or None"
    expect(TypeError, text, lambda: ao.convert.to_optax(tx.init(both), both, "bfloat16"))
    expect(TypeError, text, lambda: ao.convert.from_optax(tx.init(both), mu_dtype="bfloat16"))


def test_a_dtype_of_moments_that_are_not_there() -> None:
    text = "mu_dtype: this rule keeps no moment that it could speak of"
    expect(ValueError, text, lambda: ao.adagrad(1e-3, mu_dtype="bfloat16"))


def test_counts() -> None:
    state = ao.scale_by_adam().init(PARAMS)
    for count, text in ((jnp.zeros(2, jnp.int32), "int32[2]"), (jnp.zeros(()), "float32[]")):
        text = f"the state's count must be an integer scalar, not {text}; to vmap over states, *"
        wrong = state._replace(count=count)
        expect(TypeError, text, ft.partial(ao.scale_by_adam().update, GRADS, wrong))


def test_a_state_in_another_precision() -> None:
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    state = ao.adam(1e-3, mu_dtype="bfloat16", nu_dtype="bfloat16").init(half)
    text = (
        "updates['dense']['b']: the state holds mu bfloat16[3], nu bfloat16[3], but this optimiser "
        "stores mu float32[3], nu float32[3]; convert an optax state with "
        "adam_optax.convert.from_optax(state), take a state to another storage with "
        "adam_optax.convert.change_storage, or set mu_dtype, nu_dtype or storage"
    )
    expect(ValueError, text, lambda: ao.adam(1e-3).update(GRADS, state))


def test_storage() -> None:
    dense = ao.storage.dense
    for dtype in ("int8", "float8_e8m0fnu", "float128", "1e-400", "f4,f4", "no dtype"):
        text = (
            f"dense({dtype}): a moment needs a floating or complex dtype that has 0 and both signs"
        )
        expect(TypeError, text, ft.partial(ao.adam, 1e-3, mu_dtype=dtype))
    text = "storage and mu_dtype both say how mu is kept; give one of them"
    expect(ValueError, text, lambda: ao.adam(1e-3, mu_dtype="bfloat16", storage={"mu": dense()}))
    text = "storage names 'nu_max'; this rule's moments are mu, nu"
    expect(ValueError, text, lambda: ao.adam(1e-3, storage={"nu_max": dense()}))
    text = "storage for 'mu' must be a format such as adam_optax.storage.dense('bfloat16'), not 'x'"
    wrong: Any = "x"
    expect(TypeError, text, lambda: ao.adam(1e-3, storage={"mu": wrong}))
    tx, p = ao.adam(1e-3, mu_dtype="float32"), jnp.ones(2, jnp.complex64)
    text = "params: dense(float32) cannot hold a complex moment; use complex64, or None"
    expect(TypeError, text, lambda: tx.init(p))


@pytest.mark.quick
@pytest.mark.parametrize(
    ("wrong", "instead"),
    [
        ("pair", "'pair': write storage=adam_optax.storage.pair()"),
        ("x", "'x': write storage=adam_optax.storage.pair(), say"),
        (ao.storage.int8, "the function that makes it: write storage=adam_optax.storage.int8()"),
        (jnp.bfloat16, "a dtype: write storage=adam_optax.storage.dense('bfloat16')"),
        (np.dtype("float32"), "a dtype: write storage=adam_optax.storage.dense('float32')"),
        (float, "a type: write storage=adam_optax.storage.pair(), say"),
    ],
)
def test_what_looks_like_a_storage_is_refused_with_what_to_write(wrong: Any, instead: str) -> None:
    text = f"storage must be a format, not {instead}"
    expect(TypeError, text, lambda: ao.adam(1e-3, storage=wrong))
    by_path = ao.by_path({".*": wrong})
    expect(TypeError, text, lambda: ao.adam(1e-3, storage=by_path))


@pytest.mark.quick
def test_a_format_of_several_moments_is_not_given_to_one() -> None:
    text = (
        "storage for 'mu': pair() keeps several moments in one code; write storage=pair() for all "
        "of them, without a mapping"
    )
    expect(TypeError, text, lambda: ao.adam(1e-3, storage={"mu": ao.storage.pair()}))


def test_clipping() -> None:
    for value in (-1.0, float("inf")):
        text = f"max_norm must be finite and not negative, not {value}"
        expect(ValueError, text, ft.partial(ao.clip_by_global_norm, value))
    text = "max_norm must be positive: 0 would stop the training"
    expect(ValueError, text, lambda: ao.clip_by_global_norm(0))
    schedule: Any = lambda n: n  # noqa: E731
    expect(TypeError, "max_norm must be a number*", lambda: ao.clip_by_global_norm(schedule))


REFUSED = {
    (
        "adam",
        "weight_decay",
    ): "adam takes no weight_decay: take adamw, or conventions.l2 to add the*",
    ("adamax", "mask"): "adamax takes no mask: take adamaxw, or conventions.l2 to add the*",
    ("lion", "nesterov"): "lion takes no nesterov: its step looks ahead already",
    ("lion", "eps"): "lion takes no eps: nothing is divided",
    ("adadelta", "nesterov"): "adadelta takes no nesterov: it keeps no mean",
    ("scale_by_adam", "weight_decay"): "scale_by_adam takes no weight_decay: it is the rescaling*",
    ("scale_by_adopt", "eps_root"): "scale_by_adopt takes no eps_root: its eps bounds the root*",
    ("yogi", "eps_hat"): "yogi takes no eps_hat: epsilon-hat is written in adam, amsgrad and*",
    ("sgd", "beta"): "sgd takes no 'beta'; it takes learning_rate, momentum, nesterov, accum*",
    (
        "adamw",
        "betas",
    ): "adamw takes no 'betas', which is b1 and b2 here; it takes learning_rate, *",
    (
        "adamw",
        "amsgrad",
    ): "adamw takes no 'amsgrad', which is the optimiser amsgrad here; it takes *",
}


@pytest.mark.quick
@pytest.mark.parametrize(("name", "argument"), REFUSED)
def test_an_argument_that_makes_no_sense_says_why(name: str, argument: str) -> None:
    make = ft.partial(getattr(ao, name), **{argument: True})
    make = make if name.startswith("scale_by") else ft.partial(make, 1e-3)
    expect(TypeError, REFUSED[name, argument], make)


def test_a_missing_learning_rate_names_the_optimiser() -> None:
    make: Any = ao.adam
    text = "adam() missing 1 required positional argument: 'learning_rate'"
    expect(TypeError, text, make)


def test_couplings_that_cannot_be() -> None:
    make = ft.partial(ao.novograd, 1e-3, weight_decay=0.1)
    text = "novograd has its weight decay inside its step, so that it can be neither*"
    expect(ValueError, text, ft.partial(make, coupling=ao.couplings.INDEPENDENT))
    expect(ValueError, text, ft.partial(make, coupling=ao.couplings.cautious()))
    wrong: Any = "cautious"
    text = "coupling must be one of adam_optax.couplings, not 'cautious'"
    expect(TypeError, text, ft.partial(ao.adamw, 1e-3, coupling=wrong))
    text = "this coupling multiplies by the learning rate, which is None"
    expect(ValueError, text, ft.partial(ao.adamw, None, coupling=ao.couplings.corrected(1.0)))
    text = "coupling belongs to weight_decay, which is not given"
    expect(ValueError, text, ft.partial(ao.yogi, 1e-3, coupling=ao.couplings.INDEPENDENT))
    for peak in (0.0, -1.0, float("inf"), float("nan")):
        expect(ValueError, "peak must be positive*", ft.partial(ao.couplings.relative, peak))
    wrong = jnp.float32(1.0)
    expect(TypeError, "peak must be a Python number*", ft.partial(ao.couplings.relative, wrong))


def test_factored_storage_that_cannot_be() -> None:
    factored: Any = ao.storage.factored
    text = "factored() keeps moments that cannot be negative, which 'mu' can; name others*"
    expect(ValueError, text, lambda: ao.adam(1e-3, storage=factored()))
    expect(ValueError, "min_dim_size_to_factor must be >= 0, not -1", lambda: factored(-1))
    expect(TypeError, "min_dim_size_to_factor must be an int, not 2.0", lambda: factored(2.0))
    text = "storage and factored both say how nu is kept; set factored=False"
    expect(ValueError, text, lambda: ao.adafactor(storage={"nu": ao.storage.dense()}))


def test_reading_moments_of_no_state_or_of_several() -> None:
    state = ao.adam(1e-3).init(PARAMS)
    text = "expected one state with moments, found * in the tree"
    expect(ValueError, text, lambda: ao.read_moments({"a": 1}))
    expect(ValueError, text, lambda: ao.read_moments([state, state]))


def test_a_rule_that_reads_parameters_without_them() -> None:
    tx = ao.scale_by(ao.Rule({"mu": ao.moments.ema(0.9)}, lambda x: x.hat["mu"] * x.p))
    text = "updates['dense']['b']: this rule needs the parameters: tx.update(grads, state, params)"
    expect(ValueError, text, lambda: tx.update(GRADS, tx.init(PARAMS)))


def test_a_failed_update_leaves_the_state_as_it_was() -> None:
    tx = ao.adam(1e-3)
    state = tx.init(PARAMS)
    before = jax.tree.map(np.array, state)
    wrong = {"dense": {"w": jnp.ones((3, 2)), "b": jnp.ones(3)}}
    with pytest.raises(ValueError, match="shapes differ"):
        tx.update(wrong, state, PARAMS)
    jax.tree.map(np.testing.assert_array_equal, state, before)
