"""Compare training in bfloat16 and float16 with training in float32."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from adam_optax._core.dither import dither
from tests.support import oracle_precision as oracle
from tests.support.cases import gradients
from tests.support.precision import LINKS, apply, float32, same_bits, stepper

STEPS = 500
GRADS = jnp.asarray(gradients(STEPS, 64), jnp.float32)
START = jnp.asarray(np.linspace(-2, 2, 64), jnp.bfloat16)
KINDS = ("bfloat16", "float16")


def take_equal_steps(tx: Any, params: Any, step: Any, steps: int = 1000) -> Any:
    """Return the parameters and state after equal steps, taken in one scan."""
    tx = optax.chain(optax.sgd(1.0), tx)
    grads = jnp.broadcast_to(jnp.asarray(-step, jnp.float32), params.shape)

    def body(carry: Any, _: Any) -> Any:
        return stepper(tx)(*carry, grads), None

    return jax.jit(lambda p: jax.lax.scan(body, (p, tx.init(p)), length=steps)[0])(params)


@pytest.mark.quick
def test_a_thousand_small_steps_move_a_parameter_as_in_float32() -> None:
    start = jnp.ones(4096, jnp.bfloat16)
    lost, _ = take_equal_steps(optax.identity(), start, 1e-3)
    np.testing.assert_array_equal(float32(lost), 1)  # what optax does: nothing
    wide, _ = take_equal_steps(optax.identity(), start.astype(jnp.float32), 1e-3)
    np.testing.assert_allclose(wide, 2, rtol=1e-4)
    kahan, _ = take_equal_steps(LINKS["kahan"](), start, 1e-3)
    np.testing.assert_array_equal(float32(kahan), 2)
    split, state = take_equal_steps(LINKS["split_master"](), start, 1e-3)
    same_bits(ao.precision.read_master(state, split), wide)
    random, _ = take_equal_steps(LINKS["stochastic_rounding"](), start, 1e-3)
    # A step is .128 units of bfloat16, so that a thousand are off by sqrt(1000 .128 .872) = 10.6 of
    # them: 4,096 elements by five times as much at most, and their mean by a 64th.
    np.testing.assert_allclose(float32(random), 2, atol=53 * 2**-7)
    assert abs(float32(random).mean() - 2) < 4 * 10.6 / 64 * 2**-7


def test_float16_moves_too() -> None:
    start = jnp.ones(4096, jnp.float16)
    lost, _ = take_equal_steps(optax.identity(), start, 1e-4)
    np.testing.assert_array_equal(float32(lost), 1)  # a unit is 9.8e-4
    kahan, _ = take_equal_steps(LINKS["kahan"](), start, 1e-4)
    np.testing.assert_allclose(float32(kahan), 1.1, atol=2**-11)  # half a unit
    random, _ = take_equal_steps(LINKS["stochastic_rounding"](), start, 1e-4)
    # A step is .102 units, so that a thousand are off by 9.6 of them: five times that at most.
    np.testing.assert_allclose(float32(random), 1.1, atol=48 * 2**-10)


@pytest.mark.quick
@pytest.mark.parametrize(("lib", "jit"), [("ours", True), ("optax", True), ("optax", False)])
def test_split_master_is_float32_training_bit_for_bit(lib: str, jit: bool) -> None:
    """Compile Adam once for both runs, because XLA may round differently in another program."""
    adam = ao.adam(1e-2) if lib == "ours" else optax.adam(1e-2)
    wide = START.astype(jnp.float32)
    update, link = jax.jit(adam.update), LINKS["split_master"]()
    step = jax.jit(stepper(link)) if jit else stepper(link)
    params, state, expected, other = START, link.init(START), wide, adam.init(wide)
    for g in GRADS if jit else GRADS[:50]:
        with jax.numpy_dtype_promotion("standard"):
            updates, other = update(g, other, expected)
        params, state = step(params, state, updates)
        expected = apply(expected, updates)
    same_bits(ao.precision.read_master(state, params), expected)
    # The parameter is the master rounded to nearest; none of these is a half.
    np.testing.assert_array_equal(float32(params), float32(expected.astype(jnp.bfloat16)))
    assert np.mean(np.abs(float32(params) - float32(START))) > 0.01


def test_split_master_in_a_chain_is_float32_training_to_the_last_digits() -> None:
    adam = ao.adam(1e-2)
    params, expected = START, START.astype(jnp.float32)
    tx = optax.chain(adam, LINKS["split_master"]())
    state, other = tx.init(params), adam.init(expected)
    step, reference = jax.jit(stepper(tx)), jax.jit(stepper(adam))
    for g in GRADS:
        params, state = step(params, state, g)
        expected, other = reference(expected, other, g)
    master = ao.precision.read_master(state, params)
    # Compiled otherwise, 500 updates of .01 differ by 1e-7 of themselves, sums of 2 by 1e-7.
    np.testing.assert_allclose(master, expected, rtol=0, atol=500 * 0.01 * 1e-7 + 10 * 2e-7)


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_kahan_keeps_close_to_float32_over_adam_steps(kind: str) -> None:
    tx = optax.chain(ao.adam(1e-4), ao.precision.kahan(kind))
    params, state = START, tx.init(START)
    wide, other = START.astype(jnp.float32), ao.adam(1e-4).init(START.astype(jnp.float32))
    lost, last = START, ao.adam(1e-4).init(START)
    step, reference = jax.jit(stepper(tx)), jax.jit(stepper(ao.adam(1e-4)))
    for g in GRADS:
        params, state = step(params, state, g)
        wide, other = reference(wide, other, g)
        lost, last = reference(lost, last, g)
    assert state[1].compensation.dtype == kind
    whole = float32(params) + float32(state[1].compensation)
    # float32: the order of 500 sums, 1e-7 each; bfloat16: 2^-18 of the parameter, at random.
    tolerance = 3e-6 if kind == "float32" else np.sqrt(STEPS) * 2 * 2**-18
    np.testing.assert_allclose(whole, wide, rtol=0, atol=tolerance)
    assert np.abs(float32(lost) - wide).max() > 30 * np.abs(whole - wide).max()


@pytest.mark.parametrize(
    ("dtype", "kind", "low", "size", "least", "most"),
    [
        ("bfloat16", None, 1.0, 2.0**-13, 0.97, 1.03),
        ("bfloat16", None, 1.0, 2.0**-16, 0.8, 1.2),
        ("bfloat16", None, 1.0, 2.0**-18, 0.0, 1.4),
        ("bfloat16", "float32", 1.0, 2.0**-18, 0.999, 1.001),
        ("float16", None, 1.0, 2.0**-19, 0.97, 1.03),
        ("float16", None, 2.0**-8, 2.0**-18, 0.0, 2.1),
        ("float16", "bfloat16", 2.0**-8, 2.0**-16, 0.97, 1.03),
    ],
)
def test_equal_steps_add_up_to_what_a_compensation_can_hold(
    dtype: str, kind: str | None, low: float, size: float, least: float, most: float
) -> None:
    """Step by the same share of each parameter; compare the way with the documented bounds."""
    unit, share = oracle.unit(low, dtype), np.linspace(1.0, 1.9, 1000)
    start, step = jnp.asarray(low * share, dtype), low * share * size
    steps = int(5 * unit / (low * size))
    params, state = take_equal_steps(LINKS["kahan"](kind), start, step, steps)
    whole = float32(params).astype(np.float64) + float32(state[1].compensation)
    moved = (whole - float32(start)) / (steps * step)
    assert least <= moved.min()
    assert moved.max() <= most
    assert (moved.min() < 0.1) == (least == 0)  # the least steps are lost, where bounds say so


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("x", [1.0011, -0.7303, 3e-5])
def test_a_hundred_thousand_draws_have_no_bias(dtype: str, x: float) -> None:
    size = 100_000
    tx = LINKS["stochastic_rounding"](seed=1)
    params = jnp.zeros(size, dtype)
    updates, _ = tx.update(jnp.full(size, x, jnp.float32), tx.init(params), params)
    drawn = float32(apply(params, updates)).astype(np.float64)
    ulp = oracle.unit(x, dtype)
    assert len(np.unique(drawn)) == 2
    # Independent draws have a standard error of at most half a unit over the root of their number.
    assert abs(drawn.mean() - np.float32(x)) < 4 * 0.5 * ulp / np.sqrt(size)


def test_dither_is_the_integers_of_the_definition() -> None:
    found = np.asarray(dither((3, 4, 5), jnp.int32(11), jnp.uint32(oracle.key(7, "['w']"))))
    wanted = [oracle.dither(i, 11, 7, "['w']") for i in range(60)]
    np.testing.assert_array_equal(found.ravel(), wanted)


def test_seeds_leaves_and_steps_have_dithers_of_their_own_and_runs_repeat() -> None:
    params = {"a": jnp.ones(999, jnp.bfloat16), "b": jnp.ones(999, jnp.bfloat16)}
    grads = jax.tree.map(lambda p: jnp.full(999, 4e-3), params)

    def run(seed: int, start: int = 0) -> Any:
        tx = LINKS["stochastic_rounding"](seed)
        state = tx.init(params)._replace(count=jnp.int32(start))
        return apply(params, tx.update(grads, state, params)[0])

    same_bits(run(0), run(0))
    draws = [run(0)["a"], run(0)["b"], run(1)["a"], run(-1)["a"], run(0, 1)["a"]]
    for i, one in enumerate(draws):
        for other in draws[:i]:
            alike = np.mean(float32(one) == float32(other))
            assert 0.43 < alike < 0.57  # .50 at .512 of a unit, and four errors of 999 draws


@pytest.mark.parametrize("name", LINKS)
def test_weight_decay_and_zero_steps(name: str) -> None:
    """Check that decay far below a unit adds up, and that a zero step changes no bit."""
    tx = optax.chain(ao.adamw(1e-3, weight_decay=0.1), LINKS[name]())
    params, state = jnp.ones(4096, jnp.bfloat16), tx.init(jnp.ones(4096, jnp.bfloat16))
    step = jax.jit(stepper(tx))
    for _ in range(200):
        params, state = step(params, state, jnp.zeros(4096))
    # 200 steps of 1e-4; the decay itself reads a parameter rounded to 2^-8.
    np.testing.assert_allclose(float32(params).mean(), 1 - 0.02, atol=2**-8)
    alone = LINKS[name]()
    updates, _ = alone.update(jnp.zeros(64), alone.init(START), START)
    same_bits(apply(START, updates), START)
