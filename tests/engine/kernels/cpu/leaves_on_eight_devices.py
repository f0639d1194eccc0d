"""Steps of leaves on eight CPU devices; `test_paths.py` runs this where there are eight."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import adam_optax as ao
from tests.engine.kernels.cpu.looping import loops_in

pytestmark = pytest.mark.skipif(jax.device_count() != 8, reason="needs eight devices")


def step(params: Any, state: Any, grads: Any) -> Any:
    return ao.step(TX, grads, state, params)


TX = ao.adamw(0.1, storage=ao.storage.int8(100))
G = jnp.asarray(np.random.default_rng(0).standard_normal((16, 301), np.float32))


def alone() -> Any:
    """Return the step that XLA alone makes on one device."""
    with ao.cpu_loops("never"):
        return jax.jit(step)(*jax.device_put((G, TX.init(G), G), jax.devices()[0]))


def alike(found: Any) -> None:
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(alone()), strict=True):
        # Codes of a few elements may be tipped by the last bit of a moment.
        assert np.mean(~np.isclose(np.float64(x), np.float64(y), rtol=1e-5, atol=1e-7)) < 1e-3


def test_parts_under_shard_map_are_loops() -> None:
    mesh = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Auto,))
    state = TX.init(G)
    spec = jax.tree.map(lambda x: P("d") if jnp.ndim(x) else P(), state)
    part = jax.shard_map(
        step, mesh=mesh, in_specs=(P("d"), spec, P("d")), out_specs=(P("d"), spec), check_vma=False
    )
    assert loops_in(part, G, state, G) == 1
    found, _ = jax.jit(part)(G, state, G)
    alike_in_size(found)


def alike_in_size(found: Any) -> None:
    """A part has dithers of its own, which the first step's size hardly depends on."""
    np.testing.assert_allclose(found, alone()[0], rtol=1e-4, atol=0.01)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_leaves_that_xla_spreads_are_xla_s(kind: AxisType) -> None:
    mesh = jax.make_mesh((8,), ("d",), axis_types=(kind,))
    place = jax.NamedSharding(mesh, P("d"))
    g = jax.device_put(G, place)
    with jax.set_mesh(mesh):
        state = jax.jit(TX.init)(g)
        assert loops_in(step, g, state, g) == 0
        found = jax.jit(step)(g, state, g)
    alike(found)
