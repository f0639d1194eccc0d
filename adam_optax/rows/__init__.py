"""Embedding rows: the dense optimiser's result at the cost of the rows that a batch touches.

    tx = rows.adamw(schedule)
    state = tx.init(table)                      # the table is kept in the state

    batch = rows.unique(ids, num_rows)          # in each step, under jit, the state donated
    found = tx.lookup(state, batch.ids)         # rows as the dense optimiser would hold them now
    loss, grads = value_and_grad(f)(found.params, batch.local)
    state = tx.apply(state, found, grads)

A row that no batch touches for a while still moves under dense Adam, by its momentum, and its
moments fade. What it has moved since is put in when it is looked up, in closed form (`gap.py`), so
that what the model reads is what the dense optimiser would hold, up to rounding. Sparse Adams
elsewhere let such rows stand still; so does `exact=False`.

What has no closed form is refused: numbers that are arrays, learning rates that are not a function
of the step (`RowOptimizer.rebase` changes them by hand), coupled L2, low-precision tables, and
output layers that share the table, whose gradient has no zero rows.

`adam_optax.rows.nnx` has an embedding layer for Flax.
"""

from adam_optax.rows._ids import Unique as Unique
from adam_optax.rows._ids import add as add
from adam_optax.rows._ids import unique as unique
from adam_optax.rows._optimizers import adagrad as adagrad
from adam_optax.rows._optimizers import adam as adam
from adam_optax.rows._optimizers import adamw as adamw
from adam_optax.rows._optimizers import amsgrad as amsgrad
from adam_optax.rows._optimizers import nadam as nadam
from adam_optax.rows._optimizers import nadamw as nadamw
from adam_optax.rows._optimizers import rmsprop as rmsprop
from adam_optax.rows._optimizers import sgd as sgd
from adam_optax.rows._state import Rows as Rows
from adam_optax.rows._state import RowsState as RowsState
from adam_optax.rows._table import RowOptimizer as RowOptimizer
