"""Keep a moment as one array, of the parameter's shape and any floating dtype."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import compute_dtype
from adam_optax.storage._base import Format, LeafContext


@dataclasses.dataclass(frozen=True, repr=False)
class Dense(Format):
    """Keep a moment as an array of a dtype; see `dense`."""

    function: ClassVar[str] = "dense"
    dtype: Any = None

    def encode(self, values: Sequence[Array], context: LeafContext) -> dict[str, Any]:
        """Cast the moment to the dtype in which it is kept."""
        del context
        (m,) = values
        if self.dtype is None:
            return {"": m}
        if jnp.iscomplexobj(m) and not jnp.issubdtype(self.dtype, jnp.complexfloating):
            raise TypeError(
                f"dense({self.dtype}) cannot hold a complex moment; use complex64, or None"
            )
        return {"": m.astype(self.dtype)}

    def decode(self, encoded: Mapping[str, Any], context: LeafContext) -> tuple[Array, ...]:
        """Cast the moment to compute precision."""
        del context
        m: Array = encoded[""]
        return (m.astype(compute_dtype(m)),)


def dense(dtype: Any = None) -> Dense:
    """Keep a moment as an array of `dtype`; None: float32, or float64 for float64 parameters.

    Take it where memory is no concern (float32, the default), or where what others wrote must be
    read: in bfloat16, rounding to nearest stops a slow moment from moving (see `stochastic`).

    Args:
        dtype: any floating or complex dtype, or its name.

    Raises:
        TypeError: if it is neither.

    >>> import adam_optax as ao
    >>> tx = ao.adam(1e-3, storage={"mu": ao.storage.dense("bfloat16")})
    """
    if dtype is None:
        return Dense()
    dtype = jnp.dtype(dtype)
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(f"dense({dtype}): a moment needs a floating or complex dtype")
    return Dense(dtype)
