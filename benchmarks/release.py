"""Measure the memory of a compiled training step with and without released gradients.

`python -m benchmarks.release [TARGET ...]` compiles steps of a transformer of 24 scanned layers for
this machine's CPU, and with the extra `aot` for accelerators that need not be there.
"""

import functools as ft
import math
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import adam_optax as ao
from adam_optax.aot import compile_step, targets

jax.config.update("jax_platforms", "cpu")  # accelerators are compiled for, not used

LAYERS, WIDTH, HEADS, WORDS, SEQUENCE, BATCH = 24, 512, 8, 1024, 128, 2
TARGETS = ("cpu", "v5e", "h100")
FORMATS: dict[str, tuple[Any, Any]] = {
    "float32": (jnp.float32, ao.adamw(1e-3)),
    "`pair()`": (jnp.float32, ao.adamw(1e-3, storage=ao.storage.pair(), stacked=1)),
    "bfloat16 parameters, `pair()`": (
        jnp.bfloat16,
        optax.chain(
            ao.adamw(1e-3, storage=ao.storage.pair(), stacked=1), ao.precision.stochastic_rounding()
        ),
    ),
}
"""The dtype of the parameters, and the optimiser."""


def shapes(layers: int = LAYERS, width: int = WIDTH, dtype: Any = jnp.float32) -> Any:
    """Return the shapes of a transformer's parameters, whose layers are stacked."""
    of = lambda *shape: jax.ShapeDtypeStruct(shape, dtype)  # noqa: E731
    return {
        "embed": of(WORDS, width),
        "layers": {
            "attention": {"qkv": of(layers, width, 3 * width), "out": of(layers, width, width)},
            "mlp": {"in": of(layers, width, 4 * width), "out": of(layers, 4 * width, width)},
            "norm": {"scale": of(layers, 2, width)},
        },
    }


def block(heads: int, h: Any, p: Any) -> tuple[Any, None]:
    """Apply a layer: causal attention, then two dense layers, each behind a norm."""

    def norm(x: Any, scale: Any) -> Any:
        size = jnp.mean(jnp.square(x.astype(jnp.float32)), -1, keepdims=True)
        return (x * jax.lax.rsqrt(size + 1e-6).astype(x.dtype)) * scale

    batch, length, width = h.shape
    x = norm(h, p["norm"]["scale"][0]) @ p["attention"]["qkv"]
    q, k, v = jnp.split(x.reshape(batch, length, heads, -1), 3, -1)
    mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True)
    h = h + mixed.reshape(batch, length, width) @ p["attention"]["out"]
    x = norm(h, p["norm"]["scale"][1]) @ p["mlp"]["in"]
    return h + jax.nn.gelu(x) @ p["mlp"]["out"], None


def loss(scan: Callable[..., Any], heads: int, params: Any, tokens: Any) -> Any:
    """Return the mean loss of the next token; each layer is computed anew in the backward pass."""
    h = params["embed"][tokens[:, :-1]]
    h, _ = scan(jax.checkpoint(ft.partial(block, heads)), h, params["layers"])
    logits = (h @ params["embed"].T).astype(jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()


def ordinary(tx: Any, heads: int, params: Any, state: Any, tokens: Any) -> Any:
    """Take a step with all gradients at once."""
    of = ft.partial(loss, jax.lax.scan, heads)
    value, grads = jax.value_and_grad(of)(params, tokens)
    return *ao.step(tx, grads, state, params), value


def released(tx: Any, heads: int, params: Any, state: Any, tokens: Any) -> Any:
    """Take a step layer by layer."""
    of = ft.partial(loss, ao.release.scan, heads)
    return ao.release.step(tx, of, state, params, tokens, layers="layers")


def scratch(target: str, how: str) -> tuple[float, float]:
    """Return the bytes a parameter of temporary memory, of all gradients at once and released."""
    dtype, tx = FORMATS[how]
    params = shapes(dtype=dtype)
    n = sum(math.prod(x.shape) for x in jax.tree.leaves(params))
    tokens = jax.ShapeDtypeStruct((BATCH, SEQUENCE + 1), jnp.int32)
    arguments = params, jax.eval_shape(tx.init, params), tokens
    first, second = (
        compile_step(target, ft.partial(step, tx, HEADS), arguments, n, (0, 1)).scratch / n
        for step in (ordinary, released)
    )
    return first, second


def table(names: list[str]) -> str:
    """Return the table: a row per format, two columns per target."""
    heads = [head for name in names for head in (name, f"{name}, released")]
    rows = [["adamw", *heads], ["---"] * (1 + len(heads))]
    for how in FORMATS:
        found = [x for name in names for x in scratch(name, how)]
        print(how, *found, file=sys.stderr, flush=True)
        rows.append([how, *(f"{x:.2f}" for x in found)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    print(table([n for n in sys.argv[1:] or TARGETS if not targets.missing(n)]))
