"""Name the types that arguments of optimisers have."""

from collections.abc import Callable
from typing import Any, TypeAlias

from jax import Array

ScalarOrSchedule: TypeAlias = float | Array | Callable[[Array], Array | float]
"""A number, a scalar array, or a schedule `count -> value`."""

Mask: TypeAlias = Any | Callable[[Any], Any] | None
"""A tree of bools, a prefix of one, or a function from the parameters to one."""
