"""A model of which each parameter is spread over eight devices in a way of its own."""

from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import adam_optax as ao
from tests.support.formats import FORMATS, ROUNDED

STORAGE: dict[str, Any] = {
    "float32": None,
    **{n: FORMATS[n] for n in ROUNDED},
    "factored": {"nu": ao.storage.factored(8)},
}
SHAPE = (16, 1024)
LAYOUTS = {
    "fsdp": P(("a", "b"), None),
    "tensor_parallel": P(None, "b"),
    "both": P("a", "b"),
    "replicated": P(),
}
KINDS = {"auto": AxisType.Auto, "explicit": AxisType.Explicit}
RNG = np.random.default_rng(0)
VALUES = {n: RNG.standard_normal((4, *SHAPE)).astype(np.float32) for n in LAYOUTS}


def mesh(kind: str, rows: int = 2, columns: int = 4) -> Any:
    """A grid of devices, by how their axes are treated."""
    devices = jax.devices()[: rows * columns]
    return jax.make_mesh((rows, columns), ("a", "b"), (KINDS[kind],) * 2, devices=devices)


def spread(values: Any, over: Any) -> Any:
    """Arrays as laid out over a mesh; on one device if it is None."""
    if over is None:
        return jax.device_put(values, jax.devices()[0])
    return {n: jax.device_put(x, NamedSharding(over, LAYOUTS[n])) for n, x in values.items()}


def start(over: Any) -> Any:
    """The parameters."""
    return spread({n: v[0] for n, v in VALUES.items()}, over)


def gradients(t: int, over: Any) -> Any:
    """Those of one of three steps."""
    return spread({n: v[1 + t % 3] for n, v in VALUES.items()}, over)


def stepper(tx: Any) -> Any:
    """Update and apply."""

    def step(params: Any, state: Any, grads: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            updates, state = tx.update(grads, state, params)
            return optax.apply_updates(params, updates), state

    return step


def ran(tx: Any, over: Any, steps: range, run: Any = None, step: Any = None) -> Any:
    """Parameters and state after some steps."""
    step = jax.jit(stepper(tx)) if step is None else step
    run = (start(over), tx.init(start(over))) if run is None else run
    for t in steps:
        run = step(*run, gradients(t, over))
    return run


def same_places(one: Any, other: Any) -> None:
    """Every array of a tree where that of the other is; a count may be anywhere."""
    for (path, x), y in zip(jax.tree.leaves_with_path(one), jax.tree.leaves(other), strict=True):
        assert not x.ndim or x.sharding.is_equivalent_to(y.sharding, x.ndim), jax.tree_util.keystr(
            path
        )


def same(one: Any, other: Any, share: float = 0.0) -> None:
    """All but this share of the elements of two trees have the same bits."""
    for (path, x), y in zip(jax.tree.leaves_with_path(one), jax.tree.leaves(other), strict=True):
        assert x.dtype == y.dtype
        bits = [np.asarray(a).view(f"uint{8 * a.dtype.itemsize}") for a in (x, y)]
        assert np.mean(bits[0] != bits[1]) <= share, jax.tree_util.keystr(path)


def close(one: Any, other: Any, share: float) -> None:
    """All but this share of the elements of two trees are equal but for a few last digits."""
    for (path, x), y in zip(jax.tree.leaves_with_path(one), jax.tree.leaves(other), strict=True):
        far = ~np.isclose(x, y, rtol=1e-5, atol=0)
        assert np.mean(far) <= share, jax.tree_util.keystr(path)
