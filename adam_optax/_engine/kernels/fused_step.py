"""Fuse a leaf's step into a kernel, where that saves passes over memory."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import NamedSharding

from adam_optax._core.dither import TileOffset
from adam_optax._core.types import PyTree
from adam_optax._engine.kernels import layout
from adam_optax._engine.kernels.elementwise import is_elementwise
from adam_optax._engine.kernels.kernel import Kernel
from adam_optax._engine.kernels.layout import Layout
from adam_optax._engine.kernels.primitive import bind
from adam_optax._engine.sharding import shards
from adam_optax.storage._base import Entry

LeafArguments: TypeAlias = tuple[
    Array, Array | None, Mapping[str, Entry], Array, Mapping[str, PyTree]
]
"""A gradient, a parameter or None, encoded moments, the count and the scalars by precision."""

LeafResult: TypeAlias = tuple[Array, dict[str, Entry]]
"""The update or the new parameter of a leaf, and the encoded new moments."""

LeafStep: TypeAlias = Callable[..., LeafResult]
"""A function from `LeafArguments`, and at times an offset or a sharding, to a `LeafResult`."""


def fuse(
    step: LeafStep,
    unstored: LeafStep,
    block: int | None,
    platforms: frozenset[str],
    applies: bool,
    layers: int = 0,
    by_layer: LeafStep | None = None,
) -> LeafStep:
    """Return a step that is a kernel on some platforms, where the leaf and the rule allow it.

    Args:
        step: takes a gradient, a parameter or None, encoded moments, the count, the scalars by
            precision and an offset; returns an array of the gradient's shape and encoded moments.
        unstored: the rule without storage, of a gradient, a parameter, the count and the scalars; a
            rule that mixes elements, or reads a leaf's size, gets no kernel.
        block: how many neighbours share something in storage, 1 for none; None: there are several.
        platforms: `"tpu"` and `"cuda"`, or one of them.
        applies: whether the array that the step returns is the new parameter.
        layers: how many leading axes are layers, which must not share anything.
        by_layer: the step of such a leaf, layer by layer, for where there is no kernel.
    """

    def run(
        g: Array,
        p: Array | None,
        encoded: Mapping[str, Entry],
        count: Array,
        scalars: Mapping[str, PyTree],
        where: NamedSharding | None = None,
    ) -> LeafResult:
        arguments = g, p, encoded, count, {"float32": scalars["float32"]}
        # What is elementwise is so over layers; blocks are along the last axis, within a layer.
        flat_layers = layers and g.ndim <= layers
        tiling = None if flat_layers else _layout(step, unstored, arguments, block, layers)
        if tiling is None or (where is not None and not tiling.divides(shards(where, g.ndim - 1))):
            return (by_layer or step)(g, p, encoded, count, scalars)
        flat, tree = jax.tree.flatten(arguments)
        out_tree = jax.tree.structure((g, encoded))

        def on_flat(*operands: Array | TileOffset) -> list[Array]:
            return jax.tree.leaves(step(*jax.tree.unflatten(tree, operands[:-1]), operands[-1]))

        kernel = Kernel(on_flat, tiling, platforms, _aliases(p, encoded, applies))
        operands = *flat, *[jnp.zeros((), jnp.int32)] * g.ndim
        result: LeafResult = jax.tree.unflatten(out_tree, bind(kernel, *operands, where=where))
        return result

    return run


def has_kernel(
    step: LeafStep,
    unstored: LeafStep,
    arguments: LeafArguments,
    block: int | None,
    layers: int,
) -> bool:
    """Tell whether `fuse` takes a leaf's step tile by tile, over all layers at once.

    Args:
        step: as for `fuse`.
        unstored: as for `fuse`.
        arguments: those of the step, or their shapes and dtypes.
        block: as for `fuse`.
        layers: as for `fuse`.
    """
    g, p, encoded, count, scalars = arguments
    narrow = g, p, encoded, count, {"float32": scalars["float32"]}
    return g.ndim > layers and _layout(step, unstored, narrow, block, layers) is not None


def _layout(
    step: LeafStep,
    unstored: LeafStep,
    arguments: LeafArguments,
    block: int | None,
    layers: int,
) -> Layout | None:
    """Return how a step is cut into tiles, or None if it gets no kernel."""
    g, p, encoded, count, scalars = arguments
    width = layout.width([x for x in (g, p) if x is not None], block)
    if width is None or any(x.dtype.itemsize > 4 for x in jax.tree.leaves(encoded)):
        return None
    if not is_elementwise(unstored, g, p, count, scalars, (1, width), layers):
        return None
    results = jax.tree.leaves(jax.eval_shape(step, *arguments))
    return layout.of(g, jax.tree.leaves(arguments), results, width)


def _aliases(
    p: Array | None, encoded: Mapping[str, Entry], applies: bool
) -> tuple[tuple[int, int], ...]:
    """Return which results are written in place: encoded moments, and with `applies` parameters."""
    first = 1 if p is None else 2
    pairs = [(first + i, 1 + i) for i in range(len(jax.tree.leaves(encoded)))]
    return ((1, 0), *pairs) if applies else tuple(pairs)
