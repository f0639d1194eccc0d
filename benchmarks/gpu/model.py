"""Define a decoder of GPT-2's shape, and text as words for it."""

import dataclasses
import re
from collections import Counter
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.gpu.case import Setup

PIECES = re.compile(r" ?\w+|\n|[^\w\n]")


@dataclasses.dataclass(frozen=True)
class Shape:
    """Hold the sizes of a model and of its batches; by default those of GPT-2's smallest."""

    width: int = 768
    layers: int = 12
    heads: int = 12
    words: int = 50304
    length: int = 1024
    batch: int = 8


SMALL = Shape(32, 2, 2, 256, 16, 2)


class Block(nn.Module):
    """Attend to the words before, then compute word by word; in bfloat16."""

    shape: Shape

    @nn.compact
    def __call__(self, x: Any, _: None) -> Any:
        """Return the sum of the input and of what the two add."""
        s, half = self.shape, {"dtype": jnp.bfloat16}
        y = nn.Dense(3 * s.width, **half)(nn.LayerNorm(**half)(x))
        q, k, v = (a.reshape(*x.shape[:2], s.heads, -1) for a in jnp.split(y, 3, -1))
        mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(x.shape)
        x = x + nn.Dense(s.width, **half)(mixed)
        y = nn.gelu(nn.Dense(4 * s.width, **half)(nn.LayerNorm(**half)(x)))
        return x + nn.Dense(s.width, **half)(y), None


class Decoder(nn.Module):
    """Predict the next word; layers are stacked, and the output layer is the embedding."""

    shape: Shape

    @nn.compact
    def __call__(self, words: Any) -> Any:
        """Return the logits of each position."""
        s, normal = self.shape, nn.initializers.normal(0.02)
        embed = nn.Embed(s.words, s.width, dtype=jnp.bfloat16, embedding_init=normal)
        places = self.param("places", normal, (s.length, s.width))
        x = embed(words) + places[None].astype(jnp.bfloat16)
        split: dict[Any, bool] = {"params": True}
        layers = nn.scan(Block, {"params": 0}, split_rngs=split, length=s.layers)
        x, _ = layers(s)(x, None)
        return embed.attend(nn.LayerNorm(dtype=jnp.bfloat16)(x)).astype(jnp.float32)


def text(setup: Setup) -> tuple[str, str]:
    """Return the text, and what it is."""
    if setup.text is not None:
        return setup.text.read_text(encoding="utf-8", errors="replace"), setup.text.name
    from pydoc_data.topics import topics

    said = "the documentation of Python's language (pydoc_data.topics)"
    return "\n".join(topics[name] for name in sorted(topics)), said


def codes(written: str, most: int) -> tuple[Any, int]:
    """Return the text as numbers of its words, and how many of them there are.

    A word has the space before it. Words beyond the commonest are all the last number.

    Args:
        written: the text.
        most: how many numbers there are.
    """
    pieces = PIECES.findall(written)
    common = [word for word, _ in Counter(pieces).most_common(most - 1)]
    number = {word: i for i, word in enumerate(common)}
    found = np.array([number.get(piece, len(common)) for piece in pieces], np.int32)
    return found, len(set(found.tolist()))
