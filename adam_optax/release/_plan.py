"""Say which leaves of parameters and state a layer has, and take the step of these alone."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import optax
from jax import Array, ShapeDtypeStruct, lax
from jax.tree_util import KeyPath, PyTreeDef

from adam_optax._core.types import PyTree
from adam_optax._engine.parts import Part, taking
from adam_optax._step import step


def is_none(x: object) -> bool:
    """Tell whether a node is None, which then counts as a leaf."""
    return x is None


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """Take an optimiser's step on some of the parameters.

    Attributes:
        tx: the optimiser.
        whole: the shape and dtype of every parameter, by path.
        params_def: the structure of the parameters.
        state_def: the structure of the state, in which None is a leaf.
        owners: for each leaf of the state, the number of the parameter that it belongs to; None
            for what all share, such as counts.
    """

    tx: optax.GradientTransformation
    whole: dict[KeyPath[Any], ShapeDtypeStruct]
    params_def: PyTreeDef
    state_def: PyTreeDef
    owners: tuple[int | None, ...]

    def own(self, state: PyTree, which: Sequence[int]) -> list[Array]:
        """Return the leaves of a state that belong to some parameters."""
        leaves = jax.tree.leaves(state, is_leaf=is_none)
        return [x for x, k in zip(leaves, self.owners, strict=True) if k in which]

    def shared(self, state: PyTree) -> list[Array]:
        """Return the leaves of a state that belong to no parameter."""
        leaves = jax.tree.leaves(state, is_leaf=is_none)
        return [x for x, k in zip(leaves, self.owners, strict=True) if k is None]

    def replaced(self, state: PyTree, which: Sequence[int], own: Sequence[Array]) -> PyTree:
        """Return a state with other leaves for some parameters."""
        leaves, new = jax.tree.leaves(state, is_leaf=is_none), iter(own)
        mixed = [next(new) if k in which else x for x, k in zip(leaves, self.owners, strict=True)]
        return jax.tree.unflatten(self.state_def, mixed)

    def take(
        self,
        which: Sequence[int],
        grads: Sequence[Array],
        params: Sequence[Array],
        own: Sequence[Array],
        shared: Sequence[Array],
        layer: Array | None = None,
    ) -> tuple[list[Array], PyTree]:
        """Return new parameters, and the state, with None for what it keeps of others.

        Args:
            which: the numbers of the parameters.
            grads: their gradients.
            params: the parameters.
            own: what the state keeps of them.
            shared: what the state keeps once, before the step.
            layer: the index of the layer of which all these are slices; None: they are whole.
        """
        n = self.params_def.num_leaves

        def spread(values: Sequence[Array]) -> PyTree:
            leaves: list[Array | None] = [None] * n
            for k, x in zip(which, values, strict=True):
                leaves[k] = x
            return jax.tree.unflatten(self.params_def, leaves)

        mine, all_own = iter(own), iter(shared)
        state = [
            next(all_own) if k is None else next(mine) if k in which else None for k in self.owners
        ]
        with taking(Part(self.whole, layer)):
            new_params, new_state = step(
                self.tx, spread(grads), jax.tree.unflatten(self.state_def, state), spread(params)
            )
        leaves = jax.tree.leaves(new_params, is_leaf=is_none)
        return [leaves[k] for k in which], new_state


def owners(params: PyTree, state: PyTree) -> tuple[int | None, ...]:
    """Return for each leaf of a state the number of its parameter, whose path its own ends with."""
    paths = {path: k for k, (path, _) in enumerate(jax.tree.leaves_with_path(params))}

    def owner(path: KeyPath[Any]) -> int | None:
        ends = (path[i:] for i in range(1, len(path)))  # the longest first
        return next((paths[end] for end in ends if end in paths), None)

    return tuple(owner(path) for path, _ in jax.tree.leaves_with_path(state, is_leaf=is_none))


def slices(stacks: Sequence[Array], i: Array) -> list[Array]:
    """Return the i-th layer of each array, with an axis of length one for the layers."""
    return [lax.dynamic_slice_in_dim(x, i, 1) for x in stacks]


def written(stacks: Sequence[Array], layers: Sequence[Array], i: Array) -> list[Array]:
    """Return the arrays with another i-th layer."""
    return [
        lax.dynamic_update_slice_in_dim(x, new, i, 0) for x, new in zip(stacks, layers, strict=True)
    ]
