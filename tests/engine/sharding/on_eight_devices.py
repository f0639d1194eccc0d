"""What holds on eight devices; `test_eight_devices.py` runs this where there are eight."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import adam_optax as ao
from adam_optax.aot import hlo
from tests.engine.sharding import layouts
from tests.engine.sharding.layouts import KINDS, LAYOUTS, STORAGE, gradients, ran, start, stepper
from tests.support.versions import host_memory

pytestmark = pytest.mark.skipif(jax.device_count() != 8, reason="needs eight devices")
EXACT = {"float32", "stochastic()"}
EACH = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.quick if n == "float32" else ()) for n in STORAGE]
)
MODES = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def over(kind: str) -> Iterator[Any]:
    found = layouts.mesh(kind)
    with jax.set_mesh(found):
        yield found


def beside(state: Any, params: Any) -> None:
    """Every moment where its parameter is; a block's header on as many parts as divide it."""
    for path, kept in jax.tree.leaves_with_path(state):
        if kept.ndim:
            wanted = params[path[-1].key]
            if kept.shape == wanted.shape:
                assert kept.sharding.is_equivalent_to(wanted.sharding, 2), path
            elif kept.ndim == 2:
                assert spec(kept)[0] == spec(wanted)[0], path
            assert kept.sharding.mesh.axis_types == wanted.sharding.mesh.axis_types


def same_moments(name: str, tx: Any, run: Any, other: Any) -> None:
    """Bit for bit, but where a code depends on a logarithm or on a sum.

    Of four bytes for two moments 1 code in 800 is another after three steps, of fewer 1 in 10,000.
    """
    if name in EXACT:
        layouts.same(run[1], other[1])
    with jax.set_mesh(jax.make_mesh((), ())):
        here = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), (run, other))
        one, two = (ao.read_moments(state, tx, params) for params, state in here)
    layouts.close(one, two, 0.0 if name in EXACT else 5e-3)


def spec(x: Any) -> tuple[Any, ...]:
    """By axis, and None where an axis is whole."""
    return (*x.sharding.spec, None, None)[: x.ndim]


@EACH
@MODES
def test_a_state_is_where_its_parameters_are(name: str, over: Any) -> None:
    tx, params = ao.adamw(1e-3, storage=STORAGE[name]), start(over)
    beside(tx.init(params), params)
    beside(jax.jit(tx.init)(params), params)
    layouts.same(jax.jit(tx.init)(params), tx.init(params))


@pytest.mark.quick
@pytest.mark.parametrize("name", ["float32", "pair()", "int8()"])
@pytest.mark.parametrize("kind", ["explicit"])
def test_types_say_where_a_step_s_results_are(name: str, over: Any) -> None:
    """Whatever arrays a format makes of its own; traced, not compiled."""
    tx, params = ao.adamw(1e-3, storage=STORAGE[name]), {"both": start(over)["both"]}
    state = jax.eval_shape(tx.init, params)
    found = jax.eval_shape(stepper(tx), params, state, params)
    for path, x in jax.tree.leaves_with_path(found):
        if x.shape == params["both"].shape:
            assert x.sharding.spec == layouts.LAYOUTS["both"], path


@EACH
@MODES
def test_steps_have_the_bits_of_one_device_and_ask_nobody(name: str, over: Any) -> None:
    """Bit for bit, but where a format or rule sums over what is spread, which orders the sum."""
    tx, params = ao.adamw(1e-3, storage=STORAGE[name]), start(over)
    state = tx.init(params)
    step = jax.jit(stepper(tx)).lower(params, state, gradients(0, over)).compile()
    found = hlo.collectives(step.as_text() or "")
    if name == "factored":  # its means are over all rows and columns
        assert set(found) <= {"all-reduce"}
    elif name in ("float32", "stochastic()", "pair()", "pair(3)", "pair(4)"):
        assert found == {}
    run = ran(tx, over, range(3), step=step)
    layouts.same_places(run, (params, state))
    with jax.set_mesh(jax.make_mesh((), ())):
        alone = ran(tx, None, range(3))
    # XLA's logarithms differ in the last digit between its loops of vectors and of what remains,
    # and now and then a code is then the next one.
    same_moments(name, tx, run, alone)
    for n in LAYOUTS:  # XLA divides by a scalar in two ways: an ulp of a step of a thousandth
        np.testing.assert_allclose(run[0][n], alone[0][n], rtol=1e-6, atol=2e-8)


@pytest.mark.parametrize("kind", ["auto", "explicit"])
def test_spikes_are_those_of_the_whole_gradient_and_averages_stay_in_place(over: Any) -> None:
    inner = optax.chain(ao.zclip(), ao.adamw(1e-3), ao.temporal_average(warmup=True))
    tx, params = ao.skip_spikes(inner, window=2), start(over)
    state = tx.init(params)
    beside(state.inner_state[-1].moments["average"], params)
    step = jax.jit(stepper(tx))
    for size in (1.0, 1.0, 1e6, jnp.nan):
        before, kept = params, state
        grads = jax.tree.map(lambda g, size=size: size * g, gradients(0, over))
        params, state = step(params, state, grads)
        if bool(state.last_skipped):
            layouts.same((params, state.inner_state), (before, kept.inner_state))
    assert (int(state.skipped), int(state.nonfinite)) == (2, 1)
    layouts.same_places((params, state.inner_state), (before, kept.inner_state))


# Of JAX 0.10.0 XLA cannot spread what it places in the host's memory of a CPU by types.
@pytest.mark.parametrize("kind", ["auto", "explicit"][: 1 + (jax.__version_info__ >= (0, 10, 2))])
def test_an_average_is_where_its_parameters_are_also_in_the_host_s_memory(over: Any) -> None:
    """A host's memory is there on CPUs, too; the numbers are those of a state on the devices."""
    adamw = ao.adamw(1e-3, storage=ao.storage.pair())
    inner = optax.chain(adamw, ao.temporal_average(0.99, warmup=True))
    runs = []
    for tx in (inner, ao.offload(inner, always=True)):
        params = start(over)
        state = tx.init(params)
        step = jax.jit(lambda p, s, g, tx=tx: ao.step(tx, g, s, p))
        for t in range(3):
            params, state = step(params, state, gradients(t, over))
        runs.append((params, state))
    near, (params, state) = runs
    layouts.same(near, jax.device_get((params, state)))
    held = state[-1].moments["average"]
    assert {x.sharding.memory_kind for x in jax.tree.leaves(held)} == {host_memory()}
    swapped_in, swapped = ao.swap_average(state, params)
    for average in (near[1][-1].moments["average"], ao.read_average(state, params), swapped_in):
        layouts.same_places(average, params)
        layouts.same(average, jax.device_get(held))
    kinds = {x.sharding.memory_kind for x in jax.tree.leaves(swapped) if x.ndim}
    assert kinds == {host_memory()}
    layouts.same(ao.swap_average(swapped, swapped_in)[0], params)


LINKS: dict[str, Any] = {
    "stochastic_rounding": ao.precision.stochastic_rounding,
    "kahan": ao.precision.kahan,
    "split_master": ao.precision.split_master,
}


@pytest.mark.parametrize("link", LINKS)
@MODES
def test_links_of_sixteen_bit_parameters_under_either_mode(link: str, over: Any) -> None:
    """That their bits are those of one device is in `test_precision_sharding`."""
    tx = optax.chain(ao.clip_by_global_norm(1.0), ao.adamw(1e-3), LINKS[link]())
    params = jax.tree.map(lambda p: p.astype("bfloat16"), start(over))
    state = tx.init(params)
    beside(state[1:], params)
    run = jax.jit(stepper(tx))(params, state, gradients(0, over))
    layouts.same_places(run, (params, state))


@MODES
def test_clipping_asks_once(over: Any) -> None:
    tx = optax.chain(ao.clip_by_global_norm(1.0), ao.adamw(1e-3))
    run = start(over), tx.init(start(over))
    step = jax.jit(stepper(tx)).lower(*run, gradients(0, over)).compile()
    assert set(hlo.collectives(step.as_text() or "")) == {"all-reduce"}


def zero1(tx: Any, over: Any) -> Any:
    """The ZeRO-1 of docs/how_to/sharding.md: moments spread, parameters whole on each device."""
    spread, whole = NamedSharding(over, P(("a", "b"))), NamedSharding(over, P())

    def step(params: Any, state: Any, grads: Any) -> Any:
        mine = jax.lax.with_sharding_constraint((params, grads), spread)
        updates, state = tx.update(mine[1], state, mine[0])
        params = optax.apply_updates(mine[0], updates)
        return jax.lax.with_sharding_constraint(params, whole), state

    return step


@pytest.mark.parametrize("name", ["float32", "stochastic()"])
def test_zero1_gathers_parameters_and_nothing_else(name: str) -> None:
    over = layouts.mesh("auto")
    tx = ao.adamw(1e-3, storage=STORAGE[name])
    params = jax.device_put(start(None), NamedSharding(over, P()))
    state = tx.init(jax.device_put(params, NamedSharding(over, P(("a", "b")))))
    grads = jax.device_put(gradients(0, None), NamedSharding(over, P()))
    step = jax.jit(zero1(tx, over)).lower(params, state, grads).compile()
    found = hlo.collectives(step.as_text() or "")
    assert set(found) == {"all-gather"}
    assert found["all-gather"] <= len(LAYOUTS)
    new, kept = step(params, state, grads)
    layouts.same_places((new, kept), (params, state))
    alone = ran(tx, None, range(1))
    layouts.same(kept, alone[1])
    for n in LAYOUTS:
        np.testing.assert_allclose(new[n], alone[0][n], rtol=1e-6, atol=2e-8)


BY_PATH = {
    "layers": lambda: ao.lamb(1e-2, stacked=1),
    "layers of blocks": lambda: ao.adam(1e-2, storage=ao.storage.int8(), stacked=1),
    "by path": lambda: ao.adamw(
        ao.by_path({"fsdp": ao.FROZEN, "both": 1e-3, ".*": 1e-2}),
        storage=ao.by_path({"both": ao.storage.pair(), ".*": ao.storage.dense()}),
    ),
}


@MODES
@pytest.mark.parametrize("name", BY_PATH)
def test_layers_and_groups_are_the_same_over_devices(name: str, over: Any) -> None:
    tx = BY_PATH[name]()
    spread, _ = ran(tx, over, range(2))
    with jax.set_mesh(jax.make_mesh((), ())):
        alone, _ = ran(tx, None, range(2))
    for n in LAYOUTS:
        np.testing.assert_allclose(spread[n], alone[n], rtol=1e-6, atol=2e-7)  # sums in parts


@pytest.mark.quick
@MODES
def test_a_fingerprint_is_that_of_one_device_and_gathers_nothing(over: Any) -> None:
    half = layouts.VALUES["both"][0].astype("bfloat16")
    with jax.set_mesh(jax.make_mesh((), ())):
        keys = jax.random.split(jax.random.key(0), 8)
        alone = ao.fingerprint({"params": start(None), "keys": keys, "half": half})
    spread = {
        "params": start(over),
        "keys": jax.device_put(keys, NamedSharding(over, P("a"))),
        "half": jax.device_put(half, NamedSharding(over, P("a", "b"))),
    }
    ao.check_fingerprint(spread, alone)
    compiled = jax.jit(ao.fingerprint).lower(spread).compile()
    assert set(hlo.collectives(compiled.as_text() or "")) == {"all-reduce"}
    np.testing.assert_array_equal(compiled(spread), alone)


@pytest.mark.parametrize("name", ["float32", "int8()"])
def test_a_checkpoint_of_eight_devices_goes_on_with_four_and_with_one(
    name: str, tmp_path: Path
) -> None:
    tx = ao.adamw(1e-3, storage=STORAGE[name])
    eight = layouts.mesh("auto")
    saved = ran(tx, eight, range(2))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "run", saved)
    whole = ran(tx, eight, range(2, 4), saved)
    for over in (layouts.mesh("auto", 2, 2), None):
        template = start(over), jax.jit(tx.init)(start(over))  # which has the count there, too
        with ocp.StandardCheckpointer() as checkpointer:
            found = checkpointer.restore(tmp_path / "run", jax.tree.map(_shape, template))
        layouts.same_places(found, template)
        layouts.same(found, saved)
        ao.check_fingerprint(found, ao.fingerprint(saved))
        run = ran(tx, over, range(2, 4), found)
        same_moments(name, tx, run, whole)
        for n in LAYOUTS:
            np.testing.assert_allclose(run[0][n], whole[0][n], rtol=1e-6, atol=2e-8)


def _shape(x: Any) -> Any:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
