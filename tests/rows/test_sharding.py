"""Check that a table spread over eight devices is never gathered, and trains as on one."""

import os
import subprocess
import sys

import pytest

SHARDED = """
import re
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_numpy_dtype_promotion", "strict")
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from adam_optax import rows
assert len(jax.devices()) == 8
mesh = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Auto,))
V, D, R = 4096, 16, 64
rng = np.random.default_rng(0)
table = jnp.asarray(rng.standard_normal((V, D)), jnp.float32)
ids = jnp.asarray((rng.zipf(1.2, (20, R)) - 1) % V, jnp.int32)
for tx in (rows.adamw(1e-2, weight_decay=0.1), rows.adam(1e-2, exact=False), rows.amsgrad(1e-2)):
    def step(state, ids):
        batch = rows.unique(ids, V)
        found = tx.lookup(state, batch.ids)
        g = jax.grad(lambda p: jnp.sum(jnp.sin(p[batch.local])))(found.params)
        return tx.apply(state, found, g)
    start = tx.init(table)
    over = lambda x: NamedSharding(mesh, P("d") if x.shape[:1] == (V,) else P())
    places = jax.tree.map(over, start)
    run = jax.jit(step, donate_argnums=0, out_shardings=places)
    state = jax.device_put(tx.init(table + 0), places)
    text = run.lower(state, ids[0]).compile().as_text()
    assert "all-reduce" in text
    for op in ("all-gather", "all-to-all", "collective-permute"):
        for line in text.splitlines():
            if f" {op}(" in line or f" {op}-start(" in line:
                sizes = [int(n) for n in re.findall(r"\\d+", line.split("=")[1].split("{")[0])]
                assert np.prod(sizes[1:]) <= R * D, line  # of a batch's rows, not of the table
    assert f"[{V},{D}]" not in text, "the whole table is on one device"
    alone = jax.jit(step)
    for i in ids:
        state, start = run(state, i), alone(start, i)
    for x, y in zip(jax.tree.leaves(state), jax.tree.leaves(start), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-7)  # XLA fuses in other places
    found, _ = tx.materialize(state)
    assert found.sharding.is_equivalent_to(NamedSharding(mesh, P("d")), 2)
"""


@pytest.mark.heavy
def test_rows_over_eight_devices() -> None:
    env = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    env |= {"PYTHONPATH": os.pathsep.join(sys.path), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", SHARDED], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
