"""Keep a moment as one array, of the parameter's shape and any floating dtype."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from adam_optax._core.numerics import compute_dtype, number_dtype
from adam_optax.storage._base import Format, LeafContext


@dataclasses.dataclass(frozen=True, repr=False)
class Dense(Format):
    """Keep a moment as an array of a dtype; see `dense`."""

    function: ClassVar[str] = "dense"
    kernel_platforms: ClassVar[frozenset[str]] = frozenset({"cpu"})
    dtype: jnp.dtype | None = None

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


def dense(dtype: DTypeLike | None = None) -> Dense:
    """Keep a moment as an array of `dtype`; None: float32, or float64 for float64 parameters.

    When to take it: where memory is no concern (None, the default of every optimiser), or where a
    state of another library, which has such an array, must be read and written.

    Cost: the bytes of the dtype for each moment. In bfloat16, rounding to nearest loses every
    change below half a unit in the last place, so that a slow second moment stops moving; take
    `stochastic()` instead for the same memory.

    Refuses: complex moments if `dtype` is real.

    Args:
        dtype: any floating or complex dtype that has 0 and both signs, or its name.

    Raises:
        TypeError: if `dtype` is no such dtype (float8_e8m0fnu is none); where the format is used,
            if a moment is complex and `dtype` is not.

    >>> import adam_optax as ao
    >>> tx = ao.adam(1e-3, storage={"mu": ao.storage.dense("bfloat16")})
    """
    if dtype is None:
        return Dense()
    kind = number_dtype(dtype)
    if kind is None:
        name = getattr(dtype, "__name__", dtype)
        raise TypeError(
            f"dense({name}): a moment needs a floating or complex dtype that has 0 and both signs"
        )
    return Dense(kind)
