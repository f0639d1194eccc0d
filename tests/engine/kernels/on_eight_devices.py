"""Kernels on the parts of a leaf; `test_devices.py` runs this where there are eight devices."""

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import adam_optax as ao
from tests.engine.kernels.running import arrays, engine, run
from tests.engine.kernels.test_kernels import alike

pytestmark = pytest.mark.skipif(jax.device_count() != 8, reason="needs eight devices")
STORAGE = {"pair(block=128)": ao.storage.pair(block=128), "pair": ao.storage.pair()}
BLOCKS = "pair(block=128)"
CASES: list[tuple[str, tuple[int, ...], Any]] = [
    (BLOCKS, (256, 1024), P("a", "b")),
    (BLOCKS, (256, 1024), P(None, ("a", "b"))),
    (BLOCKS, (4, 128, 1024), P(None, "b", None)),  # whose rows do not follow on each other
    ("pair", (2, 2, 128, 512), P(None, "a", "b", None)),
    ("pair", (8, 64, 1024), P("a", None, "b")),
    ("pair", (16, 48, 512), P("a", "b", None)),  # whose layers are rows on TPUs
    ("pair", (4, 48, 512), P(None, "b", None)),  # 12 rows of each layer: tiles of 4 on GPUs
]


@pytest.mark.parametrize("flavour", ["tpu", "cuda"])
@pytest.mark.parametrize("kind", ["auto", "explicit", "told"])
@pytest.mark.parametrize(("name", "shape", "spec"), CASES)
def test_parts_have_the_codes_of_the_whole(
    name: str, shape: tuple[int, ...], spec: Any, kind: str, flavour: str
) -> None:
    mode = AxisType.Explicit if kind == "explicit" else AxisType.Auto
    mesh = jax.make_mesh((2, 4), ("a", "b"), axis_types=(mode,) * 2)
    p, grads = arrays(shape)
    one = engine(ao.rules.adam(), STORAGE[name])
    alone = run(one, *jax.device_put((p, grads), jax.devices()[0]))
    place = NamedSharding(mesh, spec)
    with jax.set_mesh(mesh) if kind == "explicit" else contextlib.nullcontext():
        placed = [jax.device_put(g, place) for g in grads]
        told = place if kind == "told" else None
        apart = run(one, jax.device_put(p, place), placed, flavour, shardings=told)
    alike(alone, apart, 8)
    assert apart[0].sharding.is_equivalent_to(place, len(shape))
    for kept in jax.tree.leaves(apart[1]):
        assert kept.shape != shape or kept.sharding.is_equivalent_to(place, len(shape))


def test_a_block_on_two_devices_is_left_to_xla() -> None:
    mesh = jax.make_mesh((8,), ("a",), axis_types=(AxisType.Explicit,))
    p, grads = arrays((256, 1024))
    storage = ao.storage.int8(256)
    with jax.set_mesh(mesh):
        place = NamedSharding(mesh, P(None, "a"))
        apart = run(
            engine(ao.rules.adam(), storage),
            jax.device_put(p, place),
            [jax.device_put(g, place) for g in grads],
        )
    alike(run(engine(ao.rules.adam(), storage), p, grads), apart, 8)
    assert np.all(np.isfinite(jnp.asarray(apart[0])))
