"""Shardings that are part of an array's type (JAX's explicit mode)."""

from typing import Any

import jax


def sharding_of(x: Any) -> Any:
    """The sharding in an array's type, or None where the compiler chooses it."""
    sharding = jax.typeof(x).sharding
    return sharding if any(axis is not None for axis in sharding.spec) else None
