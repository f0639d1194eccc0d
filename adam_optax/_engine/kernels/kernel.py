"""A leaf's step with all that a kernel of it needs."""

import dataclasses
from collections.abc import Callable, Sequence

from jax import Array

from adam_optax._core.dither import Corner
from adam_optax._engine.kernels import mosaic, triton
from adam_optax._engine.kernels.layout import LEAF, Layout
from adam_optax._engine.kernels.pallas_call import call

FLAVOURS = {"tpu": mosaic.FLAVOUR, "cuda": triton.FLAVOUR}
"""By platform, as XLA calls it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """The step of a leaf, plain and as a kernel.

    Its operands are the step's flat arguments, of the leaf or a part of it, and then the index in
    the leaf at which they begin, axis by axis.

    Attributes:
        step: from flat arguments and their corner to flat results.
        layout: of the leaf.
        platforms: on which a kernel helps.
        aliases: from arguments to the results that take their places.
    """

    step: Callable[..., list[Array]]
    layout: Layout
    platforms: frozenset[str]
    aliases: tuple[tuple[int, int], ...]

    def leaf(self, operands: Sequence[Array]) -> Array:
        """An operand that is the leaf, or its part."""
        return operands[self.layout.roles.index(LEAF)]

    def plain(self, *operands: Array) -> list[Array]:
        """The step."""
        arrays, start = self._taken(operands)
        return self.step(*arrays, Corner(self.layout.shape, start))

    def on(self, platform: str, *operands: Array, interpret: bool = False) -> list[Array]:
        """The step by the kernel for a platform, if the part of the leaf is for one."""
        arrays, start = self._taken(operands)
        part = self.layout.cut(self.leaf(arrays).shape)
        middle = self.layout.shape[1:-1]  # rows follow on each other only if these axes are whole
        if part.shape[1:-1] != middle or FLAVOURS[platform].block(part) is None:
            return self.plain(*operands)
        whole = self.layout.rows, self.layout.columns
        place = start[0] * (self.layout.rows // self.layout.shape[0]), start[-1]

        def step(*flat: Array) -> list[Array]:
            return self.step(*flat[:-2], Corner(whole, flat[-2:]))

        aliases = dict(self.aliases)
        return call(FLAVOURS[platform], step, part, arrays, place, aliases, interpret)

    def _taken(self, operands: Sequence[Array]) -> tuple[Sequence[Array], tuple[Array, ...]]:
        cut = len(self.layout.roles)
        return operands[:cut], tuple(operands[cut:])
