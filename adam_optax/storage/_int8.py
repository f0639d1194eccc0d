"""A moment in one byte by bitsandbytes' code book, rounded without bias."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from adam_optax.moments import Moment
from adam_optax.storage._base import ACCELERATORS, Format, Stamp
from adam_optax.storage._quant.blocks import Blocks, check_block
from adam_optax.storage._quant.codebooks import Book, Dynamic
from adam_optax.storage._stochastic import check_seed, refuse_complex

TINY = 2.0**-120
"""Blocks whose largest number is smaller are kept as zeros: quotients by it would be inexact."""


@dataclasses.dataclass(frozen=True)
class Int8(Format):
    """See `int8`."""

    block: int = 256
    seed: int = 0
    parts: ClassVar[tuple[str, ...]] = ("", "absmax")
    guarded: ClassVar[bool] = True
    helped: ClassVar[frozenset[str]] = ACCELERATORS

    def encode(self, m: Array, moment: Moment, stamp: Stamp) -> dict[str, Any]:
        """The codes, and by block the number that the code book's 1 stands for."""
        refuse_complex(m, "int8()")
        u, _ = stamp.dithers(self.seed)
        codes, absmax = coded(m, book(moment), Blocks(self.block), u)
        return {"": codes.astype(jnp.uint8), "absmax": absmax}

    def decode(self, kept: Mapping[str, Any], moment: Moment, stamp: Stamp) -> Array:
        """The moment in float32."""
        codes = kept[""]
        return book(moment).value(codes) * Blocks(self.block).spread(kept["absmax"], codes.shape)


def book(moment: Moment) -> Book:
    """Which code book a moment has."""
    return Dynamic() if moment.signed else Dynamic(signed=False, first=2)


def coded(m: Array, book: Book, blocks: Blocks, u: Array) -> tuple[Array, Array]:
    """The codes of a moment in units of its blocks, and the units."""
    x = m.astype(jnp.float32)
    low = book.low
    # The book's lowest number is less than 1 below zero: the unit is such that it, too, reaches.
    size = jnp.where(x < 0, x * jnp.float32(1 / (low or 1.0)), x)
    most = blocks.most(size)
    unit = jnp.where(most >= TINY, most, 0.0)
    each = blocks.spread(unit, x.shape)
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
        seed: another dither.

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
