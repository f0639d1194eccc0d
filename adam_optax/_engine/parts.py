"""Tell a step that its trees are a part of the whole: one layer of a stack, or all but some leaves.

What is decided by path or by shape (rates, storage, masks) is decided on the whole tree, and what
depends on an element's place in its leaf is that of the whole leaf, so that a step that is taken
part by part has the bits of the step of the whole.
"""

import contextlib
import functools as ft
import math
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, ShapeDtypeStruct
from jax.tree_util import KeyPath

from adam_optax._core.types import PyTree
from adam_optax._engine.groups import Group
from adam_optax._engine.kernels.elementwise import is_elementwise
from adam_optax._engine.kernels.fused_step import LeafArguments, has_kernel
from adam_optax._engine.leaf import leaf_step, unstored_step
from adam_optax.couplings import Coupling


class Part(NamedTuple):
    """Say which part of all parameters a step is taken on.

    Attributes:
        whole: the shape and dtype of every parameter of the whole, by path.
        layer: the index of the layer of which each array is a slice of length one along the first
            axis; None: arrays are whole, and leaves that are not in the part are None.
    """

    whole: Mapping[KeyPath[Any], ShapeDtypeStruct]
    layer: Array | None = None

    def widened(self, tree: PyTree) -> PyTree:
        """Return a tree like this one, of the parameters' whole shapes, also where it has None."""
        return jax.tree.map_with_path(
            lambda path, x: self.whole.get(path, x), tree, is_leaf=lambda x: x is None
        )

    def base(self, path: KeyPath[Any]) -> Array | None:
        """Return the place of a slice's first element in its leaf; None if the leaf is whole."""
        if self.layer is None:
            return None
        size = math.prod(self.whole[path].shape[1:])
        return self.layer.astype(jnp.uint32) * np.uint32(size % 2**32)


MIXES = (
    "the step looks at a whole parameter, all layers at once, as norms, factors and blocks do: say "
    "that its first axis counts layers, with stacked=1"
)
"""The error of a step that cannot be taken layer by layer."""

current: ContextVar[Part | None] = ContextVar("adam_optax_part", default=None)
"""The part on which a step is traced; None: the whole."""


@contextlib.contextmanager
def taking(part: Part) -> Iterator[None]:
    """Take the steps that are traced within on a part."""
    token = current.set(part)
    try:
        yield
    finally:
        current.reset(token)


def scalars_of_slice(
    part: Part,
    path: KeyPath[Any],
    group: Group,
    coupling: Coupling,
    applies: bool,
    arguments: LeafArguments,
) -> dict[str, Any]:
    """Return the scalars of the step for a slice of a leaf, with the place where it begins.

    Where the axis that is sliced counts layers, each layer has places of its own, except in a
    kernel, which goes over all layers at once.

    Args:
        part: the part on which the step is taken.
        path: where the leaf is.
        group: the rule, the storage and the layers of the leaf.
        coupling: how weight decay goes with the learning rate.
        applies: whether the step ends with the new parameter.
        arguments: those of the step of the slice.

    Raises:
        ValueError: if the step mixes what is in different layers.
    """
    g, p, encoded, count, scalars = arguments
    unstored = ft.partial(unstored_step, group.recipe, coupling, applies)
    shape, storage = part.whole[path].shape, group.storage
    if group.layers:
        whole = lambda x: ShapeDtypeStruct((*shape[:1], *x.shape[1:]), x.dtype)  # noqa: E731
        stack = jax.tree.map(whole, (g, p, encoded))
        step = ft.partial(leaf_step, group.recipe, storage, coupling, applies)
        if not storage.has_kernel[applies] or not has_kernel(
            step, unstored, (*stack, count, scalars), storage.block, group.layers
        ):
            return dict(scalars)
    else:
        kept = [x.shape for x in jax.tree.leaves(encoded)]
        in_blocks = g.ndim == 1 and any(own != g.shape for own in kept)
        if (
            in_blocks
            or any(own[: g.ndim - 1] != g.shape[:-1] for own in kept)
            or not is_elementwise(
                unstored, ShapeDtypeStruct(shape, g.dtype), p, count, scalars, g.shape
            )
        ):
            raise ValueError(MIXES)
    base = part.base(path)
    return {name: one._replace(base=base) for name, one in scalars.items()}
