"""Keep a moment in one byte by bitsandbytes' code book, rounded without bias."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from adam_optax._core.checks import check_seed, refuse_complex
from adam_optax.moments import Moment
from adam_optax.storage._base import ACCELERATORS, Format, LeafContext
from adam_optax.storage._quant.blocks import Blocks, check_block
from adam_optax.storage._quant.codebooks import Book, Dynamic

TINY = 2.0**-120
"""Blocks whose largest number is smaller are kept as zeros: quotients by it would be inexact."""


@dataclasses.dataclass(frozen=True, repr=False)
class Int8(Format):
    """Keep a moment as codes of a code book, scaled by block; see `int8`."""

    function: ClassVar[str] = "int8"
    block: int = 256
    seed: int = 0
    components: ClassVar[tuple[str, ...]] = ("", "absmax")
    skips_nonfinite: ClassVar[bool] = True
    kernel_platforms: ClassVar[frozenset[str]] = ACCELERATORS

    def encode(self, values: Sequence[Array], context: LeafContext) -> dict[str, Any]:
        """Return the codes, and for each block the number that the code book's 1 stands for."""
        (m,), (moment,) = values, context.moments
        refuse_complex(m, "int8()")
        u, _ = context.dithers(self.seed)
        codes, absmax = coded(m, book(moment), Blocks(self.block), u)
        return {"": codes.astype(jnp.uint8), "absmax": absmax}

    def decode(self, encoded: Mapping[str, Any], context: LeafContext) -> tuple[Array, ...]:
        """Return the moment in float32."""
        (moment,), codes = context.moments, encoded[""]
        absmax = Blocks(self.block).expand(encoded["absmax"], codes.shape)
        return (book(moment).value(codes) * absmax,)


def book(moment: Moment) -> Book:
    """Which code book a moment has."""
    return Dynamic() if moment.signed else Dynamic(signed=False, first=2)


def coded(m: Array, book: Book, blocks: Blocks, u: Array) -> tuple[Array, Array]:
    """The codes of a moment in units of its blocks, and the units."""
    x = m.astype(jnp.float32)
    low = book.low
    # The book's lowest number is less than 1 below zero: the unit is such that it, too, reaches.
    size = jnp.where(x < 0, x * jnp.float32(1 / (low or 1.0)), x)
    most = blocks.max(size)
    unit = jnp.where(most >= TINY, most, 0.0)
    each = blocks.expand(unit, x.shape)
    share = jnp.where(each > 0, x / jnp.where(each > 0, each, 1.0), 0.0)
    code = book.code(share, u)
    if low == 0.0:
        code = jnp.where(share > 0, jnp.maximum(code, 1), 0)
    return code, unit


def int8(block: int = 256, *, seed: int = 0) -> Int8:
    r"""Keep a moment in a byte by the code book of bitsandbytes (Dettmers et al. 2022).

    The dynamic tree: seven decades below the largest of a block, with 128 codes in the highest of
    them (64 on each side of zero) and half as many in each one below. It suits neighbours of
    similar size, as in a trained matrix; `pair()` has no use for neighbours.

    Two things differ from the published format, which rounds to nearest. What is positive in a mean
    of squares is never kept as zero, but raised to the smallest code, 3e-7 of the largest of its
    block: where it becomes zero, mu outlives it, and the step is mu over eps, tens of thousands of
    times too long. Coordinates whose gradients are 2,000 times smaller than a neighbour's take
    shorter steps instead. And rounding is by a dither that is right on average, so that small
    changes are not lost.

    Blocks run along the last axis. Those of bitsandbytes run over the flattened array: they are the
    same where the last axis is a multiple of the block, and for one axis. `ao.convert` reads its
    state (`bitsandbytes_to_torch`).

    An element whose gradient is not finite takes no step and keeps its moments.

    Args:
        block: how many neighbours along the last axis share a unit, four bytes.
        seed: a number that selects the dither.

    Raises:
        ValueError, TypeError: if `block` is no positive int; where it is used, if a moment is
            complex.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.adamw(1e-3, storage=ao.storage.int8())
    >>> moments = tx.init({"w": jnp.ones((3, 500))})[0].moments
    >>> moments["nu"]["w"].dtype, moments["nu"]["w"].shape, moments["nu_absmax"]["w"].shape
    (dtype('uint8'), (3, 500), (3, 2))
    """
    return Int8(check_block(block, "int8()"), check_seed(seed))
