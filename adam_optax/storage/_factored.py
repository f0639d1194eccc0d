"""Adafactor's storage: the means along the two longest axes instead of the moment itself."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from adam_optax._core.numerics import quotient
from adam_optax.moments import Moment
from adam_optax.storage._base import MASKED, Format, Stamp
from adam_optax.storage._dense import Dense

DENSE = Dense()


@dataclasses.dataclass(frozen=True)
class Factored(Format):
    """See `factored`."""

    least: int = 128
    parts: ClassVar[tuple[str, ...]] = ("", "row", "col")
    stored: ClassVar[bool] = True

    def fits(self, name: str, moment: Moment) -> None:
        """Refuse a moment that can be negative: its mean could be 0, and divides."""
        if moment.signed:
            raise ValueError(
                f"factored() keeps moments that cannot be negative, which {name!r} can; "
                "name others: storage={'nu': adam_optax.storage.factored()}"
            )

    def encode(self, m: Array, moment: Moment, stamp: Stamp) -> dict[str, Any]:
        """The means along the longest axis and along the second longest, or the moment itself."""
        axes = self._axes(m.shape)
        if axes is None:
            return {**DENSE.encode(m, moment, stamp), "row": MASKED, "col": MASKED}
        second, longest = axes
        return {"": MASKED, "row": jnp.mean(m, longest), "col": jnp.mean(m, second)}

    def decode(self, kept: Mapping[str, Any], moment: Moment, stamp: Stamp) -> Array:
        """`row col / mean(row)`, of all matrices with these means the one of rank one."""
        axes = self._axes(stamp.shape)
        if axes is None:
            return DENSE.decode(kept, moment, stamp)
        second, longest = axes
        row = jnp.expand_dims(kept["row"], longest)
        col = jnp.expand_dims(kept["col"], second)
        share = quotient(row, jnp.mean(row, second, keepdims=True), 0.0)
        return share * col

    def _axes(self, shape: tuple[int, ...]) -> tuple[int, int] | None:
        """The second longest axis and the longest, where both are long enough."""
        order = np.argsort(shape, stable=True)
        if len(shape) < 2 or shape[order[-2]] < max(self.least, 1):
            return None
        return int(order[-2]), int(order[-1])


def factored(min_dim_size_to_factor: int = 128) -> Factored:
    r"""Keep a second moment as its means along two axes (Shazeer & Stern 2018, Algorithm 4).

    For a matrix of `n` by `m`: `n + m` numbers, read as
    :math:`row_i\, col_j / mean(row)`. The step reads what is stored. Factored are the two longest
    axes of a leaf, as in optax; leaves that are too short keep every number.

    Args:
        min_dim_size_to_factor: how long both axes must be; 128 in optax.

    Raises:
        ValueError: if it is negative; where it is used, if the moment can be negative.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.adam(1e-3, storage={"nu": ao.storage.factored(2)})
    >>> state = tx.init({"w": jnp.ones((3, 4)), "b": jnp.ones(4)})
    >>> moments = state[0].moments
    >>> moments["nu_row"]["w"].shape, moments["nu_col"]["w"].shape, moments["nu"]["b"].shape
    ((3,), (4,), (4,))
    """
    if isinstance(min_dim_size_to_factor, bool) or not isinstance(min_dim_size_to_factor, int):
        raise TypeError(f"min_dim_size_to_factor must be an int, not {min_dim_size_to_factor!r}")
    if min_dim_size_to_factor < 0:
        raise ValueError(f"min_dim_size_to_factor must be >= 0, not {min_dim_size_to_factor}")
    return Factored(min_dim_size_to_factor)
