"""Two moments of an element in one byte, four bits each."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from adam_optax.moments import Moment
from adam_optax.storage._base import ACCELERATORS, Format, Joint, Moments, Stamp, Values
from adam_optax.storage._int8 import Int8, coded
from adam_optax.storage._quant.blocks import Blocks, check_block
from adam_optax.storage._quant.codebooks import Book, Dynamic, Linear
from adam_optax.storage._stochastic import check_seed, refuse_complex


@dataclasses.dataclass(frozen=True)
class Int4(Joint):
    """See `int4`."""

    block: int = 128
    seed: int = 0
    parts: ClassVar[tuple[str, ...]] = ("", "absmax", "absmax2")
    guarded: ClassVar[bool] = True
    helped: ClassVar[frozenset[str]] = ACCELERATORS

    def names(self, moments: Moments) -> tuple[str, ...]:
        """The first two moments that are not scalars."""
        names = [n for n, m in moments.items() if not m.scalar]
        if len(names) < 2:
            raise ValueError(
                "int4() keeps two moments in one byte, and this rule's moments "
                f"({', '.join(moments)}) are no two of the parameter's shape; use storage.int8()"
            )
        return names[0], names[1]

    def rest(self) -> Format:
        """The other moments, in a byte each."""
        return Int8(self.block, self.seed)

    def encode(self, values: Values, moments: Moments, stamp: Stamp) -> dict[str, Any]:
        """The first moment's code in the high half of a byte, the second's in the low half."""
        blocks = Blocks(self.block)
        names, halves, units = self.names(moments), [], []
        for name, u in zip(names, stamp.dithers(self.seed), strict=True):
            refuse_complex(values[name], "int4()")
            code, unit = coded(values[name], book(moments[name]), blocks, u)
            halves.append(code)
            units.append(unit)
        byte = halves[0] * 16 + halves[1]
        return dict(zip(self.parts, (byte.astype(jnp.uint8), *units), strict=True))

    def decode(self, kept: Mapping[str, Any], moments: Moments, stamp: Stamp) -> dict[str, Array]:
        """Both moments of a byte, in float32."""
        blocks, byte = Blocks(self.block), kept[""].astype(jnp.int32)
        halves = {"absmax": byte >> 4, "absmax2": byte & 15}
        pairs = zip(self.names(moments), halves.items(), strict=True)
        return {
            n: book(moments[n]).value(code) * blocks.spread(kept[part], byte.shape)
            for n, (part, code) in pairs
        }


def book(moment: Moment) -> Book:
    """Which code book a moment has."""
    return Dynamic(decades=3) if moment.signed else Linear(15)


def int4(block: int = 128, *, seed: int = 0) -> Int4:
    r"""Keep two moments in a byte, four bits each: 1.06 bytes a parameter for both of Adam's.

    The code books are those of Li et al. 2023 (4-bit optimizers) and torchao: for a moment that can
    be negative the dynamic map of three decades, for one that cannot equal steps up to the largest
    of its block. What is positive is never kept as zero there, so that no step is without bound,
    but raised to 1/15 of that largest: beside a neighbour four times as large in its gradients,
    coordinates take shorter steps, and much smaller ones freeze. `float8()` and `int8()` reach
    further, `pair()` as far as float32 almost. Rounded by a dither that is right on average.

    Both moments of an element share one byte, so that codes have the parameter's shape, and every
    checkpointer can write them, which four-bit types are refused by. It takes the first two moments
    of a rule; others are kept in `int8`. An element whose gradient is not finite takes no step and
    keeps its moments.

    Args:
        block: how many neighbours along the last axis share a unit, four bytes for each moment.
        seed: another dither.

    Raises:
        ValueError, TypeError: if `block` is no positive int; where it is used, if the rule has
            fewer than two moments or one is complex.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.adamw(1e-3, storage=ao.storage.int4())
    >>> moments = tx.init({"w": jnp.ones((3, 500))})[0].moments
    >>> moments["mu_nu"]["w"].dtype, moments["mu_nu"]["w"].shape
    (dtype('uint8'), (3, 500))
    >>> moments["mu_nu_absmax"]["w"].shape, moments["mu_nu_absmax2"]["w"].shape
    ((3, 4), (3, 4))
    """
    return Int4(check_block(block, "int4()"), check_seed(seed))
