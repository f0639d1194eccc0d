"""From formats, which keep one moment, to codecs, which keep all moments of a leaf."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

from jax import Array

from adam_optax.moments import Moment
from adam_optax.storage.dense import Dense, dense
from adam_optax.storage.format import Format

Moments = Mapping[str, Moment]


class Codec(Protocol):
    """How the moments of a leaf are kept: a hashable value without arrays in it."""

    def __hash__(self) -> int:
        """Of its value: compiled steps are found by it."""

    @property
    def stored(self) -> frozenset[str]:
        """The moments of which the step reads what is kept, and not the fresh value."""

    def entries(self, moments: Moments) -> tuple[str, ...]:
        """The names of what is kept; they follow from the rule, never from a leaf."""

    def encode(self, values: Mapping[str, Array], moments: Moments, count: Array) -> dict[str, Any]:
        """What is kept of these values after step `count`, by entry."""

    def decode(
        self, kept: Mapping[str, Any], moments: Moments, shape: tuple[int, ...], count: Array
    ) -> dict[str, Array]:
        """The moments, in compute precision, of what was kept after step `count`."""


@dataclasses.dataclass(frozen=True)
class PerMoment:
    """Each moment by itself, under its own name, in the format given for it."""

    formats: tuple[tuple[str, Format], ...]

    @property
    def stored(self) -> frozenset[str]:
        """Those whose format says so."""
        return frozenset(n for n, f in self.formats if f.stored)

    def entries(self, moments: Moments) -> tuple[str, ...]:
        """The moments' own names, and the parts' names behind them."""
        del moments
        return tuple(entry for n, f in self.formats for entry in _entries(n, f).values())

    def encode(self, values: Mapping[str, Array], moments: Moments, count: Array) -> dict[str, Any]:
        """What each moment's format makes of it."""
        kept: dict[str, Any] = {}
        for n, f in self.formats:
            if n in values:
                parts = f.encode(values[n], moments[n], count)
                kept |= {entry: parts[part] for part, entry in _entries(n, f).items()}
        return kept

    def decode(
        self, kept: Mapping[str, Any], moments: Moments, shape: tuple[int, ...], count: Array
    ) -> dict[str, Array]:
        """What each moment's format makes of what it kept."""
        values = {}
        for n, f in self.formats:
            entries = _entries(n, f)
            if kept.keys() >= set(entries.values()):
                parts = {part: kept[entry] for part, entry in entries.items()}
                size = () if moments[n].scalar else shape
                values[n] = f.decode(parts, moments[n], size, count)
        return values


def _entries(name: str, kind: Format) -> dict[str, str]:
    return {part: f"{name}_{part}" if part else name for part in kind.parts}


def resolve(storage: Any, moments: Moments, mu_dtype: Any = None, nu_dtype: Any = None) -> Codec:
    """The codec for a rule's moments.

    Args:
        storage: None, a format for every moment, or a mapping from moment names to formats; what
            a mapping leaves out is dense.
        moments: the rule's.
        mu_dtype: short for dense storage in this dtype of the moments that can be negative.
        nu_dtype: the same for those that cannot.

    Raises:
        ValueError: if a name is not a moment of the rule, two arguments speak of one moment, an
            argument speaks of none, or a format cannot keep a moment.
        TypeError: if a value is not a format.
    """
    names = tuple(moments)
    short = _short("mu_dtype", mu_dtype, [n for n in names if moments[n].signed])
    short |= _short("nu_dtype", nu_dtype, [n for n in names if not moments[n].signed])
    given = _by_name(storage, moments)
    if both := sorted(short.keys() & given.keys()):
        argument = "mu_dtype" if moments[both[0]].signed else "nu_dtype"
        raise ValueError(f"storage and {argument} both say how {both[0]} is kept; give one of them")
    formats = {n: Dense() for n in names} | short | given
    return PerMoment(tuple(formats.items()))


def _short(argument: str, dtype: Any, names: list[str]) -> dict[str, Format]:
    if dtype is not None and not names:
        raise ValueError(f"{argument}: this rule keeps no moment that it could speak of")
    return {} if dtype is None else dict.fromkeys(names, dense(dtype))


def _by_name(storage: Any, moments: Moments) -> dict[str, Format]:
    given = storage if isinstance(storage, Mapping) else dict.fromkeys(moments, storage)
    if storage is None:
        return {}
    for name, kind in given.items():
        if name not in moments:
            known = ", ".join(moments)
            raise ValueError(f"storage names {name!r}; this rule's moments are {known}")
        if not isinstance(kind, Format):
            raise TypeError(
                f"storage for {name!r} must be a format such as adam_optax.storage.dense"
                f"('bfloat16'), not {kind!r}"
            )
        kind.fits(name, moments[name])
    return dict(given)
