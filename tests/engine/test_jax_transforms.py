"""Under scan, cond, vmap, grad, jit and donation the variants stay the oracle's."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.support.cases import CASES, DEFAULTS, Case, by_id, gradients, run
from tests.support.oracle import relative_rms

STEPS, SIZE = 20, 6
GRADS = gradients(STEPS, SIZE)
START = np.linspace(-1.0, 1.0, SIZE).astype(np.float32).astype(np.float64)
G32, P32 = jnp.asarray(GRADS, jnp.float32), jnp.asarray(START, jnp.float32)
CLOSE = 1e-6  # a dozen float32 roundings of 6e-8 in each update
SOME = [case for case in DEFAULTS if case.name in ("nadamw", "amsgrad", "adamaxw")]
EACH = pytest.mark.parametrize("case", **by_id(SOME))


def identical(one: Any, other: Any) -> None:
    """Of one structure, dtypes and values; chex's `strict` alone takes bfloat16 for float32."""
    chex.assert_trees_all_equal_shapes_and_dtypes(one, other)
    chex.assert_trees_all_equal(one, other)


def stepper(tx: Any) -> Any:
    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return step


@EACH
def test_a_python_loop_without_jit_equals_the_oracle(case: Case) -> None:
    step, params, state = stepper(case.ours()), P32, case.ours().init(P32)
    for g in G32:
        params, state = step(params, state, g)
    assert relative_rms(params, case.oracle(GRADS, START)["params"][-1]) < CLOSE


@EACH
def test_cond_inside_scan_updates_on_odd_steps_only(case: Case) -> None:
    step = stepper(case.ours())

    def body(carry: Any, x: Any) -> Any:
        odd, g = x
        return jax.lax.cond(odd, lambda c: step(*c, g), lambda c: c, carry), None

    odd = jnp.arange(STEPS) % 2 == 1
    (params, state), _ = jax.lax.scan(body, (P32, case.ours().init(P32)), (odd, G32))
    assert relative_rms(params, case.oracle(GRADS[1::2], START)["params"][-1]) < CLOSE
    assert int(state[0].count) == STEPS // 2


@pytest.mark.matrix(keep=3)
@EACH
def test_vmap_over_rates_equals_one_at_a_time(case: Case) -> None:
    rates = jnp.array([[0.1, 0.9, 0.999], [0.01, 0.0, 0.9], [0.001, 0.5, 0.99999]])

    def run_with(lr: Any, b1: Any, b2: Any) -> Any:
        return run(case.ours(lr, b1=b1, b2=b2), G32, P32)[0]

    together = jax.vmap(run_with)(*rates.T)
    for updates, numbers in zip(together, rates, strict=True):
        alone = run_with(*numbers)
        assert relative_rms(updates, alone) < 3e-7  # compiled otherwise: a rounding or two
        lr, b1, b2 = (float(x) for x in numbers)  # as float32 rounds them
        expected = case.oracle(GRADS, START, lr, b1=b1, b2=b2)["updates"]
        assert relative_rms(updates, expected) < CLOSE


@EACH
def test_vmap_over_models_equals_one_at_a_time(case: Case) -> None:
    stacked = jnp.stack([G32, -G32[::-1]])
    updates = jax.vmap(lambda g: run(case.ours(), g, P32)[0])(stacked)
    for one, grads in zip(updates, [GRADS, -GRADS[::-1]], strict=True):
        assert relative_rms(one, case.oracle(grads, START)["updates"]) < CLOSE


# A quadratic bowl in which coordinate 0 has no slope at all, and 1 starts at the bottom.
SLOPE, GOAL = np.array([0.0, 2.0, 0.3, -0.7]), np.array([0.5, 0.0, 2.0, 1.0])
BEGIN, WEIGHT = np.array([-1.0, 0.0, 0.4, 0.1]), np.array([1.0, -2.0, 3.0, 0.5])
NUMBERS = np.array([0.03, 0.8, 0.99])  # learning rate, b1, b2


def outcome(case: Case, start: Any, numbers: Any, eps: float, wrap: Any = lambda f: f) -> Any:
    """The weighted sum of the parameters after ten steps of ours."""
    tx = case.ours(numbers[0], b1=numbers[1], b2=numbers[2], eps=eps)
    slope, goal, weight = (jnp.asarray(x, start.dtype) for x in (SLOPE, GOAL, WEIGHT))

    def body(carry: Any, _: Any) -> Any:
        params, state = carry
        return wrap(stepper(tx))(params, state, slope * (params - goal)), None

    (params, _), _ = jax.lax.scan(body, (start, tx.init(start)), length=10)
    return weight @ params


def differences(case: Case, start: Any, eps: float, h: float = 1e-9) -> Any:
    """The derivatives of the oracle's outcome by differences in float64."""

    def at(x: Any) -> float:
        params, (rate, b1, b2) = x[: len(start)], x[len(start) :]
        options = {**case.options, "b1": b1, "b2": b2, "eps": eps}
        decay = options.pop("weight_decay", 0.0)
        rule = case.rule(**options)
        for _ in range(10):
            params = params - rate * (rule.step(SLOPE * (params - GOAL)) + decay * params)
        return float(WEIGHT @ params)

    x = np.concatenate([start, NUMBERS])
    return np.array([(at(x + e) - at(x - e)) / (2 * h) for e in h * np.eye(len(x))])


def slopes(case: Case, start: Any, numbers: Any, eps: float, wrap: Any = lambda f: f) -> Any:
    """The derivatives of the outcome of ours by the parameters and by the numbers."""
    grad = jax.grad(lambda p, n: outcome(case, p, n, eps, wrap), (0, 1))
    return np.concatenate(jax.jit(grad)(start, numbers))


@pytest.mark.matrix(keep=2)
@EACH
def test_derivatives_through_ten_steps_with_a_zero_gradient(case: Case, x64: None) -> None:
    """With eps_root = 0: by the parameters, two of whose gradients are 0, and by the rates."""
    found = slopes(case, jnp.asarray(BEGIN), jnp.asarray(NUMBERS), 0.1)
    expected = differences(case, BEGIN, 0.1)
    # Differences are off by h / eps = 1e-8 per step where the gradient is 0, and by 1e-16 / h.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.matrix(keep=2)
@EACH
def test_float32_derivatives_are_finite_and_right_at_the_usual_eps(case: Case) -> None:
    start = np.array([-1.0, 0.5, 0.4, 0.1])  # at the bottom a step's slope would be rate / eps
    found = slopes(case, jnp.asarray(start, jnp.float32), jnp.asarray(NUMBERS, jnp.float32), 1e-8)
    expected = differences(case, start, 1e-8)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@EACH
def test_derivatives_at_rates_of_zero_are_those_close_by(case: Case, x64: None) -> None:
    start = jnp.asarray(BEGIN)
    zero, near = (slopes(case, start, jnp.array([0.03, b, b]), 0.1) for b in (0.0, 1e-9))
    # The second derivatives are some tens; 1e-9 of that, and the difference's own rounding.
    np.testing.assert_allclose(zero, near, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", **by_id(SOME[:2]))
def test_checkpointing_the_step_changes_no_derivative(case: Case, x64: None) -> None:
    at = (case, jnp.asarray(BEGIN), jnp.asarray(NUMBERS), 0.1)
    # The same operations, compiled otherwise.
    assert relative_rms(slopes(*at, wrap=jax.checkpoint), slopes(*at)) < 1e-12


@EACH
def test_second_step_compiles_nothing(case: Case) -> None:
    chex.clear_trace_counter()
    step = jax.jit(chex.assert_max_traces(stepper(case.ours()), n=1))
    params, state = P32, case.ours().init(P32)
    for g in G32:
        params, state = step(params, state, g)
    assert relative_rms(params, case.oracle(GRADS, START)["params"][-1]) < CLOSE


def counting_rules() -> tuple[list[Any], list[ao.Rule]]:
    """A list that grows whenever a rule is traced, and such rules: with and without numbers."""
    traced: list[Any] = []

    def direction(x: ao.Leaf) -> jax.Array:
        traced.append(x.g.shape)
        return x.hat["mu"]

    @ao.rules.variant
    def momentum(b1: float = 0.5) -> ao.Rule:
        return ao.Rule({"mu": ao.moments.ema(b1, corrected=False)}, direction)

    return traced, [momentum(), momentum(b1=lambda n: 0.5), ao.Rule(momentum().moments, direction)]


@pytest.mark.parametrize("which", [0, 1, 2], ids=["numbers", "schedule", "a rule as it is"])
def test_un_jitted_update_traces_once_per_shape(which: int) -> None:
    traced, rules = counting_rules()
    tx = ao.scale_by(rules[which])
    params = [jnp.ones(3)] * 20 + [jnp.ones((2, 2))] * 20
    state = tx.init(params)
    for _ in range(3):
        updates, state = tx.update(params, state)
    assert sorted(traced) == [(2, 2), (3,)]
    chex.assert_trees_all_equal(updates, jax.tree.map(lambda p: 0.875 * p, params))


def test_a_new_learning_rate_traces_nothing_anew() -> None:
    traced, rules = counting_rules()
    for rate in (0.1, 0.2, 0.4):
        tx = ao.optimizer(rules[0], rate)
        updates, _ = tx.update(P32, tx.init(P32), P32)
        assert relative_rms(updates, -rate * 0.5 * START) < CLOSE
    assert len(traced) == 1


@pytest.mark.quick
@pytest.mark.parametrize("case", **by_id(CASES))
def test_zero_gradients_pass_debug_nans(case: Case) -> None:
    expected = case.oracle(np.zeros((2, SIZE)), np.ones(SIZE))["params"][-1]
    for dtype, tolerance in [(jnp.float32, CLOSE), (jnp.float16, 1e-3)]:  # 24 and 11 bits
        step, params = stepper(case.ours()), jnp.ones(SIZE, dtype)
        with jax.debug_nans(True):
            state = case.ours().init(params)
            for _ in range(2):
                params, state = step(params, state, jnp.zeros(SIZE, dtype))
        assert relative_rms(params, expected) < tolerance


@EACH
def test_eval_shape_tells_what_init_and_update_give(case: Case) -> None:
    tx, params = case.ours(), {"a": P32, "b": jnp.ones((2, 3), jnp.bfloat16), "c": jnp.ones(())}
    for f, args in [(tx.init, (params,)), (tx.update, (params, tx.init(params), params))]:
        chex.assert_trees_all_equal_shapes_and_dtypes(jax.eval_shape(f, *args), f(*args))


@EACH
def test_donated_buffers_give_the_same_numbers(case: Case) -> None:
    fading = lambda n: 0.1 / (1.0 + jnp.asarray(n, float))  # noqa: E731
    tx = case.ours(fading, **({"weight_decay": fading} if case.name[-1] == "w" else {}))
    results = []
    for donate in [(), (0, 1)]:
        step, params, state = jax.jit(stepper(tx), donate_argnums=donate), P32 + 0, tx.init(P32)
        for g in G32:
            before = params, state
            params, state = step(params, state, g)
            gone = [leaf.is_deleted() for leaf in jax.tree.leaves(before)]
            assert gone == [bool(donate)] * len(gone)
        results.append((params, state))
    identical(*results)


@EACH
def test_a_step_lowered_from_shapes_alone_runs(case: Case) -> None:
    tx = case.ours()
    shape = jax.ShapeDtypeStruct((SIZE,), jnp.float32)
    compiled = jax.jit(stepper(tx)).lower(shape, jax.eval_shape(tx.init, shape), shape).compile()
    params, state = P32, tx.init(P32)
    for g in G32:
        params, state = compiled(params, state, g)
    assert relative_rms(params, case.oracle(GRADS, START)["params"][-1]) < CLOSE


class EveryVariant(chex.TestCase):  # type: ignore[misc]  # chex has no types
    """With and without jit, on and off the device."""

    @chex.variants(with_jit=True, without_jit=True, with_device=True, without_device=True)  # type: ignore[untyped-decorator]
    def test_a_step_equals_the_oracle(self) -> None:
        """The first step, from the state that init makes."""
        for case in SOME:
            tx = case.ours()
            step = self.variant(tx.update)
            updates, state = step(G32[0], tx.init(P32), P32)
            assert relative_rms(updates, case.oracle(GRADS[:1], START)["updates"][0]) < CLOSE
            assert int(state[0].count) == 1
