"""Train the table of a Flax nnx model as rows, by an embedding layer.

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.embed = Embed(10**6, 64, rows.adam(1e-3), rngs=rngs)  # instead of nnx.Embed
            self.head = nnx.Linear(64, 2, rngs=rngs)

        def __call__(self, ids):
            return self.head(self.embed(ids).mean(1))

    optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)

    @nnx.jit(donate_argnums=(0, 1))
    def step(model, optimizer, ids, labels):
        model.embed.fetch(ids)                                  # before the gradient
        value, grads = nnx.value_and_grad(loss)(model, ids, labels)
        model.embed.commit(grads.pop("embed"))                  # before the optimizer
        optimizer.update(model, grads)
        return value

Between `fetch` and `commit` the rows of the batch are a parameter of the model, and so have a
gradient. At other times the layer has no parameter, so that the optimizer of the rest of the model
never sees the table.

In linen, build the module for as many rows as a batch has, and pass the rows as its table:
`Model(num_embeddings=len(batch.ids)).apply({"params": {**params, "embed": {"embedding":
found.params}}}, batch.local)`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from adam_optax.rows._ids import PADDING, unique
from adam_optax.rows._state import Rows, RowsState
from adam_optax.rows._table import RowOptimizer

__all__ = ["Embed", "Table"]

default_embed_init = nnx.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)
"""The initializer of `flax.nnx.Embed`."""


class Table(nnx.Variable[Any]):
    """Hold a part of a `RowsState`, which is no parameter: no gradient of it is taken."""


class Embed(nnx.Module):
    """Look up rows as `flax.nnx.Embed` does, in a table that is optimised by rows.

    Args:
        num_embeddings: the number of rows of the table.
        features: the number of elements of a row.
        tx: an optimiser of `adam_optax.rows`.
        embedding_init: the initializer of the table; by default that of `flax.nnx.Embed`.
        rngs: the random streams of the initializer.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from adam_optax import rows
        >>> from adam_optax.rows.nnx import Embed
        >>> embed = Embed(1000, 8, rows.adam(0.1), rngs=nnx.Rngs(0))
        >>> ids = jnp.array([[1, 2], [2, 3]])
        >>> before = embed(ids)
        >>> embed.fetch(ids)
        >>> embed.commit(nnx.grad(lambda embed: embed(ids).sum())(embed))
        >>> print((embed(ids) - before)[..., 0].round(6))
        [[-0.1 -0.1]
         [-0.1 -0.1]]
    """

    def __init__(
        self,
        num_embeddings: int,
        features: int,
        tx: RowOptimizer,
        *,
        embedding_init: nnx.Initializer = default_embed_init,
        rngs: nnx.Rngs,
    ) -> None:
        table = embedding_init(rngs.params(), (num_embeddings, features), jnp.float32)
        self.num_embeddings, self.features, self.tx = num_embeddings, features, tx
        self.table = nnx.data(jax.tree.map(Table, tx.init(table)))
        self.rows: Any = nnx.data(None)
        self.found: Any = nnx.data(None)

    def fetch(self, ids: Array, size: int | None = None) -> None:
        """Make the rows of these ids a parameter, as they are now.

        Args:
            ids: all ids that the model will look up in this step, of any shape.
            size: the most distinct ids that there can be, as in `rows.unique`.

        Raises:
            ValueError, TypeError: as `rows.unique` does.
        """
        found = self.tx.lookup(self.state, unique(ids, self.num_embeddings, size).ids)
        self.rows = nnx.data(nnx.Param(found.params))
        self.found = nnx.data(jax.tree.map(Table, found))

    def __call__(self, ids: Array) -> Array:
        """Return the rows of ids: the fetched ones, which have a gradient, or else the table's.

        Ids that were not fetched are read as NaN.

        Args:
            ids: integers of any shape.

        Returns:
            The rows, shape `(*ids.shape, features)`.
        """
        if self.rows is None:
            return self.tx.lookup(self.state, ids).params
        known = self._fetched.ids
        place = jnp.searchsorted(known, ids)
        is_fetched = known.at[place].get(mode="fill", fill_value=PADDING) == ids
        params: Array = self.rows[...]
        return params.at[jnp.where(is_fetched, place, known.size)].get(mode="fill")

    def commit(self, grads: Any) -> None:
        """Take the step of the fetched rows.

        Every training step must call this, also one whose ids touch few rows.

        Args:
            grads: this layer's part of the gradients that `nnx.grad` returned for the model.

        Raises:
            ValueError: if nothing was fetched.
        """
        if self.rows is None:
            raise ValueError("commit without rows: call fetch(ids) before the gradient is taken")
        (g,) = jax.tree.leaves(nnx.as_pure(grads))
        new = self.tx.apply(self.state, self._fetched, g)
        self.table = nnx.data(jax.tree.map(Table, new))
        self.rows = self.found = nnx.data(None)

    def attend(self, query: Array) -> Array:
        """Refuse to be an output layer.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            "an output layer tied to the table gives every row a gradient at every step, so that "
            "nothing is saved; use nnx.Embed and a dense optimiser such as adam_optax.adam"
        )

    @property
    def state(self) -> RowsState:
        """Return the table's state, for `tx.materialize` or a checkpoint."""
        state: RowsState = nnx.as_pure(self.table)
        return state

    @property
    def _fetched(self) -> Rows:
        """Return the fetched rows."""
        found: Rows = nnx.as_pure(self.found)
        return found
