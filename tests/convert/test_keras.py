"""Test Keras's layout, made of NumPy arrays: names, values in order, and what is refused."""

import re
from typing import Any

import numpy as np
import pytest

import adam_optax as ao
from adam_optax.conventions import scheduled_nadam
from tests.convert.layouts import BIAS, COUNT, KERAS, MEAN, PARAMS, named, variable, variables

ADAM = ao.adam(1e-3).init(PARAMS)


def refused(text: str, theirs: Any, names: Any = KERAS, **more: Any) -> None:
    """Assert the whole text of the error, on the way from Keras and on the way back."""
    for convert in (
        lambda: ao.convert.from_keras(theirs, ADAM, names, **more),
        lambda: ao.convert.to_keras(ADAM, names, theirs, **more),
    ):
        with pytest.raises(ao.convert.ConversionError, match=f"^{re.escape(text)}$"):
            convert()


@pytest.mark.quick
def test_moments_and_iteration_arrive() -> None:
    state = ao.convert.from_keras(variables(), ADAM, KERAS)
    assert int(state[0].count) == COUNT
    np.testing.assert_array_equal(state[0].mu["dense"]["kernel"], MEAN)
    np.testing.assert_array_equal(state[0].nu["dense"]["kernel"], MEAN**2)
    np.testing.assert_array_equal(state[0].nu["dense"]["bias"], BIAS**2)


def test_a_run_of_keras_goes_on_in_two_bytes() -> None:
    tx = ao.adam(1e-3, storage=ao.storage.pair())
    template = tx.init(PARAMS)
    state = ao.convert.from_keras(variables(), template, KERAS, tx=tx, params=PARAMS)
    found = ao.read_moments(state, tx, PARAMS)
    # A step of the grid of two bytes (`RATIO` of the formats' properties).
    np.testing.assert_allclose(found["mu"]["dense"]["kernel"], MEAN, rtol=0.15)
    np.testing.assert_allclose(found["nu"]["dense"]["bias"], BIAS**2, rtol=0.15)


@pytest.mark.quick
@pytest.mark.parametrize("kind", ["adam", "amsgrad", "nadam"])
def test_values_come_in_the_order_of_the_variables(kind: str) -> None:
    makes: dict[str, Any] = {"adam": ao.adam, "amsgrad": ao.amsgrad, "nadam": scheduled_nadam}
    tx = makes[kind](1e-3)
    theirs = variables(hat=kind == "amsgrad", product=0.25 if kind == "nadam" else None)
    state = ao.convert.from_keras(theirs, tx.init(PARAMS), KERAS)
    for one, other in zip(ao.convert.to_keras(state, KERAS, theirs), theirs, strict=True):
        assert one.dtype == other.value.dtype
        np.testing.assert_array_equal(one, other.value)


def test_nadam_s_one_product_is_that_of_every_parameter() -> None:
    template = scheduled_nadam(1e-3).init(PARAMS)
    state = ao.convert.from_keras(variables(product=0.25), template, KERAS)
    product = state[0].moments["product"]["dense"]
    assert {name: float(x) for name, x in product.items()} == {"kernel": 0.25, "bias": 0.25}
    entries = named(
        **{f"product/dense/{n}": np.array(x) for n, x in [("kernel", 0.5), ("bias", 0.4)]}
    )
    with pytest.raises(ao.convert.ConversionError, match="Nadam has one for all"):
        ao.convert.named_to_keras(entries, KERAS, variables(product=0.25))


def test_a_permutation_goes_both_ways() -> None:
    names = KERAS | {"net/dense/kernel": ("dense/kernel", (1, 0))}  # type: ignore[operator]
    theirs = variables()
    theirs[2], theirs[3] = (variable(v.path, v.value.T) for v in theirs[2:4])
    state = ao.convert.from_keras(theirs, ADAM, names)
    np.testing.assert_array_equal(state[0].mu["dense"]["kernel"], MEAN)
    np.testing.assert_array_equal(ao.convert.to_keras(state, names, theirs)[2], MEAN.T)


def test_variables_that_do_not_fit_are_refused() -> None:
    one_of = "the variables are not those of one of Adam, AdamW, Nadam and Adamax"
    refused(
        "Keras's optimizer is not built, or has no parameters; call "
        "optimizer.build(model.trainable_variables) first",
        variables()[:2],
    )
    refused(
        f"{one_of}: 'scale', 'steps'", [*variables(), variable("scale", 1), variable("steps", 1)]
    )
    for first in ([], [variable("adam/iteration", 1.5)], variables()[:1] * 2):
        refused(f"{one_of}: not one iteration", [*first, *variables()[1:]])
    refused(
        "Keras's optimizer keeps net_dense_kernel_average besides; it was made with use_ema=True; "
        "pass [v for v in optimizer.variables if not v.path.endswith('_average')] and carry the "
        "averages over by themselves",
        [*variables(), variable("adam/net_dense_kernel_average", MEAN)],
    )
    refused("variables must be a Keras optimizer's, with a path and a value, not int", [1, 2])


def test_names_that_do_not_fit_are_refused() -> None:
    known = "did you mean 'net_dense_kernel'?"
    refused(
        f"names has 'net/dense/kernle', which Keras's optimizer has not; {known}",
        variables(),
        {"net/dense/kernle": "dense/kernel", "net/dense/bias": "dense/bias"},
    )
    refused(
        "names lacks 'net_dense_bias' of Keras's optimizer; map each to its path in the template, "
        "or to None to leave it out",
        variables(),
        {"net/dense/kernel": "dense/kernel"},
    )
    refused(
        "Keras calls both 'net/dense/bias' and 'net/dense_bias' 'net_dense_bias'",
        variables(),
        {"net/dense/bias": "dense/bias", "net/dense_bias": "dense/kernel"},
    )


def test_back_to_variables_that_do_not_fit_is_refused() -> None:
    amsgrad = ao.amsgrad(1e-3).init(PARAMS)
    small = variables()
    small[4] = variable(small[4].path, BIAS[:2])
    cases: list[tuple[Any, Any, str]] = [
        (
            amsgrad,
            variables(),
            "Keras's optimizer has no place for nu_max/dense/bias; amsgrad=True",
        ),
        (
            ADAM,
            variables(hat=True),
            "Keras's optimizer needs nu_max/dense/bias, which the state has",
        ),
        (ADAM, variables(product=1.0), "keras.optimizers.Nadam goes with ao.conventions."),
        (ADAM, small, "net_dense_bias_momentum has shape (3,) in the source, but (2,) here"),
    ]
    for state, theirs, text in cases:
        with pytest.raises(ao.convert.ConversionError, match=re.escape(text)):
            ao.convert.to_keras(state, KERAS, theirs)
    many = named(count=np.array(2**31))
    text = "^count is 2147483648; Keras's iteration ends at 2147483647$"
    with pytest.raises(ao.convert.ConversionError, match=text):
        ao.convert.named_to_keras(many, KERAS, variables())


def test_parameters_left_out_keep_their_values() -> None:
    for theirs in (variables(), variables(product=0.25)):
        blank = {"count": np.array(9)}
        values = ao.convert.named_to_keras(blank, dict.fromkeys(KERAS), theirs)
        assert int(values[0]) == 9
        for one, other in zip(values[1:], theirs[1:], strict=True):
            np.testing.assert_array_equal(one, other.value)
