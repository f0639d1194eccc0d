"""What can be wrong with named arrays, said so that it can be put right."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from adam_optax.convert._arrays import to_numpy
from adam_optax.convert._errors import ConversionError, listed, similar
from adam_optax.convert._slots import parameter

COUNT = "count"
_SQUARES = frozenset({"nu", "nu_max"})
_BEFORE = "go back to a checkpoint from before they came up"
_SWAPPED = "squares have none: are two entries or two parameters swapped?"
_PERMUTE = "permute its axes in names, as in ('dense/kernel', (1, 0))"
_COMPLEX = (
    "the parameter is of the other kind, or PyTorch's: it keeps the squares of real and imaginary "
    "parts apart, and no optimiser here does"
)

_EXTRA = {
    "nu_max": "the source has AMSGrad's maximum; make the template with ao.amsgrad(raw_max=True)",
    "product": "the source is NAdam with a schedule of its momentum; make the template with "
    "ao.conventions.scheduled_nadam",
}
_MISSING = {
    "nu_max": "the template has AMSGrad's maximum and the source has none; make the template with "
    "ao.adam, or the source with amsgrad=True",
    "product": "the template is scheduled_nadam and the source is not NAdam; make the template "
    "with ao.adam, say",
}


def arrays(named: Any) -> dict[str, Any]:
    """Named arrays as NumPy's, be they another library's.

    Raises:
        ConversionError: if it is no mapping from names to arrays.
    """
    if not isinstance(named, Mapping) or not all(isinstance(name, str) for name in named):
        raise ConversionError(
            "named arrays are a dict such as {'count': ..., 'mu/dense/kernel': ...}, not "
            f"{type(named).__name__}"
        )
    return {n: x if isinstance(x, np.ndarray) else to_numpy(x, n) for n, x in named.items()}


def of_values(named: Mapping[str, Any]) -> list[str]:
    """Problems that named arrays have by themselves, whatever they are converted to."""
    problems = [f"{COUNT} is missing"] if COUNT not in named else _of_count(named[COUNT])
    for name, x in named.items():
        if name != COUNT:
            problems += _of_array(name, x)
    return problems


def _of_count(count: Any) -> list[str]:
    if count.shape != () or not np.issubdtype(count.dtype, np.integer):
        return [f"{COUNT} must be an integer scalar, not {describe(count)}"]
    return [f"{COUNT} is {count}: a number of steps is not negative"] if count < 0 else []


def _of_array(name: str, x: Any) -> list[str]:
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return [f"{name} must be a floating array, not {describe(x)}"]
    if wrong := int(np.sum(~np.isfinite(x))):
        return [f"{name} has {wrong} of {x.size} values that are not finite; {_BEFORE}"]
    squares = name.partition("/")[0] in _SQUARES and not np.iscomplexobj(x)
    if squares and (wrong := int(np.sum(x < 0))):
        return [f"{name} has {wrong} of {x.size} negative values; {_SWAPPED}"]
    return []


def of_fit(named: Mapping[str, Any], slots: Mapping[str, Any], limit: int) -> list[str]:
    """Problems between named arrays and the moments of a template, whose counts end at a limit."""
    problems = _absent(sorted(slots.keys() - named.keys()), named.keys(), "missing", _MISSING)
    problems += _absent(
        sorted(named.keys() - {COUNT} - slots.keys()), slots.keys(), "extra", _EXTRA
    )
    for name in (n for n in slots if n in named):
        problems += misfit(name, named[name], slots[name])
    if COUNT in named and not _of_count(named[COUNT]) and named[COUNT] > limit:
        problems.append(f"{COUNT} is {named[COUNT]}, more than the template can hold ({limit})")
    return problems


def _absent(
    names: list[str], others: Iterable[str], what: str, hints: Mapping[str, str]
) -> list[str]:
    """A text per entry that the other side does not have at all, and one for parameters."""
    entries = {n.partition("/")[0] for n in others}
    problems, left = [], []
    for entry in dict.fromkeys(n.partition("/")[0] for n in names):
        mine = [n for n in names if n.partition("/")[0] == entry]
        if entry in hints and entry not in entries:
            problems.append(f"{what} {listed(mine)}: {hints[entry]}")
        else:
            left += mine
    return (
        [*problems, f"{what} {listed(left)}: {_way_out(left, others, what)}"] if left else problems
    )


def _way_out(names: list[str], others: Iterable[str], what: str) -> str:
    if what == "missing":
        return "the template has them, the source or its names do not; map a name to each"
    known = sorted({parameter(n) for n in others if n != COUNT})
    if (unknown := parameter(names[0])) in known:
        return "the template keeps no such moments; make it with the optimiser of the source"
    return (
        f"the template has no parameter {unknown!r} ({similar(unknown, known)}); map its name to "
        "None to leave it out"
    )


def misfit(name: str, x: Any, like: Any) -> list[str]:
    """Problems between an array and the one whose place it takes."""
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return []  # said already
    if x.shape != tuple(like.shape):
        turned = sorted(x.shape) == sorted(like.shape)
        hint = (
            "permute its axes in names, as in ('dense/kernel', (1, 0))" if turned else "check names"
        )
        return [f"{name} has shape {x.shape} in the source, but {tuple(like.shape)} here; {hint}"]
    if np.iscomplexobj(x) != jnp.issubdtype(like.dtype, jnp.complexfloating):
        return [f"{name} is {x.dtype} in the source, but {like.dtype} here; {_COMPLEX}"]
    if np.all(np.isfinite(x)) and not np.all(np.isfinite(cast(x, like.dtype))):
        return [f"{name} overflows {like.dtype}, in which it is kept here; keep it in a wider one"]
    return []


def cast(x: Any, dtype: Any) -> Any:
    """The array in a dtype; what is too large becomes infinite, without a warning."""
    with np.errstate(over="ignore"):
        return np.asarray(x).astype(dtype)


def describe(x: Any) -> str:
    """The dtype and shape of an array."""
    return f"{x.dtype}{list(x.shape)}"
