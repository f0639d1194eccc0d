"""Keep the product of the decay rates of an average whose rate follows a schedule.

An average `m = b_t m + (1 - b_t) x` that began at zero has seen the weight `1 - b_1 b_2 ... b_t`.
The present rate alone does not tell that product, so that the state keeps the product's negative
logarithm to base 2, as an integer of 48 digits after the point: nothing is lost in a sum of 10^5
terms, nothing cancels, and every backend finds the same digits.
"""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from adam_optax._core.numerics import LARGEST_RATE, log_rate

LIMB = 16
"""How many binary digits an integer of a log decay holds."""
FRACTION = 3
"""How many of the integers of a log decay are after the point."""
LARGEST = 1 << 20
"""The octaves at which a log decay stops to grow: the product is 0 in every dtype long before."""


def no_decay() -> Array:
    """Return the log decay of an average before its first step, `int32[4]`."""
    return jnp.zeros(1 + FRACTION, jnp.int32)


def add_decay(log_decay: Array, b: ArrayLike) -> Array:
    """Return the log decay after one more step.

    Args:
        log_decay: `-log2` of the product of the rates so far: whole octaves, then three integers of
            sixteen digits after the point.
        b: the rate of the step, in [0, 1).
    """
    rest = log_rate(jnp.asarray(b)) / math.log(2)
    limbs = []
    for _ in range(1 + FRACTION):  # exact: a float's leading digits are taken off, one by one
        whole = jnp.floor(rest)
        limbs.append(whole.astype(jnp.int32))
        rest = (rest - whole) * 2**LIMB
    total, carry = [], jnp.zeros((), jnp.int32)
    for i in reversed(range(1, 1 + FRACTION)):
        limb = log_decay[i] + limbs[i] + carry
        total.append(limb & (2**LIMB - 1))
        carry = limb >> LIMB
    octaves = jnp.minimum(log_decay[0] + limbs[0] + carry, LARGEST)
    return jnp.stack([octaves, *reversed(total)])


def log_decay_of(rates: np.ndarray[Any, np.dtype[np.float64]]) -> Array:
    """Return the log decay after steps with these rates, for states that come from elsewhere."""
    octaves = math.fsum(np.minimum(-np.log2(np.maximum(rates, 1e-300)), LARGEST_RATE / math.log(2)))
    digits = round(min(octaves, LARGEST) * 2 ** (LIMB * FRACTION))
    limbs = [digits >> (LIMB * FRACTION)]
    limbs += [digits >> (LIMB * i) & (2**LIMB - 1) for i in reversed(range(FRACTION))]
    return jnp.asarray(limbs, jnp.int32)


def effective_age(log_decay: Array, b: ArrayLike, dtype: DTypeLike) -> Array:
    """Return the number of steps at the rate `b` after which as little of the start is left.

    With this age in the place of the step `t`, a formula in `b^t` holds for a rate that moves:
    `b^age` is the product of all rates so far, `b^(age - 1)` the product before this step.

    Args:
        log_decay: what `add_decay` returned for this step.
        b: the rate of this step.
        dtype: the dtype of the age.
    """
    octaves, *limbs = (x.astype(dtype) for x in log_decay)
    fraction = jnp.zeros((), dtype)
    for limb in reversed(limbs):
        fraction = (limb + fraction) / 2**LIMB
    # The log decay has this step's rate in it, so that only rounding makes an age below 1.
    age: Array = (octaves + fraction) * (math.log(2) / log_rate(jnp.asarray(b, dtype)))
    return jnp.maximum(age, 1.0)


def phase(log_decay: Array, octaves: int = 1) -> Array:
    """Return the log decay modulo one or two octaves, in units of `octaves 2^-32`, as uint32."""
    whole, high, low, _ = (x.astype(jnp.uint32) for x in log_decay)
    fraction: Array = (high << LIMB) | low
    return fraction if octaves == 1 else jnp.bitwise_or((whole & 1) << 31, fraction >> 1)
