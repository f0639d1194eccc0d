"""Build a small stack of layers, and train it with all gradients or with released layers."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

import adam_optax as ao

LAYERS, WIDTH, INNER, WORDS, BATCH = 4, 8, 16, 6, 3


def parameters(dtype: Any = jnp.float32) -> Any:
    """Return an embedding, a stack of layers and a head."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(0.3 * rng.standard_normal(shape), dtype)  # noqa: E731
    return {
        "embed": draw(WORDS, WIDTH),
        "layers": {
            "in": {"kernel": draw(LAYERS, WIDTH, INNER)},
            "out": {"kernel": draw(LAYERS, INNER, WIDTH), "bias": draw(LAYERS, WIDTH)},
            "scale": 1 + draw(LAYERS),
        },
        "head": draw(WIDTH, WORDS),
    }


RNG = np.random.default_rng(1)
X, Y = (jnp.asarray(RNG.integers(0, WORDS, BATCH)) for _ in range(2))


def block(h: Any, p: Any) -> tuple[Any, None]:
    """Apply a layer."""
    inner = jnp.tanh(h @ p["in"]["kernel"]) @ p["out"]["kernel"]
    return h + p["scale"] * (inner + p["out"]["bias"][None]), None


def loss(scan: Callable[..., Any], params: Any) -> Any:
    """Return the loss of the model, whose layers are scanned by a function like `lax.scan`."""
    h, _ = scan(block, params["embed"][X], params["layers"])
    logits = (h @ params["head"]).astype(jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(logits, Y).mean()


def trained(
    tx: Any, loss: Callable[..., Any], params: Any, layers: Any = "layers", steps: int = 2
) -> tuple[Any, Any]:
    """Return parameters, state and losses with all gradients at once, and with released layers.

    Args:
        tx: the optimiser.
        loss: takes `lax.scan` or `ao.release.scan` (or what calls a layer), and parameters.
        params: the parameters.
        layers: what is released.
        steps: how many steps are taken.
    """
    plain = lambda f, layer, *args: f(layer, *args)  # noqa: E731
    call = isinstance(params["layers"], list)

    @jax.jit
    def ordinary(params: Any, state: Any) -> Any:
        scan = plain if call else jax.lax.scan
        value, grads = jax.value_and_grad(lambda p: loss(scan, p))(params)
        return *ao.step(tx, grads, state, params), value

    @jax.jit
    def released(params: Any, state: Any) -> Any:
        scan = ao.release.call if call else ao.release.scan
        return ao.release.step(tx, lambda p: loss(scan, p), state, params, layers=layers)

    runs = []
    for step in (ordinary, released):
        carry, values = (params, tx.init(params)), []
        for _ in range(steps):
            *carry, value = step(*carry)
            values.append(value)
        runs.append((carry, values))
    return runs[0], runs[1]


def assert_same(ordinary: Any, released: Any, rtol: float = 0.0) -> None:
    """Hold two runs to the same bits, or to a rounding, and to trees of the same structure."""
    chex.assert_trees_all_equal_structs(ordinary, released)
    for (path, a), b in zip(
        jax.tree.leaves_with_path(ordinary), jax.tree.leaves(released), strict=True
    ):
        assert a.dtype == b.dtype, path
        one, other = (np.asarray(x, np.float64) for x in (a, b))
        name = jax.tree_util.keystr(path)
        # of the largest: a sum of parameter and step may cancel
        atol = rtol * float(np.max(np.abs(one), initial=0.0))
        np.testing.assert_allclose(one, other, rtol=0, atol=atol, err_msg=name)
