"""From named arrays to a `state_dict` of PyTorch; only here are tensors built."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adam_optax.convert import _checks
from adam_optax.convert._errors import listed, needs, raise_for
from adam_optax.convert._names import Names, Place, matched
from adam_optax.convert._slots import parameter
from adam_optax.convert._torch_layout import ids_by_name, layout, parts

_LAST = 2**24
"""PyTorch counts in float32, in which this plus one is this again."""


def named_to_torch(
    named: Mapping[str, Any],
    names: Names,
    state_dict: Mapping[str, Any],
    *,
    order: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What `to_torch` makes, from named arrays (see `to_named`); arguments as there."""
    named = _checks.arrays(named)
    raise_for(_checks.of_values(named))
    groups, kept = parts(state_dict)
    ids = ids_by_name(groups, order)
    found = matched(list(ids), names, "PyTorch's optimizer")
    layouts = {i: layout(group) for group in groups for i in group["params"]}
    raise_for(_problems(named, found, {n: layouts[ids[n]] for n in found}))
    arrays = {
        ids[n]: {t: place.to_theirs(named[place.key(e)]) for t, e in layouts[ids[n]][1].items()}
        for n, place in found.items()
    }
    raise_for(_misfits(arrays, kept))
    with needs("PyTorch", "torch"):
        new = {i: _tensors(x, int(named[_checks.COUNT])) for i, x in arrays.items()}
    return {**state_dict, "state": new, "param_groups": copy.deepcopy(groups)}


def _problems(
    named: Mapping[str, Any],
    found: Mapping[str, Place],
    layouts: Mapping[str, tuple[str, dict[str, str]]],
) -> list[str]:
    wanted = {p.key(e): layouts[n][0] for n, p in found.items() for e in layouts[n][1].values()}
    problems = [
        f"PyTorch's {kind} needs {key}, which the state has not; {_remedy(key)}"
        for key, kind in wanted.items()
        if key not in named
    ]
    mapped = {place.path: layouts[name][0] for name, place in found.items()}
    for key in named.keys() - wanted.keys() - {_checks.COUNT}:
        if kind := mapped.get(parameter(key)):
            problems.append(f"PyTorch's {kind} has no place for {key}; {_remedy(key)}")
        else:
            problems.append(f"names maps no parameter of PyTorch's to {parameter(key)!r} ({key})")
    if complex_ := [key for key in wanted if key in named and np.iscomplexobj(named[key])]:
        problems.append(
            f"{listed(complex_)} is complex; PyTorch keeps the squares of real and imaginary parts "
            "apart, which cannot be told from their sum"
        )
    if named[_checks.COUNT] > _LAST:
        problems.append(f"count is {named[_checks.COUNT]}; PyTorch counts to {_LAST} at most")
    return problems[:10]  # a wrong mapping gives one for each entry


def _remedy(key: str) -> str:
    entry = key.partition("/")[0]
    if entry == "nu_max":
        return "amsgrad=True goes with ao.amsgrad(raw_max=True), and only with it"
    if entry == "product":
        return "torch.optim.NAdam goes with ao.conventions.scheduled_nadam, and only with it"
    return "make the state_dict with the optimizer that the state is of, and check names"


def _misfits(arrays: Mapping[Any, Mapping[str, Any]], kept: Mapping[Any, Any]) -> list[str]:
    """Shapes that differ from those of a template that is not fresh."""
    return [
        f"{theirs} of parameter {i} has shape {x.shape}, but {tuple(np.shape(there[theirs]))} in "
        "the state_dict; permute its axes in names, or check names"
        for i, mine in arrays.items()
        for theirs, x in mine.items()
        if isinstance(there := kept.get(i), Mapping)
        and theirs in there
        and tuple(np.shape(there[theirs])) != x.shape
    ]


def _tensors(arrays: Mapping[str, Any], count: int) -> dict[str, Any]:
    """A parameter's state; PyTorch casts it to the parameter's dtype when it loads it."""
    import torch

    scalar = torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32
    step = torch.tensor(float(count), dtype=scalar)
    wide = {
        n: x if x.dtype.itemsize >= 4 else _checks.cast(x, np.float32) for n, x in arrays.items()
    }
    return {"step": step, **{n: torch.tensor(np.array(x)) for n, x in wide.items()}}
