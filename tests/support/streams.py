"""Gradient streams, and how far a storage format's steps are from float32's on them.

An optimiser and its twin in float32 see the same gradients and are never brought together again.

    rows     neighbours have similar scales (a trained weight matrix)
    iid      scales log-uniform over six decades, in random order (the worst neighbours)
    sparse   as iid, and 98 % of the gradients are exactly zero (embedding rows)
    bursty   as rows, and every 100th step is 30 times larger (a spike in the loss)
"""

import functools as ft
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import adam_optax as ao

STREAMS = ("rows", "iid", "sparse", "bursty")
PHASES = {"warm-up": (5, 200), "steady": (500, 1500), "decayed": (1600, 2000)}
STEPS, DROP = 2000, 1500
"""The gradients fall tenfold at the step `DROP`."""


class Measure(NamedTuple):
    """One phase of a run beside float32's.

    Attributes:
        rms: of the difference of the updates, over that of float32's updates.
        peak: the largest update over float32's largest: how far a format overshoots.
        l1: the mean size of an update over float32's: below 1, coordinates freeze.
        cosine: of the two updates, the mean over steps.
    """

    rms: float
    peak: float
    l1: float
    cosine: float


def gradients(stream: str, n: int, seed: int = 0) -> Callable[[Array], Array]:
    """The stream as a function from the step to a vector of `n`, a multiple of 256."""
    keys = jax.random.split(jax.random.key(seed), 5)
    if stream in ("rows", "bursty"):
        level = jnp.repeat(jax.random.uniform(keys[0], (n // 256,), minval=-6, maxval=0), 256)
        level = level + 0.3 * jax.random.normal(keys[1], (n,))
    else:
        level = jax.random.uniform(keys[0], (n,), minval=-6, maxval=0)
    mean, scale = 0.3 * jax.random.normal(keys[2], (n,)), 10**level

    def gradient(step: Array) -> Array:
        g = (mean + jax.random.normal(jax.random.fold_in(keys[3], step), (n,))) * scale
        g = g * jnp.where(step > DROP, 0.1, 1.0)
        if stream == "sparse":
            seen = jax.random.uniform(jax.random.fold_in(keys[4], step), (n,)) < 0.02
            g = jnp.where(seen, g, 0.0)
        if stream == "bursty":
            g = g * jnp.where(step % 100 == 99, 30.0, 1.0)
        return g

    return gradient


def compare(tx: Any, twin: Any, gradient: Callable[[Array], Array], n: int) -> dict[str, Measure]:
    """How far the updates of `tx` are from those of `twin`, by phase."""

    def body(states: Any, step: Array) -> Any:
        g = gradient(step)
        u, one = tx.update(g, states[0])
        v, two = twin.update(g, states[1])
        d, a, b = u - v, jnp.abs(u), jnp.abs(v)
        row = (d @ d, v @ v, (u @ v) / jnp.sqrt((u @ u) * (v @ v) + 1e-37))
        return (one, two), (*row, a.max(), b.max(), a.sum(), b.sum())

    start = tx.init(jnp.zeros(n)), twin.init(jnp.zeros(n))
    run = jax.jit(lambda states: jax.lax.scan(body, states, jnp.arange(STEPS))[1])
    rows = [np.asarray(row, np.float64) for row in run(start)]
    return {phase: _measure(*(row[a:b] for row in rows)) for phase, (a, b) in PHASES.items()}


def _measure(d: Any, v: Any, cosine: Any, a: Any, b: Any, sa: Any, sb: Any) -> Measure:
    return Measure(
        float(np.sqrt(d.sum() / v.sum())),
        float(a.max() / b.max()),
        float(sa.sum() / sb.sum()),
        float(cosine.mean()),
    )


@ft.cache
def adam(
    storage: Any, stream: str, n: int, b1: float = 0.9, b2: float = 0.999, seed: int = 0
) -> Mapping[str, Measure]:
    """Adam in a format beside Adam in float32, by phase."""
    rule = ao.rules.adam(b1, b2)
    tx, twin = ao.scale_by(rule, storage=storage), ao.scale_by(rule)
    return compare(tx, twin, gradients(stream, n, seed), n)


def worst(phases: Mapping[str, Measure]) -> Measure:
    """The worst of every number: of `l1`, the farthest from 1."""
    every = list(phases.values())
    return Measure(
        max(m.rms for m in every),
        max(m.peak for m in every),
        max((m.l1 for m in every), key=lambda l1: abs(np.log(max(l1, 1e-9)))),
        min(m.cosine for m in every),
    )
