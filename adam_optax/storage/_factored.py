"""Keep a second moment as its means along the two longest axes, as Adafactor does."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from adam_optax._core.numerics import safe_divide
from adam_optax.moments import Moment
from adam_optax.storage._base import MASKED, Format, LeafContext
from adam_optax.storage._dense import Dense

DENSE = Dense()


@dataclasses.dataclass(frozen=True, repr=False)
class Factored(Format):
    """Keep a moment as the means along two axes; see `factored`."""

    function: ClassVar[str] = "factored"
    min_dim_size_to_factor: int = 128
    components: ClassVar[tuple[str, ...]] = ("", "row", "col")
    read_back: ClassVar[bool] = True

    def check(self, name: str, moment: Moment) -> None:
        """Refuse a moment that can be negative: its mean, which divides, could be 0."""
        if moment.signed:
            raise ValueError(
                f"factored() keeps moments that cannot be negative, which {name!r} can; "
                "name others: storage={'nu': adam_optax.storage.factored()}"
            )

    def encode(self, values: Sequence[Array], context: LeafContext) -> dict[str, Any]:
        """Average along the longest axis and along the second longest, or keep a short moment."""
        (m,) = values
        axes = self._axes(m.shape)
        if axes is None:
            return {**DENSE.encode(values, context), "row": MASKED, "col": MASKED}
        second, longest = axes
        return {"": MASKED, "row": jnp.mean(m, longest), "col": jnp.mean(m, second)}

    def decode(self, encoded: Mapping[str, Any], context: LeafContext) -> tuple[Array, ...]:
        """Return `row col / mean(row)`: of all matrices with these means the one of rank one."""
        axes = self._axes(context.shape)
        if axes is None:
            return DENSE.decode(encoded, context)
        second, longest = axes
        row = jnp.expand_dims(encoded["row"], longest)
        col = jnp.expand_dims(encoded["col"], second)
        normalized = safe_divide(row, jnp.mean(row, second, keepdims=True), 0.0)
        return (normalized * col,)

    def _axes(self, shape: tuple[int, ...]) -> tuple[int, int] | None:
        """Return the second longest axis and the longest, if both are long enough."""
        order = np.argsort(shape, stable=True)
        if len(shape) < 2 or shape[order[-2]] < max(self.min_dim_size_to_factor, 1):
            return None
        return int(order[-2]), int(order[-1])


def factored(min_dim_size_to_factor: int = 128) -> Factored:
    r"""Keep a second moment as its means along two axes (Shazeer & Stern 2018, Algorithm 4).

    When to take it: where large matrices make up the model and a second moment shall take almost
    no memory, as in Adafactor. Use it by moment, `{"nu": factored()}`; another format may keep mu.

    Cost: `n + m` float32 numbers for a matrix of `n` by `m`, which are read as
    :math:`row_i\, col_j / mean(row)`: exact for a matrix of rank one, an approximation for others.
    The step reads the stored approximation, not the fresh moment. The two longest axes of a leaf
    are factored, as in optax; a leaf whose axes are too short keeps every number.

    Refuses: moments that can be negative, because the mean of a row, which divides, could be 0.

    Args:
        min_dim_size_to_factor: how long both axes must be; 128, as in optax.

    Raises:
        ValueError: if the length is negative; where the format is used, if the moment can be
            negative.
        TypeError: if the length is no int.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.adam(1e-3, storage={"nu": ao.storage.factored(2)})
    >>> state = tx.init({"w": jnp.ones((3, 4)), "b": jnp.ones(4)})
    >>> moments = state[0].moments
    >>> moments["nu_row"]["w"].shape, moments["nu_col"]["w"].shape, moments["nu"]["b"].shape
    ((3,), (4,), (4,))

    Reference: Shazeer & Stern 2018, "Adafactor: Adaptive Learning Rates with Sublinear Memory
    Cost".
    """
    if isinstance(min_dim_size_to_factor, bool) or not isinstance(min_dim_size_to_factor, int):
        raise TypeError(f"min_dim_size_to_factor must be an int, not {min_dim_size_to_factor!r}")
    if min_dim_size_to_factor < 0:
        raise ValueError(f"min_dim_size_to_factor must be >= 0, not {min_dim_size_to_factor}")
    return Factored(min_dim_size_to_factor)
