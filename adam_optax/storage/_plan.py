"""Give each leaf of a tree its storage, from the arguments `storage`, `mu_dtype`, `nu_dtype`."""

import dataclasses
import sys
import types
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import jax
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from adam_optax._core.by_path import ABSENT, ByPath, IsLeaf, by_path
from adam_optax._core.numerics import number_dtype
from adam_optax._core.types import PyTree
from adam_optax.storage._base import Format, Moments
from adam_optax.storage._dense import Dense, dense

LeafStorageSpec: TypeAlias = Format | Mapping[str, Format] | None
"""A format, formats by moment, or None for float32."""

StorageSpec: TypeAlias = LeafStorageSpec | Callable[[str, Array], LeafStorageSpec] | ByPath
"""A format, formats by moment, None for float32, or these by path: `by_path`, or a function
`(path, leaf)`."""


@dataclasses.dataclass(frozen=True)
class Slot:
    """Say where one format keeps its moments in the state.

    Attributes:
        names: the moments, which the format encodes together.
        format: the format.
        entries: the state's entry of each of the format's components.
        key: the number by which the format dithers these moments.
        name: the name of the slot, with which those of its entries begin.
    """

    names: tuple[str, ...]
    format: Format
    entries: tuple[tuple[str, str], ...] = dataclasses.field(compare=False)
    key: int = dataclasses.field(compare=False)
    name: str = dataclasses.field(compare=False)


@dataclasses.dataclass(frozen=True)
class LeafStorage:
    """Keep all moments of a leaf, slot by slot.

    Attributes:
        slots: the formats and their moments.
        entries: the state's entries; they follow from the rule and the formats, never from a leaf.
        read_back: the moments whose stored value the step goes on with.
        uncoded: the moments that are kept as they are, in a dtype of their own.
        skips_nonfinite: whether elements whose gradient is not finite take no step.
        has_frame: whether some codes are read with a frame.
        block: how many neighbours share something, 1 for none; None if that differs among slots.
        kernel_platforms: the platforms on which a kernel moves fewer bytes than XLA's step, by
            whether the step ends with the new parameter. An update that leaves a kernel must be
            read again, which costs an accelerator as much as XLA's second pass without blocks.
        has_kernel: whether there is a kernel for accelerators, by the same.
    """

    slots: tuple[Slot, ...]
    entries: tuple[str, ...] = dataclasses.field(init=False, compare=False)
    read_back: frozenset[str] = dataclasses.field(init=False, compare=False)
    uncoded: frozenset[str] = dataclasses.field(init=False, compare=False)
    skips_nonfinite: bool = dataclasses.field(init=False, compare=False)
    has_frame: bool = dataclasses.field(init=False, compare=False)
    block: int | None = dataclasses.field(init=False, compare=False)
    kernel_platforms: dict[bool, frozenset[str]] = dataclasses.field(init=False, compare=False)
    has_kernel: dict[bool, bool] = dataclasses.field(init=False, compare=False)

    def __post_init__(self) -> None:
        formats = [slot.format for slot in self.slots]
        blocks = {f.block for f in formats} - {1}
        platforms = frozenset[str]().union(*(f.kernel_platforms for f in formats))
        few_bits = (f.kernel_platforms for f in formats if f != dense())
        updates = frozenset[str]().union(*few_bits)  # float32's, XLA fuses with the gradient
        by_applies = {True: platforms, False: updates if blocks else updates & {"cpu"}}
        facts = {
            "entries": tuple(entry for slot in self.slots for _, entry in slot.entries),
            "read_back": frozenset(
                n for slot in self.slots if slot.format.read_back for n in slot.names
            ),
            "uncoded": frozenset(
                n for slot in self.slots if isinstance(slot.format, Dense) for n in slot.names
            ),
            "skips_nonfinite": any(f.skips_nonfinite for f in formats),
            "has_frame": any(f.has_frame for f in formats),
            "block": max(blocks, default=1) if len(blocks) < 2 else None,
            "kernel_platforms": by_applies,
            "has_kernel": {applies: bool(own - {"cpu"}) for applies, own in by_applies.items()},
        }
        for name, value in facts.items():
            object.__setattr__(self, name, value)


NOTHING = LeafStorage(())
"""The storage of a leaf of which nothing is kept."""


def entries_of(storages: Iterable[LeafStorage]) -> tuple[str, ...]:
    """Return the entries of a state: those of every leaf, each once."""
    return tuple(dict.fromkeys(n for s in dict.fromkeys(storages) for n in s.entries))


@dataclasses.dataclass(frozen=True, eq=False)
class StoragePlan:
    """Choose the storage of each leaf.

    Attributes:
        uniform: the storage of every leaf; None if leaves differ.
        choose: the storage by path, if leaves differ.
    """

    uniform: LeafStorage | None
    choose: ByPath | None = None

    def of_leaves(
        self, tree: PyTree, is_leaf: IsLeaf = None, is_whole: bool = False
    ) -> list[LeafStorage]:
        """Return the storage of each leaf; equal ones are one object, and are told apart by it.

        Args:
            tree: the parameters, or gradients of their shapes.
            is_leaf: what else is a leaf; of a leaf None nothing is kept.
            is_whole: whether the tree is that of all parameters.
        """
        if self.choose is None:
            assert self.uniform is not None
            return [self.uniform] * len(jax.tree.leaves(tree, is_leaf=is_leaf))
        chosen = [
            NOTHING if storage is ABSENT else storage
            for storage in self.choose.resolve(tree, is_leaf, is_whole)
        ]
        same = {storage: storage for storage in chosen}
        return [same[storage] for storage in chosen]


def plan_storage(
    storage: StorageSpec,
    moments: Moments,
    mu_dtype: DTypeLike | None = None,
    nu_dtype: DTypeLike | None = None,
) -> StoragePlan:
    """Plan the storage of a rule's moments.

    Args:
        storage: None, a format, a mapping from moment names to formats (moments that it leaves out
            are dense), or `by_path`, or a function `(path, leaf)`, to one of these. An exact moment
            is dense unless a mapping names it.
        moments: the rule's moments.
        mu_dtype: short for dense storage in this dtype of the moments that can be negative.
        nu_dtype: short for dense storage in this dtype of the moments that cannot.

    Raises:
        ValueError: if a name is not a moment of the rule, two arguments speak of one moment, an
            argument speaks of none, or a format cannot keep a moment.
        TypeError: if a value is not a format.
    """
    _refuse_lookalike(storage)
    signed = [n for n in _shrinkable(moments) if moments[n].signed]
    short = _short("mu_dtype", mu_dtype, signed)
    unsigned = [n for n in _shrinkable(moments) if not moments[n].signed]
    short |= _short("nu_dtype", nu_dtype, unsigned)
    if callable(storage) or isinstance(storage, ByPath):
        chosen = storage if isinstance(storage, ByPath) else by_path(storage)
        return StoragePlan(None, chosen.map(lambda spec: _for_leaf(spec, moments, short)))
    return StoragePlan(_for_leaf(storage, moments, short))


def _for_leaf(
    storage: LeafStorageSpec, moments: Moments, short: Mapping[str, Format]
) -> LeafStorage:
    if isinstance(storage, Format) and (joined := storage.together(moments)):
        given = {n: storage.others() for n in _shrinkable(moments) if n not in joined}
        _check_apart({*given, *joined}, short, moments)
        exact = {n: Dense() for n in moments if moments[n].exact}
        apart = {**given, **exact}
        return LeafStorage((_slot(joined, storage), *(_slot((n,), f) for n, f in apart.items())))
    _refuse_lookalike(storage)
    given = _by_name(storage, moments)
    _check_apart(set(given), short, moments)
    formats: dict[str, Format] = {n: Dense() for n in moments}
    formats |= {**short, **given}
    return LeafStorage(tuple(_slot((n,), f) for n, f in formats.items()))


def _refuse_lookalike(storage: object) -> None:
    """Refuse what users write for a format: its name, its function, a dtype, another type."""
    made, example = "adam_optax.storage.", "adam_optax.storage.pair(), say"
    module, name = getattr(storage, "__module__", ""), getattr(storage, "__name__", "")
    if isinstance(storage, str):
        known = storage.isidentifier() and hasattr(sys.modules["adam_optax.storage"], storage)
        dtype = number_dtype(storage)
        dense = example if dtype is None else f"{made}dense({dtype.name!r})"
        what, write = repr(storage), f"{made}{storage}()" if known else dense
    elif isinstance(storage, types.FunctionType) and module.startswith(made):
        what, write = "the function that makes it", f"{made}{name}()"
    elif isinstance(storage, np.dtype) or (hasattr(storage, "dtype") and isinstance(storage, type)):
        what, write = "a dtype", f"{made}dense({np.dtype(storage).name!r})"
    elif isinstance(storage, type):
        what, write = "a type", example
    else:
        return
    raise TypeError(f"storage must be a format, not {what}: write storage={write}")


def _slot(names: tuple[str, ...], form: Format) -> Slot:
    # The key and the entries are made of the moments' names, which therefore must not change.
    name = "_".join(names)
    entries = tuple((part, f"{name}_{part}" if part else name) for part in form.components)
    return Slot(names, form, entries, zlib.crc32(name.encode()), name)


def _check_apart(given: set[str], short: Mapping[str, Format], moments: Moments) -> None:
    if both := sorted(short.keys() & given):
        argument = "mu_dtype" if moments[both[0]].signed else "nu_dtype"
        raise ValueError(f"storage and {argument} both say how {both[0]} is kept; give one of them")


def _shrinkable(moments: Moments) -> list[str]:
    """Return the names of the moments that a format for all of them may round."""
    return [n for n, moment in moments.items() if not moment.exact]


def _short(argument: str, dtype: DTypeLike | None, names: list[str]) -> dict[str, Format]:
    if dtype is not None and not names:
        raise ValueError(f"{argument}: this rule keeps no moment that it could speak of")
    return {} if dtype is None else dict.fromkeys(names, dense(dtype))


def _by_name(storage: LeafStorageSpec, moments: Moments) -> dict[str, Format]:
    if storage is None:
        return {}
    shrinkable = _shrinkable(moments)
    given = storage if isinstance(storage, Mapping) else dict.fromkeys(shrinkable, storage)
    for name, form in given.items():
        if name not in moments:
            known = ", ".join(moments)
            raise ValueError(f"storage names {name!r}; this rule's moments are {known}")
        if isinstance(form, Format) and _joins(form):
            raise TypeError(
                f"storage for {name!r}: {form!r} keeps several moments in one code; write "
                f"storage={form!r} for all of them, without a mapping"
            )
        if not isinstance(form, Format):
            raise TypeError(
                f"storage for {name!r} must be a format such as adam_optax.storage.dense"
                f"('bfloat16'), not {form!r}"
            )
        form.check(name, moments[name])
    return dict(given)


def _joins(form: Format) -> bool:
    """Tell whether a format keeps moments together only, and cannot keep one by itself."""
    return type(form).together is not Format.together
