"""The layers of one update, before it and after."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from adam_optax._watch.find_moments import looks
from adam_optax._watch.metrics import WHOLE, rows, weights, whole
from adam_optax._watch.sampling import picker
from adam_optax._watch.state import UNKNOWN, WIDTHS, is_layer


@dataclasses.dataclass(frozen=True)
class Layers:
    """The leaves of a tree of gradients, by the names that the state has for them.

    Attributes:
        names: `WatchState.layers`.
        grads: the gradients; what is None, empty or not a floating array is not recorded.
        samples: of how many weights of a layer at most what is said of single weights.
    """

    names: Any
    grads: Any
    samples: int

    def wholes(self, due: Array, params: Any) -> list[Array]:
        """What takes every weight of a layer, where it is due."""
        none = jnp.full(len(WHOLE), UNKNOWN, jnp.float32)
        pairs = zip(self._leaves(self.grads), self._leaves(params), strict=True)
        measure = lambda g, p: none if g is None else _if(due, lambda: whole(g, p), none)  # noqa: E731
        return [measure(g, p) for g, p in pairs]

    def after(self, wholes: list[Array]) -> Any:
        """The gradients as they are, once `wholes` are known.

        Those look at parameters that the update will overwrite. XLA does not see that order, and
        would copy them, unless each gradient depends on what was found: on no number in it being
        below `UNKNOWN`, which none is.
        """
        sound = [~(jnp.min(found) < 2 * UNKNOWN) for found in wholes]
        held = [
            g if _leaf(g) is None else jnp.where(one, g, jnp.zeros_like(g))
            for g, one in zip(self._treedef().flatten_up_to(self.grads), sound, strict=True)
        ]
        return jax.tree.unflatten(self._treedef(), held)

    def record(self, due: Array, wholes: list[Array], tx: Any, state: Any, updates: Any) -> Array:
        """A row for each layer, where it is due, with what goes out and what is remembered."""
        grads = self._leaves(self.grads)
        width = min(self.samples, max((g.size for g in grads if g is not None), default=1))
        # XLA computes of the updates what is picked: nothing else of them need be kept.
        some = [self._some(grads, tree) for tree in (grads, self._leaves(updates))]
        paths = [path for path, _ in jax.tree.leaves_with_path(self.names, is_leaf=is_layer)]

        def measure() -> Array:
            known = {at: g for at, g in zip(paths, grads, strict=True) if g is not None}
            found = looks(tx, state, known, self.samples)
            layers = zip(*some, map(found.get, paths), strict=True)
            return rows(wholes, [weights(g, u, look, width) for g, u, look in layers])

        blank = jnp.zeros((len(grads), sum(WIDTHS.values())), jnp.float32)
        return _if(due, measure, blank) if grads else blank

    def _some(self, grads: list[Any], leaves: list[Any]) -> list[Any]:
        return [
            None if g is None or leaf is None else picker(g.shape, self.samples)(leaf)
            for g, leaf in zip(grads, leaves, strict=True)
        ]

    def _treedef(self) -> Any:
        return jax.tree.structure(self.names, is_leaf=is_layer)

    def _leaves(self, tree: Any) -> list[Any]:
        if tree is None:
            return [None] * self._treedef().num_leaves
        return [_leaf(x) for x in self._treedef().flatten_up_to(tree)]


def _leaf(x: Any) -> Any:
    """The leaf, or None if nothing can be said of it."""
    found = hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.inexact) and x.size > 0
    return x if found else None


def _if(due: Array, measure: Callable[[], Array], otherwise: Array) -> Array:
    """What is measured where it is due; outside jit without a compilation at every step."""
    if isinstance(due, jax.core.Tracer):
        found: Array = jax.lax.cond(due, measure, lambda: otherwise)
        return found
    return measure() if due else otherwise
