"""Check that a step is told which donated buffers go to other results than their own."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from adam_optax import aot
from adam_optax.aot import Donation, targets
from tests.aot.compiled import spread

# Two leaves of a shape, so that a buffer may go to the other leaf.
PARAMS = {"b": jnp.ones(48), "layers": [{"w": jnp.ones((24, 16))}, {"w": jnp.ones((24, 16))}]}
OPTIMIZERS: dict[str, Any] = {
    "optax": optax.adamw(1e-3),
    "float32": ao.adamw(1e-3),
    "pair": ao.adamw(1e-3, storage=ao.storage.pair()),
    "chain": optax.chain(ao.clip_by_global_norm(1.0), ao.adamw(optax.constant_schedule(1e-3))),
}
EACH = pytest.mark.parametrize("name", OPTIMIZERS)


def found(step: Callable[..., Any], *arguments: Any, donate: Any, **named: Any) -> Donation:
    """Compile a step for this machine, and say what became of its donated arrays."""
    return aot.donation(jax.jit(step, donate_argnums=donate).lower(*arguments, **named).compile())


def names(arrays: Any) -> set[str]:
    return {one.argument for one in arrays}


def update(name: str) -> tuple[Callable[..., Any], Any]:
    """Return a function of (grads, state, params) that returns (params, state), and a state."""
    tx = OPTIMIZERS[name]

    def updated(grads: Any, state: Any, params: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):  # optax needs it
            return ao.step(tx, grads, state, params)

    return updated, tx.init(PARAMS)


@pytest.mark.quick
@pytest.mark.parametrize("name", ["optax", "float32", "chain"])
def test_params_last_are_overwritten_by_a_moment(name: str) -> None:
    step, state = update(name)
    bad = found(step, PARAMS, state, PARAMS, donate=(1, 2))
    assert names(bad.crossed) == names(bad.arrays)
    assert len(bad.arrays) == 9
    place = {one.argument: one for one in bad.arrays}["params['layers'][1]['w']"]
    assert place.size == 4 * 24 * 16
    assert place.result is not None
    assert place.result.endswith(".nu['layers'][1]['w']")
    assert place.own == "result[0]['layers'][1]['w']"
    assert place.copied
    assert "take the arguments\nin the order (params, state), or return" in bad.advice
    assert bad.advice.endswith("in the order (state, params).")


@EACH
def test_params_before_the_state_are_in_place(name: str) -> None:
    update_, state = update(name)
    good = found(
        lambda params, state, grads: update_(grads, state, params),
        PARAMS,
        state,
        PARAMS,
        donate=(0, 1),
    )
    assert good.arrays
    assert not good.crossed
    assert good.advice == ""
    assert str(good).startswith(f"donated: {len(good.arrays)} arrays, in place")
    if name != "pair":  # XLA for CPUs, without a loop of our own, reads a code after it is written
        assert not any(one.copied for one in good.arrays)


def test_the_order_of_results_may_follow_that_of_arguments() -> None:
    step, state = update("float32")
    good = found(lambda g, s, p: step(g, s, p)[::-1], PARAMS, state, PARAMS, donate=(1, 2))
    assert not good.crossed
    assert not any(one.copied for one in good.arrays)
    # The new parameters are written over the gradients, as good as over the parameters by XLA; a
    # loop writes them over the parameters, and XLA copies the result.
    unusable = pytest.warns(UserWarning, match="Some donated buffers were not usable")
    with ao.cpu_loops("never"), unusable:
        good = found(step, PARAMS, state, PARAMS, donate=(0, 1, 2))
    assert not good.crossed
    assert not any(one.copied for one in good.arrays)


def trainer(name: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return a step of a state that holds all, and that state, with an average like the params."""
    tx = OPTIMIZERS[name]

    def step(train: Any, x: Any) -> Any:
        def loss(params: Any) -> Any:
            return sum(jnp.sum(x @ one["w"]) for one in params["layers"]) + jnp.sum(params["b"])

        value, grads = jax.value_and_grad(loss)(train["params"])
        with jax.numpy_dtype_promotion("standard"):
            params, opt = ao.step(tx, grads, train["opt"], train["params"])
        ema = jax.tree.map(lambda e, p: 0.9 * e + 0.1 * p, train["ema"], params)
        return {"params": params, "opt": opt, "ema": ema, "step": train["step"] + 1}, value

    copy = jax.tree.map(jnp.copy, PARAMS)
    return step, {"params": PARAMS, "opt": tx.init(PARAMS), "ema": copy, "step": jnp.int32(0)}


@pytest.mark.parametrize("name", ["float32", "pair"])
def test_a_train_state_is_in_place(name: str) -> None:
    step, train = trainer(name)
    x = jnp.ones((8, 24))
    first = found(step, train, x, donate=0)
    assert not first.crossed
    assert names(first.arrays) >= {"train['params']['b']", "train['ema']['layers'][0]['w']"}
    last = found(lambda train, x: step(train, x)[::-1], train, x, donate=0)
    assert not last.crossed  # the loss is a number, and takes no array's place


def test_a_train_state_taken_apart_is_named_by_its_parts() -> None:
    """Return a tuple whose order is not that of the state's keys, which JAX sorts."""
    step, train = trainer("float32")

    def parts(train: Any, x: Any) -> Any:
        new, _ = step(train, x)
        return new["params"], new["ema"], new["opt"]

    bad = found(parts, train, jnp.ones((8, 24)), donate=0)
    assert "(train['params'], train['ema'], train['opt'])" in bad.advice
    assert "(train['ema'], train['opt'], train['params'])" in bad.advice
    own = {one.argument: one.own for one in bad.arrays}
    assert own["train['params']['b']"] == "result[0]['b']"
    assert own["train['ema']['b']"] == "result[1]['b']"
    assert own["train['opt'][0].nu['b']"] == "result[2][0].nu['b']"


@pytest.mark.quick
def test_an_average_before_the_params_is_known_by_what_it_is_computed_from() -> None:
    """Only the new average is computed from the old one, so that it is no tie."""

    def step(average: Any, params: Any, grads: Any) -> Any:
        params = params - grads
        return params, 0.9 * average + 0.1 * params

    bad = found(step, jnp.ones(512), jnp.ones(512), jnp.ones(512), donate=(0, 1))
    assert {one.argument: one.own for one in bad.crossed} == {
        "average": "result[1]",
        "params": "result[0]",
    }
    assert "in the order (params, average)" in bad.advice


def test_arguments_that_nothing_reads_and_arrays_closed_over_shift_no_number() -> None:
    step, state = update("float32")
    table = np.arange(7.0, dtype=np.float32)

    def whole(unused: Any, params: Any, none: Any, state: Any, *, grads: Any, factor: Any) -> Any:
        params, state = step(jax.tree.map(lambda g: factor * g, grads), state, params)
        return params, None, state, jnp.sum(jnp.asarray(table))

    rest = {"grads": PARAMS, "factor": jnp.float32(2)}
    good = found(whole, jnp.ones(5), PARAMS, None, state, donate=(0, 1, 3), **rest)
    assert not good.crossed
    used = {one.argument: one.result for one in good.arrays}
    assert used["params['b']"] == "result[0]['b']"
    assert used["state[0].mu['layers'][0]['w']"] == "result[2][0].mu['layers'][0]['w']"
    assert used["argument [0]"] is None


def test_a_result_of_another_dtype_reuses_nothing() -> None:
    def step(params: Any, grads: Any) -> Any:
        return params.astype("float32") - grads

    bad = found(step, jnp.ones(512, "bfloat16"), jnp.ones(512), donate=0)
    assert str(bad).splitlines()[:2] == [
        "donated: 1 array, 1 not reused for their own results",
        "  params is not reused: result is written elsewhere",
    ]
    assert "in their dtypes, and first" in bad.advice


def test_updates_take_the_place_of_moments_unless_gradients_are_donated() -> None:
    tx = OPTIMIZERS["float32"]
    state = tx.init(PARAMS)
    bad = found(tx.update, PARAMS, state, PARAMS, donate=1)
    assert names(bad.crossed) == names(bad.arrays)
    assert bad.advice.endswith("and first; or donate updates, too.")
    good = found(tx.update, PARAMS, state, PARAMS, donate=(0, 1))
    assert not good.crossed
    assert len(good.arrays) == 9


def test_a_result_of_a_type_that_comes_before_takes_the_buffer() -> None:
    def step(params: Any, grads: Any) -> Any:
        return {"a": grads * 2, "params": params - grads}

    bad = found(step, jnp.ones(512), jnp.ones(512), donate=0)
    (one,) = bad.crossed
    assert (one.result, one.own) == ("result['a']", "result['params']")
    assert "return the new values of\ndonated arguments" in bad.advice


def test_long_reports_are_cut_and_nothing_donated_is_said() -> None:
    step, state = update("float32")
    lines = str(found(step, PARAMS, state, PARAMS, donate=(1, 2))).splitlines()
    assert "  and 1 more" in lines
    assert len(lines) == 1 + 8 + 1 + 2
    assert str(found(step, PARAMS, state, PARAMS, donate=())) == "donated: no arrays"


class Other:
    """Stand for a compiled function with the text of another."""

    def __init__(self, compiled: Any, text: str | None) -> None:
        self.args_info, self.out_info = compiled.args_info, compiled.out_info
        self.input_shardings, self._text = compiled.input_shardings, text

    def as_text(self) -> str | None:
        """Return the other's text."""
        return self._text


@pytest.mark.quick
def test_what_is_no_module_of_the_function_is_refused() -> None:
    def compiled(function: Any, *arguments: Any) -> Any:
        return jax.jit(function).lower(*arguments).compile()

    one, two = jnp.ones(3), (jnp.ones(3), jnp.ones(4))
    add = compiled(lambda x: x + 1, one)
    with pytest.raises(ValueError, match="has no text of a module of XLA"):
        aot.donation(Other(add, None))  # type: ignore[arg-type]  # not one of JAX's
    both = compiled(lambda x, y: x + y[:3], *two)
    with pytest.raises(ValueError, match="module has 1 arguments, the function 2: compiled must"):
        aot.donation(Other(both, add.as_text()))  # type: ignore[arg-type]
    split = compiled(lambda x: (x + 1, x), one)
    with pytest.raises(ValueError, match="module has 1 results, the function 2: compiled must"):
        aot.donation(Other(split, add.as_text()))  # type: ignore[arg-type]


def test_ordered_effects_are_read_or_refused_and_do_not_matter_to_other_facts() -> None:
    """JAX 0.10 fails to say the types of such a step's results; 0.12 says them."""

    def step(x: Any) -> Any:
        jax.debug.print("{}", x[0], ordered=True)
        return x + 1

    made = jax.jit(step, donate_argnums=0).lower(jnp.ones(512)).compile()
    facts = aot.facts(made, 512)
    assert facts.copied < 512
    if facts.donation is None:
        with pytest.raises(ValueError, match="ordered effects; leave out ordered=True"):
            aot.donation(made)
    else:
        assert [one.result for one in facts.donation.arrays] == ["result"]


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["optax", "float32"])
@pytest.mark.parametrize("spec", [None, spread], ids=["one", "eight"])
@pytest.mark.parametrize("target", ["v5e", "h100"])
def test_accelerators_modules_are_read(target: str, spec: Any, name: str) -> None:
    """XLA for TPUs writes all results of a leaf at once, wherever they go, and copies nothing."""
    if absent := targets.missing(target):
        pytest.skip(f"{targets.INSTALL} ({', '.join(absent)})")
    step, state = update(name)

    def compiled(step: Callable[..., Any], *arguments: Any, donate: tuple[int, ...]) -> Donation:
        made = aot.compile_step(target, step, arguments, 816, donate, spec).donation
        assert made is not None
        return made

    bad = compiled(step, PARAMS, state, PARAMS, donate=(1, 2))
    assert names(bad.crossed) == names(bad.arrays)
    copied = names(one for one in bad.crossed if one.copied)
    assert ("params['layers'][0]['w']" in copied) == (target == "h100")
    good = compiled(lambda p, s, g: step(g, s, p), PARAMS, state, PARAMS, donate=(0, 1))
    assert not good.crossed
    assert not any(one.copied for one in good.arrays)
