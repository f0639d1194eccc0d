"""Hold hyper-parameters by path to a run of each parameter with its own numbers."""

from typing import Any

import chex
import equinox as eqx
import flax.linen as nn
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import adam_optax as ao

S = ao.storage
RNG = np.random.default_rng(0)


def tree(*lead: int) -> Any:
    """Return parameters, or with a leading axis gradients of several steps."""
    draw = lambda *shape: jnp.asarray(RNG.standard_normal((*lead, *shape)), jnp.float32)  # noqa: E731
    return {"embed": {"w": draw(9, 4)}, "dense": {"w": draw(4, 3), "bias": draw(3)}}


PARAMS, GRADS = tree(), tree(5)
FALLING = optax.linear_schedule(1e-2, 1e-4, 4)


def train(tx: Any, params: Any = PARAMS, grads: Any = GRADS, step: bool = False) -> Any:
    """Return the parameters after some steps, and the state."""
    one = jax.jit(lambda g, s, p: ao.step(tx, g, s, p))
    two = jax.jit(tx.update)
    state = tx.init(params)
    for i in range(5):
        g = jax.tree.map(lambda x, i=i: x[i], grads)
        if step:
            params, state = one(g, state, params)
        else:
            updates, state = two(g, state, params)
            params = optax.apply_updates(params, updates)
    return params, state


def alone(make: Any, *path: str, step: bool = False) -> Any:
    """Return a parameter after its own run, in a tree that has nothing else."""
    params, grads = PARAMS, GRADS
    for key in path:
        params, grads = params[key], grads[key]
    return train(make, params, grads, step)[0]


OWN: dict[str, tuple[Any, Any]] = {
    "learning_rate": (1e-3, FALLING),
    "weight_decay": (0.1, lambda n: 0.1 / (n + 1)),
    "b1": (0.8, lambda n: 0.5 + 0.1 * jnp.minimum(jnp.asarray(n, float), 4)),
    "b2": (0.99, lambda n: 0.9 + 0.02 * jnp.minimum(jnp.asarray(n, float), 4)),
    "eps": (1e-3, jnp.float32(1e-4)),
    "storage": (S.pair(), {"nu": S.factored(2)}),
}
"""For each argument of `adamw` the value of the bias and that of the embedding."""


@pytest.mark.matrix(keep=3, quick=["learning_rate-update"])
@pytest.mark.parametrize("step", [False, True], ids=["update", "step"])
@pytest.mark.parametrize("names", [*([n] for n in OWN), list(OWN)], ids="-".join)
def test_each_parameter_steps_with_its_own_numbers(names: list[str], step: bool) -> None:
    rest: dict[str, Any] = {"learning_rate": 1e-2, "weight_decay": 0.01}
    dense = S.dense() if "storage" in names else None
    by_path: dict[str, Any] = {
        n: ao.by_path({".*/bias": OWN[n][0], "embed/.*": OWN[n][1], ".*": rest.get(n, default)})
        for n, default in (
            (n, {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "storage": dense}.get(n)) for n in names
        )
    }
    with jax.numpy_dtype_promotion("standard"):  # optax's schedules
        params, _ = train(ao.adamw(**{**rest, **by_path}), step=step)
        for path, own in (
            (("dense", "bias"), {n: OWN[n][0] for n in names}),
            (("embed", "w"), {n: OWN[n][1] for n in names}),
            (("dense", "w"), {}),
        ):
            expected = alone(ao.adamw(**{**rest, **own}), *path, step=step)
            # The same program; XLA may fuse it otherwise, a rounding or two.
            np.testing.assert_allclose(params[path[0]][path[1]], expected, rtol=3e-7, atol=1e-8)


ANY_FROZEN: Any = ao.FROZEN
ANY_BY_PATH: Any = ao.by_path({".*": 1.0})
FREEZE = ao.by_path({"embed/.*": ao.FROZEN, ".*": 1e-2})


@pytest.mark.quick
@pytest.mark.parametrize("step", [False, True], ids=["update", "step"])
def test_frozen_parameters_stay_and_keep_nothing(step: bool) -> None:
    params = {**PARAMS, "embed": {"w": PARAMS["embed"]["w"], "ids": jnp.arange(3)}}
    grads = {**GRADS, "embed": {"w": GRADS["embed"]["w"], "ids": jnp.zeros((5, 3), int)}}
    tx = ao.adamw(FREEZE)
    after, state = train(tx, params, grads, step)
    chex.assert_trees_all_equal(after["embed"], params["embed"])
    assert isinstance(state[0], optax.ScaleByAdamState)
    assert jax.tree.leaves(state[0].mu["embed"]) == []
    trained = train(ao.adamw(1e-2), {"dense": PARAMS["dense"]}, {"dense": GRADS["dense"]})[0]
    chex.assert_trees_all_close(after["dense"], trained["dense"], rtol=3e-7)
    kept = ao.memory(tx, params).by_entry
    assert kept["mu"] == kept["nu"] == 4 * 15  # fifteen numbers are trained


@pytest.mark.quick
def test_labels_are_optax_s() -> None:
    kinds = {"embed": "slow", "dense": {"w": "fast", "bias": "fast"}}
    for labels in (kinds, lambda params: kinds):
        rate = ao.by_path(labels, {"slow": 1e-3, "fast": 1e-2})
        theirs = optax.partition({"slow": optax.adam(1e-3), "fast": optax.adam(1e-2)}, labels)
        with jax.numpy_dtype_promotion("standard"):
            expected = train(theirs)[0]
        # optax's bias correction is off by 1e-5 of a step of a hundredth
        chex.assert_trees_all_close(train(ao.adam(rate))[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.quick
def test_multipliers_go_with_numbers_schedules_and_each_other() -> None:
    depths = ao.by_depth(0.5, ["embed/.*", "dense/w", "dense/bias"])
    per_size = ao.by_path(lambda path, p: 1.0 / p.shape[0])
    count = jnp.int32(2)
    products = {
        "number": (0.1 * depths, [0.025, 0.05, 0.1]),
        "number after": (depths * 0.1, [0.025, 0.05, 0.1]),
        "each other": (depths * per_size, [0.25 / 9, 0.5 / 4, 1 / 3]),
        "schedule": (FALLING * depths, [float(FALLING(count)) * m for m in (0.25, 0.5, 1)]),
    }
    for values, right in products.values():
        found = values.resolve(PARAMS, None, True)  # by name: dense/bias, dense/w, embed/w
        numbers = [float(v(count)) if callable(v) else v for v in found]
        np.testing.assert_allclose(numbers, right[::-1], rtol=1e-6)
    frozen = ao.by_path({"embed/.*": ao.FROZEN, ".*": 2.0}) * FALLING
    assert frozen.resolve(PARAMS, None, True)[-1] is ao.FROZEN


@pytest.mark.quick
def test_parameter_groups_are_the_same_as_arguments_by_path() -> None:
    groups: Any = {"embed/.*": ao.FROZEN, ".*/bias": {"weight_decay": 0.0, "b2": 0.9}, ".*": {}}
    tx = ao.parameter_groups(ao.adamw, groups, learning_rate=1e-2, weight_decay=0.1)
    same = ao.adamw(
        ao.by_path({"embed/.*": ao.FROZEN, ".*": 1e-2}),
        b2=ao.by_path({".*/bias": 0.9, ".*": 0.999}),
        weight_decay=ao.by_path({".*/bias": 0.0, ".*": 0.1}),
    )
    chex.assert_trees_all_equal(train(tx), train(same))


@pytest.mark.quick
@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: ao.by_path(3), TypeError, "by_path takes a mapping"),
        (lambda: ao.by_path({"(": 1.0}), ValueError, r"'\(' is no regular expression"),
        (lambda: ao.adam(ao.by_path({".*": -1.0})), ValueError, "learning_rate must be finite"),
        (lambda: ao.adam(1.0, b1=ao.by_path({".*": 1.5})), ValueError, r"b1 must be in \[0, 1\)"),
        (lambda: ao.adam(1.0, b1=ao.by_path({".*": ao.FROZEN})), TypeError, "b1 must be a number"),
        (lambda: ao.adam(ANY_FROZEN), TypeError, "learning_rate must be a number"),
        (
            lambda: ao.adam(ao.by_path({"dense/.*": 1.0})).init(PARAMS),
            ValueError,
            "no expression matches 'embed/w' as a whole",
        ),
        (
            lambda: ao.adam(ao.by_path({"dens/.*": 1.0, ".*": 2.0})).init(PARAMS),
            ValueError,
            r"'dens/\.\*' is the first to match no parameter; the paths are dense/bias, dense/w",
        ),
        (
            lambda: ao.adam(ao.by_path({"embed": "a", "dense": "b"}, {"a": 1.0})).init(PARAMS),
            ValueError,
            "the label 'b' has no value; there are 'a'",
        ),
        (
            lambda: ao.adam(ao.by_path({"embed": "a", "head": "a"}, {"a": 1.0})).init(PARAMS),
            ValueError,
            "the labels of by_path are not a prefix",
        ),
        (
            lambda: ao.adam(ao.by_path(lambda path, p: -1.0)).init(PARAMS),
            ValueError,
            "learning_rate must be finite",
        ),
        (
            lambda: ao.adadelta(1.0, weight_decay=ao.by_path({".*": 0.1})),
            TypeError,
            "cannot be by path; say with weight_decay_mask",
        ),
        (lambda: ao.parameter_groups(ao.adam, {}), ValueError, "needs a group"),
        (
            lambda: ao.parameter_groups(ao.adam, {".*": {"lr": 1.0}}),
            TypeError,
            r"group '\.\*': adam takes no 'lr', which is learning_rate here; it takes",
        ),
        (
            lambda: ao.parameter_groups(ao.adam, {"a": {"learning_rate": 1.0}, ".*": {}}),
            TypeError,
            r"group '\.\*' has no learning_rate",
        ),
        (lambda: ao.by_depth(0.0, [".*"]), ValueError, "decay must be positive"),
        (lambda: ao.rows.adam(ANY_BY_PATH), TypeError, "must be one number: a table"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        make()


@pytest.mark.quick
def test_wrappers_of_optax_run_on_it() -> None:
    rate = ao.by_path({"embed/.*": ao.FROZEN, ".*/bias": FALLING, ".*": 1e-2})
    tx = ao.adam(rate)
    with jax.numpy_dtype_promotion("standard"):
        plain = train(tx)[0]
        wrapped = {
            "chain": optax.chain(optax.clip(1e9), tx),
            "injected": optax.inject_hyperparams(ao.adam)(rate, b1=0.9),
            "watched": ao.watch(tx),
            "finite": optax.apply_if_finite(tx, 3),
        }
        for name, one in wrapped.items():
            close = {"rtol": 3e-6, "atol": 1e-7}  # injected numbers are float32's
            chex.assert_trees_all_close(train(one)[0], plain, **close, custom_message=name)
        every = optax.MultiSteps(tx, every_k_schedule=1).gradient_transformation()
        chex.assert_trees_all_close(train(every)[0], plain, rtol=3e-6, atol=1e-7)
        masked = optax.masked(
            ao.adam(ao.by_path({".*/bias": FALLING, ".*": 1e-2})), {"embed": False, "dense": True}
        )
        after = train(masked)[0]
        chex.assert_trees_all_close(after["dense"], plain["dense"], rtol=3e-6, atol=1e-7)


@pytest.mark.quick
def test_a_state_goes_through_flax_and_a_second_step_compiles_nothing() -> None:
    tx = ao.parameter_groups(
        ao.adamw, {"embed/.*": ao.FROZEN, ".*/bias": {"b2": 0.9}, ".*": {}}, learning_rate=FALLING
    )
    with jax.numpy_dtype_promotion("standard"):
        update = jax.jit(chex.assert_max_traces(tx.update, 1))
        state = tx.init(PARAMS)
        for i in range(3):
            _, state = update(jax.tree.map(lambda x, i=i: x[i], GRADS), state, PARAMS)
        kept = flax.serialization.to_bytes(state)
        chex.assert_trees_all_equal(flax.serialization.from_bytes(tx.init(PARAMS), kept), state)
        optax.tree_utils.tree_map_params(tx, lambda x: x + 1, state)


class Net(nnx.Module):
    """Hold two layers with names."""

    def __init__(self) -> None:
        self.embed = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
        self.head = nnx.Linear(3, 1, rngs=nnx.Rngs(1))


@pytest.mark.quick
def test_paths_in_nnx_linen_and_equinox_are_the_names_of_the_layers() -> None:
    rate = ao.by_path({"embed/.*": ao.FROZEN, "head/bias": 1.0, "head/(kernel|weight)": 2.0})
    model = Net()
    numbers = lambda: {  # noqa: E731
        "/".join(map(str, path)): x.get_value() for path, x in nnx.to_flat_state(nnx.state(model))
    }
    before = numbers()
    optimizer = nnx.Optimizer(model, ao.adam(rate), wrt=nnx.Param)
    optimizer.update(model, nnx.grad(lambda m: m.head(m.embed(jnp.ones((1, 2)))).sum())(model))
    moved = {name: bool(jnp.any(before[name] != x)) for name, x in numbers().items()}
    assert moved == {
        "embed/bias": False,
        "embed/kernel": False,
        "head/bias": True,
        "head/kernel": True,
    }
    boxed = {
        "embed": {"kernel": nn.Partitioned(jnp.ones(2), ("a",))},
        "head": {"bias": jnp.ones(1), "kernel": nn.Partitioned(jnp.ones(1), (None,))},
    }
    updates, _ = ao.adam(rate).update(boxed, ao.adam(rate).init(boxed), boxed)
    assert updates["head"]["kernel"].value == -2.0
    keys = jax.random.split(jax.random.key(0))
    layers = {"embed": eqx.nn.Linear(2, 2, key=keys[0]), "head": eqx.nn.Linear(2, 1, key=keys[1])}
    params = eqx.filter(layers, eqx.is_inexact_array)
    found, _ = ao.adam(rate).update(params, ao.adam(rate).init(params), params)
    np.testing.assert_allclose(jnp.abs(found["head"].bias), 1.0, rtol=1e-4)


@pytest.mark.quick
def test_a_gradient_of_none_leaves_a_parameter_as_it_is() -> None:
    tx = ao.adam(
        ao.by_path({"embed/.*": 1e-2, ".*": 1e-3}),
        storage=ao.by_path({"embed/.*": S.pair(), ".*": S.dense()}),
    )
    state = tx.init(PARAMS)
    grads = {"embed": {"w": None}, "dense": PARAMS["dense"]}
    updates, state = tx.update(grads, state, PARAMS)
    assert updates["embed"]["w"] is None
    assert jnp.all(updates["dense"]["w"] != 0)


@pytest.mark.quick
def test_an_expression_matches_a_whole_path() -> None:
    with pytest.raises(ValueError, match="'w' is the first to match no parameter"):
        ao.adam(ao.by_path({"w": 1.0, ".*": 2.0})).init(PARAMS)
