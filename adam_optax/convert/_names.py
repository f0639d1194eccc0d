"""Map another framework's names of parameters to the paths of this library's parameter tree."""

import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from adam_optax.convert._checks import (
    COUNT,
    ConversionError,
    NamedArrays,
    join_key,
    join_names,
    split_key,
    suggest_name,
)

Names: TypeAlias = Mapping[str, str | tuple[str, Sequence[int]] | None]
"""Another framework's names of parameters, each with its path in our parameter tree.

    {"fc.weight": ("dense/kernel", (1, 0)), "fc.bias": "dense/bias", "head.weight": None}

A pair of a path and a permutation says that `np.transpose(theirs, axes)` has our shape. None leaves
a parameter out.
"""

MOST_PROBLEMS = 10
"""How many problems a message lists: a wrong mapping gives one problem for each key."""

_AMSGRAD_HINT = "amsgrad=True goes with ao.amsgrad(raw_max=True), and only with it"


class ParamMapping(NamedTuple):
    """Hold a parameter's name in another framework, its path here, and how its axes are permuted.

    Attributes:
        name: the other framework's name of the parameter.
        path: the path in our parameter tree, such as `"dense/kernel"`.
        axes: the permutation for which `np.transpose(theirs, axes)` has our shape; None if the
            shapes are the same.
    """

    name: str
    path: str
    axes: tuple[int, ...] | None = None

    def key(self, moment: str) -> str:
        """Return the key of a moment of the parameter, such as `"mu/dense/kernel"`."""
        return join_key(moment, self.path)

    def to_ours(self, x: NDArray[Any]) -> NDArray[Any]:
        """Permute the other framework's array to our axes; a scalar is returned as it is."""
        return self._permute(x, self.axes)

    def to_theirs(self, x: NDArray[Any]) -> NDArray[Any]:
        """Permute our array to the other framework's axes; a scalar is returned as it is."""
        inverse = None if self.axes is None else tuple(map(int, np.argsort(self.axes)))
        return self._permute(x, inverse)

    def _permute(self, x: NDArray[Any], axes: tuple[int, ...] | None) -> NDArray[Any]:
        """Permute an array's axes, if there are as many as the mapping has."""
        if axes is None or x.ndim == 0:
            return x
        if len(axes) != x.ndim:
            raise ConversionError(
                f"names[{self.name!r}]: the axes {self.axes} are for {len(axes)} dimensions, but "
                f"its shape is {x.shape}"
            )
        return np.transpose(x, axes)


def match_names(known: Collection[str], names: Names, source: str) -> dict[str, ParamMapping]:
    """Return the mapping of each parameter of a source, without those that are left out.

    Args:
        known: the source's names of its parameters.
        names: the user's mapping.
        source: what messages call the source, such as `"Keras's optimizer"`.

    Raises:
        ConversionError: if the source has parameters that `names` lacks, or the reverse.
    """
    mappings, there = parse_names(names), frozenset(known)
    for name in mappings:
        if name not in there:
            hint = suggest_name(str(name), known)
            raise ConversionError(f"names has {name!r}, which {source} has not; {hint}")
    if lacking := [name for name in known if name not in mappings]:
        raise ConversionError(
            f"names lacks {join_names(map(repr, lacking))} of {source}; map each to its path in "
            "the template, or to None to leave it out"
        )
    return {name: mapping for name in known if (mapping := mappings[name]) is not None}


def parse_names(names: Names) -> dict[str, ParamMapping | None]:
    """Parse the user's mapping, and check that no two names share a path."""
    if not isinstance(names, Mapping):
        raise ConversionError(
            "names must be a mapping, as in {'fc.bias': 'dense/bias'}, not "
            f"{type(names).__name__}"
        )
    mappings = {name: _parse_target(name, target) for name, target in names.items()}
    owners: dict[str, str] = {}
    for name, mapping in mappings.items():
        if mapping and owners.setdefault(mapping.path, name) != name:
            one = owners[mapping.path]
            raise ConversionError(f"names maps both {one!r} and {name!r} to {mapping.path!r}")
    return mappings


def _parse_target(name: str, target: object) -> ParamMapping | None:
    """Parse what a name is mapped to: a path, a pair of a path and axes, or None."""
    if target is None:
        return None
    path, axes = (target, None) if isinstance(target, str) else _parse_pair(name, target)
    if axes is not None and sorted(axes) != list(range(len(axes))):
        raise ConversionError(f"names[{name!r}]: {axes} is not a permutation, such as (1, 0)")
    if not path.isprintable():
        raise ConversionError(
            f"names[{name!r}]: the path {path!r} has characters that do not print"
        )
    return ParamMapping(name, path, axes)


def _parse_pair(name: str, target: Any) -> tuple[str, tuple[int, ...]]:
    """Parse a pair of a path and a permutation of axes."""
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


def check_order(order: Iterable[str] | None, length: int, how: str) -> list[str]:
    """Return the user's order of names, for a source that records no names, as a checked list.

    Args:
        order: the names of all parameters in the source's order.
        length: the number of the source's parameters.
        how: the expression that makes the right order, for messages.

    Raises:
        ConversionError: if the names are missing, too few or too many, or one is there twice.
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


def find_key_problems(
    named: NamedArrays,
    needed: Mapping[str, str],
    owners: Mapping[str, str],
    framework: str,
    hints: Mapping[str, str],
) -> list[str]:
    """Describe keys that another framework's optimizer needs and lacks, or cannot take.

    Args:
        named: the arrays on their way to the other framework.
        needed: each key that the framework's optimizer takes, with the optimizer's name.
        owners: each path that is mapped, with the name of the optimizer that has its parameter.
        framework: the framework's name.
        hints: what to do, by the moment's name; under `""`, for every other moment.
    """

    def hint(key: str) -> str:
        moment = split_key(key)[0]
        return _AMSGRAD_HINT if moment == "nu_max" else hints.get(moment, hints[""])

    problems = [
        f"{optimizer} needs {key}, which the state has not; {hint(key)}"
        for key, optimizer in needed.items()
        if key not in named
    ]
    for key in sorted(named.keys() - needed.keys() - {COUNT}):
        path = split_key(key)[1]
        if path in owners:
            problems.append(f"{owners[path]} has no place for {key}; {hint(key)}")
        else:
            problems.append(f"names maps no parameter of {framework}'s to {path!r} ({key})")
    return problems
