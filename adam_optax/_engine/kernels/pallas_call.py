"""Call a kernel: a leaf's arrays as one matrix or as layers, and its scalars as two vectors."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental import pallas as pl
from jax.ref import Ref

from adam_optax._engine.kernels.layout import LEAF, SHARED, Block, Layout, Place
from adam_optax._engine.kernels.tile import FlatStep, Tile, dtype_of, traced

KernelBody: TypeAlias = Callable[..., None]
"""A function of references: two to vectors of scalars, then to the arrays and the results."""


@dataclasses.dataclass(frozen=True)
class Flavour:
    """Say how one of Pallas' compilers is programmed.

    Attributes:
        block: from a layout to what one call of the body works on, or None if the leaf cannot be
            tiled; a tile has its rows.
        body: from a tile, a layout, the block and the place to the body of the kernel.
        scalars: the block specification of the two vectors of scalars.
        parameters: the compiler's parameters.
    """

    block: Callable[[Layout], Block | None]
    body: Callable[[Tile, Layout, Block, Place], KernelBody]
    scalars: pl.BlockSpec
    parameters: pl.CompilerParams


def pallas_step(
    flavour: Flavour,
    step: FlatStep,
    layout: Layout,
    arrays: Sequence[Array],
    place: Place,
    aliases: Mapping[int, int],
    interpret: bool = False,
) -> list[Array]:
    """Return the results of a step, computed in a kernel.

    Args:
        flavour: how the platform's compiler is programmed.
        step: the step of a tile: from flat arguments and their row and column in the leaf to flat
            results.
        layout: how the leaf, or the part of it on this device, is cut into tiles.
        arrays: the flat arguments.
        place: where the arguments are in the whole leaf.
        aliases: from arguments to the results that take their places.
        interpret: whether to interpret the kernel, on any platform.
    """
    block = flavour.block(layout) or Block(0, 0)
    tile = traced(step, layout, block.rows)
    carried = tile.scalars([x for x in arrays if x.ndim == 0])
    seen: Callable[[str], tuple[int, ...]] = layout.flat
    size: tuple[int, ...] = block[:2]
    if block.layers is not None:
        seen, size = layout.stacked, (block.layers, *block[:2])

    def turned(x: Array) -> Array:
        return x.swapaxes(0, 1) if layout.exchanged else x

    views = [turned(arrays[i]).reshape(seen(layout.roles[i])) for i in tile.read]

    def spec(role: str) -> pl.BlockSpec:
        columns = block.columns // (layout.width if role == SHARED else 1)
        return pl.BlockSpec((*size[:-1], columns), lambda *at: at)

    results = list(zip(layout.out_roles, layout.out_dtypes, strict=True))
    done = pl.pallas_call(
        flavour.body(tile, layout, block, place),
        grid=tuple(pl.cdiv(n, part) for n, part in zip(seen(LEAF), size, strict=True)),
        in_specs=[flavour.scalars] * 2 + [spec(layout.roles[i]) for i in tile.read],
        out_specs=[spec(role) for role in layout.out_roles],
        out_shape=[jax.ShapeDtypeStruct(seen(role), dtype) for role, dtype in results],
        input_output_aliases={2 + tile.read.index(i): o for i, o in aliases.items()},
        compiler_params=flavour.parameters,
        interpret=interpret,
    )(*packed([*carried, *place.start]), *views)
    return [
        turned(x.reshape(layout.full_shape(role)))
        for x, (role, _) in zip(done, results, strict=True)
    ]


def packed(scalars: Sequence[Array]) -> tuple[Array, Array]:
    """Return two vectors, of float32 scalars and of the others as int32; neither is empty."""
    real = [x for x in scalars if x.dtype == jnp.float32]
    whole = [x.astype(jnp.int32) for x in scalars if x.dtype != jnp.float32]
    return jnp.stack([*real, jnp.zeros((), jnp.float32)]), jnp.stack(whole)


def unpacked(tile: Tile, place: Place, real: Ref, whole: Ref) -> tuple[list[Array], Place]:
    """Return the scalars that a tile needs and its place, from references to the two vectors."""
    found, r, w = [], 0, 0
    for v in tile.scalar_vars:
        if (dtype := dtype_of(v)) == jnp.float32:
            found.append(real[r])
            r += 1
        else:
            found.append(_back(whole[w], dtype))
            w += 1
    return found, place._replace(start=tuple(whole[w + i] for i in range(len(place.whole))))


def _back(x: Array, dtype: np.dtype[Any]) -> Array:
    return x != 0 if dtype == jnp.bool_ else x.astype(dtype)
