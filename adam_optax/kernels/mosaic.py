"""The kernel for TPUs: whole rows of a leaf in the chip's memory, worked off tile by tile."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from adam_optax.kernels.call import Flavour, unpacked
from adam_optax.kernels.layout import LANES, SHARED, Layout
from adam_optax.kernels.tile import Tile

ROWS = 32
"""Of a tile: by so many eight-bit arrays are stored."""
MEMORY = 2**25
"""Bytes of the chip's memory for the arrays; each is there twice, one is worked on, one moved."""


def block(layout: Layout) -> tuple[int, int] | None:
    """32 rows of all columns, or of as many as 128 blocks have, if they fit and are stored so."""
    crowded = len(layout.shape) > 2 and layout.shape[-2] % ROWS  # rows are padded: views copy
    if layout.rows < ROWS or crowded:
        return None
    each = ROWS * sum(d.itemsize for d in (*layout.dtypes, *layout.out_dtypes))
    for columns in (layout.columns, LANES * layout.width):
        if layout.columns % columns == 0 and columns * each <= MEMORY:
            return ROWS, columns
    return None


def body(tile: Tile, layout: Layout, columns: int) -> Callable[..., None]:
    """Goes through the tiles of a block of rows; what blocks share is gathered in registers."""
    roles = [layout.roles[i] for i in tile.read]
    tiles = columns // layout.width

    def work(real: Any, whole: Any, *refs: Any) -> None:
        inputs, outputs = refs[: len(roles)], refs[len(roles) :]
        carried, (row, column) = unpacked(tile, real, whole)
        row = row + pl.program_id(0) * ROWS
        column = column + pl.program_id(1) * columns
        lane = lax.broadcasted_iota(jnp.int32, (ROWS, tiles), 1)
        read = [_wide(ref[...]) if r == SHARED else ref for ref, r in zip(inputs, roles, strict=True)]

        def one(j: Array, headers: list[Array]) -> list[Array]:
            here = pl.ds(pl.multiple_of(j * layout.width, layout.width), layout.width)
            arrays = [
                _picked(x, lane == j, ref.dtype) if r == SHARED else x[:, here]
                for x, r, ref in zip(read, roles, inputs, strict=True)
            ]
            done = tile.step(arrays, carried, (row, column + j * layout.width))
            for x, ref, r in zip(done, outputs, layout.out_roles, strict=True):
                if r != SHARED:
                    ref[:, here] = x
            new = [x for x, r in zip(done, layout.out_roles, strict=True) if r == SHARED]
            return [
                jnp.where(lane == j, _wide(x), all_)
                for x, all_ in zip(new, headers, strict=True)
            ]

        shared = [ref for ref, r in zip(outputs, layout.out_roles, strict=True) if r == SHARED]
        start = [jnp.zeros((ROWS, tiles), _wide_dtype(ref.dtype)) for ref in shared]
        for x, ref in zip(lax.fori_loop(0, tiles, one, start), shared, strict=True):
            ref[...] = x.astype(ref.dtype)

    return work


def _wide_dtype(dtype: Any) -> Any:
    return jnp.float32 if jnp.issubdtype(dtype, jnp.floating) else jnp.int32


def _wide(x: Array) -> Array:
    return x.astype(_wide_dtype(x.dtype))


def _picked(headers: Array, where: Array, dtype: Any) -> Array:
    """The column of one tile: there is no other way to a lane whose number is not known."""
    return jnp.sum(jnp.where(where, headers, 0), axis=1, keepdims=True).astype(dtype)


FLAVOUR = Flavour(
    block,
    body,
    pl.BlockSpec(memory_space=pltpu.SMEM),
    pltpu.CompilerParams(vmem_limit_bytes=3 * MEMORY),
)
