"""Test the links on any tree, under transformations of JAX and wrappers of optax."""

import re
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx, serialization

import adam_optax as ao
from tests.support.precision import LINKS, apply, float32, same_bits, stepper

EACH = pytest.mark.parametrize("name", LINKS)
LOW = jnp.asarray(np.linspace(-2, 2, 12).reshape(3, 4), jnp.bfloat16)
G = jnp.cos(jnp.arange(12.0).reshape(3, 4)) / 100
MIXED = {
    "low": LOW,
    "none": None,
    "wide": jnp.ones(3),
    "complex": jnp.ones(2, jnp.complex64),
    "scalar": jnp.asarray(1.0, jnp.bfloat16),
    "empty": jnp.zeros((0, 2), jnp.bfloat16),
    "nest": [(LOW[0],), {}],
}


def constant_grads(params: Any, size: float = 1e-3) -> Any:
    """Return constant gradients in float32, or of the parameter's wider dtype."""
    kind = lambda p: p.dtype if p.dtype.itemsize > 2 else jnp.float32  # noqa: E731
    return jax.tree.map(lambda p: jnp.full(p.shape, size, kind(p)), params)


def adam_and_link(name: str) -> Any:
    return optax.chain(ao.adam(1e-3), LINKS[name]())


@pytest.mark.quick
@pytest.mark.parametrize(("name", "jit"), [*((n, True) for n in LINKS), ("kahan", False)])
def test_mixed_trees_train_and_wider_parameters_pass_through(name: str, jit: bool) -> None:
    tx, params = adam_and_link(name), MIXED
    step = stepper(tx)
    step = jax.jit(step) if jit else step
    state, grads = tx.init(params), constant_grads(params)
    for _ in range(3):
        params, state = step(params, state, grads)
    chex.assert_trees_all_equal_shapes_and_dtypes(params, MIXED)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, tx.init(params))
    alone = ao.adam(1e-3)
    updates, _ = alone.update(grads, alone.init(MIXED), MIXED)
    ours, _ = tx.update(grads, tx.init(MIXED), MIXED)
    for leaf in ("wide", "complex"):
        same_bits(ours[leaf], updates[leaf])
    assert ours["low"].dtype == ours["scalar"].dtype == jnp.float32
    assert not np.array_equal(float32(params["scalar"]), 1.0) or name == "stochastic_rounding"


@EACH
def test_none_keeps_what_is_kept(name: str) -> None:
    tx = LINKS[name]()
    params = {"a": LOW, "b": LOW, "c": {"d": LOW, "e": [LOW]}}
    _, state = tx.update(constant_grads(params), tx.init(params), params)
    updates, later = tx.update({"a": G, "b": None, "c": None}, state, params)
    assert updates["b"] is updates["c"] is None
    if name == "stochastic_rounding":
        assert int(later.count) == 2
        return
    (before,), (after,) = state, later
    same_bits(after["c"], before["c"])
    same_bits(after["b"], before["b"])
    assert np.any(np.asarray(after["a"] != before["a"]))


@EACH
def test_masked_and_partition(name: str) -> None:
    params = {"a": LOW, "b": LOW}
    grads = {"a": G, "b": G.astype(jnp.bfloat16)}
    alone, _ = LINKS[name]().update({"a": G}, LINKS[name]().init({"a": LOW}), {"a": LOW})
    masked = optax.masked(LINKS[name](), {"a": True, "b": False})
    updates, state = masked.update(grads, masked.init(params), params)
    same_bits(updates, {"a": alone["a"], "b": grads["b"]})
    groups = {"one": LINKS[name](), "off": optax.set_to_zero()}
    tx = optax.partition(groups, {"a": "one", "b": "off"})
    updates, state = tx.update(grads, tx.init(params), params)
    same_bits(updates["a"], alone["a"])
    if name == "split_master":
        master = ao.precision.read_master(state, params)
        same_bits(master["b"], LOW.astype(jnp.float32))


@EACH
def test_scan_equals_a_loop_and_a_second_step_traces_nothing(name: str) -> None:
    tx, grads = adam_and_link(name), jnp.stack([G, -G, 2 * G] * 5)
    chex.clear_trace_counter()
    step = jax.jit(chex.assert_max_traces(stepper(tx), n=1))
    params, state = LOW, tx.init(LOW)
    for g in grads:
        params, state = step(params, state, g)
    body = lambda carry, g: (stepper(tx)(*carry, g), None)  # noqa: E731
    scanned, _ = jax.jit(lambda c: jax.lax.scan(body, c, grads))((LOW, tx.init(LOW)))
    chex.assert_trees_all_equal_shapes_and_dtypes(scanned, (params, state))
    # Adam compiled into a scan differs in its last digits, which may turn a rounding.
    np.testing.assert_allclose(float32(scanned[0]), float32(params), atol=2**-7)


@EACH
def test_unrolled_steps_in_one_program_have_the_bits_of_single_ones(name: str) -> None:
    """Check that XLA leaves out no cast to sixteen bits and back."""
    tx = LINKS[name]()
    updates = [G, -3 * G, 0.7 * G, G / 9] * 2

    def unrolled(params: Any, state: Any) -> Any:
        for u in updates:
            params, state = stepper(tx)(params, state, u)
        return params, state

    params, state = LOW, tx.init(LOW)
    for u in updates:
        params, state = stepper(tx)(params, state, u)
    same_bits(jax.jit(unrolled)(LOW, tx.init(LOW)), (params, state))


@EACH
def test_no_rounding_is_a_cast_that_xla_may_leave_out(name: str) -> None:
    tx = LINKS[name]()
    program = str(jax.make_jaxpr(tx.update)(G, tx.init(LOW), LOW))
    kept = name == "kahan"  # what it keeps is rounded before it is cast
    assert program.count("convert_element_type[new_dtype=bfloat16") == kept


@EACH
def test_float64_elsewhere_changes_nothing(name: str, x64: None) -> None:
    tx = LINKS[name]()
    expected = tx.update(G.astype(jnp.float32), tx.init(LOW), LOW)
    params = {"low": LOW, "double": jnp.ones(2, jnp.float64)}
    wide = {"low": G.astype(jnp.float64), "double": jnp.full(2, 1e-3, jnp.float64)}
    updates, state = tx.update(wide, tx.init(params), params)
    assert updates["double"] is wide["double"]
    if name != "stochastic_rounding":  # whose dither is of the path
        same_bits((updates["low"], state[0]["low"]), (expected[0], expected[1][0]))


@EACH
def test_vmap_over_models_equals_one_at_a_time(name: str) -> None:
    tx = LINKS[name]()
    params, updates = jnp.stack([LOW, LOW * 2]), jnp.stack([G, -G])
    states = jax.vmap(tx.init)(params)
    together, _ = jax.vmap(tx.update)(updates, states, params)
    for i in range(2):
        alone, _ = tx.update(updates[i], tx.init(params[i]), params[i])
        same_bits(together[i], alone)


@EACH
def test_donated_buffers_and_shapes_alone_give_the_same(name: str) -> None:
    tx = LINKS[name]()
    expected = stepper(tx)(LOW, tx.init(LOW), G)
    step = jax.jit(stepper(tx), donate_argnums=(0, 1))
    same_bits(step(LOW + 0, tx.init(LOW), G), expected)
    shapes = jax.eval_shape(lambda: (LOW, tx.init(LOW), G))
    compiled = jax.jit(stepper(tx)).lower(*shapes).compile()
    same_bits(compiled(LOW, tx.init(LOW), G), expected)
    chex.assert_trees_all_equal_shapes_and_dtypes(tx.init(shapes[0]), tx.init(LOW))


@EACH
def test_a_run_restored_from_bytes_goes_on_bit_for_bit(name: str) -> None:
    tx = LINKS[name]()
    params = {"a": LOW, "b": jnp.ones(2)}
    grads = {"a": G, "b": jnp.ones(2)}
    half = stepper(tx)(params, tx.init(params), grads)
    saved = serialization.to_bytes(half)
    restored = serialization.from_bytes((params, tx.init(params)), saved)
    same_bits(stepper(tx)(*restored, grads), stepper(tx)(*half, grads))


@EACH
def test_the_derivative_is_that_of_plain_addition(name: str) -> None:
    tx = LINKS[name]()

    def moved(size: Any) -> Any:
        updates, _ = tx.update(size * G, tx.init(LOW), LOW)
        return jnp.sum(LOW.astype(jnp.float32) + updates)

    np.testing.assert_allclose(jax.grad(moved)(1.0), G.sum(), rtol=1e-6)  # a sum of twelve


@EACH
def test_multi_steps_keep_the_parameters_between(name: str) -> None:
    tx = optax.MultiSteps(LINKS[name](), 2)
    params, state = LOW, tx.init(LOW)
    with jax.numpy_dtype_promotion("standard"):
        updates, state = tx.update(G, state, params)
        same_bits(apply(params, updates), params)
        updates, state = tx.update(3 * G, state, params)
    alone = LINKS[name]()
    expected, inner = alone.update(2 * G, alone.init(LOW), LOW)
    if name == "stochastic_rounding":  # the second mini-step is the link's first
        same_bits(inner.count, state.inner_opt_state.count)
    # The mean of two gradients is off by a last digit, which may turn a rounding.
    np.testing.assert_allclose(float32(updates), float32(expected), atol=2**-7)


@pytest.mark.parametrize("name", ["kahan"])  # to flax one link is as another
def test_flax_modules_train(name: str) -> None:
    model = nnx.Linear(4, 3, rngs=nnx.Rngs(0), param_dtype=jnp.bfloat16)
    optimizer = nnx.Optimizer(model, adam_and_link(name), wrt=nnx.Param)
    before = float32(model.kernel[...])
    grads = jax.tree.map(lambda p: jnp.ones(p.shape), nnx.state(model, nnx.Param))
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(20):
            optimizer.update(model, grads)
    assert model.kernel[...].dtype == jnp.bfloat16
    np.testing.assert_allclose(float32(model.kernel[...]), before - 0.02, atol=2**-8)  # half a unit


@EACH
def test_optax_finds_and_maps_the_state(name: str) -> None:
    tx, params = adam_and_link(name), {"a": LOW, "b": jnp.ones(3)}
    state = tx.init(params)
    doubled = optax.tree.map_params(tx, lambda x: x + x, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(doubled, state)
    entry = {"kahan": "compensation", "split_master": "remainder"}.get(name)
    if entry:
        kept = optax.tree.get(state, entry)
        assert kept["a"].shape == LOW.shape
        assert kept["b"] == optax.MaskedNode()


def test_masters_are_read_and_written() -> None:
    tx = adam_and_link("split_master")
    params = {"a": LOW, "b": jnp.ones(3), "c": None}
    wide = {"a": LOW.astype(jnp.float32) + 1e-4, "b": jnp.ones(3), "c": None}
    params, state = ao.precision.write_master(tx.init(params), wide)
    assert params["a"].dtype == jnp.bfloat16
    same_bits(ao.precision.read_master(state, params), wide)
    params = {**params, "a": jnp.zeros_like(LOW)}  # set from outside: the old remainder stays
    master = ao.precision.read_master(state, params)["a"]
    assert np.all(np.abs(float32(master)) < 1e-38)
    moved = {**params, "a": LOW}
    master = float32(ao.precision.read_master(state, moved)["a"])
    assert np.all(np.abs(master - float32(LOW)) <= np.abs(float32(LOW)) * 2.0**-8)  # half a unit
    same, state = ao.precision.write_master(state, moved)
    same_bits(ao.precision.read_master(state, same)["a"], LOW.astype(jnp.float32))
    same_bits(same["a"], LOW)


def test_masters_of_groups_are_read_one_by_one() -> None:
    tx = optax.partition({n: LINKS["split_master"]() for n in "xy"}, {"a": "x", "b": "y"})
    state = tx.init({"a": LOW, "b": LOW})
    with pytest.raises(ValueError, match="expected one state of split_master, found 2"):
        ao.precision.read_master(state, {"a": LOW, "b": LOW})
    with pytest.raises(ValueError, match="found 0; make the optimiser as"):
        ao.precision.read_master(optax.EmptyState(), LOW)


def raises(kind: type[Exception], text: str) -> Any:
    return pytest.raises(kind, match=re.escape(text))


@EACH
def test_errors_say_what_was_wrong_and_where(name: str) -> None:
    tx = LINKS[name]()
    params = {"a": [LOW], "b": LOW[0]}
    state, grads = tx.init(params), {"a": [G], "b": G[0]}
    with raises(ValueError, f"{name} needs the parameters: tx.update(updates, state, params)"):
        tx.update(grads, state)
    with raises(TypeError, "params['a'][0] has dtype int32, which has no gradient"):
        tx.init({"a": [jnp.arange(3)], "b": LOW})
    with raises(TypeError, f"params['a'] has dtype float8_e4m3fn, which {name} cannot"):
        tx.init({"a": jnp.ones(3, jnp.float8_e4m3fn)})
    with raises(ValueError, "updates['a'][0]: shapes differ: the gradient (4,), the parameter (3"):
        tx.update({"a": [G[0]], "b": G[0]}, state, params)
    with raises(TypeError, "updates['b']: real and complex meet"):
        tx.update({"a": [G], "b": G[0].astype(jnp.complex64)}, state, params)
    with raises(ValueError, "different trees"):
        tx.update({"a": [G]}, state, params)
    with raises(ValueError, "updates['b']: the parameter was None at tx.init"):
        tx.update(grads, tx.init({**params, "b": None}), {**params, "b": None})
    if name != "stochastic_rounding":
        with raises(ValueError, f"updates['b']: {name} kept nothing of this parameter"):
            tx.update(grads, tx.init({**params, "b": jnp.ones(4)}), params)


def test_errors_of_arguments() -> None:
    with raises(TypeError, "params['w'] has dtype float16, which split_master cannot complete to"):
        LINKS["split_master"]().init({"w": jnp.ones(3, jnp.float16)})
    for seed in (True, 1.5, "a", jnp.int32(3)):
        with raises(TypeError, "seed must be an integer, not"):
            LINKS["stochastic_rounding"](seed)
    for dtype in ("int8", "complex64", "float8_e4m3fn"):
        with raises(TypeError, f"kahan({dtype}): a compensation needs a floating dtype"):
            LINKS["kahan"](dtype)


@pytest.mark.parametrize(
    ("name", "paper"),
    [("stochastic_rounding", "zamirai2020"), ("kahan", "kahan1965"), ("split_master", "micikev")],
)
def test_links_are_cited(name: str, paper: str) -> None:
    assert "{" + paper in ao.citation(adam_and_link(name))
