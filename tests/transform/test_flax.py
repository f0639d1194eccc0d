"""linen's TrainState and nnx.Optimizer train with the variants as a hand-written loop does."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from flax.training.train_state import TrainState

from tests.support.cases import DEFAULTS, Case
from tests.support.oracle import relative_rms

STEPS = 50
SOME = [case for case in DEFAULTS if case.name in ("nadamw", "amsgrad")]


class Perceptron(linen.Module):
    """Two layers of linen."""

    dtype: Any

    @linen.compact
    def __call__(self, x: Any) -> Any:
        """The prediction."""
        layer = lambda size: linen.Dense(size, dtype=self.dtype, param_dtype=self.dtype)  # noqa: E731
        return layer(1)(jax.nn.tanh(layer(8)(x)))


class Network(nnx.Module):
    """The same two layers of nnx."""

    def __init__(self, dtype: Any, rngs: nnx.Rngs) -> None:
        layer = lambda i, o: nnx.Linear(i, o, dtype=dtype, param_dtype=dtype, rngs=rngs)  # noqa: E731
        self.first, self.last = layer(3, 8), layer(8, 1)

    def __call__(self, x: Any) -> Any:
        """The prediction."""
        return self.last(jax.nn.tanh(self.first(x)))


def data(dtype: Any) -> tuple[Any, Any]:
    x = np.random.default_rng(0).standard_normal((32, 3))
    y = np.sin(x.sum(1, keepdims=True))
    return jnp.asarray(x, dtype), jnp.asarray(y, dtype)


def loss(y: Any, target: Any) -> Any:
    return ((y - target) ** 2).mean()


def by_hand(tx: Any, objective: Any, params: Any) -> Any:
    """The parameters and the state after training without flax's help."""

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        updates, state = tx.update(jax.grad(objective)(params), state, params)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for _ in range(STEPS):
        params, state = step(params, state)
    return params, state


def linen_run(tx: Any, dtype: Any) -> tuple[Any, Any, Any]:
    """The objective, the first parameters, and those and the state that flax arrives at."""
    model, (x, target) = Perceptron(jnp.dtype(dtype)), data(dtype)
    objective = lambda params: loss(model.apply({"params": params}, x), target)  # noqa: E731
    params = model.init(jax.random.key(0), x)["params"]
    state = TrainState.create(apply_fn=model.apply, params=params, tx=tx)
    step = jax.jit(lambda s: s.apply_gradients(grads=jax.grad(objective)(s.params)))
    for _ in range(STEPS):
        state = step(state)
    assert int(state.step) == STEPS
    return objective, params, (state.params, state.opt_state)


def nnx_run(tx: Any, dtype: Any) -> tuple[Any, Any, Any]:
    """The same with nnx."""
    model, (x, target) = Network(jnp.dtype(dtype), nnx.Rngs(0)), data(dtype)
    graph, params = nnx.split(model)
    objective = lambda params: loss(nnx.merge(graph, params)(x), target)  # noqa: E731
    params = jax.tree.map(jnp.copy, params)
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

    @nnx.jit
    def step(model: Any, optimizer: Any) -> None:
        optimizer.update(model, nnx.grad(lambda m: loss(m(x), target))(model))

    for _ in range(STEPS):
        step(model, optimizer)
    return objective, params, (nnx.state(model, nnx.Param), optimizer.opt_state)


def distance(one: Any, other: Any) -> float:
    """The relative distance between two trees' parameters taken together."""
    flat = [np.concatenate([np.ravel(x) for x in jax.tree.leaves(t)]) for t in (one, other)]
    return relative_rms(*(x.astype(np.float64) for x in flat))


@pytest.mark.matrix(keep=1)
@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        pytest.param(SOME[0], "float32", marks=pytest.mark.quick),
        (SOME[1], "float32"),
        (SOME[0], "bfloat16"),
    ],
    ids=lambda x: x if isinstance(x, str) else x.id,
)
@pytest.mark.parametrize("train", [linen_run, nnx_run])
def test_flax_arrives_where_a_loop_by_hand_does(case: Case, train: Any, dtype: Any) -> None:
    objective, start, (params, state) = train(case.ours(), dtype)
    expected, expected_state = by_hand(case.ours(), objective, start)
    # The same operations, which a compiler may fuse otherwise: a few units in the last place.
    tolerance = {"float32": 1e-6, "bfloat16": 1e-2}[dtype]
    assert distance(params, expected) < tolerance
    assert distance(state, expected_state) < tolerance
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
    assert {leaf.dtype for leaf in jax.tree.leaves(state[0].nu)} == {jnp.dtype("float32")}
    assert objective(params) < 0.5 * objective(start)  # it learns

    if dtype == "float32":  # optax would keep a bfloat16 model's moments in bfloat16
        with jax.numpy_dtype_promotion("standard"):
            theirs, _ = by_hand(case.optax(), objective, start)
        # optax's bias correction is off by 1.3e-5 in the first steps, less later.
        assert distance(params, theirs) < 1.3e-5
