"""Test PyTorch's layout, made of NumPy arrays: names, order, axes, steps, what is refused."""

import copy
import re
from typing import Any

import chex
import jax.numpy as jnp
import numpy as np
import pytest

import adam_optax as ao
from adam_optax.conventions import scheduled_nadam
from tests.convert.layouts import BIAS, COUNT, MEAN, PARAMS, TORCH, state_dict, torch_entry

ADAM = ao.adam(1e-3).init(PARAMS)
NADAM = {"amsgrad": None, "momentum_decay": 4e-3}
ADAMAX = {"amsgrad": None, "weight_decay": 0, "capturable": False}
"""Options of other optimizers' groups; one that is None, the group does not have."""


def refused(text: str, theirs: Any = None, names: Any = TORCH, **more: Any) -> None:
    """Assert the whole text of the error."""
    theirs = state_dict() if theirs is None else theirs
    with pytest.raises(ao.convert.ConversionError, match=f"^{re.escape(text)}$"):
        ao.convert.from_torch(theirs, ADAM, names, **more)


def changed(**more: Any) -> dict[str, Any]:
    """Build a `state_dict` in which the bias has other entries."""
    theirs = state_dict()
    theirs["state"][1] = torch_entry(BIAS) | more
    return theirs


@pytest.mark.quick
@pytest.mark.parametrize("order", [None, list(TORCH)], ids=["named", "order"])
def test_moments_and_step_arrive_with_our_axes(order: Any) -> None:
    theirs = state_dict(named=order is None)
    before = copy.deepcopy(theirs)
    state = ao.convert.from_torch(theirs, ADAM, TORCH, order=order)
    assert int(state[0].count) == COUNT
    np.testing.assert_array_equal(state[0].mu["dense"]["kernel"], MEAN)
    np.testing.assert_array_equal(state[0].nu["dense"]["kernel"], MEAN**2)
    np.testing.assert_array_equal(state[0].mu["dense"]["bias"], BIAS)
    np.testing.assert_array_equal(state[0].nu["dense"]["bias"], BIAS**2)
    chex.assert_trees_all_equal(theirs["state"], before["state"])


def test_every_layout_has_its_place() -> None:
    maximum = {
        i: k | {"max_exp_avg_sq": k["exp_avg_sq"] * 2} for i, k in state_dict()["state"].items()
    }
    product = {i: k | {"mu_product": np.float32(0.25)} for i, k in state_dict()["state"].items()}
    norm = {
        i: {"step": k["step"], "exp_avg": k["exp_avg"], "exp_inf": k["exp_avg_sq"]}
        for i, k in state_dict()["state"].items()
    }
    cases: list[tuple[Any, Any, str, Any]] = [
        (ao.amsgrad(1e-3, raw_max=True), maximum, "nu_max", 2 * MEAN**2),
        (scheduled_nadam(1e-3), product, "product", np.float32(0.25)),
        (ao.adamax(1e-3), norm, "nu", MEAN**2),
    ]
    options: dict[str, Any] = {"nu_max": {"amsgrad": True}, "product": NADAM, "nu": ADAMAX}
    for tx, kept, entry, right in cases:
        theirs = state_dict(**options[entry]) | {"state": kept}
        template = tx.init(PARAMS)
        state = ao.convert.from_torch(theirs, template, TORCH, tx=tx, params=PARAMS)
        moment = getattr(state[0], entry)["dense"]["kernel"]
        np.testing.assert_array_equal(moment, right)


@pytest.mark.quick
def test_convolutions_and_groups_and_names_as_indices() -> None:
    mean = np.arange(120, dtype=np.float32).reshape(5, 4, 3, 2)
    kernel = {"kernel": jnp.zeros((3, 2, 4, 5)), "bias": jnp.zeros(3)}
    groups: Any = [{"params": ["bias"]}, {"params": ["conv.weight"]}]
    kept = {"conv.weight": torch_entry(mean), "bias": torch_entry(BIAS)}
    names: ao.convert.Names = {"conv.weight": ("kernel", (2, 3, 1, 0)), "bias": "bias"}
    template = ao.adam(1e-3).init(kernel)
    theirs = {"state": kept, "param_groups": groups}
    state = ao.convert.from_torch(theirs, template, names)
    np.testing.assert_array_equal(state[0].mu["kernel"][2, 1, 3, 4], mean[4, 3, 2, 1])


def test_what_was_read_is_not_changed_when_pytorch_goes_on() -> None:
    theirs = state_dict()
    state = ao.convert.from_torch(theirs, ADAM, TORCH)
    entries = ao.convert.torch_to_named(theirs, TORCH)
    for kept in theirs["state"].values():
        kept["exp_avg"] += 1  # PyTorch's optimizers work in place
    np.testing.assert_array_equal(state[0].mu["dense"]["kernel"], MEAN)
    np.testing.assert_array_equal(entries["mu/dense/kernel"], MEAN)


def test_none_leaves_a_parameter_out() -> None:
    template = ao.adam(1e-3).init({"dense": {"bias": PARAMS["dense"]["bias"]}})
    names = {"fc.weight": None, "fc.bias": "dense/bias"}
    theirs = state_dict()
    theirs["state"][0]["step"] = np.float32(3)
    state = ao.convert.from_torch(theirs, template, names)
    assert int(state[0].count) == COUNT


def test_an_integer_step_of_an_old_checkpoint_is_read() -> None:
    theirs = state_dict()
    for kept in theirs["state"].values():
        kept["step"] = COUNT
    assert int(ao.convert.from_torch(theirs, ADAM, TORCH)[0].count) == COUNT


def test_names_that_do_not_fit_are_refused() -> None:
    refused(
        "names has 'fc.wieght', which PyTorch's optimizer has not; did you mean 'fc.weight'?",
        names={"fc.wieght": "dense/kernel", "fc.bias": "dense/bias"},
    )
    refused(
        "names lacks 'fc.bias' of PyTorch's optimizer; map each to its path in the template, or "
        "to None to leave it out",
        names={"fc.weight": TORCH["fc.weight"]},
    )
    refused(
        "names maps both 'fc.weight' and 'fc.bias' to 'dense/bias'",
        names={"fc.weight": "dense/bias", "fc.bias": "dense/bias"},
    )
    refused(
        "names['fc.weight']: (1, 1) is not a permutation, such as (1, 0)",
        names=TORCH | {"fc.weight": ("dense/kernel", (1, 1))},  # type: ignore[operator]
    )
    refused(
        "names['fc.weight']: the axes (2, 1, 0) are for 3 dimensions, but its shape is (3, 2)",
        names=TORCH | {"fc.weight": ("dense/kernel", (2, 1, 0))},  # type: ignore[operator]
    )
    refused(
        "names['fc.weight'] must be a path of ours, such as 'dense/kernel', a pair of it and a "
        "permutation of axes, such as ('dense/kernel', (1, 0)), or None, not 3",
        names=TORCH | {"fc.weight": 3},  # type: ignore[operator]
    )
    refused(
        "names must be a mapping, as in {'fc.bias': 'dense/bias'}, not list",
        names=["fc.weight"],
    )


def test_a_forgotten_transposition_is_named() -> None:
    names = {"fc.weight": "dense/kernel", "fc.bias": "dense/bias"}
    with pytest.raises(ao.convert.ConversionError, match="permute its axes") as error:
        ao.convert.from_torch(state_dict(), ADAM, names)
    assert "mu/dense/kernel has shape (3, 2) in the source, but (2, 3) here" in str(error.value)


def test_an_order_that_does_not_fit_is_refused() -> None:
    way = (
        "pass order=[[names[p] for p in group['params']] for group in optimizer.param_groups], "
        "with names = {p: name for name, p in model.named_parameters()}"
    )
    theirs = state_dict(named=False)
    nameless = f"the names of the parameters are not recorded there; {way}"
    unfit: list[Any] = [None, "ab", 3, [1, 2], [[1], ["fc.weight"]]]
    for order in unfit:
        refused(nameless, theirs, order=order)
    text = "order must name each of the 2 parameters once, and has"
    refused(f"{text} 1 names, 1 of them different; {way}", theirs, order=["fc.weight"])
    refused(f"{text} 2 names, 1 of them different; {way}", theirs, order=["fc.bias"] * 2)
    twice = state_dict()
    twice["param_groups"][0]["param_names"] = ["fc.bias"] * 2
    refused(nameless, twice)
    refused(
        "order differs from the names that PyTorch recorded (fc.weight, fc.bias); leave it out",
        order=["fc.bias", "fc.weight"],
    )


def test_steps_that_do_not_fit_are_refused() -> None:
    refused(
        "the parameters have made different numbers of steps ('fc.weight' 7, 'fc.bias' 5), and a "
        "state here has one count; convert those of one number at a time, with the others mapped "
        "to None, into the states of optax.partition",
        changed(step=np.float32(5)),
    )
    for step in (0.5, np.nan, -1.0, 1e30, "7", 7j, np.ones(2)):
        text = f"step of 'fc.bias' is not a whole number of steps but {np.array(step)}"
        refused(text, changed(step=step))


def test_states_that_do_not_fit_are_refused() -> None:
    refused(
        "PyTorch's optimizer has made no step, so there is nothing to convert: go on with "
        "tx.init(params)",
        state_dict() | {"state": {}},
    )
    theirs = state_dict()
    del theirs["state"][1]
    refused(
        "'fc.bias' has no state in PyTorch, for it never had a gradient; map it to None in names, "
        "and leave it out of the template with optax.partition",
        theirs,
    )
    refused(
        "what PyTorch keeps of 'fc.bias' is exp_avg, exp_avg_sq, momentum_buffer, step, not the "
        "state of one of Adam, AdamW, NAdam, RAdam and Adamax",
        changed(momentum_buffer=BIAS),
    )
    refused(
        "extra nu_max/dense/bias: the source has AMSGrad's maximum; make the template with "
        "ao.amsgrad(raw_max=True)",
        changed(max_exp_avg_sq=BIAS**2),
    )
    refused(
        "nu/dense/bias has 1 of 3 negative values; squares have none: are two entries or two "
        "parameters swapped?",
        changed(exp_avg_sq=BIAS),
    )
    refused(
        "a PyTorch optimizer's state_dict has 'state' and 'param_groups', this is a dict with "
        "model, optimizer; of a checkpoint, take the optimizer's part, such as "
        "checkpoint['optimizer']",
        {"model": {}, "optimizer": state_dict()},
    )
    refused("exp_avg of 'fc.bias' is not an array but object", changed(exp_avg=object()))
    groups: list[Any] = [1, {"params": 3}, {"params": [[0]]}, {"params": [0], "param_names": [1]}]
    unfit: list[Any] = [None, 3, [], {"state": 1, "param_groups": 2}]
    unfit += [{"state": {}, "param_groups": [group]} for group in groups]
    for wrong in unfit:
        with pytest.raises(ao.convert.ConversionError, match="has 'state' and 'param_groups'"):
            ao.convert.torch_to_named(wrong, TORCH)


def test_back_to_an_optimizer_that_does_not_fit_is_refused() -> None:
    amsgrad = ao.amsgrad(1e-3, raw_max=True).init(PARAMS)
    nadam = scheduled_nadam(1e-3).init(PARAMS)
    way = "amsgrad=True goes with ao.amsgrad(raw_max=True), and only with it"
    momentum = {"momentum_decay": 4e-3}
    fresh = state_dict() | {"state": {}}
    no_amsgrad = {k: v for k, v in fresh["param_groups"][0].items() if k != "amsgrad"}
    cases: list[tuple[Any, Any, Any, str]] = [
        (amsgrad, fresh, TORCH, f"PyTorch's Adam has no place for nu_max/dense/bias; {way}"),
        (
            ADAM,
            state_dict(amsgrad=True),
            TORCH,
            "PyTorch's Adam(amsgrad=True) needs nu_max/dense/kernel, which the state has not; "
            + way,
        ),
        (
            ADAM,
            fresh | {"param_groups": [no_amsgrad | momentum]},
            TORCH,
            "PyTorch's NAdam needs product/dense/kernel, which the state has not; "
            "torch.optim.NAdam goes with ao.conventions.scheduled_nadam, and only with it",
        ),
        (nadam, fresh, TORCH, "PyTorch's Adam has no place for product/dense/bias; "),
        (
            ADAM,
            fresh,
            {"fc.weight": None, "fc.bias": "dense/bias"},
            "names maps no parameter of PyTorch's to 'dense/kernel' (mu/dense/kernel)",
        ),
        (
            (ADAM[0]._replace(count=jnp.int32(2**24 + 1)), ADAM[1]),
            fresh,
            TORCH,
            "count is 16777217; PyTorch counts to 16777216 at most",
        ),
        (
            ADAM,
            state_dict(),
            {"fc.weight": "dense/kernel", "fc.bias": "dense/bias"},
            "exp_avg of parameter 0 has shape (2, 3), but (3, 2) in the state_dict; permute its "
            "axes in names, or check names",
        ),
    ]
    for state, theirs, names, text in cases:
        with pytest.raises(ao.convert.ConversionError, match=re.escape(text)):
            ao.convert.to_torch(state, names, theirs)
