"""Keep moments as `float8()` does, with COAT's idea in it: a power by which a block fills the range.

No other library has this format. It tells what the idea is worth beside this library's dither, its
exact decay and its codes of nu, of which none is zero.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array, lax

from adam_optax._core.dither import to_unit_interval
from adam_optax.moments import Moment
from adam_optax.storage import LeafContext
from adam_optax.storage._float8 import (
    CODE_OFFSET,
    LARGEST,
    MANTISSA_BITS,
    MIN_EXPONENT,
    Float8,
    decay_compensation,
)
