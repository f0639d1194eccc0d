"""One leaf's new moments on their way into storage."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jax import Array

from adam_optax.moments import Moment
from adam_optax.storage.codec import Codec


@dataclasses.dataclass
class Keeper:
    """Encodes the new moments of a leaf: some while the rule goes on with what is kept of them.

    Attributes:
        codec: how they are kept.
        moments: the rule's.
        old: the moments before the step, in the precision in which they were decoded.
        count: the step.
        kept: what is kept so far, by entry.
    """

    codec: Codec
    moments: Mapping[str, Moment]
    old: Mapping[str, Array]
    count: Array
    kept: dict[str, Any] = dataclasses.field(default_factory=dict)

    def settle(self, name: str, new: Array) -> Array:
        """The moment as the rest of the step sees it: fresh, or as it is kept."""
        if name not in self.codec.stored:
            return new
        entries = self._encode({name: new})
        self.kept |= entries
        seen = self.codec.decode(entries, self.moments, new.shape, self.count)
        return seen[name].astype(new.dtype)

    def finish(self, new: Mapping[str, Array]) -> dict[str, Any]:
        """All that is kept, by entry."""
        return self.kept | self._encode(
            {n: m for n, m in new.items() if n not in self.codec.stored}
        )

    def _encode(self, new: Mapping[str, Array]) -> dict[str, Any]:
        same = {n: m.astype(self.old[n].dtype) for n, m in new.items()}  # whatever the gradient's
        return self.codec.encode(same, self.moments, self.count)
