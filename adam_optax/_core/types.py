"""Name the types that public functions share."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jax.typing import DTypeLike as DTypeLike

PyTree: TypeAlias = Any
"""Any tree of arrays: JAX cannot express it as a type."""

UpdateFn: TypeAlias = Callable[..., tuple[PyTree, PyTree]]
"""A transformation's `update`: from gradients, state and parameters to updates and state."""

Schedule: TypeAlias = Callable[[Array], ArrayLike]
"""A function from the count of steps, an int32 scalar that is 0 at the first, to a number."""

ScalarOrSchedule: TypeAlias = float | np.number[Any] | Array | Schedule
"""A hyper-parameter: a number, a scalar array (traced ones too) or a schedule."""

Mask: TypeAlias = Callable[[PyTree], PyTree] | PyTree
"""A tree of bools, a prefix of such a tree, a function from the parameters to one, or None."""
