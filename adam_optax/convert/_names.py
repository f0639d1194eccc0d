"""The mapping from another framework's names of parameters to paths of ours."""

import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from adam_optax.convert._errors import ConversionError, listed, similar

Names: TypeAlias = Mapping[str, str | tuple[str, Sequence[int]] | None]
"""`{"fc.weight": ("dense/kernel", (1, 0)), "fc.bias": "dense/bias", "head.weight": None}`.

A path in our tree; with a permutation, so that `np.transpose(theirs, axes)` is ours; or None for a
parameter that is left out.
"""


class Place(NamedTuple):
    """Where a parameter is in our tree, and how its axes are permuted to get there."""

    theirs: str
    path: str
    axes: tuple[int, ...] | None = None

    def key(self, entry: str) -> str:
        """The name of one of its moments."""
        return f"{entry}/{self.path}" if self.path else entry

    def to_ours(self, x: Any) -> Any:
        """Their array with our axes; a number for the whole parameter has none."""
        return self._permuted(x, self.axes)

    def to_theirs(self, x: Any) -> Any:
        """Our array with their axes."""
        back = None if self.axes is None else tuple(map(int, np.argsort(self.axes)))
        return self._permuted(x, back)

    def _permuted(self, x: Any, axes: tuple[int, ...] | None) -> Any:
        if axes is None or x.ndim == 0:
            return x
        if len(axes) != x.ndim:
            raise ConversionError(
                f"names[{self.theirs!r}]: the axes {self.axes} are for {len(axes)} dimensions, but "
                f"its shape is {x.shape}"
            )
        return np.transpose(x, axes)


def places(names: Names) -> dict[str, Place | None]:
    """The names with their places.

    Raises:
        ConversionError: if `names` is no such mapping, or two names share a place.
    """
    if not isinstance(names, Mapping):
        raise ConversionError(
            "names must be a mapping, as in {'fc.bias': 'dense/bias'}, not "
            f"{type(names).__name__}"
        )
    found = {name: _place(name, target) for name, target in names.items()}
    owner: dict[str, str] = {}
    for name, place in found.items():
        if place and owner.setdefault(place.path, name) != name:
            one = owner[place.path]
            raise ConversionError(f"names maps both {one!r} and {name!r} to {place.path!r}")
    return found


def _place(name: str, target: Any) -> Place | None:
    if target is None:
        return None
    path, axes = (target, None) if isinstance(target, str) else _pair(name, target)
    if axes is not None and sorted(axes) != list(range(len(axes))):
        raise ConversionError(f"names[{name!r}]: {axes} is not a permutation, such as (1, 0)")
    return Place(name, path, axes)


def _pair(name: str, target: Any) -> tuple[str, tuple[int, ...]]:
    try:
        path, axes = target
        axes = tuple(operator.index(axis) for axis in axes)
        if isinstance(target, Sequence) and isinstance(path, str):
            return path, axes
    except (TypeError, ValueError):
        pass
    raise ConversionError(
        f"names[{name!r}] must be a path of ours, such as 'dense/kernel', a pair of it and a "
        f"permutation of axes, such as ('dense/kernel', (1, 0)), or None, not {target!r}"
    )


def matched(known: Collection[str], names: Names, source: str) -> dict[str, Place]:
    """The places of a source's parameters, without those that are left out.

    Raises:
        ConversionError: if the source has parameters that `names` lacks, or the reverse.
    """
    found = places(names)
    for name in found:
        if name not in known:
            hint = similar(str(name), known)
            raise ConversionError(f"names has {name!r}, which {source} has not; {hint}")
    if lacking := [name for name in known if name not in found]:
        raise ConversionError(
            f"names lacks {listed(map(repr, lacking))} of {source}; map each to its path in the "
            "template, or to None to leave it out"
        )
    return {name: place for name in known if (place := found[name]) is not None}


def ordered(order: Iterable[str] | None, length: int, how: str) -> list[str]:
    """The names in the order of a source that has no names itself.

    Raises:
        ConversionError: if they are missing, too few or too many, or one is there twice.
    """
    if isinstance(order, str) or not isinstance(order, Iterable):
        order = ()
    order = list(order)
    if not order or not all(isinstance(name, str) for name in order):
        raise ConversionError(f"the names of the parameters are not recorded there; pass {how}")
    if len(order) != length or len(set(order)) != length:
        raise ConversionError(
            f"order must name each of the {length} parameters once, and has {len(order)} names, "
            f"{len(set(order))} of them different; pass {how}"
        )
    return order
