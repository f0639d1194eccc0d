"""What holds of a step on the host beside other devices; `test_offload_step.py` runs this."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import adam_optax as ao

pytestmark = pytest.mark.skipif(jax.device_count() != 3, reason="needs three devices")
HOST, NEAR, NEXT = (*jax.devices(), None, None)[:3]
SMALL = 2**14
"""Bytes of a group: a third of the parameters."""
SMALL_LEAF = 16
"""Elements of the smallest leaves, which take their step together."""
SHAPES = {"a": (32, 128), "b": (300,), "c": (32, 128), "none": (33,), "s": (), "tiny": (3,)}
PARAMS = {n: np.linspace(-1, 1, int(np.prod(s)), dtype="f4").reshape(s) for n, s in SHAPES.items()}
PARAMS |= {"half": np.full((40, 64), 0.25, jnp.bfloat16)}


def rate(t: jax.Array) -> jax.Array:
    return 1e-2 / (1.0 + t.astype(jnp.float32))


def decayed(params: Any) -> Any:
    return jax.tree.map(lambda p: p.ndim > 1, params)


def clipped(storage: Any) -> optax.GradientTransformation:
    tx = ao.adamw(rate, weight_decay=0.1, mask=decayed, storage=storage)
    return optax.chain(ao.clip_by_global_norm(1.0), tx)


def gradients(t: int, without: tuple[str, ...] = ("none",)) -> dict[str, Any]:
    waves = {
        n: (3 * np.cos((t + 1) * np.arange(p.size)).reshape(p.shape)).astype(p.dtype)
        for n, p in PARAMS.items()
    }
    return waves | dict.fromkeys(without)


def bits(tree: Any) -> list[tuple[str, bytes]]:
    leaves = jax.tree.leaves_with_path(tree)
    return [(jax.tree_util.keystr(path), np.asarray(x).tobytes()) for path, x in leaves]


def beside(
    tx: optax.GradientTransformation,
    off: optax.GradientTransformation,
    run: Callable[..., Any] = ao.step,
    steps: int = 3,
    grads: Callable[[int], Any] = gradients,
    near: Any = None,
) -> tuple[Any, Any]:
    """Take steps of `tx` under jit on the host, and of `off` beside a device; hold the bits."""
    near = NEAR if near is None else near
    p, q = jax.device_put(PARAMS, HOST), jax.device_put(PARAMS, near)
    whole, state, other = jax.jit(lambda g, s, p: run(tx, g, s, p)), tx.init(p), off.init(q)
    for t in range(steps):
        result, state = whole(jax.device_put(grads(t), HOST), state, p)
        sent, other = run(off, jax.device_put(grads(t), near), other, q)
        assert bits(sent) == bits(result)
        assert bits(getattr(other, "inner_state", other)) == bits(state)
        if run is ao.step:
            p, q = result, sent
    assert {d for x in jax.tree.leaves(other) for d in x.devices()} == {HOST}
    return sent, other


def update(tx: Any, grads: Any, state: Any, params: Any) -> Any:
    return tx.update(grads, state, params)


# --- The numbers are those of the step under jit ------------------------------------------------

FORMATS = {
    "float32": None,
    "stochastic": ao.storage.stochastic(),
    "pair": ao.storage.pair(),
    "pair-block": ao.storage.pair(block=128),
    "int8": ao.storage.int8(),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.quick if n == "float32" else ()) for n in FORMATS]
)
def test_a_step_in_groups_has_the_bits_of_the_whole(name: str) -> None:
    tx = clipped(FORMATS[name])
    sent, _ = beside(tx, ao.offload_step(tx, group_bytes=SMALL))
    assert all(x.devices() == {NEAR} for x in jax.tree.leaves(sent))


@pytest.mark.parametrize(
    "tx",
    [
        pytest.param(ao.lamb(rate), id="lamb"),
        pytest.param(ao.adam(1e-2, b2=lambda t: 1 - 1 / (2.0 + t)), id="schedule-of-b2"),
        pytest.param(
            ao.adamw(
                ao.by_path({"a|b": 1e-2, ".*": rate}),
                b2=ao.by_path({"a": 0.99, ".*": 0.999}),
                storage=ao.storage.stochastic(),
            ),
            id="by-path",
        ),
        pytest.param(optax.chain(ao.adam(1e-2), ao.clip_by_global_norm(0.1)), id="clipped-after"),
        pytest.param(optax.MultiSteps(ao.adam(1e-2), 2).gradient_transformation(), id="multi"),
        pytest.param(optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-2)), id="optax"),
    ],
)
def test_what_mixes_leaves_is_exact(tx: optax.GradientTransformation) -> None:
    standard = jax.numpy_dtype_promotion("standard")  # optax's functions need it
    with standard:
        every = lambda t: gradients(t, without=())  # noqa: E731
        beside(tx, ao.offload_step(tx, group_bytes=SMALL), grads=every)
        beside(tx, ao.offload_step(tx, group_bytes=SMALL), update, grads=every)


def test_masters_and_parameters_stay_with_the_host() -> None:
    wide = optax.stateless_with_tree_map(lambda g, _: g.astype(jnp.float32))
    tx = optax.chain(wide, clipped(None), ao.precision.split_master())
    off = ao.offload_step(tx, keep_params=True, group_bytes=SMALL)
    with jax.numpy_dtype_promotion("standard"):  # float32 updates of bfloat16 parameters
        params, state = beside(tx, off, grads=lambda t: gradients(t, without=()))
    assert bits(state.params) == bits(params)


# --- What goes over the link --------------------------------------------------------------------


class Link:
    """Count the bytes that `jax.device_put` moves to the host and away from it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[tuple[str, int]] = []
        put = jax.device_put

        def counted(tree: Any, *places: Any, **options: Any) -> Any:
            moved = put(tree, *places, **options)
            pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(moved), strict=True)
            for x, y in pairs:
                if isinstance(x, jax.Array) and x.devices() != y.devices():
                    self.log.append(("there" if y.devices() == {HOST} else "back", x.nbytes))
            return moved

        monkeypatch.setattr(jax, "device_put", counted)


@pytest.mark.parametrize(
    ("dtype", "keep", "run", "there", "back", "storage"),
    [
        # Gradients go, parameters come: as ZeRO-Offload.
        pytest.param("bfloat16", True, ao.step, 2, 2, None, marks=pytest.mark.quick),
        ("bfloat16", True, ao.step, 2, 2, ao.storage.stochastic()),
        ("bfloat16", False, ao.step, 4, 2, None),
        ("float32", True, ao.step, 4, 4, None),
        ("float32", False, ao.step, 8, 4, None),
        ("float32", False, update, 4, 4, None),  # Adam reads no parameters
    ],
)
def test_the_bytes_over_the_link(
    dtype: str,
    keep: bool,
    run: Any,
    there: int,
    back: int,
    storage: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The state's format does not count, because the state stays."""
    size = 64 * 64
    params = {k: jnp.zeros((64, 64), dtype, device=NEAR) for k in "abcd"}
    grads = jax.tree.map(jnp.copy, params)
    tx = optax.chain(ao.clip_by_global_norm(1.0), ao.adam(1e-3, storage=storage))
    off = ao.offload_step(tx, keep_params=keep, group_bytes=1)
    state = off.init(params)
    link = Link(monkeypatch)
    run(off, grads, state, params)
    scalars = [(way, n) for way, n in link.log if n < size]
    assert scalars == [("there", 4)]  # the sum of squares
    arrays = [way for way, n in link.log if n >= size]
    sums = {way: sum(n for w, n in link.log if w == way) for way in ("there", "back")}
    assert sums == {"there": there * 4 * size + 4, "back": back * 4 * size}
    # A leaf is a group here; the second is on its way before the first comes back.
    leaf = ["there"] * ((len(arrays) - 4) // 4)
    assert arrays == leaf + [*leaf, "back"] * 3 + ["back"]


# --- Donation, places, what is unknown ----------------------------------------------------------


def addresses(state: Any) -> list[int]:
    return [x.unsafe_buffer_pointer() for x in jax.tree.leaves(state) if x.size > SMALL_LEAF]


@pytest.mark.quick
@pytest.mark.parametrize("keep", [False, True])
def test_what_is_given_away_is_deleted_and_nothing_else(keep: bool) -> None:
    tx = optax.chain(ao.clip_by_global_norm(1.0), ao.adam(1e-2))
    grads = jax.device_put(gradients(0, ()), NEAR)
    runs = []
    for donate in (False, True):
        off = ao.offload_step(tx, keep_params=keep, donate=donate, group_bytes=SMALL)
        params = jax.device_put(PARAMS, NEAR)
        state = off.init(params)
        for _ in range(2):
            old, before = jax.tree.leaves((params, state)), addresses(state)
            with jax.transfer_guard("disallow"):  # but for those that are asked for
                params, state = ao.step(off, grads, state, params)
            assert [x.is_deleted() for x in old] == [donate] * len(old)
            assert (addresses(state) == before) == donate  # in place, each moment in its own
        runs.append(bits((params, state)))
    assert runs[0] == runs[1]
    assert not any(x.is_deleted() for x in jax.tree.leaves(grads))


def test_an_array_in_two_places_is_not_given_away() -> None:
    off = ao.offload_step(ao.sgd(1e-2), donate=True)
    both = jnp.ones((8, 8), device=NEAR)
    params, _ = ao.step(off, [both], off.init([both]), [both])  # the gradient, too
    assert float(both[0, 0]) == 1.0
    assert params[0].devices() == {NEAR}


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_spread_parameters_return_to_their_shardings(kind: AxisType) -> None:
    mesh = Mesh(np.array([NEAR, NEXT]), ("x",), axis_types=(kind,))
    places = {n: NamedSharding(mesh, P("x") if p.ndim > 1 else P()) for n, p in PARAMS.items()}
    # The norm of parts may have another last bit: it is below the limit, and the factor is 1.
    tx = optax.chain(ao.clip_by_global_norm(1e6), ao.adam(1e-2))
    whole, p = jax.jit(lambda g, s, p: ao.step(tx, g, s, p)), jax.device_put(PARAMS, HOST)
    wanted, kept = whole(jax.device_put(gradients(0, ()), HOST), tx.init(p), p)
    with jax.set_mesh(mesh):
        off = ao.offload_step(tx, group_bytes=SMALL)
        q, grads = jax.device_put((PARAMS, gradients(0, ())), (places, places))
        q, state = ao.step(off, grads, off.init(q), q)
    assert bits((q, state)) == bits((wanted, kept))
    assert {n: x.sharding for n, x in q.items()} == places


def test_unknown_links_constants_and_arguments() -> None:
    """A link with effects makes one program; arrays that a link closes over go to the host."""
    seen, scale = list[float](), jnp.full((32, 128), 0.5, device=NEAR)
    loss = jnp.float32(2.0)

    def told(updates: Any, state: Any, params: Any = None, *, value: Any, unit: str) -> Any:
        del params
        jax.debug.callback(lambda v: seen.append(float(v)), value)
        return updates | {"a": updates["a"] * scale}, state + len(unit)

    link = optax.GradientTransformationExtraArgs(lambda _: jnp.zeros((), jnp.int32), told)
    tx = optax.chain(link, ao.sgd(1e-2))
    off = ao.offload_step(tx)
    params = jax.device_put(PARAMS, NEAR)
    state = off.init(params)
    for _ in range(2):
        new, state = ao.step(
            off, params, state, params, value=jax.device_put(loss, NEAR), unit="nat"
        )
    jax.effects_barrier()
    assert seen == [2.0, 2.0]
    assert int(state[0]) == 6
    assert new["a"].devices() == {NEAR}
    whole = jax.jit(lambda g, s, p: ao.step(tx, g, s, p, value=loss, unit="nat"))
    p = jax.device_put(PARAMS, HOST)
    wanted, _ = whole(p, tx.init(p), p)
    assert bits(wanted) == bits(new)
