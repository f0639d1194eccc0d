"""Check what is left on the device by the compiled step if the host keeps the state."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax
import pytest
from jax.sharding import SingleDeviceSharding

import adam_optax as ao
from adam_optax.aot import targets
from adam_optax.aot.compiled import update_and_apply

LEAVES, SHAPE = 12, (512, 512)
SIZE = LEAVES * SHAPE[0] * SHAPE[1]
PARAMS = {f"w{i}": jax.ShapeDtypeStruct(SHAPE, jnp.float32) for i in range(LEAVES)}
CLIPPED = optax.chain(ao.clip_by_global_norm(1.0), ao.adamw(1e-3))


def compiled(target: str, tx: Any, away: bool) -> Any:
    """Compile a step; parameters and gradients are on the device, the state there or away."""
    if absent := targets.missing(target):
        pytest.skip(f"{targets.INSTALL} ({', '.join(absent)})")
    near = SingleDeviceSharding(targets.device(target))
    far = near.with_memory_kind("pinned_host") if away else near
    step, arguments = update_and_apply(tx, PARAMS)
    place = lambda x, at: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at)  # noqa: E731
    params, state, grads = arguments
    state = jax.tree.map(lambda x: place(x, far if x.ndim else near), state)
    params, grads = (jax.tree.map(lambda x: place(x, near), tree) for tree in (params, grads))
    traced = jax.jit(step, donate_argnums=(0, 1)).trace(params, state, grads)
    return traced.lower(lowering_platforms=(targets.platform(target),)).compile()


@pytest.mark.heavy
@pytest.mark.parametrize("target", ["v5e", "h100"])
@pytest.mark.parametrize(("storage", "size"), [(None, 8), (ao.storage.stochastic(), 4)])
def test_the_state_is_with_the_host(target: str, storage: Any, size: int) -> None:
    tx = ao.adamw(1e-3, storage=storage)
    found = compiled(target, ao.offload(tx, always=True), away=True).memory_analysis()
    whole = compiled(target, tx, away=False).memory_analysis()
    here, there = found.argument_size_in_bytes, found.host_argument_size_in_bytes
    assert there == size * SIZE
    assert here == pytest.approx(8 * SIZE, rel=1e-3)  # parameters and gradients
    assert whole.argument_size_in_bytes == pytest.approx((8 + size) * SIZE, rel=1e-3)
    assert found.host_alias_size_in_bytes == there  # in place there, too
    assert found.host_temp_size_in_bytes == 0
    if target == "h100":  # a few leaves at a time; XLA for TPUs brings over all at once
        assert found.temp_size_in_bytes < 0.3 * there + 4 * 8 * SHAPE[0] * SHAPE[1]


@pytest.mark.quick
@pytest.mark.parametrize("tx", [ao.adamw(1e-2), CLIPPED], ids=["adamw", "clipped"])
def test_on_a_cpu_nothing_changes(tx: Any) -> None:
    params = {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(())}
    runs = []
    for one in (tx, ao.offload(tx)):
        step, state, run = jax.jit(one.update, donate_argnums=(0, 1)), one.init(params), params
        for _ in range(3):
            updates, state = step(jax.tree.map(jnp.cos, run), state, run)
            run = optax.apply_updates(run, updates)
        runs.append((run, state, ao.read_moments(state, one, params)))
    chex.assert_trees_all_equal_structs(*runs)
    for x, y in zip(jax.tree.leaves(runs[0]), jax.tree.leaves(runs[1]), strict=True):
        assert x.sharding == y.sharding
        assert (x == y).all()


def test_what_is_no_transformation_is_refused() -> None:
    with pytest.raises(TypeError, match="tx must be an optax transformation, not float"):
        ao.offload(1e-3)


def test_moved_where_it_is_asked_for() -> None:
    """Check that arrays move to the host and scalars stay on the device."""
    (adam, *_) = ao.offload(ao.adam(1e-3), always=True).init({"w": jnp.ones(3), "s": jnp.ones(())})
    assert adam.mu["w"].sharding.memory_kind == "pinned_host"
    assert adam.mu["s"].sharding.memory_kind == adam.count.sharding.memory_kind == "device"
