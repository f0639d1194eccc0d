"""Optimise embedding tables: the dense result at the cost of the rows that a batch touches.

    tx = rows.adamw(schedule)
    state = tx.init(table)                      # the table is kept in the state

    batch = rows.unique(ids, num_rows)          # in each step, under jit, the state donated
    found = tx.lookup(state, batch.ids)         # rows as the dense optimiser would hold them now
    loss, grads = value_and_grad(f)(found.params, batch.local)
    state = tx.apply(state, found, grads)

A row that no batch touches for a while still moves under dense Adam, by its momentum, and its
moments decay. When the row is looked up, this movement is put in, in closed form: what the model
reads is what the dense optimiser would hold, up to rounding. Sparse Adams elsewhere let such rows
stand still; so does `exact=False`. `_closed_form.py` explains the mathematics.

Only steps that were taken are put in, so that schedules may freeze, jump, restart or end, rates may
be negative, and `learning_rate * weight_decay` may be up to 1.

What has no closed form is refused: numbers that are arrays, learning rates that are not a function
of the step (`RowOptimizer.rebase` changes them by hand), `b1` not well below `sqrt(b2)`, coupled
L2, low-precision tables, and output layers that share the table, whose gradient has no zero rows.

`adam_optax.rows.nnx` has an embedding layer for Flax.
"""

from adam_optax.rows._ids import Unique, add, unique
from adam_optax.rows._optimizers import adagrad, adam, adamw, amsgrad, nadam, nadamw, rmsprop, sgd
from adam_optax.rows._state import Rows, RowsState
from adam_optax.rows._table import RowOptimizer

__all__ = [
    "RowOptimizer",
    "Rows",
    "RowsState",
    "Unique",
    "adagrad",
    "adam",
    "adamw",
    "add",
    "amsgrad",
    "nadam",
    "nadamw",
    "rmsprop",
    "sgd",
    "unique",
]
