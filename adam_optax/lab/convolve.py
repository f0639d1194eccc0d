"""Convolution and pooling that are fast inside a loop on a CPU, too.

XLA for CPUs convolves ten times slower inside `jax.lax.scan` than outside, and the gradient of its
pooling is one thread's. There, products of matrices and maxima of shifted images do the same.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


def convolved(x: jax.Array, kernel: jax.Array, *_: Any, **__: Any) -> jax.Array:
    """The convolution of images with a kernel, padded to the same size, stride 1.

    Args:
      x: Images, shape (n, height, width, channels).
      kernel: Shape (size, size, channels, features).
    """

    def by_matrices(x: jax.Array, kernel: jax.Array) -> jax.Array:
        patches = jnp.concatenate(_shifted(x, kernel.shape[0], 1, 0.0), axis=-1)
        return patches @ kernel.reshape(-1, kernel.shape[-1])

    def native(x: jax.Array, kernel: jax.Array) -> jax.Array:
        order = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=order)

    out: jax.Array = jax.lax.platform_dependent(x, kernel, cpu=by_matrices, default=native)
    return out


def max_pooled(x: jax.Array, size: int, stride: int) -> jax.Array:
    """The maximum of each window of images, shape (n, height, width, channels), padded to fit.

    Where several are the maximum, its gradient goes to one of them or is shared, by platform.
    """

    def by_shifts(x: jax.Array) -> jax.Array:
        return functools.reduce(jnp.maximum, _shifted(x, size, stride, -jnp.inf))

    def native(x: jax.Array) -> jax.Array:
        pooled: jax.Array = nn.max_pool(x, (size, size), (stride, stride), "SAME")
        return pooled

    out: jax.Array = jax.lax.platform_dependent(x, cpu=by_shifts, default=native)
    return out


def _shifted(x: jax.Array, size: int, stride: int, fill: float) -> list[jax.Array]:
    """For each place of a window, what is there in every window."""
    ends = [stride * ((n - 1) // stride) + 1 for n in x.shape[1:3]]
    missing = [max(end - 1 + size - n, 0) for end, n in zip(ends, x.shape[1:3], strict=True)]
    pads = [(0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)]
    padded = jnp.pad(x, pads, constant_values=fill)
    return [
        padded[:, i : i + ends[0] : stride, j : j + ends[1] : stride]
        for i in range(size)
        for j in range(size)
    ]
