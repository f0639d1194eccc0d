"""Check what a table of rows cannot do, and say what to write instead."""

from collections.abc import Collection
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.typing import ArrayLike
from numpy.typing import NDArray

from adam_optax._core.by_path import ByPath
from adam_optax._core.checks import Kind, hyperparameter
from adam_optax._engine.states import states_with_moments, unpack
from adam_optax.rows._closed_form import Drift
from adam_optax.rows._ids import is_rising
from adam_optax.rows._state import NumberOrSchedule, Rows, RowsState
from adam_optax.rules.base import Rule

MAX_TERMS = 26_000
"""The most steps after which a row must have come to rest."""

_COUPLED = (
    "decay that is added to the gradient gives every row a gradient at every step; take "
    "rows.{name}w, whose decay is decoupled"
)
_TREES = "a table has no tree and no path; keep tables with and without it apart"
_FORMATS = "its moments are kept in the table's dtype"
_REASONS = {
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
"""Why rows do not take an argument that the dense optimiser takes."""


def refuse_unknown_arguments(name: str, given: Collection[str], known: Collection[str]) -> None:
    """Refuse arguments that an optimiser of rows does not take, and say why.

    Args:
        name: the optimiser's name in `adam_optax.rows`.
        given: the names of the keyword arguments that were given.
        known: the names of the arguments that the optimiser takes.

    Raises:
        TypeError: if an argument is not known.
    """
    for argument in given:
        if argument not in known:
            why = _REASONS.get(argument, f"it takes {', '.join(known)}")
            raise TypeError(f"rows.{name} takes no {argument}: {why.format(name=name)}")


def check_constant(name: str, value: float) -> float:
    """Return a number that must not change over a gap, or refuse the value.

    Args:
        name: the argument's name, for the message.
        value: what the user gave.

    Raises:
        TypeError: if the value is a schedule or an array.
    """
    _refuse_by_path(name, value)
    checked: Any = hyperparameter(name, value, Kind.ANY)
    if isinstance(checked, Array) or callable(checked):
        raise TypeError(
            f"{name} must be a Python number: over a gap in which a row has no gradient, "
            f"{'a schedule' if callable(checked) else 'an array'} has no closed form"
        )
    number: float = checked
    return number


def _refuse_by_path(name: str, value: object) -> None:
    if isinstance(value, ByPath):
        raise TypeError(f"{name} must be one number: a table is one parameter, without paths")


def check_schedule(name: str, value: NumberOrSchedule) -> NumberOrSchedule:
    """Return a number or a function of the step, whose values to come are known.

    Args:
        name: the argument's name, for the message.
        value: what the user gave.

    Raises:
        TypeError: if the value is an array, or a function that JAX cannot trace.
        ValueError: if the value is out of range, or not a scalar.
    """
    _refuse_by_path(name, value)
    checked: Any = hyperparameter(name, value, Kind.NON_NEGATIVE)
    instead = (
        "give a number or a schedule, and where it is changed by hand, "
        f"state = tx.rebase(state, onto=rows.adam({name}=...))"
    )
    if isinstance(checked, Array):
        raise TypeError(
            f"{name} must be a function of the step, not an array: how far a row moves in a gap "
            f"depends on the rates of all its steps; {instead}"
        )
    if callable(checked):
        try:
            given: Any = jax.eval_shape(checked, jax.ShapeDtypeStruct((), jnp.int32))
        except jax.errors.JAXTypeError as error:
            raise TypeError(
                f"{name} must be a function of the step that JAX can trace (of a list of values, "
                f"jnp.asarray(values)[count]); {instead}"
            ) from error
        shape, dtype = getattr(given, "shape", None), getattr(given, "dtype", jnp.complex64)
        if jnp.issubdtype(dtype, jnp.complexfloating) or not jnp.issubdtype(dtype, jnp.number):
            raise TypeError(f"{name} must give a real number, not {given}")
        if shape != ():
            raise ValueError(f"{name} must give a scalar, not an array of shape {shape}")
    result: NumberOrSchedule = checked
    return result


def check_product(learning_rate: NumberOrSchedule, weight_decay: NumberOrSchedule) -> None:
    """Refuse a weight decay that takes more than all of a row in a step.

    Schedules are asked at some 2,000 of the first million counts, among them the first 1,000.

    Args:
        learning_rate: a number or a schedule.
        weight_decay: a number or a schedule.

    Raises:
        ValueError: if the product of the two is above 1.
    """
    if not callable(weight_decay) and weight_decay == 0:
        return
    counts = np.unique(np.append(np.arange(1000), np.geomspace(1000, 1e6, 1000)).astype(np.int32))
    rates, decays = (_values(x, counts) for x in (learning_rate, weight_decay))
    # A product that is 1 but for roundings in float32 counts as 1. NaN is the end of a schedule.
    above = np.flatnonzero(np.nan_to_num(rates * decays, posinf=0.0) > 1 + 1e-6)
    if above.size:
        product = np.broadcast_to(rates * decays, counts.shape)[above[0]]
        raise ValueError(
            f"learning_rate * weight_decay must be at most 1, not {product:.6g} at count "
            f"{counts[above[0]]}: decay would turn rows round; lower weight_decay"
        )


def _values(value: NumberOrSchedule, counts: NDArray[np.int32]) -> NDArray[np.float64]:
    if not callable(value):
        return np.full(1, value, np.float64)
    return np.asarray(jax.jit(jax.vmap(value))(counts), np.float64)


def check_converges(drift: Drift, b1: float, b2: float) -> None:
    """Refuse decay rates under which a row does not come to rest.

    Args:
        drift: the drift of the rule.
        b1: the decay rate of the moment in the numerator.
        b2: the decay rate of the moment under the root.

    Raises:
        ValueError: if b1 is not well below sqrt(b2).
    """
    if drift.term_ratio < 1 - 1e-6:
        terms = drift.num_terms(jnp.float32)
        # The root of the last term must be a number in float32.
        is_number = drift.denominator is None or b2**terms > 1e-37
        if is_number and terms <= MAX_TERMS:
            return
    raise ValueError(
        f"b1={b1} must be well below sqrt(b2)={b2**0.5:.6g}: Adam's steps would not shrink "
        "while a row has no gradient, and it would not come to rest; lower b1 or raise b2"
    )


def refuse_table(table: ArrayLike) -> None:
    """Refuse an array that is no table of rows.

    Raises:
        TypeError: if the dtype is neither float32 nor float64.
        ValueError: if the array has no rows.
    """
    dtype = jnp.result_type(table)
    if dtype not in (jnp.float32, jnp.float64):
        raise TypeError(
            f"the table must be float32 or float64, not {dtype}: the dense optimiser would round "
            "it at every step, which has no closed form; keep a float32 table and cast the rows"
        )
    if jnp.ndim(table) == 0 or jnp.size(table) == 0:
        raise ValueError(f"a table has rows along its first axis, not shape {jnp.shape(table)}")


def refuse_ids(ids: Array, state: RowsState) -> None:
    """Refuse ids that are not integers, and a table where its state should be.

    Raises:
        TypeError: if one of them is of another type.
    """
    given: Any = state
    if not isinstance(given, RowsState):
        raise TypeError(f"the state is what tx.init(table) makes, not {type(given).__name__}")
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"ids must be integers, not {ids.dtype}")


def refuse_rows(rows: Rows, grads: Array) -> None:
    """Refuse gradients of other rows, and rows that could not be written.

    Raises:
        ValueError: if shapes or dtypes differ, or the ids are not distinct and rising.
    """
    if grads.shape != rows.params.shape or grads.dtype != rows.params.dtype:
        raise ValueError(
            f"the gradient is {grads.dtype}{list(grads.shape)}, its rows "
            f"{rows.params.dtype}{list(rows.params.shape)}; differentiate with respect to "
            "lookup(...).params (a tied output layer has a gradient for every row: keep it dense)"
        )
    if rows.ids.ndim != 1 or not (isinstance(rows.ids, Tracer) or is_rising(rows.ids)):
        raise ValueError(
            f"ids of shape {rows.ids.shape} are not distinct and rising; look up rows.unique(...)"
            ".ids, so that the gradients of duplicates are summed"
        )


def refuse_dense(dense: Any, rule: Rule, table: Array) -> Any:
    """Return the link of a dense state that holds the moments, or refuse the state.

    Args:
        dense: the state of a dense optimiser, whole or that link alone.
        rule: the rule whose moments the link must hold.
        table: the table, whose shape and dtype the moments must have.

    Raises:
        TypeError: if there is not one link with the rule's moments.
        ValueError: if a moment has another shape or dtype than the table.
    """
    found = states_with_moments(dense)
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
    """Refuse to update rows by adding to them.

    Raises:
        TypeError: always.
    """
    raise TypeError(
        f"rows.{name} is no optax transformation, and goes into no chain: rows are looked up "
        "before the gradient exists and written after it, by tx.lookup and tx.apply; optax keeps "
        "the rest of the model"
    )
