"""Hold a leaf's step with all that a kernel of it needs."""

import dataclasses
from collections.abc import Callable, Sequence

from jax import Array

from adam_optax._core.dither import TileOffset
from adam_optax._engine.kernels.backends import Backend
from adam_optax._engine.kernels.layout import LEAF, Layout, Place


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """Hold the step of a leaf, plain and as a kernel.

    The operands are the step's flat arguments, of the leaf or a part of it, and then the index in
    the leaf at which they begin, axis by axis.

    Attributes:
        step: from flat arguments and their offset to flat results.
        layout: how the leaf is cut into tiles.
        platforms: the platforms on which a kernel helps.
        aliases: from arguments to the results that take their places.
    """

    step: Callable[..., list[Array]]
    layout: Layout
    platforms: frozenset[str]
    aliases: tuple[tuple[int, int], ...]

    def leaf(self, operands: Sequence[Array]) -> Array:
        """Return an operand that is the leaf, or its part."""
        return operands[self.layout.roles.index(LEAF)]

    def plain(self, *operands: Array) -> list[Array]:
        """Take the step without a kernel."""
        arrays, start = self._split(operands)
        return self.step(*arrays, TileOffset(self.layout.shape, start))

    def on(self, made: Backend, *operands: Array, interpret: bool = False) -> list[Array]:
        """Take the step by a kernel, if this part of the leaf can be tiled."""
        arrays, start = self._split(operands)
        part = made.stored(self.layout.local(self.leaf(arrays).shape))
        if part is None or made.block(part) is None:
            return self.plain(*operands)
        place = Place(self.layout.shape, part.shape, start, part.exchanged)

        def step(*flat: Array) -> list[Array]:
            return self.step(*flat[:-2], TileOffset(place.matrix, flat[-2:]))

        return made.run(step, part, arrays, place, dict(self.aliases), interpret)

    def _split(self, operands: Sequence[Array]) -> tuple[Sequence[Array], tuple[Array, ...]]:
        cut = len(self.layout.roles)
        return operands[:cut], tuple(operands[cut:])
