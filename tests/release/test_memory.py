"""Released gradients are not kept: a compiled step needs room for those of one layer."""

import functools as ft
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import adam_optax as ao
from benchmarks import release
from tests.release.model import assert_same

LAYERS, WIDTH, INNER = 24, 64, 256


def block(h: Any, p: Any) -> tuple[Any, None]:
    return h + jnp.tanh(h @ p["in"]) @ p["out"], None


def scratch(step: Any, scan: Any, loops: str) -> float:
    """Return the bytes a parameter of temporary memory that a step on this CPU needs."""
    of = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)  # noqa: E731
    params = {"layers": {"in": of(LAYERS, WIDTH, INNER), "out": of(LAYERS, INNER, WIDTH)}}
    tx = ao.adamw(1e-3)

    def loss(params: Any, x: Any) -> Any:
        return jnp.mean(scan(block, x, params["layers"])[0] ** 2)

    with ao.cpu_loops(loops):
        run = jax.jit(ft.partial(step, tx, loss), donate_argnums=(0, 1))
        done = run.lower(params, jax.eval_shape(tx.init, params), of(2, WIDTH)).compile()
    memory: Any = done.memory_analysis()
    found: float = memory.temp_size_in_bytes / sum(x.size for x in jax.tree.leaves(params))
    return found


def released(tx: Any, loss: Any, params: Any, state: Any, x: Any) -> Any:
    return ao.release.step(tx, loss, state, params, x, layers="layers")


@pytest.mark.parametrize("loops", ["never", pytest.param("auto", marks=pytest.mark.heavy)])
def test_a_cpu_keeps_one_layers_gradients_and_copies_no_stack(loops: str) -> None:
    """Seven arrays of a layer are 28 / 24 bytes; XLA copied the stacks for 10.7."""
    assert scratch(released, ao.release.scan, loops) < 2


@pytest.mark.heavy
def test_all_gradients_at_once_need_four_bytes() -> None:
    def ordinary(tx: Any, loss: Any, params: Any, state: Any, x: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params, x)
        return *ao.step(tx, grads, state, params), value

    assert scratch(ordinary, jax.lax.scan, "never") > 4


@pytest.mark.heavy
@pytest.mark.parametrize("how", release.FORMATS)
def test_24_layers_take_the_same_step_to_the_bit(how: str) -> None:
    dtype, tx = release.FORMATS[how]
    shapes = release.shapes(width=32, dtype=dtype)
    leaves, treedef = jax.tree.flatten(shapes)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    draw = lambda key, x: 0.1 * jax.random.normal(key, x.shape, x.dtype)  # noqa: E731
    params = jax.tree.unflatten(treedef, map(draw, keys, leaves))
    tokens = jax.random.randint(jax.random.key(1), (2, 9), 0, 100)
    with (
        ao.cpu_loops("never"),  # a loop rounds parameters by the length of a leaf
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        runs = []
        for step in (release.ordinary, release.released):
            run = jax.jit(ft.partial(step, tx, 4))
            runs.append(run(params, tx.init(params), tokens))
    embeddings = [new.pop("embed") for new, _, _ in runs]
    assert_same(runs[0], runs[1])
    # XLA multiplies and adds in one rounding in one of the two programs; sixteen bits then go to
    # the other neighbour.
    rtol = 1e-7 if dtype == jnp.float32 else 2.0**-7
    assert_same(embeddings[0], embeddings[1], rtol)
