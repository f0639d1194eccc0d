"""Convert states from and to the optimizers of PyTorch.

From top to bottom: the four public functions, how a `state_dict` is read without importing PyTorch,
and how it is written, for which alone PyTorch is imported.
"""

import copy
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import optax
from numpy.typing import NDArray

from adam_optax.convert._checks import (
    COUNT,
    TORCH_EXTRA,
    ConversionError,
    NamedArrays,
    cast,
    check_without_template,
    join_names,
    raise_problems,
    require_package,
    to_named_arrays,
    to_numpy,
)
from adam_optax.convert._named import from_named, to_named
from adam_optax.convert._names import (
    MOST_PROBLEMS,
    Names,
    ParamMapping,
    find_key_problems,
    match_names,
)
from adam_optax.convert._torch_groups import (
    SUPPORTED,
    Order,
    ParamId,
    ParamState,
    find_ids,
    identify_optimizer,
    split_state_dict,
)
from adam_optax.convert._torch_model import check_model_shapes, torch_differences

if TYPE_CHECKING:
    import torch

_ADAM = {"exp_avg": "mu", "exp_avg_sq": "nu"}
_MOMENTS: dict[str, dict[str, str]] = {
    "Adam": _ADAM,
    "Adam(amsgrad=True)": {**_ADAM, "max_exp_avg_sq": "nu_max"},
    "NAdam": {**_ADAM, "mu_product": "product"},
    "RAdam": _ADAM,
    "Adamax": {"exp_avg": "mu", "exp_inf": "nu"},
}
"""The names of our moments by PyTorch's names, for each optimizer."""

_FLOAT64_INTEGERS = 2**53
"""Up to here, float64 holds every whole number."""
_FLOAT32_INTEGERS = 2**24
"""PyTorch counts steps in float32, in which this number plus one is this number again."""
_HINTS = {
    "product": "torch.optim.NAdam goes with ao.conventions.scheduled_nadam, and only with it",
    "": "make the state_dict with the optimizer that the state is of, and check names",
}


def from_torch(
    state_dict: Mapping[str, Any],
    state: optax.OptState,
    names: Names,
    *,
    order: Order | None = None,
    model: Mapping[str, Any] | None = None,
    tx: optax.GradientTransformation | None = None,
    params: optax.Params | None = None,
) -> optax.OptState:
    """Build a state from a PyTorch optimizer's `state_dict`, so that this library goes on.

    Use it to continue a PyTorch run in JAX. PyTorch need not be installed.

    Args:
        state_dict: `optimizer.state_dict()` of Adam (also with `amsgrad=True`), AdamW, NAdam,
            RAdam or Adamax; its tensors may also be NumPy arrays.
        state: the template, `tx.init(params)` of the optimiser that goes on; see `from_named`.
            With PyTorch's defaults: `conventions.PYTORCH`. NAdam is `conventions.scheduled_nadam`,
            `amsgrad=True` is `amsgrad(raw_max=True)`.
        names: from PyTorch's names of parameters to our paths, as `to_named` has them, or to a
            pair of a path and axes so that `np.transpose(theirs, axes)` has our shape: `(1, 0)`
            for the weight of a `Linear`, `(2, 3, 1, 0)` for that of a `Conv2d`. None leaves a
            parameter out.
        order: the names in the order of the optimizer's parameter groups, one list for each group.
            Needed only where the `state_dict` has no names, because the optimizer was not made from
            `model.named_parameters()`. If there is one group, one list will do. Groups order the
            parameters otherwise than `model.named_parameters()`, as those with and without decay
            do; take `order=[[names[p] for p in group['params']] for group in
            optimizer.param_groups]` with `names = {p: name for name, p in
            model.named_parameters()}`.
        model: `model.state_dict()`: the shape of each moment must be that of the parameter of its
            name. `params_from_torch` converts the parameters themselves.
        tx: the transformation that made the template. With it, PyTorch's optimizer is compared with
            `tx`. It is needed, like `params`, for Adamax, whose state looks like Adam's here, and
            where the storage of `tx` is not dense, as with `storage.pair()`.
        params: the parameters.

    Returns:
        The template with PyTorch's moments and step count, in the template's storage.

    Warns:
        UserWarning: if a group's learning rate, betas, eps or weight decay is not that of `tx`; see
            `torch_differences`.

    Raises:
        ConversionError: if names, entries, steps or arrays do not fit; if there are several groups
            and `order` is one list; if one of PyTorch's optimizer and `tx` is AdaMax, and the other
            is not. Nothing is converted then.

    >>> import jax.numpy as jnp, numpy as np, adam_optax as ao
    >>> mean = np.array([[1.0, 2.0, 3.0]])
    >>> theirs = {"step": 5.0, "exp_avg": mean, "exp_avg_sq": mean**2}
    >>> group = {"params": [0], "param_names": ["fc.weight"]}
    >>> ours = ao.adam(1e-3).init({"kernel": jnp.zeros((3, 1))})
    >>> state_dict = {"state": {0: theirs}, "param_groups": [group]}
    >>> state = ao.convert.from_torch(state_dict, ours, {"fc.weight": ("kernel", (1, 0))})
    >>> int(state[0].count), state[0].mu["kernel"].shape
    (5, (3, 1))
    """
    named = torch_to_named(state_dict, names, order=order, model=model)
    if tx is None:
        _, states = split_state_dict(state_dict)
        if any("exp_inf" in kept for kept in states.values()):
            raise ConversionError(
                "PyTorch's optimizer is Adamax (it keeps exp_inf), whose state looks like Adam's "
                "here; pass tx= and params= as well, so that tx is seen to be ao.adamax"
            )
    elif lines := torch_differences(state_dict, tx, state):
        text = "PyTorch's optimizer and tx differ:\n  " + "\n  ".join(lines)
        warnings.warn(text, UserWarning, stacklevel=2)
    return from_named(named, state, tx=tx, params=params)


def to_torch(
    state: optax.OptState,
    names: Names,
    state_dict: Mapping[str, Any],
    *,
    order: Order | None = None,
) -> dict[str, Any]:
    """Build a PyTorch optimizer's `state_dict` from a state, so that PyTorch goes on.

        optimizer = torch.optim.AdamW(model.named_parameters(), lr=1e-3)
        state_dict = ao.convert.to_torch(state, names, optimizer.state_dict())
        optimizer.load_state_dict(state_dict)

    Args:
        state: a state of `adam`, `adamw`, `amsgrad(raw_max=True)`, `adamax`, `radam` or
            `conventions.scheduled_nadam`, inside whatever chain or wrapper.
        names: see `from_torch`. PyTorch begins anew with the moments of a parameter that is left
            out.
        state_dict: `optimizer.state_dict()` of a fresh optimizer over the same parameters. Its
            groups, with the learning rate, are taken over, and tell which optimizer it is. It is
            not changed.
        order: see `from_torch`.

    Returns:
        A new `state_dict` for `optimizer.load_state_dict`, which gives the tensors the parameters'
        dtypes and devices.

    Raises:
        ConversionError: if names, state and optimizer do not fit, or PyTorch is not installed.
    """
    return named_to_torch(to_named(state), names, state_dict, order=order)


def torch_to_named(
    state_dict: Mapping[str, Any],
    names: Names,
    *,
    order: Order | None = None,
    model: Mapping[str, Any] | None = None,
) -> NamedArrays:
    """Convert a PyTorch optimizer's `state_dict` to named arrays, without a template.

    Use it where the optimiser that goes on is not at hand, for example to write the arrays to a
    file. The result is that of `to_named`.

    Args:
        state_dict: as for `from_torch`.
        names: as for `from_torch`.
        order: as for `from_torch`.
        model: as for `from_torch`.

    Raises:
        ConversionError: if names, entries, steps or arrays do not fit.

    >>> import numpy as np, adam_optax as ao
    >>> theirs = {"step": 5.0, "exp_avg": np.ones(2), "exp_avg_sq": np.ones(2)}
    >>> group = {"params": [0], "param_names": ["fc.bias"]}
    >>> state_dict = {"state": {0: theirs}, "param_groups": [group]}
    >>> sorted(ao.convert.torch_to_named(state_dict, {"fc.bias": "dense/bias"}))
    ['count', 'mu/dense/bias', 'nu/dense/bias']
    """
    groups, states = split_state_dict(state_dict)
    ids = find_ids(groups, order, states)
    mappings = match_names(list(ids), names, "PyTorch's optimizer")
    if not states:
        raise ConversionError(
            "PyTorch's optimizer has made no step, so there is nothing to convert: go on with "
            "tx.init(params)"
        )
    if fresh := [name for name in mappings if ids[name] not in states]:
        raise ConversionError(
            f"{join_names(map(repr, fresh))} has no state in PyTorch, for it never had a gradient; "
            "map it to None in names, and leave it out of the template with optax.partition"
        )
    states_by_name = {name: _read_state(name, states[ids[name]]) for name in mappings}
    _check_one_optimizer({name: states[ids[name]] for name in mappings})
    if model is not None:
        mu = {name: moments["mu"] for name, (_, moments) in states_by_name.items()}
        check_model_shapes(model, mappings, mu)
    steps = {name: step for name, (step, _) in states_by_name.items()}
    named: NamedArrays = {COUNT: np.array(_common_step(steps), np.int64)}
    for name, mapping in mappings.items():
        for moment, x in states_by_name[name][1].items():
            named[mapping.key(moment)] = mapping.to_ours(x)
    check_without_template(named)
    return named


def named_to_torch(
    named: Mapping[str, Any],
    names: Names,
    state_dict: Mapping[str, Any],
    *,
    order: Order | None = None,
) -> dict[str, Any]:
    """Convert named arrays (see `to_named`) to a PyTorch optimizer's `state_dict`.

    Use it for named arrays from a file. Otherwise as `to_torch`.

    Args:
        named: the arrays by name, as `to_named` returns them.
        names: as for `to_torch`.
        state_dict: as for `to_torch`.
        order: as for `to_torch`.

    Raises:
        ConversionError: if names, arrays and optimizer do not fit, or PyTorch is not installed.
    """
    arrays = to_named_arrays(named)
    check_without_template(arrays)
    groups, old_states = split_state_dict(state_dict)
    ids = find_ids(groups, order, old_states)
    mappings = match_names(list(ids), names, "PyTorch's optimizer")
    kinds = {i: identify_optimizer(group) for group in groups for i in group["params"]}
    optimizers = {name: kinds[ids[name]] for name in mappings}
    raise_problems(_find_problems(arrays, mappings, optimizers))
    moments = {
        ids[name]: {
            theirs: mapping.to_theirs(arrays[mapping.key(ours)])
            for theirs, ours in _MOMENTS[optimizers[name]].items()
        }
        for name, mapping in mappings.items()
    }
    raise_problems(_find_shape_problems(moments, old_states))
    with require_package("PyTorch", TORCH_EXTRA):
        states = {i: _to_tensors(x, int(arrays[COUNT])) for i, x in moments.items()}
    return {**state_dict, "state": states, "param_groups": copy.deepcopy(groups)}


def _read_state(name: str, state: object) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    """Return a parameter's step, and its moments under our names."""
    if isinstance(state, Mapping) and "step" in state:
        for moments in _MOMENTS.values():
            if set(state) - {"step"} == set(moments):
                arrays = {
                    ours: to_numpy(state[theirs], f"{theirs} of {name!r}")
                    for theirs, ours in moments.items()
                }
                _check_one_shape(name, arrays)
                return to_numpy(state["step"], f"step of {name!r}"), arrays
    have = (
        join_names(sorted(map(str, state))) if isinstance(state, Mapping) else type(state).__name__
    )
    raise ConversionError(
        f"what PyTorch keeps of {name!r} is {have or 'nothing'}, not the state of one of "
        f"{SUPPORTED}"
    )


def _check_one_shape(name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Refuse moments of one parameter whose shapes differ; NAdam's product is a number."""
    shapes = {ours: x.shape for ours, x in arrays.items() if ours != "product"}
    if len(set(shapes.values())) > 1:
        each = join_names(f"{ours} {shape}" for ours, shape in shapes.items())
        raise ConversionError(
            f"the moments of {name!r} have shapes that differ ({each}): the state_dict is damaged, "
            "or its entries are of two parameters"
        )


def _check_one_optimizer(states: Mapping[str, ParamState]) -> None:
    """Refuse a state of which some parameters keep what others, of another optimizer, do not."""
    for entry in ("exp_inf", "mu_product"):
        have = [name for name, state in states.items() if entry in state]
        if have and len(have) < len(states):
            raise ConversionError(
                f"PyTorch keeps {entry} of {join_names(map(repr, have))} and not of the others: "
                "the state_dict is of several optimizers, or damaged; convert one at a time"
            )


def _common_step(steps: Mapping[str, NDArray[Any]]) -> int:
    """Return the number of steps that all parameters have made, 0 without any parameter."""
    for name, step in steps.items():
        if step.size != 1 or step.dtype.kind not in "fiu" or not _is_step(step.item()):
            raise ConversionError(f"step of {name!r} is not a whole number of steps but {step}")
    counts = {name: int(step.item()) for name, step in steps.items()}
    if len(set(counts.values())) > 1:
        each = join_names(f"{name!r} {count}" for name, count in counts.items())
        raise ConversionError(
            f"the parameters have made different numbers of steps ({each}), and a state here has "
            "one count; convert those of one number at a time, with the others mapped to None, "
            "into the states of optax.partition"
        )
    return next(iter(counts.values()), 0)


def _is_step(step: float) -> bool:
    """Return whether a number is a whole number of steps that floats still tell apart."""
    return 0 <= step < _FLOAT64_INTEGERS and step == int(step)


def _find_problems(
    named: NamedArrays, mappings: Mapping[str, ParamMapping], optimizers: Mapping[str, str]
) -> list[str]:
    """Describe why PyTorch's optimizers, by parameter name, cannot take these arrays."""
    needed = {
        mapping.key(moment): f"PyTorch's {optimizers[name]}"
        for name, mapping in mappings.items()
        for moment in _MOMENTS[optimizers[name]].values()
    }
    owners = {mapping.path: f"PyTorch's {optimizers[n]}" for n, mapping in mappings.items()}
    problems = find_key_problems(named, needed, owners, "PyTorch", _HINTS)
    if complex_keys := [key for key in needed if key in named and np.iscomplexobj(named[key])]:
        problems.append(
            f"{join_names(complex_keys)} is complex; PyTorch keeps the squares of real and "
            "imaginary parts apart, which cannot be told from their sum"
        )
    if named[COUNT] > _FLOAT32_INTEGERS:
        problems.append(f"count is {named[COUNT]}; PyTorch counts to {_FLOAT32_INTEGERS} at most")
    return problems[:MOST_PROBLEMS]


def _find_shape_problems(
    moments: Mapping[ParamId, Mapping[str, NDArray[Any]]], states: Mapping[ParamId, ParamState]
) -> list[str]:
    """Describe shapes that differ from those in the `state_dict`, if that has made steps."""
    return [
        f"{theirs} of parameter {i} has shape {x.shape}, but {tuple(np.shape(old[theirs]))} in "
        "the state_dict; permute its axes in names, or check names"
        for i, arrays in moments.items()
        for theirs, x in arrays.items()
        if isinstance(old := states.get(i), Mapping)
        and theirs in old
        and tuple(np.shape(old[theirs])) != x.shape
    ]


def _to_tensors(moments: Mapping[str, NDArray[Any]], count: int) -> dict[str, "torch.Tensor"]:
    """Build a parameter's state of tensors, which PyTorch casts when it loads the state.

    Moments narrower than float32 are widened: NumPy's bfloat16 is unknown to PyTorch.
    """
    import torch

    # PyTorch counts in float32, or in float64 where that is the default.
    dtype = torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32
    step = torch.tensor(float(count), dtype=dtype)
    wide = {n: x if x.dtype.itemsize >= 4 else cast(x, np.float32) for n, x in moments.items()}
    return {"step": step, **{n: torch.tensor(np.array(x)) for n, x in wide.items()}}
