"""Some weights of a layer in place of all of them."""

import functools as ft
import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from adam_optax._watch.state import UNKNOWN


@ft.lru_cache(maxsize=1024)
def picker(shape: tuple[int, ...], width: int) -> Callable[[Array], Array]:
    """A function from an array of this shape to at most `width` of its elements, and half as many.

    A grid of them, even over all axes. Sliced rather than gathered: XLA computes of what leads to
    a slice only the elements that are in it, and a slice of a sharded array stays where it is.
    """
    steps = list(strides(shape, width))
    places = tuple(slice(step // 2, None, step) for step in steps)
    return lambda a: a[places].reshape(-1) if a.shape == shape else a.reshape(-1)


def strides(shape: tuple[int, ...], width: int) -> tuple[int, ...]:
    """The distances, powers of two, of a grid of at most `width` places."""
    steps, counts = [1] * len(shape), list(shape)
    while math.prod(counts) > width:
        longest = counts.index(max(counts))
        steps[longest] *= 2
        counts[longest] = len(range(steps[longest] // 2, shape[longest], steps[longest]))
    return tuple(steps)


def padded(a: Array | None, width: int) -> Array:
    """float32 of shape (width,): what is not finite, and the rest, is `UNKNOWN`."""
    if a is None:
        return jnp.full(width, UNKNOWN, jnp.float32)
    some = jnp.where(jnp.isfinite(a), a, UNKNOWN).astype(jnp.float32)
    return jnp.pad(some, (0, width - some.size), constant_values=UNKNOWN)
