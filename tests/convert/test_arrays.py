"""Test what is converted in memory: arrays of odd kinds are right or refused, never half-read."""

import time
import types
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import adam_optax as ao
from adam_optax.convert._checks import ConversionError, raise_problems
from adam_optax.convert._names import match_names
from tests.convert.layouts import BIAS, MEAN, PARAMS, TORCH, named, state_dict, torch_entry
from tests.convert.test_files import refused

ADAM = ao.adam(1e-3)


@pytest.mark.quick
def test_arrays_of_the_other_byte_order_are_converted() -> None:
    swapped = {key: x.astype(x.dtype.newbyteorder(">")) for key, x in named().items()}
    state = ao.convert.from_named(swapped, ADAM.init(PARAMS))
    np.testing.assert_array_equal(state[0].mu["dense"]["kernel"], MEAN)
    assert int(state[0].count) == 7
    theirs = state_dict()
    theirs["state"][1]["exp_avg"] = BIAS.astype(">f4")
    found = ao.convert.torch_to_named(theirs, TORCH)["mu/dense/bias"]
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, BIAS)


@pytest.mark.quick
def test_masked_elements_are_refused() -> None:
    masked = np.ma.masked_array(BIAS, mask=[False, True, False])
    text = "mu/dense/bias has masked elements, which a moment cannot have"
    arrays = named(**{"mu/dense/bias": masked})
    refused(text, lambda: ao.convert.from_named(arrays, ADAM.init(PARAMS)))
    theirs = state_dict()
    theirs["state"][1]["exp_avg"] = masked
    refused("exp_avg of 'fc.bias' has masked", lambda: ao.convert.torch_to_named(theirs, TORCH))
    whole = named(**{"mu/dense/bias": np.ma.masked_array(BIAS)})
    state = ao.convert.from_named(whole, ADAM.init(PARAMS))
    np.testing.assert_array_equal(state[0].mu["dense"]["bias"], BIAS)


class Halves:
    """Stand in for a tensor of complex32, which PyTorch cannot hand to NumPy."""

    shape = (1,)

    def __getattr__(self, name: str) -> Any:
        """Return the methods of PyTorch's tensors that are asked for."""

        def refuse() -> None:
            raise TypeError("Got unsupported ScalarType ComplexHalf")

        whole = types.SimpleNamespace(numpy=lambda: np.array([1 + 5j], np.complex64))
        real = types.SimpleNamespace(numpy=lambda: np.array([1], np.float32))
        methods: dict[str, Any] = {
            "numpy": refuse,
            "is_complex": lambda: True,
            "cfloat": lambda: whole,
        }
        methods |= {"detach": lambda: self, "cpu": lambda: self, "float": lambda: real}
        if name in methods:
            return methods[name]
        raise AttributeError(name)


@pytest.mark.quick
def test_complex32_keeps_its_imaginary_part() -> None:
    entry = {"step": 5.0, "exp_avg": Halves(), "exp_avg_sq": np.ones(1, np.float32)}
    group = {"params": [0], "param_names": ["w"]}
    found = ao.convert.torch_to_named({"state": {0: entry}, "param_groups": [group]}, {"w": "w"})
    assert found["mu/w"].tolist() == [1 + 5j]


@pytest.mark.parametrize("order", [5, 5.0, None, object(), b"ab", np.arange(2), [["a"], 3], [1, 2]])
def test_an_order_that_is_none_is_refused(order: Any) -> None:
    for recorded in (True, False):
        theirs = state_dict(named=recorded)
        if recorded and order is None:
            continue
        with pytest.raises(ConversionError, match="order"):
            ao.convert.from_torch(theirs, ADAM.init(PARAMS), TORCH, order=order)


UNLIKE: dict[str, tuple[dict[str, Any], str]] = {
    "shapes": ({"exp_avg_sq": MEAN**2}, "have shapes that differ (mu (3,), nu (2, 3))"),
    "a number": ({"exp_avg_sq": np.float32(1)}, "have shapes that differ (mu (3,), nu ())"),
}


@pytest.mark.parametrize("case", UNLIKE)
def test_moments_of_unlike_shapes_are_refused(case: str) -> None:
    entries, text = UNLIKE[case]
    theirs = state_dict()
    theirs["state"][1] |= entries
    refused(f"the moments of 'fc.bias' {text}", lambda: ao.convert.torch_to_named(theirs, TORCH))


def test_a_state_of_two_optimizers_is_refused() -> None:
    theirs = state_dict()
    theirs["state"][1] = {"step": 7.0, "exp_avg": BIAS, "exp_inf": abs(BIAS)}
    text = "PyTorch keeps exp_inf of 'fc.bias' and not of the others"
    refused(text, lambda: ao.convert.torch_to_named(theirs, TORCH))
    theirs["state"][1] = torch_entry(BIAS, mu_product=np.float32(0.5))
    refused("keeps mu_product of", lambda: ao.convert.torch_to_named(theirs, TORCH))
    theirs["state"][1] = torch_entry(BIAS, max_exp_avg_sq=BIAS**2)  # amsgrad is one group's option
    assert "nu_max/dense/bias" in ao.convert.torch_to_named(theirs, TORCH)


def test_numbers_of_a_group_can_be_anything() -> None:
    tx, state = ADAM, ADAM.init(PARAMS)
    oddities: list[Any] = [np.ones(2), [1, [2]], "x", None, {}]
    (whole, *_) = ao.convert.read_groups(state_dict())
    for odd in oddities:
        for name in ("lr", "betas", "eps", "weight_decay"):
            changed: dict[str, Any] = {name: odd}
            theirs = state_dict(**changed)
            theirs["state"][0]["step"] = odd
            of_a_list = name == "betas" and isinstance(odd, list)  # of which the first is a number
            said = ["group 0: b1 is 1 in PyTorch, 0.9 in tx"] if of_a_list else []
            assert ao.convert.torch_differences(theirs, tx, state) == said
            (group, *_) = ao.convert.read_groups(theirs)
            assert group.names == whole.names
            named = {"lr": "learning_rate", "betas": "b1"}.get(name, name)
            others = whole.hyperparameters.keys() - {named, "b2"}
            assert all(group.hyperparameters[n] == whole.hyperparameters[n] for n in others)


@pytest.mark.quick
def test_names_are_matched_in_linear_time() -> None:
    """With lists, 100,000 took more than 25 s."""
    many = {f"layer.{i}.weight": f"layer/{i}" for i in range(50_000)}
    start = time.process_time()
    assert len(match_names(list(many), many, "a source")) == len(many)
    assert time.process_time() - start < 5  # .3 s on an idle machine


def test_extra_entries_are_listed_in_linear_time() -> None:
    many = [f"layer/{i}" for i in range(10_000)]
    start = time.process_time()
    arrays = {"count": np.array(1)} | {path: np.ones(0) for path in many}
    with pytest.raises(ConversionError, match=r"extra layer/0, .* and 9995 more"):
        ao.convert.from_named(arrays, ADAM.init(PARAMS))
    odd = {"count": np.array(1)} | {f"moment{i}": np.ones(0) for i in range(10_000)}
    with pytest.raises(ConversionError, match="and 9995 more"):
        ao.convert.from_named(odd, ADAM.init(PARAMS))
    assert time.process_time() - start < 10  # .3 s on an idle machine; 20 s with lists


def test_messages_are_short_and_steer_no_terminal() -> None:
    long = "x" * 10**6
    with pytest.raises(ConversionError, match=r"\(990000 characters more\)") as raised:
        raise ConversionError(long)
    assert len(str(raised.value)) < 10_100
    with pytest.raises(ConversionError, match="50000 things do not fit") as raised:
        raise_problems([long] * 50_000)
    assert str(raised.value).endswith("and 49980 more")
    assert len(str(raised.value)) < 25_000
    with pytest.raises(ConversionError) as raised:
        raise ConversionError("a\x1b[31m\0\ud800é\nb")
    assert str(raised.value) == r"a\x1b[31m\x00\ud800é" + "\nb"
    with pytest.raises(ConversionError, match="did you mean 'ab'"):
        match_names(["ab"], {"abc": None}, "a source")
    with pytest.raises(ConversionError, match="there is 'ab'"):
        match_names(["ab"], {long: None}, "a source")


@pytest.mark.parametrize("path", ["a\0b", "a\nb", "\x1b[31m", "\ud800"])
def test_paths_that_do_not_print_are_refused(path: str) -> None:
    with pytest.raises(ConversionError, match="characters that do not print"):
        match_names(["w"], {"w": path}, "a source")


@pytest.mark.quick
def test_a_dtype_without_zero_is_no_moment_s() -> None:
    text = "float8_e8m0fnu.: a moment needs a floating or complex dtype that has 0"
    for make in (
        lambda: ao.storage.dense("float8_e8m0fnu"),
        lambda: ao.adam(1e-3, mu_dtype="float8_e8m0fnu").init(jnp.ones(3)),
        lambda: ao.adam(1e-3, nu_dtype=jnp.float8_e8m0fnu).init(jnp.ones(3)),
    ):
        with pytest.raises(TypeError, match=text):
            make()
