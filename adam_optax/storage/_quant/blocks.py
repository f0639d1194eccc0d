"""Blocks of neighbours along the last axis: what they share, ragged ends and scalars included."""

import dataclasses

import jax.numpy as jnp
from jax import Array, lax


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Runs of `size` along the last axis, the last of them as long as is left.

    What a block shares has the array's shape with the last axis divided by `size`, rounded up; a
    scalar is a block of its own. Nothing is reduced along another axis, so that arrays which are
    sharded along those need no communication.

    Attributes:
        size: how many elements share something.
    """

    size: int

    def most(self, x: Array) -> Array:
        """The largest of each block of numbers that are not negative."""
        return jnp.max(self._rows(x, 0), axis=-1, initial=0) if x.ndim else x

    def least(self, x: Array) -> Array:
        """The smallest of each block of numbers."""
        return jnp.min(self._rows(x, jnp.inf), axis=-1, initial=jnp.inf) if x.ndim else x

    def _rows(self, x: Array, beyond: float) -> Array:
        """A block a row, the last one of an axis filled up."""
        count = -(-x.shape[-1] // self.size)
        ragged = count * self.size - x.shape[-1]
        if ragged:  # XLA fuses this into the reduction: nothing is copied
            padding = [(0, 0, 0)] * (x.ndim - 1) + [(0, ragged, 0)]
            x = lax.pad(x, jnp.full((), beyond, x.dtype), padding)
        return x.reshape(*x.shape[:-1], count, self.size)

    def spread(self, shared: Array, shape: tuple[int, ...]) -> Array:
        """What each element's block shares."""
        if not shape:
            return shared
        each = jnp.broadcast_to(shared[..., None], (*shared.shape, self.size))
        return each.reshape(*shape[:-1], shared.shape[-1] * self.size)[..., : shape[-1]]


def check_block(block: int, what: str) -> int:
    """A block's size, if it is one.

    Raises:
        TypeError: if it is no int.
        ValueError: if it is not positive.
    """
    if isinstance(block, bool) or not isinstance(block, int):
        raise TypeError(f"{what}: block must be an int, not {block!r}")
    if block < 1:
        raise ValueError(f"{what}: block must be positive, not {block}; 128 is a good size")
    return block
