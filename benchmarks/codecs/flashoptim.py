"""Keep moments as FlashOptim does: companded to 8 bits by softsign and root, in groups of 32.

Source: FlashOptim (arXiv 2602.23349), package flashoptim 0.1.4. Its kernels want a GPU, so
that this codec was checked beside a transcription of them in NumPy only (`tests/benchmarks`).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from adam_optax.storage import Format, LeafContext
from benchmarks.codecs.groups import grouped, ungrouped

LEAST_SCALE = 1e-12
"""The least absmax by which a group is divided; in float16 it is kept as zero."""


@dataclasses.dataclass(frozen=True, repr=False)
class FlashOptim(Format):
    """Keep a signed moment by softsign, another by its root, to nearest of 8 bits.

    Attributes:
        scales: the dtype of the groups' scales; the package keeps float16.
        block: the size of a group.
    """

    function: ClassVar[str] = "FlashOptim"
    components: ClassVar[tuple[str, ...]] = ("", "scale")
    scales: str = "float16"
    block: int = 32

    def encode(self, values: Sequence[Array], context: LeafContext) -> dict[str, Any]:
        """Return a byte for each element, and the scale of each group, in the root for nu."""
        (m,), (moment,) = values, context.moments
        groups = grouped(m if moment.signed else jnp.sqrt(m), self.block)
        scale = jnp.maximum(jnp.max(jnp.abs(groups), axis=-1), LEAST_SCALE)
        x = groups / scale[..., None]
        if moment.signed:
            codes = jnp.floor(254 * x / (1 + jnp.abs(x)) + 0.5).astype(jnp.int8)
        else:
            codes = jnp.floor(255 * x + 0.5).astype(jnp.uint8)
        return {"": ungrouped(codes, m.shape), "scale": scale.astype(self.scales)}

    def decode(self, encoded: Mapping[str, Any], context: LeafContext) -> tuple[Array, ...]:
        """Return the moment in float32."""
        (moment,), codes = context.moments, encoded[""]
        x = grouped(codes, self.block).astype(jnp.float32)
        y = x / 127 / (2 - jnp.abs(x / 127)) if moment.signed else x / 255
        y = y * encoded["scale"].astype(jnp.float32)[..., None]
        return (ungrouped(y if moment.signed else y * y, codes.shape),)
