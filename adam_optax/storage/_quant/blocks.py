"""Reduce and expand blocks of neighbours along the last axis, ragged ends and scalars included."""

import dataclasses

import jax.numpy as jnp
from jax import Array, lax


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Cut the last axis into runs of `size`; the last run may be shorter.

    An array of one number per block has the shape of the whole array, with the last axis divided by
    `size`, rounded up; a scalar is a block of its own. Reductions are along the last axis only, so
    that arrays which are sharded along other axes need no communication.

    Attributes:
        size: the number of elements in a block.
    """

    size: int

    def max(self, x: Array) -> Array:
        """Return the largest number of each block; numbers must not be negative."""
        return jnp.max(self._rows(x, 0), axis=-1, initial=0) if x.ndim else x

    def min(self, x: Array) -> Array:
        """Return the smallest number of each block."""
        return jnp.min(self._rows(x, jnp.inf), axis=-1, initial=jnp.inf) if x.ndim else x

    def _rows(self, x: Array, beyond: float) -> Array:
        """Return an array with a block in each row; fill up a shorter last block."""
        count = -(-x.shape[-1] // self.size)
        ragged = count * self.size - x.shape[-1]
        if ragged:  # XLA fuses this into the reduction: nothing is copied
            padding = [(0, 0, 0)] * (x.ndim - 1) + [(0, ragged, 0)]
            x = lax.pad(x, jnp.full((), beyond, x.dtype), padding)
        return x.reshape(*x.shape[:-1], count, self.size)

    def expand(self, shared: Array, shape: tuple[int, ...]) -> Array:
        """Return the number of each element's block, in the shape of the whole array."""
        if not shape:
            return shared
        each = jnp.broadcast_to(shared[..., None], (*shared.shape, self.size))
        return each.reshape(*shape[:-1], shared.shape[-1] * self.size)[..., : shape[-1]]


def check_block(block: int, what: str) -> int:
    """Return a block's size, or refuse it.

    Raises:
        TypeError: if the size is no int.
        ValueError: if the size is not positive.
    """
    if isinstance(block, bool) or not isinstance(block, int):
        raise TypeError(f"{what}: block must be an int, not {block!r}")
    if block < 1:
        raise ValueError(f"{what}: block must be positive, not {block}; 128 is a good size")
    return block
