"""From formats, which keep one moment, to codecs, which keep all moments of a leaf."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from jax import Array

from adam_optax.moments import Moment
from adam_optax.storage.dense import Dense, dense


@runtime_checkable
class Format(Protocol):
    """How one moment is kept: a hashable value without arrays in it."""

    def encode(self, m: Array, moment: Moment, count: Array) -> Any:
        """What is kept of a moment in compute precision after step `count`."""

    def decode(self, kept: Any, moment: Moment, count: Array) -> Array:
        """The moment, in compute precision, of what was kept after step `count`."""


class Codec(Protocol):
    """How the moments of a leaf are kept: a hashable value without arrays in it."""

    def entries(self, moments: Mapping[str, Moment]) -> tuple[str, ...]:
        """The names of what is kept; they follow from the rule, never from a leaf."""

    def encode(
        self, values: Mapping[str, Array], moments: Mapping[str, Moment], count: Array
    ) -> dict[str, Any]:
        """What is kept after step `count`, by entry."""

    def decode(
        self, kept: Mapping[str, Any], moments: Mapping[str, Moment], count: Array
    ) -> dict[str, Array]:
        """The moments, in compute precision, of what was kept after step `count`."""


@dataclasses.dataclass(frozen=True)
class PerMoment:
    """Each moment by itself, under its own name, in the format given for it."""

    formats: tuple[tuple[str, Format], ...]

    def entries(self, moments: Mapping[str, Moment]) -> tuple[str, ...]:
        """The moments' own names."""
        return tuple(moments)

    def encode(
        self, values: Mapping[str, Array], moments: Mapping[str, Moment], count: Array
    ) -> dict[str, Any]:
        """What each moment's format makes of it."""
        return {n: f.encode(values[n], moments[n], count) for n, f in self.formats}

    def decode(
        self, kept: Mapping[str, Any], moments: Mapping[str, Moment], count: Array
    ) -> dict[str, Array]:
        """What each moment's format makes of what it kept."""
        return {n: f.decode(kept[n], moments[n], count) for n, f in self.formats}


def resolve(
    storage: Any, moments: Mapping[str, Moment], mu_dtype: Any = None, nu_dtype: Any = None
) -> Codec:
    """The codec for a rule's moments.

    Args:
        storage: None, a format for every moment, or a mapping from moment names to formats; what
            a mapping leaves out is dense.
        moments: the rule's.
        mu_dtype: short for dense storage in this dtype of the moments that can be negative.
        nu_dtype: the same for those that cannot.

    Raises:
        ValueError: if a name is not a moment of the rule, two arguments speak of one moment, or
            an argument speaks of none.
        TypeError: if a value is not a format.
    """
    names = tuple(moments)
    short = _short("mu_dtype", mu_dtype, [n for n in names if moments[n].signed])
    short |= _short("nu_dtype", nu_dtype, [n for n in names if not moments[n].signed])
    given = _by_name(storage, names)
    if both := sorted(short.keys() & given.keys()):
        argument = "mu_dtype" if moments[both[0]].signed else "nu_dtype"
        raise ValueError(f"storage and {argument} both say how {both[0]} is kept; give one of them")
    formats = {n: Dense() for n in names} | short | given
    return PerMoment(tuple(formats.items()))


def _short(argument: str, dtype: Any, names: list[str]) -> dict[str, Format]:
    if dtype is not None and not names:
        raise ValueError(f"{argument}: this rule keeps no moment that it could speak of")
    return {} if dtype is None else dict.fromkeys(names, dense(dtype))


def _by_name(storage: Any, names: tuple[str, ...]) -> dict[str, Format]:
    given = storage if isinstance(storage, Mapping) else dict.fromkeys(names, storage)
    if storage is None:
        return {}
    for name, kind in given.items():
        if name not in names:
            raise ValueError(f"storage names {name!r}; this rule's moments are {', '.join(names)}")
        if not isinstance(kind, Format):
            raise TypeError(
                f"storage for {name!r} must be a format such as adam_optax.storage.dense"
                f"('bfloat16'), not {kind!r}"
            )
    return dict(given)
