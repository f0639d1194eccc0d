"""Check the step on the host: alone here, and beside other devices in a process of its own."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import chex
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

import adam_optax as ao
from adam_optax._wrappers.on_host.split import Split, split_step
from tests.engine.sharding.devices import pytest_with

FILE = "tests/wrappers/beside_an_accelerator.py"
PARAMS = {"w": jnp.linspace(-1, 1, 48).reshape(2, 24), "v": jnp.ones(40), "b": jnp.ones(3)}
CLIPPED = optax.chain(ao.clip_by_global_norm(1.0), ao.adamw(1e-2, weight_decay=0.1))


def same(one: Any, other: Any) -> bool:
    return all(
        np.asarray(x).tobytes() == np.asarray(y).tobytes()
        for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


@pytest.mark.quick
def test_beside_another_device() -> None:
    pytest_with(3, FILE, "-m", "quick")


@pytest.mark.heavy
def test_beside_another_device_all_of_it() -> None:
    pytest_with(3, FILE)


@pytest.mark.quick
def test_where_the_cpu_is_all_there_is() -> None:
    """The numbers are those of the step under jit; nothing that the user holds is given away."""
    off = ao.offload_step(CLIPPED, group_bytes=64)
    params, state = PARAMS, off.init(PARAMS)
    wanted, kept = PARAMS, CLIPPED.init(PARAMS)
    whole = jax.jit(lambda g, s, p: ao.step(CLIPPED, g, s, p))
    for _ in range(2):
        params, state = ao.step(off, jax.tree.map(jnp.cos, params), state, params)
        wanted, kept = whole(jax.tree.map(jnp.cos, wanted), kept, wanted)
    assert same((params, state), (wanted, kept))
    chex.assert_trees_all_equal_structs(state, kept)
    assert not any(x.is_deleted() for x in jax.tree.leaves(PARAMS))


@pytest.mark.quick
def test_each_moment_is_updated_in_its_own_place() -> None:
    """JAX pairs donated arrays with results by type, of which the updates are, too."""
    off = ao.offload_step(ao.adam(1e-2), donate=True, group_bytes=1)
    state = off.init(PARAMS)
    places = [x.unsafe_buffer_pointer() for x in (state[0].mu["w"], state[0].nu["w"])]
    updates, new = off.update(PARAMS, state, PARAMS)
    assert [x.unsafe_buffer_pointer() for x in (new[0].mu["w"], new[0].nu["w"])] == places
    assert state[0].mu["w"].is_deleted()
    assert not any(x.is_deleted() for x in jax.tree.leaves((PARAMS, updates)))


def _pickled(state: Any, empty: Any, path: Path) -> Any:
    del empty, path
    return pickle.loads(pickle.dumps(state))


def _packed(state: Any, empty: Any, path: Path) -> Any:
    del path
    return flax.serialization.from_bytes(empty, flax.serialization.to_bytes(state))


def _saved(state: Any, empty: Any, path: Path) -> Any:
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path / "state", state)
        checkpointer.wait_until_finished()
        return checkpointer.restore(path / "state", empty)


@pytest.mark.parametrize("through", [_pickled, _packed, _saved])
@pytest.mark.parametrize("keep", [False, True])
def test_a_restored_state_goes_on(
    through: Callable[[Any, Any, Path], Any], keep: bool, tmp_path: Path
) -> None:
    off = ao.offload_step(CLIPPED, keep_params=keep, donate=True)
    copied = lambda tree: jax.tree.map(jnp.copy, tree)  # noqa: E731
    params, state = ao.step(off, PARAMS, off.init(PARAMS), copied(PARAMS))
    back = through(state, off.init(PARAMS), tmp_path)
    assert type(back) is type(state)
    runs = [ao.step(off, PARAMS, one, copied(params)) for one in (back, state)]
    assert same(*runs)


def test_abstract_states_and_tools_see_through_it() -> None:
    off = ao.offload_step(CLIPPED, keep_params=True)
    shapes = jax.eval_shape(off.init, PARAMS)
    state = off.init(PARAMS)
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, state)
    assert ao.memory(off, PARAMS).by_entry["params"] == sum(p.nbytes for p in PARAMS.values())
    assert {*ao.read_moments(state, off, PARAMS)} == {"mu", "nu"}
    assert repr(ao.offload_step(ao.sgd(0.1), donate=True)).startswith("offload_step(tx=sgd(")


def test_parameters_from_outside_go_into_the_state() -> None:
    off = ao.offload_step(ao.sgd(0.5), keep_params=True)
    state = off.init(PARAMS)
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    params, _ = ao.step(off, zeros, state._replace(params=zeros), PARAMS)
    assert same(params, zeros)


def test_a_leaf_that_is_not_trained_stays() -> None:
    tx = ao.adam(ao.by_path({"w": ao.FROZEN, ".*": 1e-2}))
    for keep in (False, True):
        off = ao.offload_step(tx, keep_params=keep, group_bytes=1)
        params, state = ao.step(off, PARAMS, off.init(PARAMS), PARAMS)
        assert params["w"] is PARAMS["w"]
        if keep:
            assert same(state.params, params)


# --- How a step is split ------------------------------------------------------------------------


def split_of(tx: optax.GradientTransformation, params: Any, group_bytes: int) -> Split:
    """Split a step whose gradients and parameters are with an accelerator."""
    trees = params, tx.init(params), params
    closed = jax.make_jaxpr(lambda g, s, p: ao.step(tx, g, s, p))(*trees)
    grads, state, _ = (len(jax.tree.leaves(tree)) for tree in trees)
    return split_step(closed, [True] * grads + [False] * state + [True] * grads, group_bytes)


LAYERS = {f"layer{i}": jnp.ones((5, 8)) for i in range(6)}


@pytest.mark.quick
def test_layers_of_one_shape_are_one_program() -> None:
    """One number goes over first: the sum of squares, of gradients alone."""
    split = split_of(CLIPPED, LAYERS, 2 * 5 * 8 * 4)
    known: dict[Any, Any] = {}
    runs = {group.compiled({}, known).run for group in split.groups}
    assert (len(split.groups), len(runs)) == (6, 1)
    assert split.reduced is not None
    assert len(split.reduced.exports) == 1
    assert {*split.reduced.inputs} == {*split.closed.jaxpr.invars[:6]}
    assert len(split_of(CLIPPED, LAYERS, 4 * 5 * 8 * 4).groups) == 3


def test_what_mixes_leaves_otherwise_is_one_program() -> None:
    def told(updates: Any, state: Any, params: Any = None) -> Any:
        del params
        jax.debug.print("{}", updates["layer0"][0, 0])
        return updates, state

    telling = optax.GradientTransformation(lambda _: optax.EmptyState(), told)
    rolled = optax.stateless(lambda g, _: dict(zip(g, [sum(g.values())] * 6, strict=True)))
    clipped_after = optax.chain(ao.adam(1e-2), ao.clip_by_global_norm(1.0))
    for tx in (clipped_after, optax.chain(telling, CLIPPED), optax.chain(rolled, CLIPPED)):
        split = split_of(tx, LAYERS, 1)
        assert not split.groups
        assert split.reduced is None
        assert len(split.shared.positions) == len(split.closed.jaxpr.outvars)


# --- Errors -------------------------------------------------------------------------------------


def test_errors_say_what_to_write() -> None:
    sgd = ao.sgd(0.1)
    with pytest.raises(TypeError, match="tx must be an optax transformation, not float"):
        ao.offload_step(1e-3)
    with pytest.raises(TypeError, match=r"group_bytes must be an integer, not 1\.5"):
        ao.offload_step(sgd, group_bytes=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"must be at least 1, not 0; default: 2\*\*26"):
        ao.offload_step(sgd, group_bytes=0)
    with pytest.raises(TypeError, match=r"device must be a jax\.Device, not 'cpu'"):
        ao.offload_step(sgd, device="cpu")

    off, kept = ao.offload_step(sgd), ao.offload_step(sgd, keep_params=True)
    state = off.init(PARAMS)
    for step in (off.update, lambda g, s, p: ao.step(off, g, s, p)):
        with pytest.raises(ValueError, match=r"compute the gradients under jax\.jit, and call"):
            jax.jit(step)(PARAMS, state, PARAMS)
    with pytest.raises(ValueError, match=r"keep_params=True .* write params, state = ao\.step"):
        kept.update(PARAMS, kept.init(PARAMS), PARAMS)
    with pytest.raises(TypeError, match=r"must be an OffloadStepState, as .* not tuple"):
        ao.step(kept, PARAMS, state, PARAMS)
    other = {**PARAMS, "b": jnp.ones(4)}
    with pytest.raises(ValueError, match=r"make a state for them with tx\.init\(params\)"):
        ao.step(kept, other, kept.init(PARAMS), other)
    with pytest.raises(ValueError, match="leave out shardings"):
        ao.step(off, PARAMS, state, PARAMS, shardings=jax.devices()[0])
    odd = optax.GradientTransformation(lambda _: (), lambda g, s, p: ({"x": g["w"]}, s))
    with pytest.raises(ValueError, match="updates must be a tree like them"):
        ao.offload_step(odd).update(PARAMS, (), PARAMS)


def test_devices_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    off = ao.offload_step(ao.sgd(0.1))
    with pytest.raises(ValueError, match=r"must be a CPU, not .*: leave it out, or write jax\.dev"):
        ao.offload_step(ao.sgd(0.1), device=mock.Mock(spec=jax.Device, platform="gpu"))
    state = off.init(PARAMS)
    kind = type(PARAMS["w"])
    with monkeypatch.context() as patch:
        patch.setattr(kind, "is_fully_addressable", property(lambda _: False))
        with pytest.raises(ValueError, match=r"shape \(3,\) is spread over several processes"):
            ao.step(off, PARAMS, state, PARAMS)
    missing = mock.Mock(side_effect=RuntimeError("Unknown backend cpu"))
    monkeypatch.setattr(jax, "local_devices", missing)
    with pytest.raises(RuntimeError, match=r"JAX_PLATFORMS name cpu after the accelerator"):
        ao.offload_step(ao.sgd(0.1)).init(PARAMS)
