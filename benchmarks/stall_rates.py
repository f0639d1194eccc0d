"""Foresee and measure how often the stored moments of Adam rest, and how much of a step is kept.

Gradients are Gaussian with mean zero. A number rests where its code after a step is the code that
it had before. The code rests for new values between two ends, a cell; so the chance that it rests
is the chance that a Gaussian gradient takes the exact average into the cell, which is in closed
form. Ends are found by bisection through the format's own `encode`, with the dither of the step:
one description for every format, whatever its grid, rounding and blocks.
"""

import functools as ft
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.special import erf, ndtr

from benchmarks.stored import Kept, Stored, flipped

Ends: TypeAlias = tuple[Array, Array]
"""The lower and the upper ends of ranges of numbers."""
DECAY = {"mu": 0.9, "nu": 0.999}
POWER = {"mu": 1, "nu": 2}
ROW = 256
"""The elements of a row, a multiple of every block."""
LARGEST = 0x7E000000
"""The bits of 2^125, to which bisection goes: larger numbers some formats clamp."""
WARM = 3000
"""Steps until nu has forgotten that it began at zero: it lacks 5 % of its size after so many."""
WATCHED = 64
"""The steps after these in which codes are watched."""
FACTORS = (10.0, 100.0, 0.1, 0.01)
"""By which the gradients change."""


class Rates(NamedTuple):
    """Hold what a format does with a moment at each step, of all elements.

    Attributes:
        foreseen: the chance, in closed form, that a code rests.
        measured: the share of the codes that rested.
        away: the share of the exact average's steps away from zero that the stored number takes, on
            average; 1: right on average, 0: it never grows.
        back: the same of the steps towards zero; 0: it never falls.
        level: the mean of the stored number, over that of float32's exact average: of `mu`, of its
            square.
    """

    foreseen: float
    measured: float
    away: float
    back: float
    level: float


def chance(name: str, low: Array, high: Array, old: Array, sigma: Array) -> Array:
    """Return the chance that a moment's exact average is between two ends after a step.

    Args:
        name: the moment: of `mu` the average is Gaussian, of `nu` a multiple of a chi-square.
        low: the lower end.
        high: the upper end.
        old: the stored number before the step.
        sigma: the deviation of the gradient, whose mean is zero.
    """
    b = DECAY[name]
    below, above = ((end - b * old) / ((1 - b) * sigma ** POWER[name]) for end in (low, high))
    if name == "mu":
        return ndtr(above) - ndtr(below)
    cdf = [erf(jnp.sqrt(jnp.maximum(x, 0) / 2)) for x in (below, above)]
    return cdf[1] - cdf[0]


def exact(old: Mapping[str, Array], g: Array) -> dict[str, Array]:
    """Return the moments after a step, as the rule computes them."""
    return {n: b * old[n] + (1 - b) * g ** POWER[n] for n, b in DECAY.items()}


def as_number(place: Array) -> Array:
    """Return the float32 numbers at places in the order of all float32 numbers."""
    return lax.bitcast_convert_type(flipped(place), jnp.float32)


def reach(name: str, old: Array, sigma: Array) -> Ends:
    """Return between which numbers a moment is after a step, but for a chance of 1e-15."""
    b = DECAY[name]
    far = (1 - b) * (8 * sigma) ** POWER[name]
    return b * old - (far if name == "mu" else 0), b * old + far


def cells(
    one: Stored,
    codes: Mapping[str, Array],
    new: Mapping[str, Array],
    count: Array,
    mask: Array,
    within: Mapping[str, Ends],
) -> dict[str, Ends]:
    """Return between which new numbers elements keep their codes, by moment.

    Each element's number is varied by bisection of all float32 numbers, beside the other elements'
    new numbers, with the dither of the step. Within reach of a step a code never falls as its
    number grows; beyond, a number may stretch its block, and so the block's codes.

    Args:
        one: the format.
        codes: the codes before the step.
        new: the exact moments after the step.
        count: the steps then.
        mask: which elements are varied, no two of a block.
        within: between which numbers they are varied, by moment.
    """
    lanes = [(n, more) for n in DECAY for more in (0, 1)]  # the least numbers of two codes
    wanted = jnp.stack([codes[n] + more for n, more in lanes])
    least = jnp.array([0 if n == "nu" else -LARGEST for n, _ in lanes], jnp.int32)[:, None, None]

    def coded(y: Array) -> Array:
        both = {n: jnp.stack([new[n]] * 4) for n in DECAY}
        for i, (n, _) in enumerate(lanes):
            both[n] = both[n].at[i].set(jnp.where(mask, jnp.clip(y[i], *within[n]), new[n]))

        def code(mu: Array, nu: Array) -> Any:
            return one.codes(one.write(mu, nu, count), count, mu.shape)

        found = jax.vmap(code)(both["mu"], both["nu"])
        return jnp.stack([found[n][i] for i, (n, _) in enumerate(lanes)])

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low & high) + ((low ^ high) >> 1)
        reached = coded(as_number(middle)) >= wanted
        return jnp.where(reached, low, middle), jnp.where(reached, middle, high)

    start = jnp.broadcast_to(least, wanted.shape), jnp.full(wanted.shape, LARGEST, jnp.int32)
    _, high = lax.fori_loop(0, 32, halve, start)
    ends = jnp.where(high <= least + 1, -jnp.inf, as_number(high))
    ends = jnp.where(high == LARGEST, jnp.inf, ends)
    return {"mu": (ends[0], ends[1]), "nu": (ends[2], ends[3])}


@ft.partial(jax.jit, static_argnames=("one", "columns"))
def foresee(one: Stored, kept: Kept, sigma: Array, g: Array, columns: int) -> dict[str, Array]:
    """Return the chance that codes rest in the step after the warm ones, by moment.

    Args:
        one: the format.
        kept: what is kept.
        sigma: the deviation of each element's gradient.
        g: gradients, which the neighbours get.
        columns: of how many elements of each block the chance is foreseen.
    """
    count = jnp.int32(WARM)
    old = one.read(kept, count, g.shape)
    codes, new = one.codes(kept, count, g.shape), exact(old, g)
    within = {n: reach(n, old[n], sigma) for n in DECAY}

    def column(at: Array) -> Any:
        mask = jnp.arange(ROW) % one.apart == at
        found = {}
        for n, ends in cells(one, codes, new, count + 1, mask, within).items():
            found[n] = jnp.mean(chance(n, *ends, old[n], sigma), where=mask)
        return found

    every = np.linspace(0, one.apart, min(columns, one.apart), endpoint=False).astype(int)
    found: dict[str, Array] = jax.tree.map(jnp.mean, lax.map(column, jnp.asarray(every)))
    return found


def deviations(rows: int, alike: bool, seed: int) -> Array:
    """Return each element's deviation: alike in a row, or spread over six decades in each."""
    key = jax.random.key(seed)
    if alike:
        return jnp.repeat(10 ** jax.random.uniform(key, (rows, 1), minval=-4, maxval=-2), ROW, 1)
    return 10 ** jax.random.uniform(key, (rows, ROW), minval=-6, maxval=0)


def _step(one: Stored, sigma: Array, key: Array, kept: Kept, count: Array) -> Any:
    """Take a step from `count`; return what was read before, the exact moments, what is kept."""
    g = sigma * jax.random.normal(jax.random.fold_in(key, count), sigma.shape)
    old = one.read(kept, count, sigma.shape)
    new = exact(old, g)
    return old, new, one.write(new["mu"], new["nu"], count + 1)


@ft.partial(jax.jit, static_argnames="one")
def warm(one: Stored, sigma: Array, key: Array) -> Kept:
    """Return what is kept after the warm steps from zero."""
    zero = jnp.zeros(sigma.shape)

    def body(kept: Kept, count: Array) -> Any:
        return _step(one, sigma, key, kept, count)[2], None

    start = one.write(zero, zero, jnp.int32(0))
    return lax.scan(body, start, jnp.arange(WARM))[0]


@ft.partial(jax.jit, static_argnames="one")
def watch(one: Stored, sigma: Array, key: Array, kept: Kept) -> Any:
    """Take the watched steps; return sums of what `Rates` holds, by moment."""

    def body(kept: Kept, count: Array) -> Any:
        old, new, after = _step(one, sigma, key, kept, count)
        codes = [one.codes(k, t, sigma.shape) for k, t in ((kept, count), (after, count + 1))]
        stored = one.read(after, count + 1, sigma.shape)
        sums = {}
        for n, power in POWER.items():
            unit = 1 / sigma**power
            side = jnp.where(old[n] == 0, jnp.sign(new[n]), jnp.sign(old[n])) * unit
            asked, took = ((x - old[n]) * side for x in (new[n], stored[n]))
            away = asked > 0
            parts = [jnp.where(m, x, 0) for m in (away, ~away) for x in (took, asked)]
            level = (stored[n] * unit) ** (3 - power)
            rests = codes[0][n] == codes[1][n]
            sums[n] = jnp.stack([x.mean() for x in (rests.astype(jnp.float32), *parts, level)])
        return after, sums

    counts = WARM + jnp.arange(WATCHED)
    return lax.scan(body, kept, counts)[1]


@ft.lru_cache(maxsize=64)
def rates(
    storage: Stored, alike: bool = True, rows: int = 64, columns: int = 32, seed: int = 0
) -> Mapping[str, Rates]:
    """Foresee and measure how often codes rest, of both moments.

    Args:
        storage: the format.
        alike: whether neighbours have gradients of one size.
        rows: the rows of 256 elements.
        columns: of how many elements of each block the chance is foreseen.
        seed: of the gradients. Foreseen is from a run of its own, with other gradients.
    """
    sigma = deviations(rows, alike, seed)
    keys = jax.random.split(jax.random.key(seed + 1), 3)

    g = sigma * jax.random.normal(keys[1], sigma.shape)
    seen = foresee(storage, warm(storage, sigma, keys[0]), sigma, g, columns)
    sums = watch(storage, sigma, keys[2], warm(storage, sigma, keys[2]))
    found = {}
    for n, all_steps in sums.items():
        rest, up, up_exact, down, down_exact, level = np.asarray(all_steps, float).mean(0).tolist()
        b = DECAY[n]
        size = (1 - b) / (1 + b) if n == "mu" else 1 - b ** (WARM + WATCHED / 2)
        shares = up / up_exact, down / down_exact
        found[n] = Rates(float(seen[n]), rest, *shares, level / size)
    return found


class Answer(NamedTuple):
    """Hold how a stored nu follows when the gradients change by a factor.

    Attributes:
        steps: until the mean of nu is within a tenth of its new size; None: never, as long as was
            waited, which is 1.5 times the exact average's steps.
        level: the mean of nu at the end, over its new size.
    """

    steps: int | None
    level: float


def needed(factor: float) -> int:
    """Return the exact average's steps until nu is within a tenth of its new size, on average."""
    return math.ceil(math.log(0.1 / abs(factor**-2 - 1)) / math.log(DECAY["nu"]))


@ft.partial(jax.jit, static_argnames=("one", "steps"))
def follow(one: Stored, sigma: Array, key: Array, kept: Kept, steps: int) -> Array:
    """Return the mean of nu over its new size, of each of `FACTORS`, after each step."""

    def body(kept: Kept, count: Array) -> Any:
        _, _, after = _step(one, sigma, key, kept, count)
        nu = one.read(after, count + 1, sigma.shape)["nu"]
        return after, (nu / sigma**2).reshape(len(FACTORS), -1).mean(1)

    levels: Array = lax.scan(body, kept, WARM + jnp.arange(steps))[1]
    return levels


@ft.lru_cache(maxsize=64)
def answers(storage: Stored, rows: int = 8, seed: int = 0) -> tuple[Answer, ...]:
    """Return how nu follows each of `FACTORS`; neighbours have gradients of one size."""
    sigma = deviations(rows, True, seed)
    key = jax.random.key(seed + 1)
    changed = sigma * jnp.repeat(jnp.array(FACTORS), rows // len(FACTORS))[:, None]
    waits = [3 * needed(f) // 2 for f in FACTORS]

    kept = warm(storage, sigma, key)
    levels = follow(storage, changed, key, kept, max(waits))
    found = []
    for level, wait in zip(np.asarray(levels, float).T, waits, strict=True):
        near = np.flatnonzero(abs(level[:wait] - 1) <= 0.1)
        found.append(Answer(int(near[0]) + 1 if near.size else None, float(level[wait - 1])))
    return tuple(found)
