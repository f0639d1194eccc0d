"""The models of the built-in problems."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class MLP(nn.Module):
    """A multilayer perceptron with ReLU between the layers; returns logits."""

    hidden: tuple[int, ...]
    classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps features, shape (..., features), to logits, shape (..., classes)."""
        for width in self.hidden:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.classes)(x)


class Logistic(nn.Module):
    """Logistic regression on features of any dtype, with dropout noise on them in training.

    Attributes:
      classes: How many.
      dropout: The share of the features that is dropped, the others scaled up.
    """

    classes: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps features, shape (..., features), to logits, shape (..., classes)."""
        x = _dropped(self, self.dropout, x.astype(jnp.float32))
        return nn.Dense(self.classes, kernel_init=nn.initializers.zeros)(x)


class CNN(nn.Module):
    """The Adam paper's network for CIFAR-10 (section 6.3): c64-c64-c128-1000.

    Three times a 5x5 convolution, ReLU and 3x3 maximum pooling with stride 2; then a layer of 1000
    units. With `dropout`, noise on the input and on that layer, as in the paper.

    Attributes:
      channels: Of the convolutions.
      width: Of the last hidden layer.
      classes: How many.
      dropout: The share that is dropped of the hidden units; of the input, two fifths of that.
    """

    channels: tuple[int, ...] = (64, 64, 128)
    width: int = 1000
    classes: int = 10
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images, uint8 (..., height, width, colours), to logits, shape (..., classes)."""
        x = (x.astype(jnp.float32) - 120.0) / 64.0  # about mean 0 and deviation 1
        x = _dropped(self, 0.4 * self.dropout, x)
        for channels in self.channels:
            x = nn.relu(nn.Conv(channels, (5, 5))(x))
            x = nn.max_pool(x, (3, 3), (2, 2), "SAME")
        x = nn.relu(nn.Dense(self.width)(x.reshape(*x.shape[:-3], -1)))
        return nn.Dense(self.classes)(_dropped(self, self.dropout, x))


class Transformer(nn.Module):
    """A causal transformer over tokens, pre-normalised; returns the logits of the next token.

    Attributes:
      tokens: How many there are.
      length: The longest sequence.
      width: Of the embeddings.
      layers: How many.
      heads: Of the attention.
    """

    tokens: int = 256
    length: int = 64
    width: int = 64
    layers: int = 2
    heads: int = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps tokens, integers (..., length), to logits, shape (..., length, tokens)."""
        places = nn.Embed(self.length, self.width, name="place")(jnp.arange(x.shape[-1]))
        h = nn.Embed(self.tokens, self.width, name="token")(x)
        h = h + jnp.broadcast_to(places, h.shape)
        mask = nn.make_causal_mask(x)
        for _ in range(self.layers):
            h = h + nn.MultiHeadDotProductAttention(self.heads)(nn.LayerNorm()(h), mask=mask)
            h = h + nn.Dense(self.width)(nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(h))))
        return nn.Dense(self.tokens)(nn.LayerNorm()(h))


def _dropped(module: nn.Module, share: float, x: jax.Array) -> jax.Array:
    """Dropout where there is a key for it: in training."""
    dropped: jax.Array = nn.Dropout(share, deterministic=not module.has_rng("dropout"))(x)
    return dropped
