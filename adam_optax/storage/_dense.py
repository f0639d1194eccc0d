"""One array per moment, of the parameter's shape and any floating dtype."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import compute_dtype
from adam_optax.moments import Moment
from adam_optax.storage._base import Format, Stamp


@dataclasses.dataclass(frozen=True)
class Dense(Format):
    """See `dense`."""

    dtype: Any = None

    def encode(self, m: Array, moment: Moment, stamp: Stamp) -> dict[str, Any]:
        """The moment in the dtype in which it is kept."""
        del moment, stamp
        if self.dtype is None:
            return {"": m}
        if jnp.iscomplexobj(m) and not jnp.issubdtype(self.dtype, jnp.complexfloating):
            raise TypeError(
                f"dense({self.dtype}) cannot hold a complex moment; use complex64, or None"
            )
        return {"": m.astype(self.dtype)}

    def decode(self, kept: Mapping[str, Any], moment: Moment, stamp: Stamp) -> Array:
        """The moment in compute precision."""
        del moment, stamp
        m: Array = kept[""]
        return m.astype(compute_dtype(m))


def dense(dtype: Any = None) -> Dense:
    """Keep a moment as an array of `dtype`; None: float32, or float64 for float64 parameters.

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
