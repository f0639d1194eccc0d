"""`ao.step`: the update and its addition to the parameters, as in two calls."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao

RNG = np.random.default_rng(0)
SHAPES = {"w": (4, 130), "b": (3,), "s": ()}
PARAMS = {n: jnp.asarray(RNG.standard_normal(s), jnp.float32) for n, s in SHAPES.items()}
GRADS = {n: jnp.asarray(RNG.standard_normal(s), jnp.float32) for n, s in SHAPES.items()}
SCHEDULE = optax.linear_schedule(1e-2, 1e-3, 5)


def adamw(**how: Any) -> Any:
    return ao.adamw(SCHEDULE, weight_decay=0.1, **how)


CHAINS = {
    "alone": adamw,
    "masked decay": lambda: adamw(mask={"w": True, "b": False, "s": False}),
    "pair": lambda: adamw(storage=ao.storage.pair()),
    "clipped": lambda: optax.chain(optax.clip(0.5), ao.clip_by_global_norm(0.1), adamw()),
    "nested": lambda: optax.chain(optax.chain(optax.scale(2.0), adamw()), optax.chain(adamw())),
    "not last": lambda: optax.chain(adamw(), optax.scale(0.5)),
    "optax's": lambda: optax.adamw(1e-2),
    "injected": lambda: optax.inject_hyperparams(ao.adam)(learning_rate=1e-2),
    "in steps": lambda: optax.MultiSteps(ao.adam(1e-2), 2),
    "scaled": lambda: ao.scale_by_adam(),
    "named": lambda: optax.named_chain(("clip", optax.clip(0.5)), ("adam", ao.adam(1e-2))),
}
EACH = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.quick if n == "clipped" else ()) for n in CHAINS]
)


def in_two(tx: Any, grads: Any, state: Any, params: Any) -> Any:
    updates, state = tx.update(grads, state, params)
    return optax.apply_updates(params, updates), state


@pytest.mark.matrix(keep=1)
@EACH
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_is_update_and_apply_updates(name: str, dtype: str) -> None:
    tx = CHAINS[name]()
    one = two = jax.tree.map(lambda p: p.astype(dtype), PARAMS)
    first = second = tx.init(one)
    with jax.numpy_dtype_promotion("standard"):  # as optax's own transformations need
        for _ in range(3):
            one, first = ao.step(tx, GRADS, first, one)
            two, second = in_two(tx, GRADS, second, two)
    chex.assert_trees_all_equal_shapes_and_dtypes((one, first), (two, second))
    chex.assert_trees_all_close(first, second, rtol=1e-6)  # of the decay in a link before
    # Within one compiled function a product is added without being rounded: half a unit in the
    # last place of the parameter at each of three steps; a whole one where that tips bfloat16.
    half = 2.0**-24 if dtype == "float32" else 2.0**-8
    chex.assert_trees_all_close(one, two, rtol=6 * half, atol=half)


def test_only_the_last_link_of_ours_is_one_pass() -> None:
    # Where the addition is inside the compiled step of a leaf, none is left outside.
    def additions(name: str) -> int:
        tx = CHAINS[name]()
        jaxpr = jax.make_jaxpr(lambda g, p: ao.step(tx, g, tx.init(p), p)[0])(GRADS, PARAMS)
        shapes = [e.outvars[0].aval.shape for e in jaxpr.eqns if e.primitive.name == "add"]
        return shapes.count((4, 130))

    assert [additions(n) for n in ("alone", "clipped", "not last")] == [0, 0, 1]


def test_a_parameter_without_a_gradient_stays() -> None:
    tx, grads = adamw(), {**GRADS, "b": None}
    state = tx.init(PARAMS)
    params, after = ao.step(tx, grads, state, PARAMS)
    np.testing.assert_array_equal(params["b"], PARAMS["b"])
    np.testing.assert_array_equal(after[0].mu["b"], state[0].mu["b"])
    assert np.all(np.asarray(params["w"]) != np.asarray(PARAMS["w"]))


def test_extra_arguments_reach_the_links() -> None:
    def update(updates: Any, state: Any, params: Any = None, *, value: Any) -> Any:
        del params
        return jax.tree.map(lambda g: g * value, updates), state

    half = optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), update)
    tx, sgd = optax.chain(half, ao.sgd(1.0)), optax.sgd(0.5)
    ours, _ = ao.step(tx, GRADS, tx.init(PARAMS), PARAMS, value=0.5)
    theirs, _ = in_two(sgd, GRADS, sgd.init(PARAMS), PARAMS)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-6)  # the factor before or after


def test_a_state_of_another_chain_is_refused() -> None:
    tx = optax.chain(optax.scale(1.0), ao.adam(1e-2))
    with pytest.raises(ValueError, match="number of updates and states"):
        ao.step(tx, GRADS, tx.init(PARAMS)[:1], PARAMS)


def test_parameters_are_needed() -> None:
    tx = ao.adam(1e-2)
    with pytest.raises(TypeError, match=r"ao.step needs the parameters"):
        ao.step(tx, GRADS, tx.init(PARAMS), None)
