"""Decide whether the arrays of a leaf's step can be cut into tiles, and how."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
from jax import Array, ShapeDtypeStruct, lax

ArrayOrShape: TypeAlias = Array | ShapeDtypeStruct
"""An array, or its shape and dtype."""

LEAF, SHARED, SCALAR = "leaf", "shared", "scalar"
"""The roles of an array: a number for each element, for each block, or one for all."""
LEAST = 2**16
"""The number of elements below which a leaf is not worth a kernel."""
LANES = 128
"""The width of a tile where there are no blocks; a block's is a multiple of it."""
DTYPES = ("float32", "bfloat16")
"""The dtypes of gradients and parameters that kernels take."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Describe a leaf of rows and columns, and the flat arguments and results of its step.

    Attributes:
        shape: the leaf's shape, or that of a part of it.
        width: the width of a tile along the last axis: a block, if there are blocks.
        roles: the roles of the arguments.
        dtypes: the dtypes of the arguments.
        out_roles: the roles of the results.
        out_dtypes: the dtypes of the results.
        whole: the whole leaf's shape; None if `shape` is.
        exchanged: whether the first two axes of `shape` are exchanged: layers are rows, and rows
            are layers.
    """

    shape: tuple[int, ...]
    width: int
    roles: tuple[str, ...]
    dtypes: tuple[np.dtype[Any], ...]
    out_roles: tuple[str, ...]
    out_dtypes: tuple[np.dtype[Any], ...]
    whole: tuple[int, ...] | None = None
    exchanged: bool = False

    @property
    def rows(self) -> int:
        """Return how many rows the leaf has, all axes but the last taken together."""
        return math.prod(self.shape[:-1])

    @property
    def columns(self) -> int:
        """Return how many columns the leaf has."""
        return self.shape[-1]

    def flat(self, role: str) -> tuple[int, int]:
        """Return the shape, rows by columns, of an array with this role."""
        return self.rows, self.columns // (self.width if role == SHARED else 1)

    @property
    def layers(self) -> int:
        """Return how many matrices the leaf has, all axes but the last two taken together."""
        return math.prod(self.shape[:-2])

    def stacked(self, role: str) -> tuple[int, int, int]:
        """Return the shape, layers by rows by columns, of an array with this role."""
        return self.layers, self.shape[-2], self.flat(role)[1]

    def full_shape(self, role: str) -> tuple[int, ...]:
        """Return the shape of an array with this role, with all axes."""
        return (*self.shape[:-1], self.flat(role)[1])

    def divides(self, shards: int) -> bool:
        """Tell whether the last axis can be cut into so many shards without cutting a block."""
        return self.flat(SHARED)[1] % shards == 0

    def local(self, shape: tuple[int, ...]) -> "Layout":
        """Return the layout of a part of the leaf."""
        return dataclasses.replace(self, shape=shape, whole=self.whole or self.shape)

    def exchange(self) -> "Layout":
        """Return the layout of the same leaf of three axes with the first two exchanged."""
        layers, rows, columns = self.shape
        shape = rows, layers, columns
        return dataclasses.replace(self, shape=shape, exchanged=not self.exchanged)

    @property
    def successive(self) -> int:
        """Return how many rows, from each multiple of so many, are neighbours in the whole leaf."""
        whole = self.whole is None or self.whole[1:-1] == self.shape[1:-1]
        return self.rows if whole else self.shape[-2]


class Block(NamedTuple):
    """Say what part of a leaf one call of a kernel's body works on.

    Attributes:
        rows: how many rows it has.
        columns: how many columns it has.
        layers: how many matrices, which stay on an axis of their own; None where the leaf is one
            matrix of all its rows.
    """

    rows: int
    columns: int
    layers: int | None = None


class Place(NamedTuple):
    """Say where a part of a leaf is in it.

    Attributes:
        whole: the leaf's shape.
        part: the part's shape.
        start: the index in the leaf at which the part begins, axis by axis.
        exchanged: whether the first two axes of `part` are exchanged.
    """

    whole: tuple[int, ...]
    part: tuple[int, ...]
    start: tuple[Array, ...]
    exchanged: bool = False

    @property
    def matrix(self) -> tuple[int, int]:
        """Return the shape of the leaf as a matrix in which the rows of a tile are neighbours."""
        axes = 1 if self.exchanged else len(self.whole) - 1
        return math.prod(self.whole[:axes]), math.prod(self.whole[axes:])

    def of(self, row: Array, column: Array) -> tuple[Array, Array]:
        """Return the row and column in `matrix` of a row and column of the part."""
        if self.exchanged:  # a row of the matrix is a layer, with all its rows
            layers = jnp.int32(self.part[1])
            above = lax.div(row, layers) + self.start[1]
            column = above * self.whole[2] + column + self.start[2]
            return lax.rem(row, layers) + self.start[0], column
        index, middle = [], self.part[1:-1]
        if middle == self.whole[1:-1]:
            row = row + self.start[0] * math.prod(middle)
        else:
            for length in reversed(middle):
                index.append(lax.rem(row, jnp.int32(length)))
                row = lax.div(row, jnp.int32(length))
            row = row + self.start[0]
            for length, i, first in zip(
                self.whole[1:-1], reversed(index), self.start[1:-1], strict=True
            ):
                row = row * length + i + first
        return row, column + self.start[-1]


def width(leaves: Sequence[ArrayOrShape], block: int | None) -> int | None:
    """Return how wide tiles are, or None if a leaf gets no kernel.

    Args:
        leaves: the gradient, and the parameter if there is one.
        block: how many neighbours share something, 1 for none; None if there are several sizes.
    """
    size, leaf = LANES if block == 1 else block, leaves[0]
    if size is None or size % LANES or any(str(x.dtype) not in DTYPES for x in leaves):
        return None
    return size if leaf.ndim > 1 and leaf.size >= LEAST and leaf.shape[-1] % size == 0 else None


def of(
    leaf: ArrayOrShape,
    arguments: Sequence[ArrayOrShape],
    results: Sequence[ArrayOrShape],
    width: int,
) -> Layout | None:
    """Return the layout of a step in tiles of this width, or None if arrays have other shapes.

    Args:
        leaf: the gradient.
        arguments: the flat arguments of the step.
        results: the flat results of the step.
        width: the width of a tile.
    """
    arrays, cut = [*arguments, *results], len(arguments)
    roles = tuple(role for x in arrays if (role := _role(x, leaf.shape, width)) is not None)
    if len(roles) < len(arrays) or SCALAR in roles[cut:]:
        return None
    dtypes = tuple(x.dtype for x in arrays)
    return Layout(leaf.shape, width, roles[:cut], dtypes[:cut], roles[cut:], dtypes[cut:])


def _role(x: ArrayOrShape, shape: tuple[int, ...], width: int) -> str | None:
    shapes = {SCALAR: (), LEAF: shape, SHARED: (*shape[:-1], shape[-1] // width)}
    return next((role for role, s in shapes.items() if x.shape == s), None)
