"""Where a step is a loop on CPUs and where XLA compiles it, with the same numbers on every path."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import adam_optax as ao
from adam_optax._engine.kernels.cpu import machine
from adam_optax._engine.kernels.cpu.loop import Loop
from adam_optax._engine.leaf import compile_leaf_step
from tests.engine.kernels.cpu.looping import loops_in
from tests.engine.sharding.devices import pytest_with

S = ao.storage
READERS: dict[str, Callable[[Any], Any]] = {
    "its size": lambda x: x.current["mu"] / x.g.size,
    "its length": lambda x: x.current["mu"] * (1.0 if x.g.shape[-1] > 280 else 2.0),
    "a power": lambda x: jax.lax.integer_pow(x.current["mu"], 2 + x.g.shape[-1] % 3),
    "a place": lambda x: (
        x.current["mu"]
        * jax.lax.broadcasted_iota(jnp.int32, x.g.shape, x.g.ndim - 1).astype("float32")
    ),
    "another size": lambda x: jnp.reshape(x.current["mu"], (-1, 30)).reshape(x.g.shape),
    "its mean": lambda x: x.current["mu"] - jnp.mean(x.current["mu"], -1, keepdims=True),
}


def own(direction: Callable[[Any], Any], storage: Any = None) -> Any:
    """Return an optimiser of a rule of one's own."""
    rule = ao.Rule({"mu": ao.moments.ema(0.9)}, direction)
    return ao.optimizer(rule, 0.1, storage=storage)


def leaf(shape: tuple[int, ...], seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


def first(tx: Any, g: Any) -> tuple[Any, int]:
    """Return the first update, and the number of loops in it."""
    state = tx.init(g)
    return jax.jit(tx.update)(g, state, g)[0], loops_in(tx.update, g, state, g)


@pytest.mark.matrix(keep=3, quick=["its size-shape0"])
@pytest.mark.parametrize("shape", [(300,), (5, 300)])
@pytest.mark.parametrize("reads", READERS)
def test_a_rule_of_ones_own_that_reads_the_leaf_s_size_is_no_loop(
    reads: str, shape: tuple[int, ...]
) -> None:
    """A loop is traced on one unit of a leaf, whose size is another."""
    tx = own(READERS[reads], S.stochastic())
    found, loops = first(tx, leaf(shape))
    assert loops == 0
    with ao.cpu_loops("never"):
        np.testing.assert_array_equal(found, first(tx, leaf(shape))[0])


@pytest.mark.quick
def test_a_rule_of_ones_own_that_treats_elements_alike_is_a_loop() -> None:
    tx = own(lambda x: x.current["mu"] / (jnp.abs(x.g) + 1), S.stochastic())
    assert first(tx, leaf((300,)))[1] == 1
    assert first(own(lambda x: jnp.sin(x.current["mu"]), S.stochastic()), leaf((300,)))[1] == 0


# --- A rule of this library's ---------------------------------------------------------------


def adam(storage: Any = None, **how: Any) -> Any:
    return ao.adamw(0.1, storage=S.pair() if storage is None else storage, **how)


def plainly(run: Callable[[], Any]) -> Any:
    """Return what XLA alone makes of a run."""
    with ao.cpu_loops("never"):
        return run()


def close(one: Any, other: Any) -> None:
    """Equal to a few roundings, as XLA fuses products into sums in its own way."""
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(np.float64(x), np.float64(y), rtol=1e-5, atol=1e-7)


def stepper(tx: Any) -> Callable[..., Any]:
    def step(params: Any, state: Any, grads: Any) -> Any:
        return ao.step(tx, grads, state, params)

    return step


@pytest.mark.quick
def test_a_step_without_jit_is_a_loop_and_has_the_numbers_of_xla() -> None:
    g, tx = leaf((3, 101)), adam()
    called: list[Loop] = []
    run = Loop.run

    def seen(self: Loop, *arguments: Any, **how: Any) -> Any:
        called.append(self)
        return run(self, *arguments, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "run", seen)
        compile_leaf_step.cache_clear()
        found = tx.update(g, tx.init(g), g)
    assert called
    close(found, plainly(lambda: tx.update(g, tx.init(g), g)))


def scanned(tx: Any, p: Any, grads: Any) -> Any:
    def body(carry: Any, g: Any) -> Any:
        return stepper(tx)(*carry, g), None

    return jax.lax.scan(body, (p, tx.init(p)), grads)[0]


def chosen_by_cond(tx: Any, p: Any, grads: Any) -> Any:
    state = tx.init(p)
    for g in grads:
        step = lambda a, b, g=g: stepper(tx)(a, b, g)  # noqa: E731
        p, state = jax.lax.cond(jnp.sum(g) < 1e6, step, lambda a, b: (a, b), p, state)
    return p, state


@pytest.mark.parametrize("run", [scanned, chosen_by_cond])
def test_inside_scan_and_cond_a_step_is_a_loop(run: Any) -> None:
    tx, p, grads = adam(), leaf((3, 101), 9), jnp.stack([leaf((3, 101), i) for i in range(3)])
    assert loops_in(lambda p, grads: run(tx, p, grads), p, grads) >= 1
    close(run(tx, p, grads), plainly(lambda: run(tx, p, grads)))


def test_mapped_and_differentiated_steps_are_xla_s() -> None:
    tx, p, grads = adam(), leaf((101,), 9), jnp.stack([leaf((101,), i) for i in range(3)])
    state = tx.init(p)

    def new(g: Any) -> Any:
        return tx.update(g, state, p)[0]

    def slope(g: Any) -> Any:
        return jax.grad(lambda k: jnp.sum(jnp.tanh(new(k * g))))(1.0)

    assert loops_in(new, grads[0]) == 1
    assert loops_in(jax.vmap(new), grads) == 0
    assert loops_in(slope, grads[0]) == 0
    close(jax.vmap(new)(grads), plainly(lambda: jax.vmap(new)(grads)))
    close(slope(grads[0]), plainly(lambda: slope(grads[0])))


@pytest.mark.usefixtures("x64")
def test_double_precision_is_xla_s() -> None:
    tx, g = adam(), jnp.asarray(leaf((3, 101)), jnp.float64)
    with ao.cpu_loops("always"):
        assert loops_in(tx.update, g, tx.init(g), g) == 0
        narrow = leaf((3, 101))
        assert narrow.dtype == jnp.float32
        close(
            tx.update(narrow, tx.init(narrow), narrow),
            plainly(lambda: tx.update(narrow, tx.init(narrow), narrow)),
        )


@pytest.mark.quick
def test_an_exported_step_calls_nothing_that_another_process_does_not_know() -> None:
    tx, g = adam(), leaf((3, 101))
    state = tx.init(g)
    exported = jax.export.export(jax.jit(tx.update))(g, state, g)
    assert "@adam_optax_loop_" not in exported.mlir_module()
    close(exported.call(g, state, g), plainly(lambda: tx.update(g, state, g)))


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_a_program_for_accelerators_calls_no_loop(platform: str) -> None:
    tx, g = adam(), leaf((3, 101))
    lowered = jax.jit(tx.update).trace(g, tx.init(g), g).lower(lowering_platforms=(platform,))
    assert "@adam_optax_loop_" not in lowered.as_text()


@pytest.mark.quick
def test_without_llvmlite_xla_compiles_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_leaf_step.cache_clear()
    tx, g = adam(), leaf((3, 103))
    monkeypatch.setattr(machine, "is_installed", lambda: False)
    assert loops_in(tx.update, g, tx.init(g), g) == 0
    monkeypatch.undo()
    monkeypatch.setattr(machine, "why_not", lambda: "XLA is too old")
    g = leaf((3, 104))
    assert loops_in(tx.update, g, tx.init(g), g) == 0


@pytest.mark.quick
def test_a_donated_step_copies_no_leaf() -> None:
    tx, p = adam(), leaf((64, 1001))
    step = jax.jit(stepper(tx), donate_argnums=(0, 1))
    compiled = step.lower(p, tx.init(p), p).compile()
    text = str(compiled.as_text())
    assert text.count("adam_optax_loop_") == 1
    assert not re.findall(r"\[64,1001\]\S* copy\(", text)
    memory: Any = compiled.memory_analysis()
    assert memory.temp_size_in_bytes < p.nbytes / 10


def test_gradients_of_none_and_leaves_without_axes_or_elements() -> None:
    params = {"a": leaf((3, 101)), "b": jnp.ones(()), "c": jnp.zeros((0, 4)), "d": leaf((7,))}
    grads: dict[str, Any] = params | {"d": None}
    tx = adam()
    state = tx.init(params)
    assert loops_in(lambda g, s, p: tx.update(g, s, p), grads, state, params) == 1
    found, wanted = (f(lambda: tx.update(grads, state, params)) for f in (lambda r: r(), plainly))
    close(found, wanted)


@pytest.mark.quick
def test_blocks_of_two_sizes_are_xla_s() -> None:
    g = leaf((3, 300))
    tx = adam({"mu": S.int8(100), "nu": S.int8(64)})
    assert loops_in(tx.update, g, tx.init(g), g) == 0
    tx = adam({"mu": S.int8(100), "nu": S.float8(100)})
    assert loops_in(tx.update, g, tx.init(g), g) == 1


def test_layers_and_storage_by_path() -> None:
    params = {"layers": leaf((4, 3, 101)), "one": leaf((5, 70))}
    tx = adam(ao.by_path({"layers": S.pair(), "one": S.int8()}))
    state = tx.init(params)
    assert loops_in(tx.update, params, state, params) == 2
    close(tx.update(params, state, params), plainly(lambda: tx.update(params, state, params)))


@pytest.mark.quick
@pytest.mark.parametrize(
    ("storage", "make"),
    [
        *[(None, make) for make in (ao.lamb, ao.stable_adamw, ao.mars)],
        *[(S.pair(), make) for make in (ao.lamb, ao.stable_adamw, ao.adamh)],
    ],
)
def test_what_a_rule_sums_is_a_layer_s(make: Any, storage: Any) -> None:
    """A loop would be given one norm for the whole stack."""
    layers = jnp.stack([leaf((4, 130), i) * 10.0**i for i in range(3)])
    tx = make(0.1, stacked=1, storage=storage)
    step = lambda params: ao.step(tx, jnp.cos(params), tx.init(params), params)[0]  # noqa: E731
    found = step(layers)
    with ao.cpu_loops("never"):
        np.testing.assert_allclose(found, step(layers), rtol=1e-6)  # fused otherwise by XLA


@pytest.mark.quick
@pytest.mark.parametrize(("varies", "loops"), [("all", 1), ("the gradient", 0)])
def test_a_loop_hides_from_shard_map_nothing_that_varies(varies: str, loops: int) -> None:
    """A gradient that nobody summed makes new parameters that differ between devices."""
    mesh = jax.make_mesh((1,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    tx, p = adam(), leaf((3, 101))
    state = tx.init(p)
    spec = jax.tree.map(lambda x: P("d") if varies == "all" and jnp.ndim(x) else P(), state)
    own = P("d") if varies == "all" else P()

    def part(out: Any) -> Any:
        step = lambda g, state, p: ao.step(tx, g, state, p)[0]  # noqa: E731
        return jax.shard_map(step, mesh=mesh, in_specs=(P("d"), spec, own), out_specs=out)

    assert loops_in(part(P("d")), p, state, p) == loops
    with ao.cpu_loops("never"):
        plain = jax.jit(part(P("d")))(p, state, p)
    close(jax.jit(part(P("d")))(p, state, p), plain)
    with pytest.raises(ValueError, match="out_specs"):
        jax.jit(part(P()))(p, state, p)


@pytest.mark.heavy
def test_on_eight_devices() -> None:
    assert " passed" in pytest_with(8, "tests/engine/kernels/cpu/leaves_on_eight_devices.py")
