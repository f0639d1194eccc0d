"""What a table of rows cannot do, said where it is asked for, and what to write instead."""

import dataclasses
import functools as ft
import inspect
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar, cast

import jax
import jax.numpy as jnp
from jax import Array
from jax.core import Tracer

from adam_optax._core.checks import Kind, hyperparameter
from adam_optax._engine.tree import STATES, unpack
from adam_optax.rows import _ids as id_
from adam_optax.rows._closed_form import Drift
from adam_optax.rows._state import Rows, RowsState
from adam_optax.rules.base import Rule

Make = TypeVar("Make", bound=Callable[..., Any])
MOST_TERMS = 20_000

_COUPLED = (
    "decay that is added to the gradient gives every row a gradient at every step; take "
    "rows.{name}w, whose decay is decoupled"
)
_TREES = "a table has no tree and no path; keep tables with and without it apart"
_FORMATS = "its moments are kept in the table's dtype"
_WHY = {
    "weight_decay": _COUPLED,
    "l2": _COUPLED,
    "mask": _TREES,
    "coupling": "its decay is times the learning rate, which the closed form of a gap needs",
    "storage": _FORMATS,
    "mu_dtype": _FORMATS,
    "nu_dtype": _FORMATS,
    "eps_hat": "an eps that changes with the step has no closed form over a gap",
    "centered": "a variance about a fading mean has no closed form over a gap",
    "momentum": "momentum of normalised steps is not kept; take rows.adam",
}


def explained(make: Make) -> Make:
    """The same function, saying of an argument that it does not take why."""
    known = inspect.signature(make).parameters

    @ft.wraps(make)
    def bind(*args: Any, **kwargs: Any) -> Any:
        for n in kwargs:
            if n not in known:
                why = _WHY.get(n, f"it takes {', '.join(known)}")
                name = make.__name__
                raise TypeError(f"rows.{name} takes no {n}: {why.format(name=name)}")
        return make(*args, **kwargs)

    return cast(Make, bind)


def constant(name: str, value: Any) -> Any:
    """A number that must not change over a gap.

    Raises:
        TypeError: if it is a schedule or an array.
    """
    value = hyperparameter(name, value, Kind.ANY)
    if isinstance(value, Array) or callable(value):
        raise TypeError(
            f"{name} must be a Python number: over a gap in which a row has no gradient, "
            f"{'a schedule' if callable(value) else 'an array'} has no closed form"
        )
    return value


def foreseeable(name: str, value: Any) -> Any:
    """A number or a function of the step, so that what it will be is known.

    Raises:
        TypeError: if it is an array, or a function that JAX cannot trace.
        ValueError: if it is out of range, or no scalar.
    """
    value = hyperparameter(name, value, Kind.NON_NEGATIVE)
    instead = (
        "give a number or a schedule, and where it is changed by hand, "
        f"state = tx.rebase(state, onto=rows.adam({name}=...))"
    )
    if isinstance(value, Array):
        raise TypeError(
            f"{name} must be a function of the step, not an array: where a row comes to rest "
            f"depends on the steps to come; {instead}"
        )
    if callable(value):
        try:
            shape = jax.eval_shape(value, jax.ShapeDtypeStruct((), jnp.int32)).shape
        except jax.errors.ConcretizationTypeError as error:
            raise TypeError(
                f"{name} must be a function of the step that JAX can trace; {instead}"
            ) from error
        if shape != ():
            raise ValueError(f"{name} must give a scalar, not an array of shape {shape}")
    return value


def left(rate: Any, decay: Any) -> float:
    """What weight decay leaves of a row in a step, 1 if schedules say that.

    Raises:
        ValueError: if that is nothing.
    """
    if callable(rate) or callable(decay):
        return 1.0
    if rate * decay >= 1:
        raise ValueError(f"learning_rate * weight_decay must be below 1, not {rate * decay}")
    return float(1 - rate * decay)


def settling(drift: Drift, b1: float, b2: float) -> None:
    """Refuse decay rates under which a row does not come to rest.

    Raises:
        ValueError: if b1 is not well below sqrt(b2), or decay outruns the fading of moments.
    """
    if _rests(dataclasses.replace(drift, kept=1.0), b2):
        if _rests(drift, b2):
            return
        raise ValueError(
            f"learning_rate * weight_decay = {1 - drift.kept:.3g} must be well below 1 - b1 / "
            "sqrt(b2): a row would shrink faster than its moments fade; lower weight_decay"
        )
    raise ValueError(
        f"b1={b1} must be well below sqrt(b2)={b2**0.5:.6g}: Adam's steps would not shrink "
        "while a row has no gradient, and it would not come to rest; lower b1 or raise b2"
    )


def _rests(drift: Drift, b2: float) -> bool:
    """Whether the sum of the steps to come ends, while nu is still a number in float32."""
    if drift.ratio >= 1 - 1e-6 or (terms := drift.terms(jnp.float32)) > MOST_TERMS:
        return False
    return drift.den is None or b2**terms > 1e-37


def refuse_table(table: Any) -> None:
    """Refuse what is no table of rows."""
    dtype = jnp.result_type(table)
    if dtype not in (jnp.float32, jnp.float64):
        raise TypeError(
            f"the table must be float32 or float64, not {dtype}: the dense optimiser would round "
            "it at every step, which has no closed form; keep a float32 table and cast the rows"
        )
    if jnp.ndim(table) == 0 or jnp.size(table) == 0:
        raise ValueError(f"a table has rows along its first axis, not shape {jnp.shape(table)}")


def refuse_ids(ids: Array, state: Any) -> None:
    """Refuse what is no id, and a table where its state should be."""
    if not isinstance(state, RowsState):
        raise TypeError(f"the state is what tx.init(table) makes, not {type(state).__name__}")
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"ids must be integers, not {ids.dtype}")


def refuse_rows(rows: Rows, grads: Array) -> None:
    """Refuse gradients of other rows, and rows that could not be written."""
    if grads.shape != rows.params.shape or grads.dtype != rows.params.dtype:
        raise ValueError(
            f"the gradient is {grads.dtype}{list(grads.shape)}, its rows "
            f"{rows.params.dtype}{list(rows.params.shape)}; differentiate with respect to "
            "lookup(...).params (a tied output layer has a gradient for every row: keep it dense)"
        )
    if rows.ids.ndim != 1 or not (isinstance(rows.ids, Tracer) or id_.rising(rows.ids)):
        raise ValueError(
            f"ids of shape {rows.ids.shape} are not distinct and rising; look up rows.unique(...)"
            ".ids, so that the gradients of duplicates are summed"
        )


def refuse_dense(dense: Any, rule: Rule, table: Array) -> Any:
    """The link with the moments of a dense state, which must be this table's."""
    links = jax.tree.leaves(dense, is_leaf=lambda x: isinstance(x, STATES))
    found = [x for x in links if isinstance(x, STATES)]
    if len(found) != 1 or unpack(found[0]).keys() != rule.moments.keys():
        raise TypeError(
            f"dense must hold one state with {', '.join(rule.moments) or 'no moments'}, as the "
            f"dense {rule.name} keeps it; got {[list(unpack(x)) for x in found]}"
        )
    for n, m in unpack(found[0]).items():
        if getattr(m, "shape", None) != table.shape or m.dtype != table.dtype:
            got = f"{m.dtype}{list(m.shape)}" if hasattr(m, "shape") else f"a {type(m).__name__}"
            raise ValueError(
                f"{n} must be {table.dtype}{list(table.shape)} like the table, not {got}; of a "
                "tree's state take the leaf, state._replace(mu=state.mu[path], nu=state.nu[path])"
            )
    return found[0]


def refuse_use(name: str) -> NoReturn:
    """Say that rows are not updated by adding to them."""
    raise TypeError(
        f"rows.{name} is no optax transformation, and goes into no chain: rows are looked up "
        "before the gradient exists and written after it, by tx.lookup and tx.apply; optax keeps "
        "the rest of the model"
    )
