"""Build whole training steps: a gradient of a small model, then an optimiser's step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from benchmarks.contenders import InJax

WORDS, WIDTH, LENGTH = 8192, 256, 32


class Training(NamedTuple):
    """Hold the parameters of a model, a batch, and the loss of the two."""

    params: Any
    batch: Any
    loss: Callable[[Any, Any], Any]


class Decoder(nn.Module):
    """Predict the next word; the output layer is the embedding."""

    layers: int

    @nn.compact
    def __call__(self, words: Any) -> Any:
        """Return the logits of each position."""
        embed = nn.Embed(WORDS, WIDTH)
        x, mask = embed(words), nn.make_causal_mask(words)
        for _ in range(self.layers):
            y = nn.LayerNorm()(x)
            x = x + nn.MultiHeadDotProductAttention(num_heads=4)(y, mask=mask)
            y = nn.gelu(nn.Dense(4 * WIDTH)(nn.LayerNorm()(x)))
            x = x + nn.Dense(WIDTH)(y)
        return embed.attend(nn.LayerNorm()(x))


def transformer(scale: float) -> Training:
    """Build a decoder of 10 M parameters in ten layers, and 4 sentences of 32 words."""
    model = Decoder(max(1, int(10 * scale)))
    words = jax.random.randint(jax.random.key(1), (4, LENGTH + 1), 0, WORDS)

    def loss(params: Any, words: Any) -> Any:
        logits = model.apply(params, words[:, :-1])
        return optax.softmax_cross_entropy_with_integer_labels(logits, words[:, 1:]).mean()

    return Training(jax.jit(model.init)(jax.random.key(0), words[:, :-1]), words, loss)


def perceptron(widths: list[int], size: int) -> Training:
    """Build an MLP without biases of these widths, and a batch of this size."""
    keys = jax.random.split(jax.random.key(0), len(widths))
    pairs = zip(keys, widths, widths[1:], strict=False)
    params = [jax.random.normal(key, (a, b)) / a**0.5 for key, a, b in pairs]
    x = jax.random.normal(keys[-1], (size, widths[0]))

    def loss(params: Any, x: Any) -> Any:
        for w in params:
            x = jnp.tanh(x @ w)
        return jnp.mean(x**2)

    return Training(params, x, loss)


def _scaled(width: int, scale: float) -> int:
    return max(8, int(width * scale))


MODELS: dict[str, Callable[[float], Training]] = {
    "mlp": lambda scale: perceptron([_scaled(w, scale) for w in (784, 512, 512, 10)], 64),
    "transformer": transformer,
    "wide": lambda scale: perceptron([_scaled(2048, scale)] * 5, 4),
    "deep": lambda scale: perceptron([128] * (_scaled(100, scale) + 1), 16),
}
"""Functions from a scale to a model: .7 M parameters in three leaves and a batch of 64, 10 M in
163, 17 M in four and a batch of 4, 1.6 M in a hundred and a batch of 16."""


class InTraining(InJax):
    """Step an optimiser with the gradient that it is given in a training."""

    def __init__(self, name: str, model: str, chain: bool, scale: float) -> None:
        params, batch, loss = MODELS[model](scale)
        self.prepare(name, chain, params, jax.value_and_grad(loss), batch)
