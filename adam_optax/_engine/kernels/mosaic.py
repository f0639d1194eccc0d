"""Build the kernel for TPUs: whole rows of a leaf in the chip's memory, worked off by tiles."""

import functools as ft
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.ref import Ref
from jax.typing import DTypeLike

from adam_optax._engine.kernels.backends import Backend
from adam_optax._engine.kernels.layout import LANES, LEAF, SCALAR, SHARED, Block, Layout, Place
from adam_optax._engine.kernels.pallas_call import Flavour, KernelBody, pallas_step, unpacked
from adam_optax._engine.kernels.tile import Tile

ROWS = 32
"""The rows of a tile: eight-bit arrays are stored in groups of so many, wider ones of fewer."""
FEWEST = 4
"""The rows that fill half a register. XLA fills one from several layers, the kernel from one."""
MEMORY = 2**25
"""The bytes of the chip's memory for arrays; each is there twice: one is worked on, one moved."""


def block(layout: Layout) -> Block | None:
    """Return some rows and all columns, or as many columns as fit the chip's memory.

    The rows are of one matrix, or those of a few layers whose matrices have few. Axes before the
    last two stay apart from the rows: a chip stores rows in groups, the last of each matrix padded,
    and would copy the leaf for a view of it as one matrix.

    The columns are a multiple of a tile's, or of 128 blocks where blocks share something: Mosaic
    cuts the last axis of each array at multiples of 128. They divide the leaf's if such a number is
    near; else the last call of a row has fewer, and what it computes beside them is not written.
    """
    if (rows := _rows(layout)) is None:
        return None
    most = max(1, ROWS // rows) if rows == layout.shape[-2] else 1
    layers = next(n for n in range(most, 0, -1) if layout.layers % n == 0)
    fit = int(MEMORY // (layers * rows * _bytes(layout)))
    if layout.columns <= fit:
        return Block(rows, layout.columns, layers)
    unit = layout.width * (LANES if SHARED in (*layout.roles, *layout.out_roles) else 1)
    if unit > min(fit, layout.columns):
        return None
    units, most = -(-layout.columns // unit), fit // unit
    fewest = -(-units // most)
    if layout.columns % unit == 0:
        calls = next((n for n in range(fewest, 2 * fewest) if units % n == 0), fewest)
    else:
        calls = fewest
    return Block(rows, unit * -(-units // calls), layers)


def stored(layout: Layout) -> Layout | None:
    """Return the layout of a leaf as XLA stores it on a TPU: with the least padding of rows.

    XLA stores layers of 28 rows as 28 layers of 80 rows, say, if there are 80. A kernel that takes
    them as they are written has each array copied before and after. That costs two passes more over
    memory, which is worse than XLA's own step, unless blocks share something: then that step makes
    six to twelve.

    Returns:
        The layout, with layers and rows exchanged where XLA does that, and where a matrix has too
        few rows for a tile. None where a kernel would have arrays copied and XLA's step is better.
    """
    if len(layout.shape) < 3:
        return layout
    *_, layers, rows, _ = layout.shape
    roles, dtypes = (*layout.roles, *layout.out_roles), (*layout.dtypes, *layout.out_dtypes)
    kinds = {d for role, d in zip(roles, dtypes, strict=True) if role == LEAF}
    if len(layout.shape) > 3:  # XLA may take any axis for the rows
        kept = SHARED in roles or all(_padded(rows, d) == rows for d in kinds)
        return layout if kept else None
    exchanged = {rows * _padded(layers, d) < layers * _padded(rows, d) for d in kinds}
    if len(exchanged) > 1 or (rows < FEWEST and exchanged == {False}):
        if SHARED not in roles:
            return None
        return layout.exchange() if layers > rows else layout
    return layout.exchange() if True in exchanged else layout


def _padded(rows: int, dtype: np.dtype[Any]) -> int:
    """Return how many rows XLA stores for so many: 1, 2, 4, or a multiple of 8."""
    least = max(rows, 4 // dtype.itemsize)  # narrow numbers of several rows share a lane
    return 1 << (least - 1).bit_length() if least <= 8 else -(-least // 8) * 8


def _bytes(layout: Layout) -> float:
    """Return the bytes of an element's arguments and results, its part of what a block shares."""
    roles, dtypes = (*layout.roles, *layout.out_roles), (*layout.dtypes, *layout.out_dtypes)
    parts = {LEAF: 1.0, SHARED: 1 / layout.width, SCALAR: 0.0}
    return sum(d.itemsize * parts[role] for role, d in zip(roles, dtypes, strict=True))


def _rows(layout: Layout) -> int | None:
    """Return the rows of a tile: all of a matrix that has few, but not too few.

    Else as many as arrays of the least dtype are stored in groups of, or more, that divide a
    matrix; if none do, the last call of a matrix has fewer.
    """
    roles, dtypes = (*layout.roles, *layout.out_roles), (*layout.dtypes, *layout.out_dtypes)
    least = min(d.itemsize for r, d in zip(roles, dtypes, strict=True) if r != SCALAR)
    if (rows := layout.shape[-2]) <= ROWS:
        return rows if rows >= FEWEST else None
    sizes = (n for n in (ROWS, ROWS // 2, ROWS // 4) if n * least >= ROWS)
    return next((n for n in sizes if rows % n == 0), ROWS)


def body(tile: Tile, layout: Layout, block: Block, place: Place) -> KernelBody:
    """Return the loop over the tiles of a block: layer by layer, along the columns."""
    roles = [layout.roles[i] for i in tile.read]
    width, tiles, layers = layout.width, block.columns // layout.width, block.layers or 1

    def work(real: Ref, whole: Ref, *refs: Ref) -> None:
        carried, here = unpacked(tile, place, real, whole)
        first, column = pl.program_id(0) * layers, pl.program_id(2) * block.columns
        above = pl.program_id(1) * tile.rows
        lane = lax.broadcasted_iota(jnp.int32, (tile.rows, tiles), 1)

        def matrix(layer: Array | int, _: None = None) -> None:
            ours = [ref.at[layer] for ref in refs]
            inputs = list(zip(ours[: len(roles)], roles, strict=True))
            outputs = list(zip(ours[len(roles) :], layout.out_roles, strict=True))
            headers = [ref for ref, role in outputs if role == SHARED]
            start = here.of((first + layer) * layout.shape[-2] + above, column)

            def one(j: Array, found: list[Array]) -> list[Array]:
                these = pl.ds(pl.multiple_of(j * width, width), width)
                arrays = [
                    _picked(ref, lane == j) if role == SHARED else ref[:, these]
                    for ref, role in inputs
                ]
                done = tile.step(arrays, carried, (start[0], start[1] + j * width))
                for x, (ref, role) in zip(done, outputs, strict=True):
                    if role != SHARED:
                        ref[:, these] = x
                new = [x for x, (_, role) in zip(done, outputs, strict=True) if role == SHARED]
                return [
                    jnp.where(lane == j, _wide(x), old) for x, old in zip(new, found, strict=True)
                ]

            empty = [jnp.zeros((tile.rows, tiles), _wide_dtype(ref.dtype)) for ref in headers]
            for x, ref in zip(lax.fori_loop(0, tiles, one, empty), headers, strict=True):
                ref[...] = x.astype(ref.dtype)

        lax.fori_loop(0, layers, matrix, None)

    return work


def _picked(headers: Ref, where: Array) -> Array:
    """Return the column of one tile: a lane whose number is not known can only be summed out."""
    column = jnp.sum(jnp.where(where, _wide(headers[...]), 0), axis=1, keepdims=True)
    return column.astype(headers.dtype)


def _wide(x: Array) -> Array:
    return x.astype(_wide_dtype(x.dtype))


def _wide_dtype(dtype: np.dtype[Any]) -> DTypeLike:
    """Return the dtype of 32 bits: registers have no other lanes."""
    wide: DTypeLike = jnp.float32 if jnp.issubdtype(dtype, jnp.floating) else jnp.int32
    return wide


FLAVOUR = Flavour(
    block,
    body,
    pl.BlockSpec(memory_space=pltpu.SMEM),
    pltpu.CompilerParams(vmem_limit_bytes=3 * MEMORY),
)
BACKEND = Backend(block, ft.partial(pallas_step, FLAVOUR), stored=stored)
