"""Keep moments as HeavyBall's "bf16+8" does: bfloat16, and 8 bits of what its rounding left.

Source: HeavyBall 3.2.1 (`ecc="bf16+8"`). Checked beside the package's own class on 5,000 numbers of
23 decades: given the same random numbers, all codes are the same, and are read the same to 1.2e-7.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array, lax

from adam_optax._core.dither import to_unit_interval
from adam_optax.storage import Format, LeafContext

CODES = 127.0
"""The code that stands for half a unit in the last place of bfloat16."""


@dataclasses.dataclass(frozen=True, repr=False)
class HeavyBall(Format):
    """Keep a moment as bfloat16 to nearest, and the rest in 254ths of its last place.

    Attributes:
        seed: a number that selects the random numbers by which the rest is rounded.
    """

    function: ClassVar[str] = "HeavyBall"
    components: ClassVar[tuple[str, ...]] = ("", "rest")
    seed: int = 0

    def encode(self, values: Sequence[Array], context: LeafContext) -> dict[str, Any]:
        """Return the nearest bfloat16, and the rest, rounded at random."""
        (m,) = values
        u = to_unit_interval(context.dithers(self.seed)[1])  # drawn anew at each step, as theirs
        narrow = m.astype(jnp.bfloat16)
        half = _half_last_place(narrow)
        rest = jnp.clip((m - narrow.astype(jnp.float32)) / half, -1, 1) * CODES
        return {"": narrow, "rest": jnp.floor(rest + u).astype(jnp.int8)}

    def decode(self, encoded: Mapping[str, Any], context: LeafContext) -> tuple[Array, ...]:
        """Return the moment in float32."""
        del context
        narrow: Array = encoded[""]
        rest = encoded["rest"].astype(jnp.float32) / CODES * _half_last_place(narrow)
        return (narrow.astype(jnp.float32) + rest,)


def _half_last_place(narrow: Array) -> Array:
    """Return half the unit in the last place of numbers in bfloat16, in float32.

    Below 2^-118 it is the least normal number of float32, since XLA flushes smaller ones to zero.
    """
    exponent = (lax.bitcast_convert_type(narrow, jnp.uint16) >> 7).astype(jnp.int32) & 0xFF
    return jnp.exp2(jnp.maximum(exponent - 127 - 8, -126).astype(jnp.float32))
