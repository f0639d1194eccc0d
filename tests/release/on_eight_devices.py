"""Released steps on eight devices; `test_eight_devices.py` runs this where there are eight."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import adam_optax as ao
from tests.engine.sharding.layouts import same_places
from tests.release import model

pytestmark = pytest.mark.skipif(jax.device_count() != 8, reason="needs eight devices")

FSDP = {
    "embed": P(None, "data"),
    "layers": {
        "in": {"kernel": P(None, None, "data")},
        "out": {"kernel": P(None, "data", None), "bias": P(None, "data")},
        "scale": P(),
    },
    "head": P("data", None),
}
OPTIMIZERS: dict[str, Any] = {
    "adamw": lambda: ao.adamw(1e-2),
    "pair()": lambda: ao.adamw(1e-2, storage=ao.storage.pair()),
    "clip and average": lambda: optax.chain(
        ao.clip_by_block_rms(1e-3, stacked=lambda path, p: int(path.startswith("layers/"))),
        ao.adamw(1e-2),
        ao.temporal_average(warmup=True),
    ),
}


@pytest.fixture(autouse=True)
def _made_by_xla() -> Iterator[None]:
    with ao.cpu_loops("never"), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fsdp_parameters_take_the_ordinary_step_where_they_are(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batch and parameters are spread over the same axis; the layers' axis is whole."""
    mesh = jax.make_mesh((8,), ("data",), (AxisType.Auto,))
    there = lambda spec: NamedSharding(mesh, spec)  # noqa: E731
    whole = model.parameters()
    params = jax.device_put(whole, jax.tree.map(there, FSDP))
    rng = np.random.default_rng(2)
    words = [jnp.asarray(rng.integers(0, model.WORDS, 16)) for _ in "XY"]
    runs = []
    for start, place in ((params, there(P("data"))), (whole, jax.devices()[0])):
        for each, x in zip("XY", words, strict=True):
            monkeypatch.setattr(model, each, jax.device_put(x, place))
        runs.append(model.trained(OPTIMIZERS[name](), model.loss, start))
    (ordinary, released), (alone, _) = runs
    # Sums over the batch and over spread axes go in another order in each of the programs.
    assert_close(ordinary, released, name)
    assert_close(alone, released, name)
    (new, state), _ = released
    same_places(new, params)
    same_places(state, OPTIMIZERS[name]().init(params))


@pytest.mark.parametrize("storage", [None, ao.storage.pair()], ids=["float32", "pair()"])
def test_under_explicit_shardings_a_step_has_the_bits_of_the_ordinary_one(storage: Any) -> None:
    """Each layer's weights are gathered in the layer, as a model for FSDP says there."""
    mesh = jax.make_mesh((8,), ("data",), (AxisType.Explicit,))
    tx, rng = ao.adamw(1e-2, storage=storage), np.random.default_rng(3)
    draw = lambda *shape: 0.1 * rng.standard_normal(shape, np.float32)  # noqa: E731

    def block(h: Any, p: Any) -> tuple[Any, None]:
        one, other = (jax.sharding.reshard(p[n], P()) for n in ("in", "out"))
        return h + jnp.tanh(h @ one) @ other, None

    def loss(scan: Any, params: Any, x: Any) -> Any:
        return jnp.mean(scan(block, x, params["layers"])[0] ** 2)

    @jax.jit
    def ordinary(params: Any, state: Any, x: Any) -> Any:
        value, grads = jax.value_and_grad(lambda p: loss(jax.lax.scan, p, x))(params)
        return *ao.step(tx, grads, state, params), value

    @jax.jit
    def released(params: Any, state: Any, x: Any) -> Any:
        of = lambda p: loss(ao.release.scan, p, x)  # noqa: E731
        return ao.release.step(tx, of, state, params, layers="layers")

    with jax.set_mesh(mesh):
        layers = {"in": draw(4, 8, 16), "out": draw(4, 16, 8)}
        specs = {"in": P(None, None, "data"), "out": P(None, "data", None)}
        params = jax.device_put({"layers": layers}, {"layers": specs})
        state, x = tx.init(params), jax.device_put(draw(16, 8), P("data"))
        run, other = (step(params, state, x) for step in (ordinary, released))
    model.assert_same(run, other)
    same_places(other, run)
    same_places(other[0], params)


def assert_close(run: Any, other: Any, name: str) -> None:
    (params, state), losses = run
    (others, other_state), other_losses = other
    model.assert_same((params, losses), (others, other_losses), rtol=1e-5)
    tx = OPTIMIZERS[name]()
    one, two = ao.read_moments(state, tx, params), ao.read_moments(other_state, tx, others)
    model.assert_same(one, two, rtol=1e-5 if name != "pair()" else 1e-2)  # a code or its neighbour
