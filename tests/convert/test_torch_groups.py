"""Test PyTorch's parameter groups: whose moments are whose, with which numbers, of which model."""

import re
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.convert.layouts import BIAS, MEAN, PARAMS, TORCH, state_dict, torch_entry

FIRST, SECOND = np.arange(4.0).reshape(2, 2), np.arange(4.0, 8.0).reshape(2, 2)
"""The means of two square matrices, which no shape tells apart."""
SQUARE = {"0": jnp.zeros((2, 2)), "1": jnp.zeros((2, 2))}
NAMES: ao.convert.Names = {"0.weight": ("0", (1, 0)), "1.weight": ("1", (1, 0))}
TX = ao.adam(1e-3)
PAIR = ao.adam(1e-3, storage=ao.storage.pair())
HOW = (
    "order=[[names[p] for p in group['params']] for group in optimizer.param_groups], with names = "
    "{p: name for name, p in model.named_parameters()}"
)


def grouped(**names: Any) -> dict[str, Any]:
    """Build the `state_dict` of `Adam([{"params": m[1].weight, "lr": .01}, {"params": ...}])`.

    The optimizer counts parameters group by group: the second matrix is parameter 0.
    """
    numbers = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False}
    groups = [{"params": [0], "lr": 1e-2, **numbers}, {"params": [1], "lr": 1e-3, **numbers}]
    for group, name in zip(groups, names.get("recorded", ()), strict=False):
        group["param_names"] = [name]
    return {"state": {0: torch_entry(SECOND), 1: torch_entry(FIRST)}, "param_groups": groups}


def refused(text: str, call: Callable[[], object]) -> None:
    """Assert the whole text of the error."""
    with pytest.raises(ao.convert.ConversionError, match=f"^{re.escape(text)}$"):
        call()


@pytest.mark.quick
def test_one_list_of_names_for_several_groups_is_refused_with_the_table() -> None:
    template = TX.init(SQUARE)
    text = (
        "the optimizer has 2 parameter groups and PyTorch recorded no names, so that only you can "
        "tell which parameter is which: the groups' order is seldom that of "
        f"model.named_parameters(). Confirm it by one list of names for each group: {HOW}. The "
        "order given says:\n"
        "index  group  shape   name\n"
        "0      0      (2, 2)  0.weight\n"
        "1      1      (2, 2)  1.weight"
    )
    order = ["0.weight", "1.weight"]  # [name for name, _ in model.named_parameters()]
    refused(text, lambda: ao.convert.from_torch(grouped(), template, NAMES, order=order))
    refused(text, lambda: ao.convert.to_torch(template, NAMES, grouped(), order=order))
    refused(
        "order has lists of 2, 0 names, and the optimizer groups of 1, 1 parameters; pass " + HOW,
        lambda: ao.convert.from_torch(grouped(), template, NAMES, order=[order, []]),
    )


@pytest.mark.quick
@pytest.mark.parametrize("recorded", [False, True])
def test_each_parameter_gets_its_own_moments(recorded: bool) -> None:
    names = ["1.weight", "0.weight"]
    theirs = grouped(recorded=names) if recorded else grouped()
    order = None if recorded else [[name] for name in names]
    state = ao.convert.from_torch(theirs, TX.init(SQUARE), NAMES, order=order)
    np.testing.assert_array_equal(state[0].mu["0"], FIRST.T)
    np.testing.assert_array_equal(state[0].mu["1"], SECOND.T)


def test_one_group_takes_one_list_or_a_list_of_it() -> None:
    flat = ["fc.weight", "fc.bias"]
    theirs = state_dict(named=False)
    for order in (flat, [flat]):
        state = ao.convert.from_torch(theirs, TX.init(PARAMS), TORCH, order=order)
        np.testing.assert_array_equal(state[0].mu["dense"]["kernel"], MEAN)


@pytest.mark.quick
def test_groups_are_read_with_our_names_of_numbers() -> None:
    theirs = grouped(recorded=["1.weight", "0.weight"])
    theirs["param_groups"][0] |= {"fused": True, "initial_lr": 0.1, "maximize": False}
    one, other = ao.convert.read_groups(theirs)
    numbers = {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0, "amsgrad": False}
    more = {"initial_lr": 0.1, "maximize": False}
    assert one == (("1.weight",), {"learning_rate": 1e-2, **numbers, **more})
    assert other == (("0.weight",), {"learning_rate": 1e-3, **numbers})
    named = ao.convert.read_groups(grouped(), order=[["1.weight"], ["0.weight"]])
    assert [group.names for group in named] == [("1.weight",), ("0.weight",)]
    tensor = np.float32(0.5)  # as torch.tensor(0.5) has, a method `item`
    theirs["param_groups"][0]["lr"] = tensor
    assert isinstance(ao.convert.read_groups(theirs)[0].hyperparameters["learning_rate"], float)
    with pytest.raises(ao.convert.ConversionError, match="names of the parameters are not record"):
        ao.convert.read_groups(grouped())


LINES: dict[str, tuple[Any, dict[str, Any], list[str]]] = {
    "same": (TX, {}, []),
    "numbers": (
        ao.adamw(1e-2, b1=0.8, eps=1e-6, weight_decay=0.1),
        {},
        [
            "learning_rate is 0.001 in PyTorch, 0.01 in tx",
            "b1 is 0.9 in PyTorch, 0.8 in tx",
            "eps is 1e-08 in PyTorch, 1e-06 in tx",
            "weight_decay is 0 in PyTorch, 0.1 in tx",
        ],
    ),
    "decay": (TX, {"weight_decay": 0.1}, ["weight_decay is 0.1 in PyTorch, 0 in tx"]),
    "l2": (
        ao.conventions.l2(0.1, TX),
        {"weight_decay": 0.1, "decoupled_weight_decay": False},
        [],
    ),
    "no l2": (
        ao.adamw(1e-3, weight_decay=0.1),
        {"weight_decay": 0.1, "decoupled_weight_decay": False},
        ["weight_decay (added to the gradient) is 0.1 in PyTorch, 0 in tx"],
    ),
    "schedule": (
        ao.adam(optax.linear_schedule(8e-3, 1e-3, 7)),  # at PyTorch's step 7, its rate
        {},
        [],
    ),
    "injected": (
        optax.inject_hyperparams(ao.adam)(1e-3, b2=0.99),
        {},
        ["b2 is 0.999 in PyTorch, 0.99 in tx"],
    ),
    "another optimizer": (
        ao.radam(1e-3),
        {},
        ["the optimizer is Adam in PyTorch, radam in tx"],
    ),
    "by path": (
        ao.adam(ao.by_path({".*/bias": ao.FROZEN, ".*": 1e-3}), b2=ao.by_path({".*": 0.99})),
        {},
        ["b2 is 0.999 in PyTorch, 0.99 in tx"],
    ),
    "optax": (optax.adam(1e-2), {}, []),
}


@pytest.mark.parametrize("case", LINES)
def test_numbers_that_differ_are_told(case: str) -> None:
    tx, options, lines = LINES[case]
    theirs = state_dict(**{"eps": 1e-8, "weight_decay": 0.0} | options)
    found = ao.convert.torch_differences(theirs, tx, tx.init(PARAMS))
    assert found == [f"group 0: {line}" for line in lines]


@pytest.mark.quick
def test_a_template_is_compared_and_kept_in_its_storage() -> None:
    theirs = state_dict(betas=(0.9, 0.95))
    with pytest.warns(UserWarning, match="b2 is 0.95 in PyTorch, 0.999 in tx"):
        state = ao.convert.from_torch(theirs, PAIR.init(PARAMS), TORCH, tx=PAIR, params=PARAMS)
    found = ao.read_moments(state, PAIR, PARAMS)
    # A step of the grid of two bytes (`RATIO` of the formats' properties).
    np.testing.assert_allclose(found["mu"]["dense"]["kernel"], MEAN, rtol=0.15)


def test_each_group_is_compared_with_the_optimiser_most_like_it() -> None:
    two = optax.partition({"a": ao.adam(1e-2), "b": TX}, {"0": "b", "1": "a"})
    assert ao.convert.torch_differences(grouped(), two, two.init(SQUARE)) == []
    lines = ao.convert.torch_differences(grouped(), TX, TX.init(SQUARE))
    assert lines == ["group 0: learning_rate is 0.01 in PyTorch, 0.001 in tx"]


@pytest.mark.quick
def test_adam_does_not_load_into_adamax_nor_the_reverse() -> None:
    adamax = ao.adamax(1e-3)
    refused(
        "tx is adamax, whose nu is an infinity norm, and the source keeps a mean of squares "
        "(PyTorch's exp_avg_sq); make tx with ao.adam or ao.adamw",
        lambda: ao.convert.from_torch(
            state_dict(), adamax.init(PARAMS), TORCH, tx=adamax, params=PARAMS
        ),
    )
    norms = {
        i: {"step": k["step"], "exp_avg": k["exp_avg"], "exp_inf": k["exp_avg_sq"]}
        for i, k in state_dict()["state"].items()
    }
    theirs = state_dict(amsgrad=None, weight_decay=0, capturable=False) | {"state": norms}
    refused(
        "the moments are AdaMax's (PyTorch's Adamax keeps exp_inf), and tx is adam, whose nu is no "
        "infinity norm; make tx with ao.adamax",
        lambda: ao.convert.from_torch(theirs, TX.init(PARAMS), TORCH, tx=TX, params=PARAMS),
    )
    refused(
        "PyTorch's optimizer is Adamax (it keeps exp_inf), whose state looks like Adam's here; "
        "pass tx= and params= as well, so that tx is seen to be ao.adamax",
        lambda: ao.convert.from_torch(theirs, TX.init(PARAMS), TORCH),
    )


MODEL = {"fc.weight": MEAN.T, "fc.bias": BIAS, "bn.running_mean": BIAS}


@pytest.mark.quick
def test_a_model_confirms_shapes_by_name() -> None:
    state = ao.convert.from_torch(state_dict(), TX.init(PARAMS), TORCH, model=MODEL)
    np.testing.assert_array_equal(state[0].mu["dense"]["kernel"], MEAN)
    wrong = state_dict(named=False)
    order = ["fc.bias", "fc.weight"]
    names = {"fc.weight": "a", "fc.bias": "b"}
    with pytest.raises(ao.convert.ConversionError, match="2 things do not fit") as error:
        ao.convert.torch_to_named(wrong, names, order=order, model=MODEL)
    assert (
        "'fc.bias' has shape (3,) in the model, but its moments (3, 2): the order of the names is "
        "not that of the optimizer's parameter groups"
    ) in str(error.value)
    refused(
        "the model has no 'fc.bias'; did you mean 'fc.bais'?",
        lambda: ao.convert.torch_to_named(
            state_dict(), TORCH, model={"fc.weight": MEAN.T, "fc.bais": BIAS}
        ),
    )
    refused(
        "model must be model.state_dict(), not list",
        lambda: ao.convert.torch_to_named(state_dict(), TORCH, model=[]),  # type: ignore[arg-type]
    )


@pytest.mark.quick
def test_parameters_go_the_way_of_their_moments() -> None:
    half = {"dense": {"kernel": jnp.zeros((2, 3), "bfloat16"), "bias": jnp.zeros(3)}}
    params = ao.convert.params_from_torch(MODEL, half, TORCH)
    np.testing.assert_array_equal(params["dense"]["kernel"], jnp.asarray(MEAN, "bfloat16"))
    np.testing.assert_array_equal(params["dense"]["bias"], BIAS)
    convert = ao.convert.params_from_torch
    refused(
        "missing dense/bias: map a name to it",
        lambda: convert(MODEL, PARAMS, {"fc.weight": TORCH["fc.weight"]}),
    )
    refused(
        "there is no parameter 'dense/bias'; there is 'dense/kernel'",
        lambda: convert(MODEL, {"dense": {"kernel": jnp.zeros((2, 3))}}, TORCH),
    )
    refused(
        "dense/kernel has shape (3, 2) in the source, but (2, 3) here; permute its axes in names, "
        "as in ('dense/kernel', (1, 0))",
        lambda: convert(MODEL, PARAMS, {**TORCH, "fc.weight": "dense/kernel"}),
    )


@pytest.mark.quick
def test_groups_of_pytorch_are_groups_by_path() -> None:
    theirs = {
        "state": {},
        "param_groups": [
            {"params": [0], "param_names": ["1.weight"], "lr": 1e-2, "betas": (0.8, 0.9)},
            {"params": [1], "param_names": ["0.weight"], "lr": 1e-3, "weight_decay": 0.5},
        ],
    }
    names = {"0.weight": "a/w", "1.weight": "b.c/w"}
    groups = ao.convert.groups_from_torch(theirs, names)
    tx = ao.parameter_groups(ao.adamw, groups)
    params = {"a": {"w": jnp.ones(2)}, "b.c": {"w": jnp.ones(2)}}
    updates, state = tx.update(params, tx.init(params), params)
    np.testing.assert_allclose(updates["a"]["w"], -1e-3 * 1.5, rtol=1e-6)  # float32
    np.testing.assert_allclose(updates["b.c"]["w"], -1e-2 * (1 + 1e-4), rtol=1e-6)
    np.testing.assert_allclose(state[0].nu["b.c"]["w"], 0.1, rtol=1e-6)
    with pytest.raises(ao.convert.ConversionError, match=r"nothing of '?0\.weight'?; None leaves"):
        ao.convert.groups_from_torch(theirs, {"1.weight": "b/w"})


@pytest.mark.quick
def test_parameter_groups_are_compared_by_their_numbers() -> None:
    names = {"1.weight": "1", "0.weight": "0"}
    theirs = grouped(recorded=["1.weight", "0.weight"])
    theirs["param_groups"][0]["weight_decay"] = 0.1
    groups = ao.convert.groups_from_torch(theirs, names)
    tx = ao.parameter_groups(ao.adamw, groups)
    assert ao.convert.torch_differences(theirs, tx, tx.init(SQUARE)) == []
    tx = ao.parameter_groups(ao.adamw, {"0": {"weight_decay": 0.5}, "1": {}}, learning_rate=1.0)
    assert ao.convert.torch_differences(theirs, tx, tx.init(SQUARE)) == [
        "group 0: learning_rate is 0.01 in PyTorch, 1 in tx",
        "group 0: weight_decay is 0.1 in PyTorch, 0.5 or 0.0001 in tx",
        "group 1: learning_rate is 0.001 in PyTorch, 1 in tx",
        "group 1: weight_decay is 0 in PyTorch, 0.5 or 0.0001 in tx",
    ]
