"""Read the parameter groups of PyTorch's optimizers: whose moments are whose, and which numbers.

A `state_dict` counts parameters through its groups, in the order in which the optimizer was given
them. Names are there only if the optimizer was given names, which PyTorch 2.6 and later record.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from adam_optax.convert._checks import ConversionError, join_names
from adam_optax.convert._names import Names, check_order, parse_names

ParamId: TypeAlias = int | str
"""What PyTorch calls a parameter in a `state_dict`: its index, or its name."""
ParamGroup: TypeAlias = Mapping[str, Any]
ParamState: TypeAlias = Mapping[str, Any]
Order: TypeAlias = Sequence[str] | Sequence[Sequence[str]]
"""The names of the optimizer's parameters: one list for each group, or one list for one group."""

SUPPORTED = "Adam, AdamW, NAdam, RAdam and Adamax"
_ORDER = (
    "order=[[names[p] for p in group['params']] for group in optimizer.param_groups], with "
    "names = {p: name for name, p in model.named_parameters()}"
)
_HOW_COMPUTED = frozenset({"foreach", "fused", "capturable", "differentiable"})
"""Options that change nothing but how PyTorch computes the step."""


class TorchGroup(NamedTuple):
    """Hold what PyTorch's optimizer says of one parameter group.

    Attributes:
        names: PyTorch's names of the group's parameters, in the group's order.
        hyperparameters: the group's numbers under this library's names (`learning_rate`, `b1`,
            `b2`, `eps`, `weight_decay`), and its other options under PyTorch's (`amsgrad`,
            `maximize`, `decoupled_weight_decay`, ...).
    """

    names: tuple[str, ...]
    hyperparameters: dict[str, Any]


def read_groups(state_dict: Mapping[str, Any], *, order: Order | None = None) -> list[TorchGroup]:
    """Return the parameter groups of a PyTorch optimizer: names and hyper-parameters of each.

    Use it to carry learning rates and weight decays of groups over to this library.

    Args:
        state_dict: `optimizer.state_dict()`; of a checkpoint, the optimizer's part.
        order: the parameters' names, group by group; see `from_torch`. Needed only where PyTorch
            has recorded none.

    Returns:
        The groups in their order. Whether `weight_decay` is decoupled from the gradient is said by
        `decoupled_weight_decay` where PyTorch records it, and else by nothing in the file.

    Raises:
        ConversionError: if this is no optimizer's `state_dict`, or the names are not recorded and
            not given.

    >>> import adam_optax as ao
    >>> decay = {"lr": 1e-3, "betas": (0.9, 0.95), "weight_decay": 0.1}
    >>> groups = [
    ...     {"params": [0], "param_names": ["fc.weight"], **decay},
    ...     {"params": [1], "param_names": ["fc.bias"], **decay, "weight_decay": 0.0},
    ... ]
    >>> for group in ao.convert.read_groups({"state": {}, "param_groups": groups}):
    ...     print(group.names, group.hyperparameters["weight_decay"], group.hyperparameters["b2"])
    ('fc.weight',) 0.1 0.95
    ('fc.bias',) 0.0 0.95
    """
    groups, states = split_state_dict(state_dict)
    names = {i: name for name, i in find_ids(groups, order, states).items()}
    return [
        TorchGroup(tuple(names[i] for i in group["params"]), group_hyperparams(group))
        for group in groups
    ]


def groups_from_torch(
    state_dict: Mapping[str, Any], names: Names, *, order: Order | None = None
) -> dict[str, dict[str, Any]]:
    """Build the groups of `ao.parameter_groups` from those of a PyTorch optimizer.

    Use it to go on with the learning rates, betas, eps and weight decays that each group has there.

    Args:
        state_dict: `optimizer.state_dict()`; of a checkpoint, the optimizer's part.
        names: from PyTorch's names of parameters to our paths, as `from_torch` takes them.
        order: the parameters' names, group by group; see `from_torch`.

    Returns:
        From an expression that matches the group's paths to the group's `learning_rate`, `b1`,
        `b2`, `eps` and `weight_decay`, as far as PyTorch's optimizer has them.

    Raises:
        ConversionError: as `read_groups` does, and if a parameter has no entry in `names`.

    >>> import adam_optax as ao
    >>> groups = [
    ...     {"params": [0], "param_names": ["fc.weight"], "lr": 1e-3, "weight_decay": 0.1},
    ...     {"params": [1], "param_names": ["fc.bias"], "lr": 1e-2, "weight_decay": 0.0},
    ... ]
    >>> names = {"fc.weight": ("fc/kernel", (1, 0)), "fc.bias": "fc/bias"}
    >>> ours = ao.convert.groups_from_torch({"state": {}, "param_groups": groups}, names)
    >>> ours["fc/bias"]
    {'learning_rate': 0.01, 'weight_decay': 0.0}
    >>> tx = ao.parameter_groups(ao.adamw, ours)
    """
    paths = parse_names(names)
    found: dict[str, dict[str, Any]] = {}
    for group in read_groups(state_dict, order=order):
        if missing := [name for name in group.names if name not in paths]:
            raise ConversionError(
                f"names says nothing of {join_names(missing)}; None leaves one out"
            )
        kept = [mapping.path for name in group.names if (mapping := paths[name]) is not None]
        pattern = "|".join(map(re.escape, kept))
        numbers = group.hyperparameters
        if kept:
            found[pattern] = {n: numbers[n] for n in _NUMBERS if n in numbers}
    return found


_NUMBERS = ("learning_rate", "b1", "b2", "eps", "weight_decay")


def group_hyperparams(group: ParamGroup) -> dict[str, Any]:
    """Return a group's numbers under this library's names, its other options under PyTorch's."""
    found = {n: v for n, v in group.items() if n not in {"params", "param_names", *_HOW_COMPUTED}}
    numbers = {"learning_rate": found.pop("lr", None)}
    betas = found.pop("betas", ())
    numbers |= zip(("b1", "b2"), betas if isinstance(betas, list | tuple) else (), strict=False)
    numbers |= {n: found.pop(n, None) for n in ("eps", "weight_decay")}
    known = {n: _to_number(v) for n, v in numbers.items() if v is not None}
    return known | found


def _to_number(value: Any) -> Any:
    """Return a number of a group, which PyTorch keeps as a tensor where steps are captured."""
    return value.item() if hasattr(value, "item") and np.prod(np.shape(value)) == 1 else value


def split_state_dict(state_dict: Any) -> tuple[list[ParamGroup], Mapping[ParamId, ParamState]]:
    """Return the parameter groups of a `state_dict`, and the parameters' states by id.

    Raises:
        ConversionError: if this is no `state_dict` of an optimizer.
    """
    try:
        groups, states = list(state_dict["param_groups"]), state_dict["state"]
        if isinstance(states, Mapping) and all(map(_is_group, groups)):
            return groups, states
    except (KeyError, TypeError, IndexError):
        pass
    keys = f" with {join_names(map(str, state_dict))}" if isinstance(state_dict, Mapping) else ""
    raise ConversionError(
        f"a PyTorch optimizer's state_dict has 'state' and 'param_groups', this is a "
        f"{type(state_dict).__name__}{keys}; of a checkpoint, take the optimizer's part, such as "
        "checkpoint['optimizer']"
    )


def _is_group(group: object) -> bool:
    """Return whether an object is a parameter group: ids, and the parameters' names, if any."""
    names = group.get("param_names", []) if isinstance(group, Mapping) else None
    if not isinstance(group, Mapping) or not isinstance(names, list | tuple):
        return False
    ids = group.get("params")
    return (
        all(isinstance(name, str) for name in names)
        and isinstance(ids, list | tuple)
        and all(isinstance(i, int | str) and not isinstance(i, bool) for i in ids)
    )


def find_ids(
    groups: list[ParamGroup], order: Order | None, states: Mapping[ParamId, ParamState]
) -> dict[str, ParamId]:
    """Return the id of each parameter by its name, recorded by PyTorch or given by `order`."""
    ids = [i for group in groups for i in group["params"]]
    if len(set(ids)) != len(ids):
        twice = [str(i) for i, times in Counter(ids).items() if times > 1]
        raise ConversionError(
            f"the parameter groups name parameter {join_names(twice)} twice, which no optimizer of "
            "PyTorch's does; the state_dict is damaged"
        )
    recorded = recorded_names(groups)
    if recorded is None:
        recorded = _confirmed_names(groups, order, states)
    elif order is not None and _flat(order) != recorded:
        raise ConversionError(
            f"order differs from the names that PyTorch recorded ({join_names(recorded)}); leave "
            "it out"
        )
    return dict(zip(recorded, ids, strict=True))


def recorded_names(groups: list[ParamGroup]) -> list[str] | None:
    """Return the names that PyTorch recorded, through all groups; None if there are none."""
    ids = [i for group in groups for i in group["params"]]
    recorded = [name for group in groups for name in group.get("param_names", ())]
    if all(isinstance(i, str) for i in ids):  # as torch.distributed gathers them
        recorded = ids
    return recorded if len(recorded) == len(ids) == len(set(recorded)) else None


def _confirmed_names(
    groups: list[ParamGroup], order: Order | None, states: Mapping[ParamId, ParamState]
) -> list[str]:
    """Return the names that the user gives, if it is clear which group each belongs to.

    One list for several groups is what `model.named_parameters()` gives, and the groups of weights
    with and without decay say the names in another order.
    """
    sizes = [len(group["params"]) for group in groups]
    nested = _is_nested(order)
    flat = check_order(_flat(order), sum(sizes), _ORDER)
    given = [len(names) for names in order] if nested and order is not None else [len(flat)]
    if given in (sizes, [size for size in sizes if size]):
        return flat
    if nested:
        raise ConversionError(
            f"order has lists of {', '.join(map(str, given))} names, and the optimizer groups of "
            f"{', '.join(map(str, sizes))} parameters; pass {_ORDER}"
        )
    raise ConversionError(
        f"the optimizer has {len(groups)} parameter groups and PyTorch recorded no names, so that "
        "only you can tell which parameter is which: the groups' order is seldom that of "
        f"model.named_parameters(). Confirm it by one list of names for each group: {_ORDER}. The "
        f"order given says:\n{describe_groups(groups, flat, states)}"
    )


def _is_nested(order: Any) -> bool:
    """Return whether an order has one list of names for each group."""
    return (
        isinstance(order, Sequence)
        and not isinstance(order, str)
        and bool(order)
        and all(isinstance(names, list | tuple) for names in order)
    )


def _flat(order: Any) -> list[str]:
    """Return the names of an order one after another; none, of what is no order of names."""
    try:
        every = [] if isinstance(order, str) else list(order)
    except TypeError:
        return []
    every = [name for names in every for name in names] if _is_nested(order) else every
    return every if all(isinstance(name, str) for name in every) else []


def describe_groups(
    groups: list[ParamGroup], names: Iterable[str], states: Mapping[ParamId, ParamState]
) -> str:
    """Return a table of the optimizer's parameters: index, group, shape, and name."""
    owners = [(i, number) for number, group in enumerate(groups) for i in group["params"]]
    rows = [("index", "group", "shape", "name")]
    for index, ((i, number), name) in enumerate(zip(owners, names, strict=True)):
        rows.append((str(index), str(number), _shape(states.get(i)), name))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join(lines)


def _shape(state: object) -> str:
    """Return the shape of a parameter's moments as text."""
    moments = state.values() if isinstance(state, Mapping) else ()
    try:
        shapes = [tuple(x.shape) for x in moments if getattr(x, "shape", ())]
    except (RuntimeError, TypeError):  # of a nested tensor, which has no one shape
        return "no shape"
    return str(shapes[0]) if shapes else "()" if moments else "no state"


def identify_optimizer(group: ParamGroup) -> str:
    """Return which optimizer a group is of, such as `Adam(amsgrad=True)`, by its options."""
    if "amsgrad" in group:
        return "Adam(amsgrad=True)" if group["amsgrad"] else "Adam"
    if "momentum_decay" in group:
        return "NAdam"
    if {"decoupled_weight_decay", "betas"} <= group.keys():
        return "RAdam"
    if {"betas", "weight_decay", "capturable"} <= group.keys():
        return "Adamax"
    options = join_names(sorted(group.keys() - {"params", "param_names"}))
    raise ConversionError(f"state_dict is not of one of {SUPPORTED}; its options are {options}")
