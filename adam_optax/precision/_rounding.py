"""Where a sixteen-bit parameter lands: rounding by the bits, and the update that gets it there.

Casts would not do for the rounding: XLA may leave out a cast to sixteen bits and back
(`xla_allow_excess_precision`, which is on).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax


def bits(x: Array) -> Array:
    """The bits of a floating array as unsigned integers of its size."""
    return lax.bitcast_convert_type(x, jnp.uint16 if x.dtype.itemsize == 2 else jnp.uint32)


def floats(x: Array, dtype: Any = jnp.float32) -> Array:
    """The floating array that has these bits."""
    return lax.bitcast_convert_type(x, dtype)


def rounded(x: Array, dtype: Any, dither: Array | np.uint32 | None = None) -> Array:
    """`x` in float32, on the grid of a narrower dtype: `floor(|x| + dither)` in units of the grid.

    A float's bits, read as an integer, count upwards through all floats of its sign, so that
    adding to those that are dropped carries into those that stay. Unbiased to 2^-drop of a unit,
    `drop` the number of bits dropped, if the dither is uniform.

    Args:
        x: float32.
        dtype: bfloat16 or float16.
        dither: uint32, of the shape of `x` or a scalar; its highest bits count. None: to nearest,
            halves to even, as a cast rounds.

    Returns:
        Numbers of `dtype`, in float32. What is not finite stays what it is.
    """
    info = jnp.finfo(dtype)
    drop, tiny = np.uint32(23 - info.nmant), np.float32(info.tiny)
    size = jnp.abs(x)
    base = jnp.where(size < tiny, tiny, jnp.zeros_like(x))  # below, the grid is as at tiny
    whole = bits(size + base)
    if dither is None:
        raised = whole + np.uint32(2 ** (int(drop) - 1) - 1) + (whole >> drop & np.uint32(1))
    else:
        raised = whole + (dither >> (np.uint32(32) - drop))
    grid = floats(raised >> drop << drop) - base
    grid = jnp.where(grid > np.float32(info.max), jnp.inf, grid)
    return jnp.where(jnp.isfinite(x), jnp.copysign(grid, x), x)


def land(p: Array, target: Array) -> tuple[Array, Array]:
    """The update with which `apply_updates` takes `p` to the target, and where that lands.

    `target - p`, which is exact in float32 or small beside the target's own unit for every target
    that is the rounded sum of `p` and a float32 number. Out of reach are a target that float32
    itself flushes to zero on the way, a finite one from a parameter that is not, and -0.

    Args:
        p: the parameter in its dtype.
        target: numbers of that dtype, in float32.

    Returns:
        The update in float32, and `p + update` in float32 on the grid of the parameter's dtype.
    """
    wide = p.astype(jnp.float32)
    still = jnp.copysign(jnp.zeros_like(target), target)  # inf - inf would be NaN
    update = jnp.where(wide == target, still, target - wide)
    return update, rounded(wide + update, p.dtype)


@jax.custom_jvp
def in_place_of(given: Array, emitted: Array) -> Array:
    """The update that is emitted, with the derivative of the one that was given."""
    del given
    return emitted


@in_place_of.defjvp
def _in_place_of_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> Any:
    return in_place_of(*primals), tangents[0]
