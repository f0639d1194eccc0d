"""Keep moments as COAT does: in floats of 8 bits, each group's range expanded by a power.

Source: COAT (arXiv 2410.19313) and the kernel of its authors in NVlabs/VILA, which wants a GPU,
so that this codec was checked beside a transcription of it in NumPy only (`tests/benchmarks`).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from adam_optax.storage import Format, LeafContext
from benchmarks.codecs.groups import grouped, ungrouped

TINY = 1e-20
"""What is added to a group's largest and least magnitude, so that the least is not zero."""
STEPS = 8
"""The parts of 1 of which a power is a multiple."""


@dataclasses.dataclass(frozen=True, repr=False)
class Coat(Format):
    """Keep a moment as `x^k` in floats of 8 bits, by a `k` that fills their range.

    With the largest and the least magnitude of a group, `k` is the largest multiple of 1/8 at which
    `(largest / least)^k` is not above half the square of the dtype's largest number.

    Attributes:
        signed: the dtype of moments that can be negative.
        unsigned: the dtype of others; the kernel has e4m3, the paper also tries e5m2.
        block: the size of a group.
    """

    function: ClassVar[str] = "COAT"
    components: ClassVar[tuple[str, ...]] = ("", "scale", "power", "middle")
    signed: str = "float8_e4m3fn"
    unsigned: str = "float8_e4m3fn"
    block: int = 128

    def encode(self, values: Sequence[Array], context: LeafContext) -> dict[str, Any]:
        """Return floats of 8 bits, and each group's scale, power and middle, in float32."""
        (m,), (moment,) = values, context.moments
        dtype = self.signed if moment.signed else self.unsigned
        top = float(jnp.finfo(dtype).max)
        groups = grouped(m, self.block)
        size = jnp.abs(groups)
        high, low = jnp.max(size, axis=-1) + TINY, jnp.min(size, axis=-1) + TINY
        middle = jnp.sqrt(high) * jnp.sqrt(low)
        octaves = jnp.log2(high / low)
        power = jnp.floor(jnp.log2(top * top / 2) / octaves * STEPS) / STEPS
        # The kernel divides by zero for a group of equal numbers: any power keeps them.
        power = jnp.where(octaves > 0, jnp.maximum(power, 1 / STEPS), 1.0)
        scale = (high / middle) ** power / top
        expanded = (size / middle[..., None]) ** power[..., None] / scale[..., None]
        # A group's largest number may come out a rounding above the dtype's largest, which is NaN.
        codes = (jnp.sign(groups) * jnp.minimum(expanded, top)).astype(dtype)
        kept = {"scale": scale, "power": power, "middle": middle}
        return {"": ungrouped(codes, m.shape), **kept}

    def decode(self, encoded: Mapping[str, Any], context: LeafContext) -> tuple[Array, ...]:
        """Return the moment in float32."""
        del context
        codes: Array = encoded[""]
        y = grouped(codes, self.block).astype(jnp.float32) * encoded["scale"][..., None]
        size = jnp.abs(y) ** (1 / encoded["power"])[..., None] * encoded["middle"][..., None]
        return (ungrouped(jnp.sign(y) * size, codes.shape),)
