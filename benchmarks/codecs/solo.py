"""Keep moments as SOLO does: mu by a dynamic map to nearest, nu by a logarithm, in 2 or 4 bits.

Source: SOLO (arXiv 2505.00347), package solow 0.2.0. Checked beside the package's own functions on
1,024 numbers of six decades, zeros among them: given the same random numbers, all codes of 2 and 4
bits are the same, bases to 2e-7. SOLO asks for a smaller `b1` where mu has few bits (.8 in its
example of 4/2), which a codec cannot set.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from adam_optax._core.dither import to_unit_interval
from adam_optax.storage import Format, LeafContext
from adam_optax.storage._base import MASKED
from benchmarks.codecs.groups import grouped, packed, ungrouped, unpacked

MAPS = {
    2: (-0.55, 0.0, 0.55, 1.0),
    4: (
        *(-0.8875, -0.6625, -0.4375, -0.2125, -0.0775, -0.0325, -0.0055),
        *(0.0, 0.0055, 0.0325, 0.0775, 0.2125, 0.4375, 0.6625, 0.8875, 1.0),
    ),
}
"""The dynamic maps of mu, by bits."""
LEAST_SCALE = 1e-12
"""The least absmax by which a group is divided."""


@dataclasses.dataclass(frozen=True, repr=False)
class Solo(Format):
    """Keep mu as one of a few numbers, and nu as a power of a base that each group chooses.

    The base is such that the last code is the group's quantile: a tenth of its numbers is raised
    to it, and none is zero.

    Attributes:
        mu_bits: the bits of a moment that can be negative, 2 or 4.
        nu_bits: the bits of one that cannot, 2 or 4.
        quantile: the part of a group that has the last code.
        block: the size of a group.
        seed: a number that selects the random numbers by which nu is rounded.
    """

    function: ClassVar[str] = "SOLO"
    components: ClassVar[tuple[str, ...]] = ("", "scale", "base")
    mu_bits: int = 4
    nu_bits: int = 4
    quantile: float = 0.1
    block: int = 128
    seed: int = 0

    def encode(self, values: Sequence[Array], context: LeafContext) -> dict[str, Any]:
        """Return packed codes, each group's absmax, and for nu the base of its powers."""
        (m,), (moment,) = values, context.moments
        if moment.signed:
            groups = grouped(m, self.block)
            scale = jnp.maximum(jnp.max(jnp.abs(groups), axis=-1), LEAST_SCALE)
            nearest = _nearest(groups / scale[..., None], MAPS[self.mu_bits])
            codes = packed(ungrouped(nearest, m.shape), self.mu_bits)
            return {"": codes, "scale": scale, "base": MASKED}
        u = to_unit_interval(context.dithers(self.seed)[1])  # drawn anew at each step, as theirs
        codes, scale, base = self.logarithms(m, u)
        return {"": packed(codes, self.nu_bits), "scale": scale, "base": base}

    def logarithms(self, m: Array, u: Array) -> tuple[Array, Array, Array]:
        """Return the codes of a moment that is not negative, the groups' absmax and base.

        Args:
            m: the moment.
            u: a random number in [0, 1) for each element.
        """
        last = 2**self.nu_bits - 1
        groups, dither = grouped(m, self.block), grouped(u, self.block)
        scale = jnp.maximum(jnp.max(groups, axis=-1), LEAST_SCALE)
        base = (_quantile(groups, self.quantile) / scale) ** (1 / last)
        steps = jnp.log2(groups / scale[..., None]) / jnp.log2(base)[..., None]
        # Theirs makes 0 of NaN: of zeros beside a base of 0 (more than a tenth of the group is
        # zero), and of a group of equal numbers. All of these are read as the absmax.
        codes = jnp.nan_to_num(jnp.round(steps + (dither - 0.5)), nan=0.0, posinf=last)
        return ungrouped(jnp.clip(codes, 0, last).astype(jnp.uint8), m.shape), scale, base

    def decode(self, encoded: Mapping[str, Any], context: LeafContext) -> tuple[Array, ...]:
        """Return the moment in float32."""
        (moment,), shape = context.moments, context.shape
        if moment.signed:
            codes = grouped(unpacked(encoded[""], self.mu_bits, shape), self.block)
            x = jnp.asarray(MAPS[self.mu_bits], jnp.float32)[codes]
        else:
            codes = grouped(unpacked(encoded[""], self.nu_bits, shape), self.block)
            x = encoded["base"][..., None] ** codes.astype(jnp.float32)
        return (ungrouped(x * encoded["scale"][..., None], shape),)


def _quantile(groups: Array, q: float) -> Array:
    """Return a low quantile along the last axis, between two numbers by a straight line.

    It is `jnp.quantile`, but sorts the lowest numbers only.
    """
    place = q * (groups.shape[-1] - 1)
    below = int(place)
    lowest = -lax.top_k(-groups, below + 2)[0]
    part = place - below
    return lowest[..., below] * (1 - part) + lowest[..., below + 1] * part


def _nearest(x: Array, values: tuple[float, ...]) -> Array:
    """Return the code of the nearest of the values, of two as near the upper one."""
    middles = (np.array(values[1:], np.float32) + np.array(values[:-1], np.float32)) / 2
    return jnp.searchsorted(jnp.asarray(middles), x, side="right").astype(jnp.uint8)
