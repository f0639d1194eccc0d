"""One leaf's new moments on their way into storage."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array

from adam_optax.storage._base import Moments
from adam_optax.storage._codec import Codec, Place


@dataclasses.dataclass
class Keeper:
    """Encodes the new moments of a leaf: some while the rule goes on with what is kept of them.

    Attributes:
        codec: how they are kept.
        moments: the rule's.
        old: the moments before the step, in the precision in which they were decoded.
        place: which leaf, and the step.
        sound: where the gradient is finite; None if the codec does not ask.
        kept: what is kept so far, by entry.
    """

    codec: Codec
    moments: Moments
    old: Mapping[str, Array]
    place: Place
    sound: Array | None = None
    kept: dict[str, Any] = dataclasses.field(default_factory=dict)

    def settle(self, name: str, new: Array) -> Array:
        """The moment as the rest of the step sees it: fresh, or as it is kept."""
        if name not in self.codec.stored:
            return new
        entries = self._encode({name: new})
        self.kept |= entries
        seen = self.codec.decode(entries, self.moments, self.place)
        return seen[name].astype(new.dtype)

    def finish(self, new: Mapping[str, Array]) -> dict[str, Any]:
        """All that is kept, by entry."""
        fresh = {n: m for n, m in new.items() if n not in self.codec.stored}
        return self.kept | self._encode(fresh)

    def step(self, update: Array) -> Array:
        """The update, 0 where the gradient is not finite if the codec asks for that."""
        return update if self.sound is None else jnp.where(self.sound, update, 0.0)

    def _encode(self, new: Mapping[str, Array]) -> dict[str, Any]:
        same = {n: self._guarded(n, m).astype(self.old[n].dtype) for n, m in new.items()}
        return self.codec.encode(same, self.moments, self.place)

    def _guarded(self, name: str, m: Array) -> Array:
        """The new moment, and the old one where the gradient is not finite."""
        if self.sound is None:
            return m
        if self.moments[name].scalar:
            return jnp.where(jnp.isfinite(m), m, self.old[name].astype(m.dtype))
        return jnp.where(self.sound, m, self.old[name].astype(m.dtype))


def rested(codec: Codec, kept: Mapping[str, Any], moments: Moments, place: Place) -> dict[str, Any]:
    """What is kept of a leaf that has no gradient at a step: the same moments.

    Codes that belong to the step at which they were written are written anew, which rounds them.

    Args:
        codec: how they are kept.
        kept: by entry.
        moments: the rule's.
        place: which leaf, and the step.
    """
    before, same = dataclasses.replace(place, count=place.count - 1), dict(kept)
    for shelf in codec.shelves:
        if shelf.kind.clocked:
            own = {entry: kept[entry] for entry in shelf.entries().values()}
            shape = jnp.shape(own[next(iter(own))])
            values = shelf.decode(own, moments, dataclasses.replace(before, shape=shape))
            same |= shelf.encode(values, moments, dataclasses.replace(place, shape=shape))
    return same
