"""Round as bitsandbytes and torchao do: to the nearest number of a codebook, without a dither."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from adam_optax.storage import Format, LeafContext
from adam_optax.storage._base import Moments
from adam_optax.storage._quant.log_grid import MIDDLE


class Undithered(LeafContext):
    """Give formats the dither with which they round to nearest."""

    def dithers(self, seed: int) -> tuple[Array, Array]:
        """Return the middle of the dithers for each element."""
        del seed
        return (jnp.full(self.shape, MIDDLE),) * 2


@dataclasses.dataclass(frozen=True, repr=False)
class Nearest(Format):
    """Keep moments as a format without frame does, rounded to nearest.

    Attributes:
        form: the format.
    """

    function: ClassVar[str] = "Nearest"
    form: Format

    @property
    def components(self) -> tuple[str, ...]:  # type: ignore[override]
        """Return the names of the format's arrays."""
        return self.form.components

    @property
    def block(self) -> int:  # type: ignore[override]
        """Return how many neighbours share something."""
        return self.form.block

    def encode(self, values: Sequence[Array], context: LeafContext) -> dict[str, Any]:
        """Return the format's arrays, rounded to nearest."""
        return self.form.encode(values, Undithered(*context))

    def decode(self, encoded: Mapping[str, Any], context: LeafContext) -> tuple[Array, ...]:
        """Return the moments that the format reads."""
        return self.form.decode(encoded, context)


@dataclasses.dataclass(frozen=True, repr=False)
class NearestTogether(Nearest):
    """Keep moments as a format without frame does that keeps two in one code."""

    def together(self, moments: Moments) -> tuple[str, ...]:
        """Return the moments that the format keeps together."""
        return self.form.together(moments)
