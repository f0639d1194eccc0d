"""Optimise a table of which each step touches a few rows."""

import dataclasses
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy.typing as npt
from jax import Array
from jax.typing import DTypeLike

from adam_optax._core.numerics import safe_increment
from adam_optax._engine.groups import Grouping
from adam_optax._engine.states import count_of, unpack
from adam_optax._engine.tree import Engine, pack
from adam_optax.rows._checks import refuse_dense, refuse_ids, refuse_rows, refuse_table, refuse_use
from adam_optax.rows._closed_form import Drift, decay_over_gap, decay_rate
from adam_optax.rows._ids import is_invalid, is_rising
from adam_optax.rows._state import NumberOrSchedule, Rows, RowsState, compensated_add, shrink
from adam_optax.storage._plan import plan_storage

Method = TypeVar("Method", bound=Callable[..., Any])

_NOTHING: Any = None
"""None in place of a field that is no array over rows, so that `tree.map` sees only those."""


def _jit_method(method: Method) -> Method:
    """Compile a method, with the optimiser as a constant, so that eager use is fast, too.

    The public method around it checks what it is given: the checks see values, not tracers.
    """
    return cast(Method, jax.jit(method, static_argnums=0))


@dataclasses.dataclass(frozen=True, repr=False)
class RowOptimizer:
    """Optimise a table by pure functions over a `RowsState`; `rows.adamw` and its kin make one.

    A step is `unique`, `lookup`, the model's gradient with respect to `Rows.params`, and `apply`:

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

    Every step of the training calls `apply`, also one that touches no row. Donate the state: a
    step that may not overwrite the state copies all of it.

    Attributes:
        drift: the rule, and what it does between a row's gradients.
        learning_rate: a number or a schedule.
        weight_decay: the decoupled weight decay, a number or a schedule; 0: none.
        exact: whether rows move and moments decay between a row's gradients, as under the dense
            optimiser.
        call: the text of the call that made the optimiser, for `repr`.
    """

    drift: Drift
    learning_rate: NumberOrSchedule
    weight_decay: NumberOrSchedule = 0.0
    exact: bool = True
    call: str = dataclasses.field(default="", compare=False)

    def __repr__(self) -> str:
        """Show the call that made the optimiser: `rows.adam(learning_rate=0.001)`."""
        return self.call or f"RowOptimizer({self.drift.rule.name})"

    # --- Public: they check what they are given ------------------------------------------------

    def init(self, table: Array) -> RowsState:
        """Return the state before the first step.

        Args:
            table: float32 or float64, rows along the first axis, shape `(V, ...)`. The state holds
                the table from here on: whoever donates the state gives away the table.

        Raises:
            TypeError: if the table has another dtype.
            ValueError: if the table has no rows.
        """
        refuse_table(table)
        dense = self._engine.init(table)
        return self._initial_state(table, unpack(dense), _count(dense))

    def lookup(self, state: RowsState, ids: Array | npt.ArrayLike) -> Rows:
        """Return rows as the dense optimiser would hold them now; nothing is written.

        Args:
            state: the table's state.
            ids: integers of any shape. Padding of `unique` is read as zeros, other integers that
                are no id as NaN.

        Raises:
            TypeError: if the state is no `RowsState`, or the ids are not integers.
        """
        ids = jnp.asarray(ids)
        refuse_ids(ids, state)
        return self._lookup(state, ids)

    def apply(self, state: RowsState, rows: Rows, grads: Array) -> RowsState:
        """Return the state after a step.

        Args:
            state: the state in which the rows were looked up.
            rows: what `lookup` returned for ids of `unique`.
            grads: the gradient with respect to `rows.params`, of the same shape and dtype, with the
                gradients of duplicates summed; clip it before if you wish.

        Raises:
            ValueError: if the gradients have another shape or dtype, or the ids are not distinct
                and rising. Inside `jit`, where the ids are not known, rows of such ids become NaN.
        """
        refuse_rows(rows, grads)
        return self._apply(state, rows, grads)

    def materialize(self, state: RowsState) -> tuple[Array, Any]:
        """Return the table and the state that the dense optimiser would hold now.

        Use it for evaluation, for export, and for checkpoints that other code shall read. It takes
        a pass over the whole table.

        Args:
            state: the table's state.

        Returns:
            The table, and the first link of the state of `adam_optax.adam` or `optax.adam`.
        """
        return self._materialize(state)

    def adopt(self, table: Array, dense: Any) -> RowsState:
        """Return the state that goes on where a dense optimiser is; a pass over the whole table.

        Args:
            table: the table as it is now.
            dense: the dense optimiser's state, whole or the link with the moments.

        Raises:
            TypeError, ValueError: if the state does not fit this optimiser and the table.
        """
        refuse_table(table)
        found = refuse_dense(dense, self._engine.rule, table)
        return self._adopt(table, unpack(found), _count(found))

    def rebase(self, state: RowsState, onto: "RowOptimizer") -> RowsState:
        """Return the state under another learning rate or decay; a pass over the whole table.

        A row's resting point foresees the learning rates to come. Where they turn out otherwise,
        as after a plateau or with a longer schedule, rebase at the step from which they do.

        Args:
            state: the state under this optimiser.
            onto: the optimiser that goes on, with the same moments.

        Example:
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

    # --- Compiled ------------------------------------------------------------------------------

    @_jit_method
    def _lookup(self, state: RowsState, ids: Array) -> Rows:
        take = lambda x: x.at[ids].get(mode="fill", fill_value=0)  # noqa: E731
        own: RowsState = jax.tree.map(take, state._replace(count=_NOTHING, decayed=None))
        found = self._bring_to_now(own._replace(count=state.count, decayed=state.decayed), ids)
        invalid = is_invalid(ids, state.rest.shape[0])
        invalid = invalid.reshape(ids.shape + (1,) * (found.rest.ndim - ids.ndim))
        return found._replace(params=jnp.where(invalid, jnp.nan, found.params))

    @_jit_method
    def _apply(self, state: RowsState, rows: Rows, grads: Array) -> RowsState:
        count, dtype = safe_increment(state.count), grads.dtype
        rate, fade = self._learning_rate_at(state.count, dtype), self._fade_at(state.count, dtype)
        kept = pack(state.count, rows.moments, self._engine.layout)
        step, dense = self._engine.update(grads, kept, None, None, rate)
        moments = unpack(dense)
        moved = jnp.exp(-fade) * rows.drift + step - self._drift_at(count, moments)
        rest = shrink(rows.rest, rows.fade + fade, moved)
        rest = jnp.where(is_rising(rows.ids), rest, jnp.nan)
        decayed = None if state.decayed is None else compensated_add(state.decayed, fade)
        last, decayed, marks = self._marks_at(rest, count, decayed)
        # The condition always holds. But XLA orders a write after the read of the same place only
        # if what is written depends on what was read, and copies the whole array otherwise.
        read = (rows.gap >= 0) & jnp.isfinite(rows.fade)
        last, marks = jax.tree.map(lambda x: jnp.where(read, x, jnp.zeros_like(x)), (last, marks))
        new = RowsState(count, rest, moments, last, decayed, marks)

        def put(x: Array, y: Array) -> Array:
            how: dict[str, Any] = {"indices_are_sorted": True, "unique_indices": True}
            return x.at[rows.ids].set(y, mode="drop", **how)

        tables = (s._replace(count=_NOTHING, decayed=None) for s in (state, new))
        written: RowsState = jax.tree.map(put, *tables)
        return written._replace(count=count, decayed=decayed)

    @_jit_method
    def _materialize(self, state: RowsState) -> tuple[Array, Any]:
        found = self._bring_to_now(state, jnp.arange(len(state.rest)))
        return found.params, pack(state.count, found.moments, self._engine.layout)

    @_jit_method
    def _adopt(self, table: Array, moments: dict[str, Array], count: Array) -> RowsState:
        return self._initial_state(table - self._drift_at(count, moments), moments, count)

    # --- Parts of these ------------------------------------------------------------------------

    @property
    def _engine(self) -> Engine:
        rule = self.drift.rule
        return Engine(Grouping(rule, plan_storage(None, rule.moments)))

    def _learning_rate_at(self, counts: Array, dtype: DTypeLike) -> Array:
        return _values_at(self.learning_rate, counts, dtype)

    def _fade_at(self, counts: Array, dtype: DTypeLike) -> Array:
        """Return `-log` of the factors by which weight decay shrinks a row at these counts."""
        rate = self._learning_rate_at(counts, dtype)
        return -jnp.log1p(-rate * _values_at(self.weight_decay, counts, dtype))

    def _drift_at(self, count: Array, moments: dict[str, Array]) -> Array | float:
        """Return the drift after step `count` of rows with these moments."""
        if not self.exact or not moments:
            return 0.0
        dtype = next(iter(moments.values())).dtype
        terms = self.drift.terms(count, self._learning_rate_at, self._fade_at, dtype)
        return self.drift(terms, moments)

    def _bring_to_now(self, state: RowsState, ids: Array) -> Rows:
        """Return the rows of a state as they are after step `state.count`.

        Args:
            state: the state of these rows alone; `count` and `decayed` are those of the table.
            ids: the rows' ids.
        """
        moments, gap = state.moments, jnp.zeros(ids.shape, jnp.int32)
        fade = jnp.zeros(ids.shape, state.rest.dtype)
        if state.last is not None:
            gap, rule = state.count - state.last, self.drift.rule
            moments = {n: decay_over_gap(m, decay_rate(rule, n), gap) for n, m in moments.items()}
        if state.decayed is not None and state.marks is not None:
            fade = sum((d - m for d, m in zip(state.decayed, state.marks, strict=True)), fade)
        drift = self._drift_at(state.count, moments) + jnp.zeros_like(state.rest)
        params = shrink(state.rest, fade, drift)
        return Rows(ids, params, state.rest, gap, fade, drift, moments)

    def _marks_at(
        self, rest: Array, count: Array, decayed: tuple[Array, Array] | None
    ) -> tuple[Array | None, tuple[Array, Array] | None, tuple[Array, Array] | None]:
        """Return `last`, `decayed` and `marks` of rows whose last step is this one."""
        last = jnp.full(rest.shape[:1], count, jnp.int32) if self.exact else None
        return last, decayed, jax.tree.map(lambda d: jnp.full(rest.shape[:1], d), decayed)

    def _initial_state(self, rest: Array, moments: dict[str, Array], count: Array) -> RowsState:
        decays = self.exact and (callable(self.weight_decay) or self.weight_decay > 0)
        # Two buffers of their own, so that both can be donated.
        zero = lambda: jnp.zeros((), rest.dtype)  # noqa: E731
        decayed = (zero(), zero()) if decays else None
        return RowsState(count, rest, moments, *self._marks_at(rest, count, decayed))


def _count(dense: Any) -> Array:
    """Return the steps that a dense state has counted; 0 where its optimiser needs no count."""
    count = count_of(dense)
    return jnp.asarray(0 if count is None else count, jnp.int32)


def _values_at(value: NumberOrSchedule, counts: Array, dtype: DTypeLike) -> Array:
    """Return a number or the values of a schedule, one for each of the counts."""
    if not callable(value):
        return jnp.full(jnp.shape(counts), value, dtype)
    each = jax.vmap(value) if jnp.ndim(counts) else value
    return jnp.asarray(each(counts), dtype)
