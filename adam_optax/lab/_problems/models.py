"""Define the models of the built-in problems.

XLA for CPUs convolves ten times slower inside `jax.lax.scan` than outside, and runs the gradient of
max pooling on one thread. On CPUs, `convolve` and `max_pool` therefore use products of matrices and
maxima of shifted images.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax


class MLP(nn.Module):
    """Compute logits by a multilayer perceptron with ReLU between the layers.

    Attributes:
        hidden: Widths of the hidden layers.
        classes: Number of classes.
        dropout: Fraction of the hidden units that is dropped in training.
    """

    hidden: tuple[int, ...]
    classes: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map features, shape (..., features), to logits, shape (..., classes)."""
        for width in self.hidden:
            x = _dropout(self, self.dropout, nn.relu(nn.Dense(width)(x)))
        return nn.Dense(self.classes)(x)


class Logistic(nn.Module):
    """Compute logits by logistic regression on features of any dtype.

    Attributes:
        classes: Number of classes.
        dropout: Fraction of the features that is dropped in training; the others are scaled up.
    """

    classes: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map features, shape (..., features), to logits, shape (..., classes)."""
        x = _dropout(self, self.dropout, x.astype(jnp.float32))
        return nn.Dense(self.classes, kernel_init=nn.initializers.zeros)(x)


class CNN(nn.Module):
    """Compute logits by the Adam paper's network for CIFAR-10 (section 6.3): c64-c64-c128-1000.

    The network is three times a 5x5 convolution, ReLU and 3x3 max pooling with stride 2, then a
    hidden layer of 1000 units. With `dropout`, the input and the hidden layer are noisy in
    training, as in the paper.

    Attributes:
        channels: Channels of the convolutions.
        width: Width of the hidden layer.
        classes: Number of classes.
        dropout: Fraction of the hidden units that is dropped in training; of the input, two fifths
            of this fraction are dropped.
    """

    channels: tuple[int, ...] = (64, 64, 128)
    width: int = 1000
    classes: int = 10
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map images, uint8 (..., height, width, colours), to logits, shape (..., classes)."""
        x = (x.astype(jnp.float32) - 120.0) / 64.0  # about mean 0 and deviation 1
        x = _dropout(self, 0.4 * self.dropout, x)
        for channels in self.channels:
            x = nn.relu(nn.Conv(channels, (5, 5), conv_general_dilated=convolve)(x))
            x = max_pool(x, 3, 2)
        x = nn.relu(nn.Dense(self.width)(x.reshape(*x.shape[:-3], -1)))
        return nn.Dense(self.classes)(_dropout(self, self.dropout, x))


class Transformer(nn.Module):
    """Compute the logits of the next token by a causal transformer with pre-normalisation.

    Attributes:
        tokens: Number of different tokens.
        length: Length of the longest sequence.
        width: Width of the embeddings.
        layers: Number of layers.
        heads: Number of attention heads.
    """

    tokens: int = 256
    length: int = 64
    width: int = 64
    layers: int = 2
    heads: int = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map tokens, integers (..., length), to logits, shape (..., length, tokens)."""
        places = nn.Embed(self.length, self.width, name="place")(jnp.arange(x.shape[-1]))
        h = nn.Embed(self.tokens, self.width, name="token")(x)
        h = h + jnp.broadcast_to(places, h.shape)
        mask = nn.make_causal_mask(x)
        for _ in range(self.layers):
            h = h + nn.MultiHeadDotProductAttention(self.heads)(nn.LayerNorm()(h), mask=mask)
            h = h + nn.Dense(self.width)(nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(h))))
        return nn.Dense(self.tokens)(nn.LayerNorm()(h))


class VAE(nn.Module):
    """Compute the bound of a variational auto-encoder (Kingma & Welling 2013) of numbers in [0, 1].

    As in the Adam paper (section 6.4), one hidden layer of softplus units is on either side of a
    spherical Gaussian.

    Attributes:
        hidden: Units of a hidden layer.
        latent: Dimensions of the Gaussian.
    """

    hidden: int = 500
    latent: int = 50

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map features, shape (..., features), to the negative bounds in nats, shape (...).

        The noise follows from the key `dropout`; without a key, in evaluation, the noise is the
        same every time.
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


def _dropout(module: nn.Module, share: float, x: jax.Array) -> jax.Array:
    """Drop a share of the elements if there is a key for dropout, as there is in training."""
    dropped: jax.Array = nn.Dropout(share, deterministic=not module.has_rng("dropout"))(x)
    return dropped


def convolve(x: jax.Array, kernel: jax.Array, *_: Any, **__: Any) -> jax.Array:
    """Convolve images with a kernel, padded to the same size, with stride 1.

    Args:
        x: Images, shape (n, height, width, channels).
        kernel: Kernel, shape (size, size, channels, features).

    Returns:
        Images, shape (n, height, width, features).
    """

    def by_matrices(x: jax.Array, kernel: jax.Array) -> jax.Array:
        patches = jnp.concatenate(_shifted(x, kernel.shape[0], 1, 0.0), axis=-1)
        return patches @ kernel.reshape(-1, kernel.shape[-1])

    def native(x: jax.Array, kernel: jax.Array) -> jax.Array:
        order = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=order)

    out: jax.Array = jax.lax.platform_dependent(x, kernel, cpu=by_matrices, default=native)
    return out


def max_pool(x: jax.Array, size: int, stride: int) -> jax.Array:
    """Return the maximum of each window of images, padded so that the windows fit.

    Where several elements of a window are the maximum, the platform decides whether the gradient
    goes to one of them or is shared among them.

    Args:
        x: Images, shape (n, height, width, channels).
        size: Height and width of a window.
        stride: Distance between windows.
    """

    def by_shifts(x: jax.Array) -> jax.Array:
        return functools.reduce(jnp.maximum, _shifted(x, size, stride, -jnp.inf))

    def native(x: jax.Array) -> jax.Array:
        pooled: jax.Array = nn.max_pool(x, (size, size), (stride, stride), "SAME")
        return pooled

    out: jax.Array = jax.lax.platform_dependent(x, cpu=by_shifts, default=native)
    return out


def _shifted(x: jax.Array, size: int, stride: int, fill: float) -> list[jax.Array]:
    """Return, for each place in a window, the elements that all windows have at this place."""
    ends = [stride * ((n - 1) // stride) + 1 for n in x.shape[1:3]]
    missing = [max(end - 1 + size - n, 0) for end, n in zip(ends, x.shape[1:3], strict=True)]
    pads = [(0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)]
    padded = jnp.pad(x, pads, constant_values=fill)
    return [
        padded[:, i : i + ends[0] : stride, j : j + ends[1] : stride]
        for i in range(size)
        for j in range(size)
    ]
