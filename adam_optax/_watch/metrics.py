"""The row of numbers of each layer: what is computed of its weights."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import abs_sq, compute_dtype, safe_divide
from adam_optax._watch.leaf_view import Look
from adam_optax._watch.sampling import padded
from adam_optax._watch.state import QUANTILES, UNKNOWN, WIDTHS

WHOLE = ("grad_rms", "param_rms", "nonfinite")
"""What takes every weight of a layer."""

_EACH = (
    "update_rms",
    "signal_to_noise",
    "eps_share",
    "missed",
    "size",
    "step_size",
    "root_nu",
)
"""What is computed weight by weight; `missed` and `size` are the squares of the storage error."""


def whole(g: Array, p: Array | None) -> Array:
    """The numbers of `WHOLE`."""
    size = rms(g)
    # Counted where there is something to count: a loop over all is dear on a CPU.
    count = lambda: jnp.mean(~jnp.isfinite(g), dtype=jnp.float32)  # noqa: E731
    lost = jax.lax.cond(jnp.isfinite(size), lambda: jnp.float32(0), count)
    return jnp.stack([size, jnp.float32(UNKNOWN) if p is None else rms(p), lost])


def rms(a: Array) -> Array:
    """The root of the mean of squares; by a product, for which XLA stores no squares."""
    a = a.astype(compute_dtype(a))
    square = lambda x: jnp.tensordot(x, x, x.ndim, precision="highest")  # noqa: E731
    total = square(a) if jnp.isrealobj(a) else square(a.real) + square(a.imag)
    return jnp.sqrt(total / a.size).astype(jnp.float32)


def rows(wholes: Sequence[Array], each: Sequence[dict[str, Array]]) -> Array:
    """The record, float32 of shape (layers, numbers), of `whole` and `weights` by layer."""
    table = jnp.stack(list(wholes))
    found = {n: table[:, i] for i, n in enumerate(WHOLE)}
    found |= _summary({n: jnp.stack([weights[n] for weights in each]) for n in _EACH})
    return jnp.concatenate([found[n].reshape(len(each), -1) for n in WIDTHS], axis=1)


def weights(g: Array | None, u: Array | None, look: Look | None, width: int) -> dict[str, Array]:
    """Weight by weight, each padded to the same width.

    Args:
        g: some elements of the gradient; None where there is nothing to record.
        u: the same of the update.
        look: at the same of the moments.
        width: at least as many.
    """
    found: dict[str, Any] = dict.fromkeys(_EACH)
    if g is not None and u is not None and look is not None:
        view = look(g)
        found["update_rms"], found["step_size"] = abs_sq(u), _step(abs(u), abs(view.mu))
        found["signal_to_noise"], found["root_nu"] = view.signal, view.root_nu
        if view.denominator is not None and view.root_nu is not None:
            found["eps_share"] = (view.denominator > 2 * view.root_nu).astype(jnp.float32)
        if view.fresh is not None and view.stored is not None:
            found["missed"], found["size"] = abs_sq(view.stored - view.fresh), abs_sq(view.fresh)
    return {n: padded(a, width) for n, a in found.items()}


def _step(update: Array, mu: Array) -> Array:
    dtype = compute_dtype(update, mu)
    ratio = safe_divide(update.astype(dtype), mu.astype(dtype), 0.0)
    return jnp.where(mu > 0, ratio, UNKNOWN)


def _summary(found: dict[str, Array]) -> dict[str, Array]:
    """From (layers, weights) to what is recorded of it."""
    means = {n: _mean(found[n]) for n in _EACH if WIDTHS.get(n, 1) == 1}
    spreads = {n: _quantiles(found[n]) for n in _EACH if WIDTHS.get(n, 1) > 1}
    share = safe_divide(jnp.maximum(means["missed"], 0.0), means["size"], 0.0)
    squares = {
        "update_rms": means["update_rms"],
        "storage_error": jnp.where(means["size"] < 0, UNKNOWN, share),
    }
    roots = {
        n: jnp.where(m < 0, UNKNOWN, jnp.sqrt(jnp.maximum(m, 0.0))) for n, m in squares.items()
    }
    return means | spreads | roots


def _mean(table: Array) -> Array:
    known = table >= 0
    count = jnp.sum(known, axis=1).astype(table.dtype)
    total = jnp.sum(jnp.where(known, table, 0.0), axis=1)
    return jnp.where(count > 0, total / jnp.maximum(count, 1), UNKNOWN)


def _quantiles(table: Array) -> Array:
    """Between the two weights in question, as NumPy's; what is not known is left out."""
    known = table >= 0
    ordered = jnp.sort(jnp.where(known, table, jnp.finfo(table.dtype).max), axis=1)
    count = jnp.sum(known, axis=1, keepdims=True)
    at = jnp.asarray(QUANTILES, jnp.float32)[None] * jnp.maximum(count - 1, 0).astype(jnp.float32)
    low = jnp.floor(at).astype(jnp.int32)
    high = jnp.minimum(low + 1, jnp.maximum(count - 1, 0))
    below, above = (jnp.take_along_axis(ordered, i, axis=1) for i in (low, high))
    between = below + (at - low.astype(jnp.float32)) * (above - below)
    return jnp.where(count > 0, between, UNKNOWN)
