"""Reduce each layer to a record of a few numbers, from all weights or from a sample of them."""

import functools as ft
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import abs_sq, compute_dtype, safe_divide
from adam_optax._watch.leaf_view import Reader, Sampler
from adam_optax._watch.state import QUANTILES, UNKNOWN, WIDTHS

FULL = ("grad_rms", "param_rms", "nonfinite")
"""The quantities that are computed from every weight of a layer."""

SAMPLED = (
    "update_rms",
    "signal_to_noise",
    "eps_share",
    "storage_change_sq",
    "fresh_step_sq",
    "step_size",
    "root_nu",
)
"""What is computed weight by weight; `storage_error` is the root of a quotient of two of them."""


# --- Samples -----------------------------------------------------------------------------------


@ft.lru_cache(maxsize=1024)
def strided_sampler(shape: tuple[int, ...], samples: int) -> Sampler:
    """Return a function that takes an even sample of an array's elements, flat.

    The sample is a grid over all axes, of at most `samples` elements and at least half as many,
    where the array has them. It is sliced, not gathered: XLA computes only the sampled elements of
    what leads to a slice, and a slice of a sharded array stays where it is.

    Args:
        shape: the shape of the arrays; of an array of another shape all elements are taken.
        samples: the most elements that are taken.
    """
    steps = list(strides(shape, samples))
    places = tuple(slice(step // 2, None, step) for step in steps)
    return lambda a: a[places].reshape(-1) if a.shape == shape else a.reshape(-1)


def strides(shape: tuple[int, ...], samples: int) -> tuple[int, ...]:
    """Return the strides, powers of two, of an even grid of at most `samples` places."""
    steps, counts = [1] * len(shape), list(shape)
    while math.prod(counts) > samples:
        longest = counts.index(max(counts))
        steps[longest] *= 2
        counts[longest] = len(range(steps[longest] // 2, shape[longest], steps[longest]))
    return tuple(steps)


def _pad(a: Array | None, width: int) -> Array:
    """Return float32 of shape `(width,)`; padding and what is not finite is `UNKNOWN`."""
    if a is None:
        return jnp.full(width, UNKNOWN, jnp.float32)
    known = jnp.where(jnp.isfinite(a), a, UNKNOWN).astype(jnp.float32)
    return jnp.pad(known, (0, width - known.size), constant_values=UNKNOWN)


# --- One layer ---------------------------------------------------------------------------------


def full_metrics(g: Array, p: Array | None) -> Array:
    """Return the quantities of `FULL`, float32 of shape `(3,)`.

    Args:
        g: the gradient.
        p: the parameter, or None.
    """
    size = rms(g)
    # Counted only where there is something to count: on a CPU a loop over all weights is slow.
    count = lambda: jnp.mean(~jnp.isfinite(g), dtype=jnp.float32)  # noqa: E731
    nonfinite = jax.lax.cond(jnp.isfinite(size), lambda: jnp.float32(0), count)
    return jnp.stack([size, jnp.float32(UNKNOWN) if p is None else rms(p), nonfinite])


def rms(a: Array) -> Array:
    """Return the root of the mean square, by a product, for which XLA stores no squares."""
    a = a.astype(compute_dtype(a))
    square = lambda x: jnp.tensordot(x, x, x.ndim, precision="highest")  # noqa: E731
    total = square(a) if jnp.isrealobj(a) else square(a.real) + square(a.imag)
    return jnp.sqrt(total / a.size).astype(jnp.float32)


def sampled_metrics(
    g: Array | None, update: Array | None, reader: Reader | None, width: int
) -> dict[str, Array]:
    """Return the quantities of `SAMPLED` weight by weight, each float32 of shape `(width,)`.

    Args:
        g: the sampled elements of the gradient; None where there is nothing to record.
        update: the same elements of the update.
        reader: reads the same elements of the moments.
        width: the length to which the quantities are padded.
    """
    found: dict[str, Array | None] = dict.fromkeys(SAMPLED)
    if g is not None and update is not None and reader is not None:
        view = reader(g)
        found["update_rms"] = abs_sq(update)
        found["step_size"] = _step_size(abs(update), abs(view.mu))
        found["signal_to_noise"], found["root_nu"] = view.signal_to_noise, view.root_nu
        if view.denominator is not None and view.root_nu is not None:
            found["eps_share"] = (view.denominator > 2 * view.root_nu).astype(jnp.float32)
        if view.fresh_step is not None and view.stored_step is not None:
            found["storage_change_sq"] = abs_sq(view.stored_step - view.fresh_step)
            found["fresh_step_sq"] = abs_sq(view.fresh_step)
    return {n: _pad(a, width) for n, a in found.items()}


def _step_size(update: Array, mu: Array) -> Array:
    """Return `update / mu`, and `UNKNOWN` where mu is 0."""
    dtype = compute_dtype(update, mu)
    ratio = safe_divide(update.astype(dtype), mu.astype(dtype), 0.0)
    return jnp.where(mu > 0, ratio, UNKNOWN)


# --- All layers --------------------------------------------------------------------------------


def build_record(
    full: Sequence[Array], sampled: Sequence[Mapping[str, Array]], clipped: Sequence[Array]
) -> Array:
    """Return the record, float32 of shape `(layers, numbers)`, with the numbers as in `WIDTHS`.

    Args:
        full: what `full_metrics` returned for each layer.
        sampled: what `sampled_metrics` returned for each layer.
        clipped: the root mean square of each layer's gradient as it arrives at the optimiser.
    """
    table = jnp.stack(list(full))
    found = {n: table[:, i] for i, n in enumerate(FULL)} | {"clipped_rms": jnp.stack(list(clipped))}
    found |= _summarise({n: jnp.stack([layer[n] for layer in sampled]) for n in SAMPLED})
    return jnp.concatenate([found[n].reshape(len(sampled), -1) for n in WIDTHS], axis=1)


def _summarise(sampled: Mapping[str, Array]) -> dict[str, Array]:
    """Return means, roots of mean squares and quantiles of arrays of shape (layers, weights)."""
    means = {n: _mean(sampled[n]) for n in SAMPLED if WIDTHS.get(n, 1) == 1}
    quantiles = {n: _quantiles(sampled[n]) for n in SAMPLED if WIDTHS.get(n, 1) > 1}
    change, step = means["storage_change_sq"], means["fresh_step_sq"]
    ratio = safe_divide(jnp.maximum(change, 0.0), step, 0.0)
    squares = {
        "update_rms": means["update_rms"],
        "storage_error": jnp.where(step < 0, UNKNOWN, ratio),
    }
    roots = {
        n: jnp.where(m < 0, UNKNOWN, jnp.sqrt(jnp.maximum(m, 0.0))) for n, m in squares.items()
    }
    return means | quantiles | roots


def _mean(table: Array) -> Array:
    """Return the mean of each row over its known elements."""
    known = table >= 0
    count = jnp.sum(known, axis=1).astype(table.dtype)
    total = jnp.sum(jnp.where(known, table, 0.0), axis=1)
    return jnp.where(count > 0, total / jnp.maximum(count, 1), UNKNOWN)


def _quantiles(table: Array) -> Array:
    """Return quantiles of each row's known elements, interpolated linearly as NumPy does."""
    known = table >= 0
    ordered = jnp.sort(jnp.where(known, table, jnp.finfo(table.dtype).max), axis=1)
    count = jnp.sum(known, axis=1, keepdims=True)
    at = jnp.asarray(QUANTILES, jnp.float32)[None] * jnp.maximum(count - 1, 0).astype(jnp.float32)
    low = jnp.floor(at).astype(jnp.int32)
    high = jnp.minimum(low + 1, jnp.maximum(count - 1, 0))
    below, above = (jnp.take_along_axis(ordered, i, axis=1) for i in (low, high))
    between = below + (at - low.astype(jnp.float32)) * (above - below)
    return jnp.where(count > 0, between, UNKNOWN)
