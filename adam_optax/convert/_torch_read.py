"""From a `state_dict` of PyTorch to named arrays, without importing PyTorch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adam_optax.convert import _checks
from adam_optax.convert._arrays import to_numpy
from adam_optax.convert._errors import ConversionError, listed, raise_for
from adam_optax.convert._named import Named
from adam_optax.convert._names import Names, matched
from adam_optax.convert._torch_layout import KNOWN, LAYOUTS, ids_by_name, parts

_MANY = 2**53
"""Up to here, whole numbers are themselves in PyTorch's floats."""


def torch_to_named(
    state_dict: Mapping[str, Any], names: Names, *, order: Sequence[str] | None = None
) -> Named:
    """What `from_torch` reads, as named arrays (see `to_named`); arguments as there."""
    groups, kept = parts(state_dict)
    ids = ids_by_name(groups, order)
    found = matched(list(ids), names, "PyTorch's optimizer")
    if not kept:
        raise ConversionError(
            "PyTorch's optimizer has made no step, so there is nothing to convert: go on with "
            "tx.init(params)"
        )
    if fresh := [name for name in found if ids[name] not in kept]:
        raise ConversionError(
            f"{listed(map(repr, fresh))} has no state in PyTorch, for it never had a gradient; map "
            "it to None in names, and leave it out of the template with optax.partition"
        )
    values = {name: _read(name, kept[ids[name]]) for name in found}
    named: Named = {_checks.COUNT: np.array(_count(values), np.int64)}
    for name, place in found.items():
        for entry, x in values[name].items():
            if entry != "step":
                named[place.key(entry)] = place.to_ours(x)
    raise_for(_checks.of_values(named))
    return named


def _read(name: str, kept: Any) -> dict[str, Any]:
    """What is kept for a parameter, under our names, and its step."""
    keys = set(kept) - {"step"} if isinstance(kept, Mapping) else set()
    for layout in LAYOUTS.values():
        if keys == set(layout) and "step" in kept:
            arrays = {ours: to_numpy(kept[n], f"{n} of {name!r}") for n, ours in layout.items()}
            return {"step": to_numpy(kept["step"], f"step of {name!r}"), **arrays}
    have = listed(sorted(map(str, kept))) if isinstance(kept, Mapping) else type(kept).__name__
    raise ConversionError(
        f"what PyTorch keeps of {name!r} is {have or 'nothing'}, not the state of one of {KNOWN}"
    )


def _count(values: Mapping[str, Mapping[str, Any]]) -> int:
    """The step that all parameters have made."""
    steps = {name: kept["step"] for name, kept in values.items()}
    for name, step in steps.items():
        if step.size != 1 or step.dtype.kind not in "fiu" or not _is_whole(step.item()):
            raise ConversionError(f"step of {name!r} is not a whole number of steps but {step}")
    counts = {name: int(step.item()) for name, step in steps.items()}
    if len(set(counts.values())) > 1:
        each = listed(f"{name!r} {count}" for name, count in counts.items())
        raise ConversionError(
            f"the parameters have made different numbers of steps ({each}), and a state here has "
            "one count; convert those of one number at a time, with the others mapped to None, "
            "into the states of optax.partition"
        )
    return next(iter(counts.values()), 0)


def _is_whole(step: float) -> bool:
    return 0 <= step < _MANY and step == int(step)
