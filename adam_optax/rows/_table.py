"""An optimiser of a table of which a step touches a few rows."""

import dataclasses
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar, cast

import jax
import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import safe_increment
from adam_optax._engine.tree import Engine, pack, unpack
from adam_optax.rows import _ids as id_
from adam_optax.rows import _state as state_
from adam_optax.rows._checks import refuse_dense, refuse_ids, refuse_rows, refuse_table, refuse_use
from adam_optax.rows._closed_form import Drift, decay_of, faded
from adam_optax.rows._state import Rows, RowsState
from adam_optax.storage._plan import plan_storage

Method = TypeVar("Method", bound=Callable[..., Any])
NOTHING: Any = None


def compiled(method: Method) -> Method:
    """A method that is compiled; the checks of what is known run before, and use is always fast."""
    return cast(Method, jax.jit(method, static_argnums=0))


@dataclasses.dataclass(frozen=True)
class RowOptimizer:
    """Pure functions over a `RowsState`; made by `adam_optax.rows.adamw` and its kin.

    A step is `unique`, `lookup`, the model's gradient with respect to `Rows.params`, `apply`:

    >>> import jax, jax.numpy as jnp
    >>> from adam_optax import rows
    >>> tx = rows.adam(1e-2)
    >>> state = tx.init(jnp.ones((1000, 8)))
    >>> def step(state, ids):
    ...     batch = rows.unique(ids, num_rows=1000)
    ...     found = tx.lookup(state, batch.ids)
    ...     loss = lambda params: jnp.sum(params[batch.local] ** 2)
    ...     return tx.apply(state, found, jax.grad(loss)(found.params))
    >>> state = jax.jit(step, donate_argnums=0)(state, jnp.array([3, 5, 3]))
    >>> table, adam_state = tx.materialize(state)
    >>> print(table[2:6, 0].round(6))
    [1.   0.99 1.   0.99]

    Every step of the training is an `apply`, also one that touches no row. Donate the state: a
    step that may not overwrite it copies all of it.

    Attributes:
        drift: the rule, and what it does between a row's gradients.
        learning_rate: a number or a schedule.
        weight_decay: decoupled, a number or a schedule; 0: none.
        exact: whether rows move and fade between their gradients, as under the dense optimiser.
    """

    drift: Drift
    learning_rate: float | Callable[[Array], Any]
    weight_decay: float | Callable[[Array], Any] = 0.0
    exact: bool = True

    def init(self, table: Array) -> RowsState:
        """The state before the first step.

        Args:
            table: float32 or float64, rows along the first axis. The state holds it from here on:
                whoever donates the state gives away the table.

        Raises:
            TypeError: if it has another dtype.
            ValueError: if it has no rows.
        """
        refuse_table(table)
        dense = self._engine.init(table)
        return self._begin(table, unpack(dense), dense.count)

    def lookup(self, state: RowsState, ids: Array) -> Rows:
        """Rows as the dense optimiser would hold them now; nothing is written.

        Args:
            state: the table's state.
            ids: of any shape; padding of `unique` is read as zeros, and what is no id as NaN.
        """
        ids = jnp.asarray(ids)
        refuse_ids(ids, state)
        return self._looked_up(state, ids)

    @compiled
    def _looked_up(self, state: RowsState, ids: Array) -> Rows:
        take = lambda x: x.at[ids].get(mode="fill", fill_value=0)  # noqa: E731
        mine: RowsState = jax.tree.map(take, state._replace(count=NOTHING, decayed=None))
        found = self._now(mine._replace(count=state.count, decayed=state.decayed), ids)
        wrong = id_.wrong(ids, state.rest.shape[0])
        wrong = wrong.reshape(ids.shape + (1,) * (found.rest.ndim - ids.ndim))
        return found._replace(params=jnp.where(wrong, jnp.nan, found.params))

    def apply(self, state: RowsState, rows: Rows, grads: Array) -> RowsState:
        """The state after a step.

        Args:
            state: the state in which the rows were looked up.
            rows: what `lookup` gave for ids of `unique`.
            grads: the gradient with respect to `rows.params`, duplicates summed, maybe clipped.

        Raises:
            ValueError: if the gradients have another shape, or ids are not distinct and rising.
                Inside `jit`, where the ids are not known, rows of such ids become NaN.
            TypeError: if real and complex, or other dtypes, meet.
        """
        refuse_rows(rows, grads)
        return self._applied(state, rows, grads)

    @compiled
    def _applied(self, state: RowsState, rows: Rows, grads: Array) -> RowsState:
        count, dtype = safe_increment(state.count), grads.dtype
        rate, fade = self._rate(state.count, dtype), self._fade(state.count, dtype)
        step, dense = self._engine.update(grads, pack(state.count, rows.moments), None, None, rate)
        moments = unpack(dense)
        moved = jnp.exp(-fade) * rows.drift + step - self._drift(count, moments)
        rest = state_.shrunk(rows.rest, rows.fade + fade, moved)
        rest = jnp.where(id_.rising(rows.ids), rest, jnp.nan)
        decayed = None if state.decayed is None else state_.added(state.decayed, fade)
        last, decayed, marks = self._stamps(rest, count, decayed)
        # Always so, but XLA orders a write after the read in the same place only if it depends on
        # what was read, and else copies the place.
        read = (rows.gap >= 0) & jnp.isfinite(rows.fade)
        last, marks = jax.tree.map(lambda x: jnp.where(read, x, jnp.zeros_like(x)), (last, marks))
        new = RowsState(count, rest, moments, last, decayed, marks)

        def put(x: Array, y: Array) -> Array:
            how: dict[str, Any] = {"indices_are_sorted": True, "unique_indices": True}
            return x.at[rows.ids].set(y, mode="drop", **how)

        tables = (s._replace(count=NOTHING, decayed=None) for s in (state, new))
        written: RowsState = jax.tree.map(put, *tables)
        return written._replace(count=count, decayed=decayed)

    def materialize(self, state: RowsState) -> tuple[Array, Any]:
        """The table and the state that the dense optimiser would hold now; a pass over the table.

        For evaluation, export and checkpoints that other code shall read.

        Returns:
            The table, and the first link of the state of `adam_optax.adam` or `optax.adam`.
        """
        return self._materialized(state)

    @compiled
    def _materialized(self, state: RowsState) -> tuple[Array, Any]:
        found = self._now(state, jnp.arange(len(state.rest)))
        return found.params, pack(state.count, found.moments)

    def adopt(self, table: Array, dense: Any) -> RowsState:
        """The state that goes on where a dense optimiser is; a pass over the table.

        Args:
            table: the table as it is now.
            dense: its optimiser's state, whole or the link with the moments.

        Raises:
            TypeError, ValueError: if that does not fit this optimiser and the table.
        """
        refuse_table(table)
        found = refuse_dense(dense, self._engine.rule, table)
        return self._adopted(table, unpack(found), jnp.asarray(found.count, jnp.int32))

    @compiled
    def _adopted(self, table: Array, moments: dict[str, Array], count: Array) -> RowsState:
        return self._begin(table - self._drift(count, moments), moments, count)

    def rebase(self, state: RowsState, onto: "RowOptimizer") -> RowsState:
        """The state under an optimiser with another learning rate or decay; a pass over the table.

        A row's resting point foresees the learning rates to come. Where they turn out otherwise,
        as after a plateau or with a longer schedule, rebase at the step from which they do.

        Args:
            state: the state under this optimiser.
            onto: the optimiser that goes on, with the same moments.

        >>> import jax.numpy as jnp
        >>> from adam_optax import rows
        >>> fast, slow = rows.adam(1e-2), rows.adam(1e-3)
        >>> state = fast.init(jnp.ones((10, 4)))
        >>> state = fast.rebase(state, onto=slow)
        """
        return onto.adopt(*self.materialize(state))

    def update(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse to be a link of an optax chain.

        Raises:
            TypeError: always.
        """
        refuse_use(self.drift.rule.name)

    @property
    def _engine(self) -> Engine:
        return Engine(self.drift.rule, plan_storage(None, self.drift.rule.moments))

    def _rate(self, counts: Array, dtype: Any) -> Array:
        return _at(self.learning_rate, counts, dtype)

    def _fade(self, counts: Array, dtype: Any) -> Array:
        """By how much weight decay shrinks a row in the step at these counts, as `-log`."""
        return -jnp.log1p(-self._rate(counts, dtype) * _at(self.weight_decay, counts, dtype))

    def _drift(self, count: Array, moments: dict[str, Array]) -> Array | float:
        if not self.exact or not moments:
            return 0.0
        dtype = next(iter(moments.values())).dtype
        return self.drift(self.drift.ages(count, self._rate, self._fade, dtype), moments)

    def _now(self, state: RowsState, ids: Array) -> Rows:
        """The rows of a state as they are now."""
        moments, gap = state.moments, jnp.zeros(ids.shape, jnp.int32)
        fade = jnp.zeros(ids.shape, state.rest.dtype)
        if state.last is not None:
            gap = state.count - state.last
            rule = self.drift.rule
            moments = {n: faded(m, decay_of(rule, n), gap) for n, m in moments.items()}
        if state.decayed is not None and state.marks is not None:
            fade = sum((d - m for d, m in zip(state.decayed, state.marks, strict=True)), fade)
        drift = self._drift(state.count, moments) + jnp.zeros_like(state.rest)
        params = state_.shrunk(state.rest, fade, drift)
        return Rows(ids, params, state.rest, gap, fade, drift, moments)

    def _stamps(self, rest: Array, count: Array, decayed: Any) -> tuple[Any, Any, Any]:
        """What says of rows that their last step is this one: `last`, `decayed`, `marks`."""
        last = jnp.full(rest.shape[:1], count, jnp.int32) if self.exact else None
        return last, decayed, jax.tree.map(lambda d: jnp.full(rest.shape[:1], d), decayed)

    def _begin(self, rest: Array, moments: dict[str, Array], count: Array) -> RowsState:
        decays = self.exact and (callable(self.weight_decay) or self.weight_decay > 0)
        zero = lambda: jnp.zeros((), rest.dtype)  # noqa: E731  (two buffers, to be donated)
        decayed = (zero(), zero()) if decays else None
        return RowsState(count, rest, moments, *self._stamps(rest, count, decayed))


def _at(value: Any, counts: Array, dtype: Any) -> Array:
    if not callable(value):
        return jnp.full(jnp.shape(counts), value, dtype)
    each = jax.vmap(value) if jnp.ndim(counts) else value
    return jnp.asarray(each(counts), dtype)
