"""What is read of a state is what the next step uses, and reading it costs the step nothing."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import adam_optax as ao

PARAMS = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}, "head": jnp.ones(2)}
FALLING = optax.linear_schedule(1.0, 0.0, 10)
RISING = optax.linear_schedule(0.5, 0.9, 10)


def after(tx: Any, steps: int = 3) -> Any:
    """Return the state after some steps."""
    state = tx.init(PARAMS)
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(steps):
            _, state = tx.update(PARAMS, state, PARAMS)
    return state


def plain(groups: Any) -> Any:
    """Return groups with numbers in the place of arrays, rounded as float32 is."""
    number = lambda x: round(float(x), 6) if isinstance(x, jax.Array) else x  # noqa: E731
    return [{n: number(v) for n, v in group.items()} for group in groups]


WRAPPED: dict[str, tuple[Any, int]] = {
    "alone": (lambda tx: tx, 3),
    "chain": (lambda tx: optax.chain(ao.clip_by_global_norm(1.0), tx), 3),
    "chains": (lambda tx: optax.chain(optax.chain(tx), ao.temporal_average()), 3),
    "MultiSteps": (lambda tx: optax.MultiSteps(tx, 2), 1),
    "watch": (ao.watch, 3),
    "masked": (lambda tx: optax.masked(tx, True), 3),
    "if finite": (lambda tx: optax.apply_if_finite(tx, 3), 3),
}


@pytest.mark.matrix(keep=2, quick=["chains"])
@pytest.mark.parametrize("name", WRAPPED)
def test_schedules_are_read_at_the_count_of_the_next_step(name: str) -> None:
    wrap, count = WRAPPED[name]
    tx = wrap(ao.adamw(FALLING, b2=RISING, weight_decay=RISING, eps=1e-6))
    state = after(tx)
    (found,) = plain(ao.hyperparameters(state, tx))
    right: dict[str, Any] = {
        "learning_rate": 1 - count / 10,
        "weight_decay": 0.5 + count * 0.04,
        "b1": 0.9,
    }
    right |= {"b2": right["weight_decay"], "eps": 1e-6, "eps_root": 0.0, "params": None}
    assert found == pytest.approx(right)


@pytest.mark.quick
def test_what_is_read_is_what_the_step_uses() -> None:
    """Of a rule without memory the update is the rate itself."""
    for tx in (ao.adam(FALLING, b1=0.0, b2=0.0, eps=0.0), ao.sgd(FALLING), ao.sgd(FALLING, 0.0)):
        state = after(tx)
        (found,) = ao.hyperparameters(state, tx, PARAMS)
        updates, _ = tx.update(PARAMS, state, PARAMS)
        np.testing.assert_array_equal(updates["head"], -found["learning_rate"] * jnp.ones(2))
        assert found["params"] == ("dense/bias", "dense/kernel", "head")


@pytest.mark.quick
def test_groups_by_path_and_masks_are_told_apart() -> None:
    groups: dict[str, Any] = {
        "head": ao.FROZEN,
        ".*bias": {"weight_decay": 0.0, "b2": RISING},
        ".*": {"learning_rate": 0.1},
    }
    tx = ao.parameter_groups(ao.adamw, groups, learning_rate=FALLING, weight_decay=0.3)
    found = plain(ao.hyperparameters(after(tx), tx, PARAMS))
    same = {"b1": 0.9, "eps": 1e-8, "eps_root": 0.0}
    assert found == [
        {"learning_rate": 0.7, "weight_decay": 0.0, "b2": 0.62, "params": ("dense/bias",), **same},
        {
            "learning_rate": 0.1,
            "weight_decay": 0.3,
            "b2": 0.999,
            "params": ("dense/kernel",),
            **same,
        },
        {"learning_rate": 0.0, "weight_decay": 0.0, "params": ("head",), **same},
    ]
    mask = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)  # noqa: E731
    tx = ao.adamw(0.1, weight_decay=FALLING, mask=mask)
    found = plain(ao.hyperparameters(after(tx), tx, PARAMS))
    decays = {group["params"]: group["weight_decay"] for group in found}
    assert decays == {("dense/bias", "head"): 0.0, ("dense/kernel",): 0.7}
    # Where storage alone differs by path, there is one group.
    by_path = ao.by_path({"head": ao.storage.int8(), ".*": ao.storage.dense()})
    tx = ao.adam(FALLING, storage=by_path)
    assert len(ao.hyperparameters(after(tx), tx, PARAMS)) == 1


@pytest.mark.matrix(keep=3, quick=["adadelta"])
@pytest.mark.parametrize(
    ("tx", "right"),
    [
        (ao.scale_by_adam(b2=RISING), {"b1": 0.9, "b2": 0.62}),
        (ao.rmsprop(FALLING, momentum=0.8), {"learning_rate": 0.7, "decay": 0.9, "momentum": 0.8}),
        (ao.adadelta(FALLING, weight_decay=RISING), {"learning_rate": 0.7, "weight_decay": 0.62}),
        (ao.novograd(0.1, weight_decay=RISING), {"learning_rate": 0.1, "weight_decay": 0.62}),
        (ao.lamb(FALLING), {"learning_rate": 0.7, "weight_decay": 0.0}),
        (ao.adamw(None), {"weight_decay": 1e-4}),
        (ao.adam(0.1, storage=ao.storage.pair()), {"learning_rate": 0.1}),
        (
            optax.inject_hyperparams(ao.adamw)(FALLING, weight_decay=0.2),
            {"learning_rate": 0.8, "weight_decay": 0.2},  # as injected for the step before
        ),
    ],
    ids=["scale_by", "rmsprop", "adadelta", "novograd", "lamb", "no rate", "pair()", "injected"],
)
def test_every_kind_of_chain_is_read(tx: Any, right: Any) -> None:
    (found,) = plain(ao.hyperparameters(after(tx), tx))
    assert {n: found[n] for n in right} == pytest.approx(right)
    assert ("learning_rate" in found) == ("learning_rate" in right)


def test_the_step_is_the_same_program_and_reading_adds_scalars_alone() -> None:
    tx = ao.adamw(FALLING, b2=RISING)
    state = after(tx, 1)

    def step(params: Any, state: Any, grads: Any) -> Any:
        return ao.step(tx, grads, state, params)

    def logged(params: Any, state: Any, grads: Any) -> Any:
        (found,) = ao.hyperparameters(state, tx)
        return *ao.step(tx, grads, state, params), found["learning_rate"]

    before = jax.jit(step).lower(PARAMS, state, PARAMS).as_text()
    ao.hyperparameters(state, tx, PARAMS)
    assert jax.jit(step).lower(PARAMS, state, PARAMS).as_text() == before
    compiled = [jax.jit(f).lower(PARAMS, state, PARAMS).compile() for f in (step, logged)]
    costs: list[Any] = [c.cost_analysis() for c in compiled]
    one, other = (cost["flops"] for cost in costs)
    assert other - one < 20  # of a schedule
    results = [jax.jit(f)(PARAMS, state, PARAMS) for f in (step, logged)]
    jax.tree.map(np.testing.assert_array_equal, results[0], results[1][:2])
    assert float(results[1][2]) == pytest.approx(0.9)


def test_flax_keeps_the_state_in_boxes() -> None:
    model = nnx.Linear(4, 1, rngs=nnx.Rngs(0))
    tx = ao.adamw(FALLING)
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    optimizer.update(model, nnx.grad(lambda m: m(jnp.ones((2, 4))).sum())(model))
    (found,) = plain(ao.hyperparameters(optimizer.opt_state, tx))
    assert found["learning_rate"] == 0.9


def test_what_cannot_be_read_says_what_to_pass() -> None:
    tx = ao.adamw(ao.by_path({"head": 0.1, ".*": FALLING}))
    with pytest.raises(
        ValueError, match=r"^numbers differ by path: write hyperparameters\(state, "
    ):
        ao.hyperparameters(after(tx), tx)
    masked = ao.adamw(0.1, mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params))
    with pytest.raises(ValueError, match=r"^weight decay has a mask: write hyperparameters\("):
        ao.hyperparameters(after(masked), masked)
    strange = optax.adam(0.1)
    with pytest.raises(ValueError, match="no optimiser of adam_optax in tx made this state"):
        ao.hyperparameters(strange.init(PARAMS), strange)
    two = optax.chain(ao.scale_by_adam(), ao.scale_by_lion())
    with pytest.raises(ValueError, match="may have made this state; pass one of them, with its"):
        ao.hyperparameters(two.init(PARAMS), two)
