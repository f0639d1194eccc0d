"""Cut the last axis into groups, as the peers cut a flattened array."""

import jax.numpy as jnp
from jax import Array


def grouped(x: Array, size: int) -> Array:
    """Return the groups of neighbours along the last axis, a row each: `(..., groups, size)`.

    A shorter last group is filled with its last element, which changes no maximum and no minimum.
    """
    x = x if x.ndim else x[None]
    missing = -x.shape[-1] % size
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)], mode="edge") if missing else x
    return x.reshape(*x.shape[:-1], x.shape[-1] // size, size)


def ungrouped(groups: Array, shape: tuple[int, ...]) -> Array:
    """Return an array of a shape from its groups: the inverse of `grouped`."""
    if not shape:
        return groups.reshape(-1)[0]
    flat = groups.reshape(*groups.shape[:-2], groups.shape[-2] * groups.shape[-1])
    return flat[..., : shape[-1]].reshape(shape)


def packed(codes: Array, bits: int) -> Array:
    """Put the codes of neighbours along the last axis into one byte: four of 2 bits, two of 4."""
    each = grouped(codes.astype(jnp.uint8), 8 // bits)
    return jnp.sum(each << _shifts(bits, each.ndim), axis=-1, dtype=jnp.uint8)


def unpacked(byte: Array, bits: int, shape: tuple[int, ...]) -> Array:
    """Return the codes that `packed` put into bytes, in an array of a shape, as int32."""
    each = (byte[..., None] >> _shifts(bits, byte.ndim + 1)) & jnp.uint8(2**bits - 1)
    return ungrouped(each.astype(jnp.int32), shape)


def _shifts(bits: int, ndim: int) -> Array:
    """Return by how many bits each code of a byte is shifted, along the last of the axes."""
    return jnp.arange(8 - bits, -1, -bits, dtype=jnp.uint8).reshape((1,) * (ndim - 1) + (-1,))
