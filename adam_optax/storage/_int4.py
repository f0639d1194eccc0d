"""Keep two moments of an element in one byte, four bits each, rounded without bias."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from adam_optax._core.checks import check_seed, refuse_complex
from adam_optax.moments import Moment
from adam_optax.storage._base import EVERYWHERE, Format, LeafContext, Moments
from adam_optax.storage._int8 import Int8
from adam_optax.storage._quant.blocks import Blocks, check_block
from adam_optax.storage._quant.codebooks import (
    Codebook,
    DynamicMap,
    LinearMap,
    dequantize_blockwise,
    quantize_blockwise,
)


@dataclasses.dataclass(frozen=True, repr=False)
class Int4(Format):
    """Keep two moments as the halves of a byte, scaled by block; see `int4`."""

    function: ClassVar[str] = "int4"
    block: int = 128
    seed: int = 0
    components: ClassVar[tuple[str, ...]] = ("", "absmax", "absmax2")
    skips_nonfinite: ClassVar[bool] = True
    kernel_platforms: ClassVar[frozenset[str]] = EVERYWHERE

    def together(self, moments: Moments) -> tuple[str, ...]:
        """Return the names of the first two moments of which each element has its own."""
        names = [n for n, m in moments.items() if m.over is None]
        if len(names) < 2:
            raise ValueError(
                "int4() keeps two moments in one byte, and this rule's moments "
                f"({', '.join(moments)}) are no two of the parameter's shape; use storage.int8()"
            )
        return names[0], names[1]

    def others(self) -> Format:
        """Keep the other moments in a byte each."""
        return Int8(self.block, self.seed)

    def encode(self, values: Sequence[Array], context: LeafContext) -> dict[str, Any]:
        """Put the first moment's code into the high half of a byte, the second's into the low."""
        blocks, halves, scales = Blocks(self.block), [], []
        even, fresh = context.dithers(self.seed)  # the even one for means of squares, the second
        for m, moment, u in zip(values, context.moments, (fresh, even), strict=True):
            refuse_complex(m, "int4()")
            code, absmax = quantize_blockwise(m, codebook_for(moment), blocks, u)
            halves.append(code)
            scales.append(absmax)
        byte = halves[0] * 16 + halves[1]
        return dict(zip(self.components, (byte.astype(jnp.uint8), *scales), strict=True))

    def decode(self, encoded: Mapping[str, Any], context: LeafContext) -> tuple[Array, ...]:
        """Return both moments of a byte, in float32."""
        blocks, byte = Blocks(self.block), encoded[""].astype(jnp.int32)
        halves = {"absmax": byte >> 4, "absmax2": byte & 15}
        return tuple(
            dequantize_blockwise(code, encoded[component], codebook_for(moment), blocks)
            for moment, (component, code) in zip(context.moments, halves.items(), strict=True)
        )


def codebook_for(moment: Moment) -> Codebook:
    """Return the codebook of a moment: a dynamic map, or equal steps if it cannot be negative."""
    return DynamicMap(decades=3) if moment.signed else LinearMap(15)


def int4(block: int = 128, *, seed: int = 0) -> Int4:
    r"""Keep two moments in one byte, four bits each.

    When to take it: where one byte a parameter must do, neighbours along the last axis have
    gradients of one size, and `pair(1, block=64)`, which takes the same memory and follows float32
    more closely, refuses the rule (`adan`, `adabelief`, `adopt`). `float8()` and `int8()` reach
    further below the largest number of a block, for two bytes.

    Cost: one byte an element and eight bytes a block, 1.06 bytes a parameter for both moments of
    Adam. Beside a neighbour with gradients four times as large, a coordinate takes shorter steps;
    coordinates with much smaller gradients freeze.

    The codebooks are those of Li et al. and torchao: for a moment that can be negative the dynamic
    map of three decades; for a moment that cannot, equal steps up to the largest number of its
    block. A positive number is never kept as zero there, so that no step is without bound: it is
    raised to 1/15 of that largest number. Rounding is by a dither that is right on average.

    Both moments of an element share one byte, so that the codes have the parameter's shape, and
    every checkpointer can write them; some refuse four-bit dtypes. The format takes the first two
    moments of a rule and keeps others in `int8`.

    Refuses: rules with fewer than two moments of the parameter's shape, and complex moments. An
    element whose gradient is not finite takes no step and keeps its moments.

    Args:
        block: how many neighbours along the last axis share an absmax, four bytes for each moment.
        seed: a number that selects the dither.

    Raises:
        ValueError, TypeError: if `block` is no positive int; where the format is used, if the rule
            has fewer than two moments of the parameter's shape, or a moment is complex.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.adamw(1e-3, storage=ao.storage.int4())
    >>> moments = tx.init({"w": jnp.ones((3, 500))})[0].moments
    >>> moments["mu_nu"]["w"].dtype, moments["mu_nu"]["w"].shape
    (dtype('uint8'), (3, 500))
    >>> moments["mu_nu_absmax"]["w"].shape, moments["mu_nu_absmax2"]["w"].shape
    ((3, 4), (3, 4))

    Reference: Li et al. 2023, "Memory Efficient Optimizers with 4-bit States".
    """
    return Int4(check_block(block, "int4()"), check_seed(seed))
