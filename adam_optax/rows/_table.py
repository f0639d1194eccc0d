"""Optimise a table of which each step touches a few rows."""

import dataclasses
import math
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
from adam_optax.rows._closed_form import Drift, decay_over_gap, decay_rate, per_row
from adam_optax.rows._ids import is_invalid, is_rising
from adam_optax.rows._state import NumberOrSchedule, Rows, RowsState, compensated_add, shrink
from adam_optax.storage._plan import plan_storage

Method = TypeVar("Method", bound=Callable[..., Any])

_INSIDE = "promise_in_bounds"
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
        dense = self._engine_at().init(table)
        return self._adopt(table, unpack(dense), _count(dense))

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
        found = refuse_dense(dense, self.drift.rule, table)
        return self._adopt(table, unpack(found), _count(found))

    def rebase(self, state: RowsState, onto: "RowOptimizer") -> RowsState:
        """Return the state under another learning rate or decay; a pass over the whole table.

        What a row has moved in a gap is worked out from the learning rates that the schedule gives
        for these steps. Where they turn out otherwise, as after a plateau, rebase at the step from
        which they do: the optimiser that goes on would read all gaps by its own rates.

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
        invalid = per_row(is_invalid(ids, state.table.shape[0]), found.params)
        return found._replace(params=jnp.where(invalid, jnp.nan, found.params))

    @_jit_method
    def _apply(self, state: RowsState, rows: Rows, grads: Array) -> RowsState:
        count, dtype = safe_increment(state.count), grads.dtype
        engine = self._engine_at(_values_at(self.learning_rate, state.count, dtype))
        step, dense = engine.update(grads, pack(state.count, rows.moments, engine.layout))
        fade = self._fade_at(state.count, dtype)
        table = shrink(rows.params, fade, step)
        table = jnp.where(is_rising(rows.ids), table, jnp.nan)
        decayed = None if state.decayed is None else compensated_add(state.decayed, fade)
        new = self._written_at(count, table, unpack(dense), decayed)
        # The condition always holds. But XLA orders a write after the read of the same place only
        # if what is written depends on what was read, and copies the whole array otherwise.
        shared = (new.last, new.ahead, new.marks)
        keep = lambda x: jnp.where(per_row(rows.read, x), x, jnp.zeros_like(x))  # noqa: E731
        last, ahead, marks = jax.tree.map(keep, shared)
        new = new._replace(last=last, ahead=ahead, marks=marks)

        def put(x: Array, y: Array) -> Array:
            how: dict[str, Any] = {"indices_are_sorted": True, "unique_indices": True}
            return x.at[rows.ids].set(y, mode="drop", **how)

        tables = (s._replace(count=_NOTHING, decayed=None) for s in (state, new))
        written: RowsState = jax.tree.map(put, *tables)
        return written._replace(count=count, decayed=decayed)

    @_jit_method
    def _materialize(self, state: RowsState) -> tuple[Array, Any]:
        found = self._bring_to_now(state, jnp.arange(len(state.table)))
        return found.params, pack(state.count, found.moments, self._engine_at().layout)

    @_jit_method
    def _adopt(self, table: Array, moments: dict[str, Array], count: Array) -> RowsState:
        return self._written_at(count, table, moments, self._not_yet_decayed(table))

    # --- Parts of these ------------------------------------------------------------------------

    def _engine_at(self, rate: Array | None = None) -> Engine:
        """Return the dense optimiser of rows, with the learning rate of a step."""
        rule = self.drift.rule
        return Engine(Grouping(rule, plan_storage(None, rule.moments), rate))

    def _rate_at(self, counts: Array, dtype: DTypeLike) -> Array:
        """Return the learning rates at counts; 0 where a schedule has ended in NaN or infinity.

        Rates far ahead are asked for before their time, and may never come.
        """
        return _finite(_values_at(self.learning_rate, counts, dtype))

    def _fade_at(self, counts: Array, dtype: DTypeLike) -> Array:
        """Return `-log` of the factors by which weight decay shrinks a row at these counts.

        Nothing is left of a row where learning rate and decay are 1 / 1; that is a factor of the
        smallest number there is, so that sums of logarithms stay finite.
        """
        if not callable(self.weight_decay) and self.weight_decay == 0:
            return jnp.zeros(counts.shape, dtype)
        decay = _values_at(self.weight_decay, counts, dtype)
        share = _finite(self._rate_at(counts, dtype) * decay)
        return jnp.minimum(-jnp.log1p(-share), -math.log(float(jnp.finfo(dtype).tiny)))

    def _bring_to_now(self, state: RowsState, ids: Array) -> Rows:
        """Return the rows of a state as they are after step `state.count`.

        Args:
            state: the state of these rows alone; `count` and `decayed` are those of the table.
            ids: the rows' ids.
        """
        moments, params, dtype = state.moments, state.table, state.table.dtype
        gap, read = jnp.zeros(ids.shape, jnp.int32), jnp.ones(ids.shape, bool)
        if state.last is None:
            return Rows(ids, params, gap, moments, read)
        gap, rule = state.count - state.last, self.drift.rule
        now = {
            n: decay_over_gap(m, decay_rate(rule, n), gap, signed=rule.moments[n].signed)
            for n, m in moments.items()
        }
        read = gap >= 0
        if state.ahead is None and state.marks is None:
            return Rows(ids, params, gap, now, read)
        window = self.drift.look_back(state.count, self._rate_at, self._fade_at, dtype)
        longest = len(window.fades) - 1
        short, at = gap <= longest, jnp.minimum(gap, longest)
        since, fade = jnp.zeros(ids.shape, dtype), window.fades.at[at].get(mode=_INSIDE)
        if state.decayed is not None and state.marks is not None:
            (total, error), (mark, its_error, raised) = state.decayed, state.marks
            since = (total - mark) + (error - its_error)
            fade, read = jnp.where(short, fade, since + raised), read | jnp.isfinite(since + raised)
        moved: Array | float = 0.0
        if (kept := state.ahead) is not None:
            ahead = jnp.stack(kept, -1) if isinstance(kept, tuple) else kept
            read = read | jnp.isfinite(ahead).all(tuple(range(ids.ndim, ahead.ndim)))
            ahead = ahead * per_row(jnp.exp(-since), ahead)
            weights = window.weights.at[at].get(mode=_INSIDE)
            if _is_by_element(params.shape[ids.ndim :], weights.shape[-1]):
                moved = self.drift(weights, at, moments)
                moved = jnp.where(per_row(short, moved), moved, ahead)
            else:
                moved = self.drift(jnp.where(short[..., None], weights, ahead), at, moments)
        return Rows(ids, shrink(params, fade, -moved), gap, now, read)

    def _written_at(
        self,
        count: Array,
        table: Array,
        moments: dict[str, Array],
        decayed: tuple[Array, Array] | None,
    ) -> RowsState:
        """Return the state of rows whose last step is this one."""
        if not self.exact:
            return RowsState(count, table, moments, None, None, None, None)
        fill = lambda x: jnp.broadcast_to(x, table.shape[:1] + jnp.shape(x))  # noqa: E731
        drift, last = self.drift, jnp.full(table.shape[:1], count, jnp.int32)
        weights, fades = drift.look_ahead(count, self._rate_at, self._fade_at, table.dtype)
        ahead: Array | tuple[Array, ...] | None = None
        marks = None
        if weights.size:
            ahead = tuple(fill(weight) for weight in weights)
            if _is_by_element(table.shape[1:], weights.size):
                longest = jnp.full(table.shape[:1], drift.num_terms(table.dtype))
                ahead = drift(fill(weights), longest, moments)
        if decayed is not None:
            then = compensated_add(compensated_add(decayed, fades[0]), fades[1])
            marks = jax.tree.map(fill, (*then, fades[0] + fades[1]))
        return RowsState(count, table, moments, last, ahead, decayed, marks)

    def _not_yet_decayed(self, table: Array) -> tuple[Array, Array] | None:
        """Return the logarithm of what weight decay has left at the start; None without decay."""
        decays = self.exact and (callable(self.weight_decay) or self.weight_decay > 0)
        # Two buffers of their own, so that both can be donated.
        zero = lambda: jnp.zeros((), table.dtype)  # noqa: E731
        return (zero(), zero()) if decays else None


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


def _is_by_element(row: tuple[int, ...], num_weights: int) -> bool:
    """Tell whether a row keeps its way ahead element by element, which takes no more numbers."""
    return math.prod(row) <= num_weights


def _finite(x: Array) -> Array:
    return jnp.where(jnp.isfinite(x), x, jnp.zeros_like(x))
