"""A step compiled for accelerators moves bytes for the rows touched, not for the table."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from adam_optax import rows
from tests.aot import targets

pytestmark = pytest.mark.heavy

WIDTH, TOUCHED = 128, 4096


def scratch_and_text(target: str, num_rows: int, touched: int) -> tuple[int, int, str]:
    """Bytes of scratch, bytes of output not in place, and the compiled module."""
    if absent := targets.missing(target):
        pytest.skip(f"pip install 'adam-optax[aot]' ({', '.join(absent)})")
    tx = rows.adam(1e-3)
    place = jax.sharding.SingleDeviceSharding(targets.device(target))
    there = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)  # noqa: E731
    state = jax.eval_shape(tx.init, jax.ShapeDtypeStruct((num_rows, WIDTH), jnp.float32))
    ids = jax.ShapeDtypeStruct((touched,), jnp.int32)

    def step(state: Any, ids: Any) -> Any:  # as from `unique`, whose sort takes long to compile
        found = tx.lookup(state, ids)
        return tx.apply(state, found, jnp.sin(found.params))

    traced = jax.jit(step, donate_argnums=0).trace(*jax.tree.map(there, (state, ids)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = traced.lower(lowering_platforms=(targets.platform(target),)).compile()
    memory = done.memory_analysis()
    copied = memory.output_size_in_bytes - memory.alias_size_in_bytes
    return memory.temp_size_in_bytes, copied, done.as_text(), done.cost_analysis()
