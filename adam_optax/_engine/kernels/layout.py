"""Whether the arrays of a leaf's step can be cut into tiles, and how."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

LEAF, SHARED, SCALAR = "leaf", "shared", "scalar"
"""What an array has: a number for each element, for each block, or one for all."""
LEAST = 2**16
"""Elements below which a leaf is not worth a kernel."""
LANES = 128
"""The width of a tile where there are no blocks; a block's is a multiple of it."""
DTYPES = ("float32", "bfloat16")
"""Of the gradients and parameters that kernels take."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """A leaf of rows and columns, and what the flat arguments and results of its step are.

    Attributes:
        shape: of the leaf.
        width: of a tile along the last axis: a block, if there are blocks.
        roles: of the arguments.
        dtypes: of the arguments.
        out_roles: of the results.
        out_dtypes: of the results.
    """

    shape: tuple[int, ...]
    width: int
    roles: tuple[str, ...]
    dtypes: tuple[Any, ...]
    out_roles: tuple[str, ...]
    out_dtypes: tuple[Any, ...]

    @property
    def rows(self) -> int:
        """How many rows the leaf has, all axes but the last taken together."""
        return math.prod(self.shape[:-1])

    @property
    def columns(self) -> int:
        """How many columns."""
        return self.shape[-1]

    def flat(self, role: str) -> tuple[int, int]:
        """The shape, rows by columns, of what has this role."""
        return self.rows, self.columns // (self.width if role == SHARED else 1)

    def whole(self, role: str) -> tuple[int, ...]:
        """The shape of what has this role, as it came."""
        return (*self.shape[:-1], self.flat(role)[1])

    def divides(self, shares: int) -> bool:
        """Whether the last axis can be cut into so many parts without cutting a block."""
        return self.flat(SHARED)[1] % shares == 0

    def cut(self, shape: tuple[int, ...]) -> "Layout":
        """That of a part of the leaf."""
        return dataclasses.replace(self, shape=shape)


def width(leaves: Sequence[Any], block: int | None) -> int | None:
    """How wide tiles are, or None if a leaf is not for a kernel.

    Args:
        leaves: the gradient, and the parameter if there is one.
        block: how many neighbours share something, 1 for none; None if there are several sizes.
    """
    size, leaf = LANES if block == 1 else block, leaves[0]
    if size is None or size % LANES or any(str(x.dtype) not in DTYPES for x in leaves):
        return None
    return size if leaf.ndim > 1 and leaf.size >= LEAST and leaf.shape[-1] % size == 0 else None


def of(leaf: Any, arguments: Sequence[Any], results: Sequence[Any], width: int) -> Layout | None:
    """The layout of a step in tiles of this width, or None if it has other arrays than these.

    Args:
        leaf: the gradient.
        arguments: the flat arguments of the step.
        results: its flat results.
        width: of a tile.
    """
    roles = [_role(x, leaf.shape, width) for x in (*arguments, *results)]
    if None in roles or SCALAR in roles[len(arguments) :]:
        return None
    dtypes = [x.dtype for x in (*arguments, *results)]
    cut = len(arguments)
    how = *map(tuple, (roles[:cut], dtypes[:cut])), *map(tuple, (roles[cut:], dtypes[cut:]))
    return Layout(leaf.shape, width, *how)


def _role(x: Any, shape: tuple[int, ...], width: int) -> str | None:
    shapes = {SCALAR: (), LEAF: shape, SHARED: (*shape[:-1], shape[-1] // width)}
    return next((role for role, s in shapes.items() if x.shape == s), None)
