"""From formats, which keep a moment or some together, to the codec of all moments of a leaf."""

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any

from jax import Array

from adam_optax._core.dither import Corner
from adam_optax.storage._base import Format, Joint, Moments, Stamp, Values


@dataclasses.dataclass(frozen=True)
class Shelf:
    """One format and the moments that it keeps.

    Attributes:
        names: the moments; one of them if the format is a `Format`.
        kind: the format.
    """

    names: tuple[str, ...]
    kind: Format | Joint

    def entries(self) -> dict[str, str]:
        """The state's entry of every part."""
        name = "_".join(self.names)
        return {part: f"{name}_{part}" if part else name for part in self.kind.parts}

    def encode(self, values: Values, moments: Moments, place: "Place") -> dict[str, Any]:
        """What is kept, by entry."""
        stamp = self._stamp(moments, place)
        if isinstance(self.kind, Format):
            (name,) = self.names
            parts = self.kind.encode(values[name], moments[name], stamp)
        else:
            parts = self.kind.encode({n: values[n] for n in self.names}, moments, stamp)
        return {entry: parts[part] for part, entry in self.entries().items()}

    def decode(self, kept: Mapping[str, Any], moments: Moments, place: "Place") -> dict[str, Array]:
        """The moments of what was kept."""
        stamp = self._stamp(moments, place)
        parts = {part: kept[entry] for part, entry in self.entries().items()}
        if isinstance(self.kind, Joint):
            return self.kind.decode(parts, moments, stamp)
        (name,) = self.names
        return {name: self.kind.decode(parts, moments[name], stamp)}

    def tick(self, moments: Moments, count: Array) -> Any:
        """What the format needs to know of the step."""
        if isinstance(self.kind, Joint):
            return self.kind.tick(moments, count)
        (name,) = self.names
        return self.kind.tick(moments[name], count)

    def _stamp(self, moments: Moments, place: "Place") -> Stamp:
        salt = zlib.crc32("_".join(self.names).encode())
        shape = () if moments[self.names[0]].scalar else place.shape
        told = place.ticks
        tick = self.tick(moments, place.count) if told is None else told[self.names[0]]
        return Stamp(place.count, salt, shape, tick, place.corner)


@dataclasses.dataclass(frozen=True)
class Place:
    """Which leaf, and when.

    Attributes:
        shape: of the leaf.
        count: the steps taken.
        ticks: what the codec's `ticks` gave at that count, where all leaves share it.
        corner: where it begins in the whole leaf, of which it is a part; None: it is the whole.
    """

    shape: tuple[int, ...]
    count: Array
    ticks: Mapping[str, Any] | None = None
    corner: Corner | None = None


@dataclasses.dataclass(frozen=True)
class Codec:
    """How the moments of a leaf are kept: shelf by shelf."""

    shelves: tuple[Shelf, ...]

    @property
    def stored(self) -> frozenset[str]:
        """The moments of which the step reads what is kept, and not the fresh value."""
        return frozenset(
            n
            for shelf in self.shelves
            for n in shelf.names
            if isinstance(shelf.kind, Format) and shelf.kind.stored
        )

    @property
    def guarded(self) -> bool:
        """Whether an element whose gradient is not finite keeps its moments and takes no step."""
        return any(shelf.kind.guarded for shelf in self.shelves)

    @property
    def clocked(self) -> bool:
        """Whether something is to be read at the step at which it was written."""
        return any(shelf.kind.clocked for shelf in self.shelves)

    @property
    def block(self) -> int | None:
        """How many neighbours share something, 1 for none; None if that differs among moments."""
        sizes = {shelf.kind.block for shelf in self.shelves} - {1}
        return max(sizes, default=1) if len(sizes) < 2 else None

    def kernels(self, applies: bool) -> frozenset[str]:
        """The platforms on which a kernel moves fewer bytes than what XLA makes of the step.

        Args:
            applies: whether the step ends with the new parameter; an update that leaves a kernel
                must be read again, which costs as much as XLA's second pass without blocks.
        """
        helped = frozenset[str]().union(*(shelf.kind.helped for shelf in self.shelves))
        return helped if applies or self.block != 1 else frozenset()

    def entries(self) -> tuple[str, ...]:
        """The names of what is kept; they follow from the rule, never from a leaf."""
        return tuple(entry for shelf in self.shelves for entry in shelf.entries().values())

    def ticks(self, moments: Moments, count: Array) -> dict[str, Any]:
        """What the formats need to know of the step, by the first moment of each shelf."""
        return {shelf.names[0]: shelf.tick(moments, count) for shelf in self.shelves}

    def encode(self, values: Values, moments: Moments, place: Place) -> dict[str, Any]:
        """What is kept of these values, by entry."""
        kept: dict[str, Any] = {}
        for shelf in self.shelves:
            if values.keys() >= set(shelf.names):
                kept |= shelf.encode(values, moments, place)
        return kept

    def decode(self, kept: Mapping[str, Any], moments: Moments, place: Place) -> dict[str, Array]:
        """The moments, in compute precision, of what was kept."""
        values: dict[str, Array] = {}
        for shelf in self.shelves:
            if kept.keys() >= set(shelf.entries().values()):
                values |= shelf.decode(kept, moments, place)
        return values
