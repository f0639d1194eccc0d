"""The bits of float32 numbers."""

import jax.numpy as jnp
from jax import Array, lax

from adam_optax.dither import dither as dither
from adam_optax.dither import dithers as dithers
from adam_optax.dither import unit as unit


def bits_of(x: Array) -> Array:
    """The bits of float32 numbers as uint32: of positive ones, their logarithm, linear between."""
    return lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)


def float_of(bits: Array) -> Array:
    """The float32 numbers with these bits."""
    return lax.bitcast_convert_type(bits.astype(jnp.uint32), jnp.float32)
