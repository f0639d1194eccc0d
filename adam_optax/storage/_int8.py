"""Keep a moment in one byte by bitsandbytes' codebook, rounded without bias."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from adam_optax._core.checks import check_seed, refuse_complex
from adam_optax.moments import Moment
from adam_optax.storage._base import EVERYWHERE, Format, LeafContext
from adam_optax.storage._quant.blocks import Blocks, check_block
from adam_optax.storage._quant.codebooks import (
    Codebook,
    DynamicMap,
    dequantize_blockwise,
    quantize_blockwise,
)


@dataclasses.dataclass(frozen=True, repr=False)
class Int8(Format):
    """Keep a moment as codes of a codebook, scaled by block; see `int8`."""

    function: ClassVar[str] = "int8"
    block: int = 256
    seed: int = 0
    components: ClassVar[tuple[str, ...]] = ("", "absmax")
    skips_nonfinite: ClassVar[bool] = True
    kernel_platforms: ClassVar[frozenset[str]] = EVERYWHERE

    def encode(self, values: Sequence[Array], context: LeafContext) -> dict[str, Any]:
        """Return the codes, and the absmax of each block, for which the code of 1 stands."""
        (m,), (moment,) = values, context.moments
        refuse_complex(m, "int8()")
        u, _ = context.dithers(self.seed)
        codes, absmax = quantize_blockwise(m, codebook_for(moment), Blocks(self.block), u)
        return {"": codes.astype(jnp.uint8), "absmax": absmax}

    def decode(self, encoded: Mapping[str, Any], context: LeafContext) -> tuple[Array, ...]:
        """Return the moment in float32."""
        (moment,), codes = context.moments, encoded[""]
        blocks, codebook = Blocks(self.block), codebook_for(moment)
        return (dequantize_blockwise(codes, encoded["absmax"], codebook, blocks),)


def codebook_for(moment: Moment) -> Codebook:
    """Return the codebook of a moment: bitsandbytes' signed or unsigned dynamic map."""
    return DynamicMap() if moment.signed else DynamicMap(signed=False, first=2)


def int8(block: int = 256, *, seed: int = 0) -> Int8:
    r"""Keep a moment in one byte by the codebook of bitsandbytes (Dettmers et al. 2022).

    When to take it: where a state must be like that of bitsandbytes' 8-bit optimisers (`ao.convert`
    reads it, `bitsandbytes_to_torch`), or where neighbours along the last axis are of similar size,
    as in a trained matrix. Elsewhere `pair()` takes the same memory for both moments of Adam and
    does not depend on neighbours.

    Cost: one byte an element and four bytes a block, 2.03 bytes a parameter for both moments of
    Adam. Coordinates whose gradients are 2,000 times smaller than a neighbour's take shorter steps.

    The codebook is the dynamic tree: seven decades below the largest number of a block, with 128
    codes in the highest decade (64 on each side of zero) and half as many in each decade below.

    Two things differ from the published format, which rounds to nearest. First, a positive number
    in a mean of squares is never kept as zero, but raised to the smallest code, 3e-7 of the largest
    number of its block: where nu becomes zero, mu outlives it, and the step is mu over eps, tens of
    thousands of times too long. Second, rounding is by a dither that is right on average, so that
    small changes are not lost.

    Blocks run along the last axis. Those of bitsandbytes run over the flattened array: they are the
    same where the last axis is a multiple of the block, and for arrays of one axis.

    Refuses: complex moments. An element whose gradient is not finite takes no step and keeps its
    moments.

    Args:
        block: how many neighbours along the last axis share an absmax, four bytes.
        seed: a number that selects the dither.

    Raises:
        ValueError, TypeError: if `block` is no positive int; where the format is used, if a moment
            is complex.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.adamw(1e-3, storage=ao.storage.int8())
    >>> moments = tx.init({"w": jnp.ones((3, 500))})[0].moments
    >>> moments["nu"]["w"].dtype, moments["nu"]["w"].shape, moments["nu_absmax"]["w"].shape
    (dtype('uint8'), (3, 500), (3, 2))

    Reference: Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization".
    """
    return Int8(check_block(block, "int8()"), check_seed(seed))
