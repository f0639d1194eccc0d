"""From the arguments `storage`, `mu_dtype` and `nu_dtype` to the codec of each leaf."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from adam_optax.storage._base import Format, Joint, Moments
from adam_optax.storage._codec import Codec, Shelf
from adam_optax.storage._dense import Dense, dense


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """Which codec each leaf of a tree has.

    Attributes:
        one: the codec of every leaf, or None.
        choose: the function from path and leaf to a codec, if they differ.
    """

    one: Codec | None
    choose: Callable[[str, Any], Codec] | None = None

    def codecs(self, tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Codec]:
        """The codec of each leaf; equal ones are one object, by which they are told apart."""
        if self.one is not None:
            return [self.one] * len(jax.tree.leaves(tree, is_leaf=is_leaf))
        assert self.choose is not None
        paths = jax.tree.leaves_with_path(tree, is_leaf=is_leaf)
        chosen = [
            Codec(()) if leaf is None else self.choose(path_name(path), leaf)
            for path, leaf in paths
        ]
        same = {codec: codec for codec in chosen}
        return [same[codec] for codec in chosen]

    def entries(self) -> tuple[str, ...] | None:
        """The entries of a state, where no leaf need be asked."""
        return None if self.one is None else self.one.entries()


def path_name(path: Any) -> str:
    """A parameter's path as text: `dense/kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def resolve(storage: Any, moments: Moments, mu_dtype: Any = None, nu_dtype: Any = None) -> Plan:
    """The codecs for a rule's moments.

    Args:
        storage: None, a format for every moment, a joint format, a mapping from moment names to
            formats (what it leaves out is dense), or a function `(path, leaf)` to one of these.
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
    if callable(storage):
        return Plan(None, lambda path, leaf: _codec(storage(path, leaf), moments, short))
    return Plan(_codec(storage, moments, short))


def _codec(storage: Any, moments: Moments, short: dict[str, Format]) -> Codec:
    if isinstance(storage, Joint):
        names = storage.names(moments)
        given: dict[str, Format] = {n: storage.rest() for n in moments if n not in names}
        _check_apart({**given, **dict.fromkeys(names)}, short, moments)
        return Codec((Shelf(names, storage), *_shelves(given)))
    given = _by_name(storage, moments)
    _check_apart(given, short, moments)
    return Codec(_shelves({n: Dense() for n in moments} | short | given))


def _shelves(formats: Mapping[str, Format]) -> tuple[Shelf, ...]:
    return tuple(Shelf((n,), f) for n, f in formats.items())


def _check_apart(given: Mapping[str, Any], short: dict[str, Format], moments: Moments) -> None:
    if both := sorted(short.keys() & given.keys()):
        argument = "mu_dtype" if moments[both[0]].signed else "nu_dtype"
        raise ValueError(f"storage and {argument} both say how {both[0]} is kept; give one of them")


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
