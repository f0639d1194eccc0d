"""Round to a 16-bit dtype on the bits of float32, and compute the update that reaches a value.

A cast would not do for the rounding: XLA may leave out a cast to sixteen bits and back
(`xla_allow_excess_precision`, which is on by default).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from adam_optax.storage._quant.bits import bits_of, float_of


def round_to_dtype(x: Array, dtype: DTypeLike, dither: Array | np.uint32 | None = None) -> Array:
    """Round float32 to the grid of a narrower dtype: `floor(|x| + dither)` in units of the grid.

    The bits of a float, read as an integer, count upwards through all floats of its sign, so that
    a dither that is added to the bits to be dropped carries into the bits that stay. If the dither
    is uniform, the result is unbiased to 2^-drop of a unit, `drop` the number of bits dropped.

    Args:
        x: float32.
        dtype: bfloat16 or float16.
        dither: uint32, of the shape of `x` or a scalar; its highest bits count. None: round to
            nearest, halves to even, as a cast does.

    Returns:
        Numbers of `dtype`, in float32. Inf and NaN stay what they are; what is finite stays finite:
        beyond the largest number of `dtype`, it becomes that number.
    """
    info = jnp.finfo(dtype)
    drop, tiny = np.uint32(23 - info.nmant), np.float32(info.tiny)
    magnitude = jnp.abs(x)
    base = jnp.where(magnitude < tiny, tiny, jnp.zeros_like(x))  # below, the grid is as at tiny
    bits = bits_of(magnitude + base)
    if dither is None:
        raised = bits + np.uint32(2 ** (int(drop) - 1) - 1) + (bits >> drop & np.uint32(1))
    else:
        raised = bits + (dither >> (np.uint32(32) - drop))
    rounded = float_of(raised >> drop << drop) - base
    rounded = jnp.minimum(rounded, np.float32(info.max))
    return jnp.where(jnp.isfinite(x), jnp.copysign(rounded, x), x)


def update_to_reach(p: Array, target: Array) -> tuple[Array, Array]:
    """Return the update with which `apply_updates` takes `p` to the target, and the value reached.

    The update is `target - p`, which is exact in float32, or small beside the target's own unit,
    for every target that is the rounded sum of `p` and a float32 number. Out of reach are a target
    that float32 itself flushes to zero on the way, a finite target from a parameter that is not
    finite, and -0.

    Args:
        p: the parameter in its dtype.
        target: numbers of that dtype, in float32.

    Returns:
        The update in float32, and `p + update` in float32 on the grid of the parameter's dtype.
    """
    wide = p.astype(jnp.float32)
    still = jnp.copysign(jnp.zeros_like(target), target)  # inf - inf would be NaN
    update = jnp.where(wide == target, still, target - wide)
    return update, round_to_dtype(wide + update, p.dtype)


@jax.custom_jvp
def straight_through(given: Array, emitted: Array) -> Array:
    """Return the emitted update, with the derivative of the update that was given."""
    del given
    return emitted


@straight_through.defjvp
def _straight_through_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    return straight_through(*primals), tangents[0]
