"""What differs between the versions of JAX that are supported."""

import jax
import pytest

SINCE_0_10_2 = pytest.mark.skipif(
    jax.__version_info__ < (0, 10, 2),
    reason="the older XLA divides by a scalar, and writes what it sums and what is donated anew",
)
"""A mark of tests of what XLA for CPUs does itself, beside which loops are compared."""


def host_memory() -> str:
    """Return the kind of memory that JAX gives for the host's; on a CPU, JAX 0.10.0 has but one."""
    placed = jax.device_put(jax.numpy.ones(1), jax.memory.Space.Host)
    kind = str(placed.sharding.memory_kind)
    assert kind in ("pinned_host", "device")
    return kind
