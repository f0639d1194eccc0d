"""The models of the built-in problems."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from adam_optax.lab.convolve import convolved, max_pooled


class MLP(nn.Module):
    """A multilayer perceptron with ReLU between the layers; returns logits.

    Attributes:
      hidden: Widths of the hidden layers.
      classes: How many.
      dropout: The share of the hidden units that is dropped in training.
    """

    hidden: tuple[int, ...]
    classes: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps features, shape (..., features), to logits, shape (..., classes)."""
        for width in self.hidden:
            x = _dropped(self, self.dropout, nn.relu(nn.Dense(width)(x)))
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
            x = nn.relu(nn.Conv(channels, (5, 5), conv_general_dilated=convolved)(x))
            x = max_pooled(x, 3, 2)
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


class VAE(nn.Module):
    """A variational auto-encoder (Kingma & Welling 2013) of numbers from 0 to 1; returns its bound.

    As in the Adam paper (section 6.4): one hidden layer of softplus units on either side of a
    spherical Gaussian.

    Attributes:
      hidden: Units of a hidden layer.
      latent: Dimensions of the Gaussian.
    """

    hidden: int = 500
    latent: int = 50

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps features, shape (..., features), to the negative bounds in nats, shape (...).

        The noise is that of the key `dropout`; without one, in evaluation, the same every time.
        """
        coded = nn.softplus(nn.Dense(self.hidden, name="encoder")(x))
        mean = nn.Dense(self.latent, name="mean")(coded)
        log_var = nn.Dense(self.latent, name="log_var")(coded)
        key = self.make_rng("dropout") if self.has_rng("dropout") else jax.random.key(0)
        z = mean + jnp.exp(0.5 * log_var) * jax.random.normal(key, mean.shape)
        decoded = nn.softplus(nn.Dense(self.hidden, name="decoder")(z))
        logits = nn.Dense(x.shape[-1], name="logits")(decoded)
        unlike = optax.losses.sigmoid_binary_cross_entropy(logits, x).sum(-1)
        divergence = 0.5 * (jnp.exp(log_var) + mean**2 - 1.0 - log_var).sum(-1)
        return jnp.asarray(unlike + divergence)


def _dropped(module: nn.Module, share: float, x: jax.Array) -> jax.Array:
    """Dropout where there is a key for it: in training."""
    dropped: jax.Array = nn.Dropout(share, deterministic=not module.has_rng("dropout"))(x)
    return dropped
