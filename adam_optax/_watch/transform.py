"""Wrap a transformation by one that records what the wrapped one does: `watch(tx)`."""

import dataclasses
import functools as ft
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from adam_optax._core.checks import check_transformation
from adam_optax._transform import Transformation, named
from adam_optax._watch import records
from adam_optax._watch.arriving import gradients_that_arrive
from adam_optax._watch.find_moments import find_moment_readers
from adam_optax._watch.metrics import (
    FULL,
    build_record,
    full_metrics,
    rms,
    sampled_metrics,
    strided_sampler,
)
from adam_optax._watch.state import (
    QUANTILES,
    UNKNOWN,
    WIDTHS,
    WatchState,
    append_record,
    init_state,
    is_layer,
)


class Watch:
    """Record inside jit what any optax transformation does to each layer.

    Take it to see why a run does not train: whether steps are too long or too short, whether
    epsilon dominates, whether storage in few bits disturbs the steps, where gradients are lost.

    `watch(tx)` computes the updates of `tx` and changes nothing about them. Every `every` steps,
    from the first on, it records of each layer (leaf of the parameters):

    * `grad_rms`, `param_rms`, `update_rms`, and `update_ratio`, the update's over the parameter's;
    * `clipped_rms`: the gradient's as it arrives at the optimiser, after the links before that in
      its chain, such as clips;
    * `signal_to_noise`: the mean of `mu^2 / nu`, 1 where gradients agree and 0 where they cancel;
    * `step_size`: `|update| / |mu|` per weight, as the quantiles `ao.watch.QUANTILES`: Adam's
      `α / (√ν̂ + eps)`, one learning rate per weight; `|update| / |gradient|` where there is no mu;
    * `root_nu`: √ν̂ per weight, as quantiles, on the gradient's scale and so on that of `eps`;
    * `eps_share`: the share of the weights whose denominator is more `eps` than √ν̂;
    * `storage_error`: by how much keeping the moments in their storage once more would change the
      next step, as the RMS of the change over the RMS of the step; 0 for float32;
    * `nonfinite`: the share of the gradient's elements that are inf or NaN.

    `mu` and `nu` are as the rule reads them, corrected for their bias. What cannot be known of a
    transformation (`eps` of a stranger's, say) is NaN when read. Quantiles, `update_rms` and the
    means of single weights are taken over `samples` weights spread evenly over the layer, the other
    quantities over all weights. Of layers that are sharded over an automatic mesh, only the samples
    are gathered; axes of type `Explicit` are not supported.

    `ao.watch.read`, `ao.watch.rows` and `ao.watch.plot` show the records of a state, and
    `ao.watch.norms` the gradient's norm over all layers, before and after clipping.

    Attributes:
        QUANTILES: the quantiles of `step_size` and `root_nu`.
    """

    QUANTILES = QUANTILES

    def __call__(
        self,
        tx: optax.GradientTransformation,
        *,
        every: int = 10,
        samples: int = 1024,
        keep: int = 128,
    ) -> Transformation:
        """Return a transformation that does what `tx` does and records it.

        Args:
            tx: any optax transformation; take the outermost, where gradients come in and updates go
                out.
            every: the steps between two records.
            samples: the most weights of a layer from which quantities of single weights are taken.
            keep: how many records are kept; then the newest replaces the oldest.

        Returns:
            A transformation whose state is a `WatchState` around the state of `tx`.

        Raises:
            TypeError: if `tx` is no transformation.
            ValueError: if one of the numbers is not a positive integer.

        Example:
            >>> import jax.numpy as jnp, adam_optax as ao
            >>> tx = ao.watch(ao.adam(1e-3, eps=1e-2), every=1)
            >>> params = {"w": jnp.ones(4), "b": jnp.ones(2)}
            >>> state = tx.init(params)
            >>> grads = {"w": jnp.ones(4), "b": jnp.full(2, 1e-4)}
            >>> updates, state = tx.update(grads, state, params)
            >>> found = ao.watch.read(state)
            >>> found["w"]["eps_share"], found["b"]["eps_share"]
            (array([0.], dtype=float32), array([1.], dtype=float32))
        """
        _check(tx, every=every, samples=samples, keep=keep)
        inner = optax.with_extra_args_support(tx)

        def init(params: Any) -> WatchState:
            return init_state(inner.init(params), params, keep)

        def update(
            updates: Any, state: WatchState, params: Any = None, **extra_args: Any
        ) -> tuple[Any, WatchState]:
            due = state.count % every == 0
            layers = _Layers(state.layers, updates, samples)
            full = layers.full_metrics(due, params)
            grads = layers.grads_after(full)
            done, inner_state = inner.update(grads, state.inner_state, params, **extra_args)
            arrive = ft.partial(
                gradients_that_arrive, inner.update, updates, state.inner_state, params, extra_args
            )
            record = layers.record(due, full, tx, inner_state, done, arrive)
            return done, append_record(state, inner_state, due, record, every)

        return named(Transformation(init, update), "watch", tx=tx)

    def __repr__(self) -> str:
        """Show where the function is."""
        return "adam_optax.watch"

    read = staticmethod(records.read)
    rows = staticmethod(records.rows)
    norms = staticmethod(records.norms)
    plot = staticmethod(records.plot)


watch = Watch()


def _check(tx: Any, **numbers: Any) -> None:
    """Refuse what is no transformation, and numbers that are not positive integers."""
    check_transformation(tx)
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer from 1, not {value!r}")


# --- The layers of one update ------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Layers:
    """Measure the layers of one update: before the update, and after it.

    Attributes:
        names: `WatchState.layers`.
        grads: the gradients. A leaf that is None, empty or not a floating array is not recorded.
        samples: the most weights of a layer from which quantities of single weights are taken.
    """

    names: Any
    grads: Any
    samples: int

    def full_metrics(self, due: Array, params: Any) -> list[Array]:
        """Return each layer's quantities that take every weight, where a record is due."""
        unknown = jnp.full(len(FULL), UNKNOWN, jnp.float32)

        def measure(g: Array | None, p: Array | None) -> Array:
            return unknown if g is None else _if_due(due, lambda: full_metrics(g, p), unknown)

        return [*map(measure, self._leaves(self.grads), self._leaves(params))]

    def grads_after(self, full: list[Array]) -> Any:
        """Return the gradients as they are, but only once `full` has been computed.

        `full_metrics` reads parameters that the update will overwrite. XLA does not know that the
        reading comes first and would copy the parameters, unless each gradient depends on what was
        read. So each gradient is taken under a condition on the numbers that always holds: that
        none is far below `UNKNOWN`.
        """
        holds = [~(jnp.min(found) < 2 * UNKNOWN) for found in full]
        grads = [
            g if _floating(g) is None else jnp.where(one, g, jnp.zeros_like(g))
            for g, one in zip(self._treedef().flatten_up_to(self.grads), holds, strict=True)
        ]
        return jax.tree.unflatten(self._treedef(), grads)

    def record(
        self,
        due: Array,
        full: list[Array],
        tx: optax.GradientTransformation,
        state: Any,
        updates: Any,
        arrive: Callable[[], Any],
    ) -> Array:
        """Return the record of this step if one is due, float32 of shape (layers, numbers).

        Args:
            due: whether a record is due.
            full: what `full_metrics` returned.
            tx: the watched transformation.
            state: its state after the step.
            updates: the updates that it returned.
            arrive: returns the gradients as they arrive at the optimiser.
        """
        grads = self._leaves(self.grads)
        width = min(self.samples, max((g.size for g in grads if g is not None), default=1))
        # XLA computes of the updates what is sampled: nothing else of them need be stored.
        samples = [self._sample(grads, tree) for tree in (grads, self._leaves(updates))]
        paths = [path for path, _ in jax.tree.leaves_with_path(self.names, is_leaf=is_layer)]

        def measure() -> Array:
            known = {path: g for path, g in zip(paths, grads, strict=True) if g is not None}
            readers = find_moment_readers(tx, state, self.grads, known, self.samples)
            layers = zip(*samples, map(readers.get, paths), strict=True)
            sampled = [sampled_metrics(g, u, reader, width) for g, u, reader in layers]
            clipped = [
                jnp.float32(UNKNOWN) if g is None else rms(g) for g in self._leaves(arrive())
            ]
            return build_record(full, sampled, clipped)

        blank = jnp.zeros((len(grads), sum(WIDTHS.values())), jnp.float32)
        return _if_due(due, measure, blank) if grads else blank

    def _sample(self, grads: list[Array | None], leaves: list[Array | None]) -> list[Array | None]:
        """Return the sampled elements of leaves that have a gradient."""
        return [
            None if g is None or leaf is None else strided_sampler(g.shape, self.samples)(leaf)
            for g, leaf in zip(grads, leaves, strict=True)
        ]

    def _treedef(self) -> Any:
        return jax.tree.structure(self.names, is_leaf=is_layer)

    def _leaves(self, tree: Any) -> list[Array | None]:
        """Return the leaves of a tree over the layers; None for a leaf that is not recorded."""
        if tree is None:
            return [None] * self._treedef().num_leaves
        return [_floating(x) for x in self._treedef().flatten_up_to(tree)]


def _floating(x: Any) -> Array | None:
    """Return a leaf if it is a floating or complex array with elements, or else None."""
    found = hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.inexact) and x.size > 0
    return x if found else None


def _if_due(due: Array, measure: Callable[[], Array], otherwise: Array) -> Array:
    """Return what is measured if a record is due; outside jit without compiling at every step."""
    if isinstance(due, jax.core.Tracer):
        found: Array = jax.lax.cond(due, measure, lambda: otherwise)
        return found
    return measure() if due else otherwise
