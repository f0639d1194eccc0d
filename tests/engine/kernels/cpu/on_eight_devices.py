"""A loop on the parts of a leaf; `test_machine.py` runs this where there are eight devices."""

import functools as ft

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from tests.engine.kernels.cpu.loops import arguments, divide

pytestmark = pytest.mark.skipif(jax.device_count() != 8, reason="needs eight devices")


@pytest.mark.parametrize("rows", [8, 8 * 700])
@pytest.mark.parametrize("by_row", [False, True])
def test_each_device_does_its_part(rows: int, by_row: bool) -> None:
    mesh = jax.make_mesh((8,), ("d",))
    a, *leaf = arguments((rows, 200))
    x, y = jax.device_put(leaf, jax.NamedSharding(mesh, P("d")))
    part = ft.partial(divide, by_row=by_row)
    run = jax.jit(jax.shard_map(part, mesh=mesh, in_specs=(P(), P("d"), P("d")), out_specs=P("d")))
    for _ in range(20):
        r, q = run(a, x, y)
        np.testing.assert_array_equal(r, np.asarray(x) / np.float32(3))
        np.testing.assert_array_equal(q, np.ones(x.shape))
