"""Search gradient streams for those on which a storage format is furthest from float32.

A stream is a row of numbers, its genes; thousands run side by side, as elements of one array. A
generation keeps the streams that came nearest to breaking a claim, and changes their genes.
"""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

import adam_optax as ao
from tests.support.formats import FORMATS

Genes = dict[str, NDArray[np.float32]]
"""For each gene its value by stream."""

STILL = {
    "period": 1.0,  # steps after which the gradients return
    "duty": 1.0,  # steps of a period that have a gradient
    "between": -7.0,  # log10 of the gradients at the other steps; below -6 they are zero
    "sign": 0.0,  # 0: always +, 1: changes at each step, 2: with each period, 3: at random
    "noise": 0.0,  # standard deviation of noise, in units of the gradient
    "depth": 0.0,  # decades by which the size swings
    "cycle": 1000.0,  # steps of a swing, and of a rest
    "rest": 0.0,  # share of a cycle without any gradient
    "jump": 0.0,  # decades by which the gradients jump in the middle of the run
    "scale": -2.0,  # log10 of the size
    "spread": 1.0,  # whether a stream's elements are at different times of it
}
"""The genes, as a constant gradient of 0.01 has them."""


SMALL = 0.05
"""The updates, in units of the learning rate, below which errors count as parts of this one.

Alternating signs make updates of 0.053. Beside a nu that a far larger gradient left, mu can be less
than the smallest ratio that a code tells from zero, 0.002, and its error more than mu."""


class Claim(NamedTuple):
    """Hold what is claimed of every stream: bounds of rms, peak and |l1 - 1|."""

    rms: float
    peak: float
    l1: float


class Found(NamedTuple):
    """Hold what was measured, by stream."""

    rms: NDArray[np.float64]
    peak: NDArray[np.float64]
    l1: NDArray[np.float64]

    def excess(self, claim: Claim) -> NDArray[np.float64]:
        """Return by how much a stream exceeds a claim: above 1 the claim is broken."""
        off = np.abs(self.l1 - 1) / claim.l1
        return np.maximum(np.maximum(self.rms / claim.rms, self.peak / claim.peak), off)


CLAIMS = {
    "pair()": Claim(0.16, 2.2, 0.05),
    "pair(3)": Claim(0.02, 1.3, 0.01),
    "pair(block=128)": Claim(0.12, 1.5, 0.04),
    "float8()": Claim(0.2, 2.2, 0.06),
    "stochastic()": Claim(0.03, 1.2, 0.01),
}
"""At b1=0.9 and any b2, inside the range of gradients for which a format is made."""
WIDTH = {"pair(block=128)": 128, "float8()": 128}
"""The elements of a stream: a block of neighbours, or 32."""


def streams(**genes: Any) -> Genes:
    """Return streams with these genes; others are those of `STILL`."""
    given = {name: np.atleast_1d(np.asarray(value, np.float32)) for name, value in genes.items()}
    count = max(len(value) for value in given.values())
    return {n: np.broadcast_to(given.get(n, np.float32(v)), count) for n, v in STILL.items()}


def gradient(genes: dict[str, Array], width: int, t: Array) -> Array:
    """Return the gradients of all streams at a step, by stream and element."""
    g = {name: value[:, None] * jnp.ones((1, width)) for name, value in genes.items()}
    count, shape = jnp.astype(t, jnp.int32), g["period"].shape
    shift = jax.random.randint(jax.random.key(1), shape, 0, 10_000)
    # Float32 is exact for the steps of a run.
    at = (count + jnp.where(g["spread"] > 0, shift, 0)).astype(jnp.float32)
    period, cycle = g["period"], g["cycle"]
    low = jnp.where(g["between"] < -6, 0.0, 10.0 ** g["between"])
    size = jnp.where(at % period < g["duty"], 1.0, low)
    size = size * 10.0 ** (g["depth"] * (jnp.sin(2 * jnp.pi * (at % cycle) / cycle) - 1) / 2)
    size = size * jnp.where(at % cycle < g["rest"] * cycle, 0.0, 1.0)
    key = jax.random.fold_in(jax.random.key(2), count)
    random = jnp.where(jax.random.bernoulli(key, 0.5, shape), 1.0, -1.0)
    turns = [jnp.ones(shape), 1.0 - 2 * (at % 2), 1.0 - 2 * (jnp.floor(at / period) % 2), random]
    sign = jnp.select([g["sign"] == i for i in range(3)], turns[:3], random)
    sign = sign + g["noise"] * jax.random.normal(jax.random.fold_in(key, 1), shape)
    return size * sign * 10.0 ** g["scale"]


def measure(
    name: str, genes: Genes, steps: int, b1: float = 0.9, b2: float = 0.999, eps: float = 0.0
) -> Found:
    """Run Adam in a format beside Adam in float32 on streams, and compare their updates."""
    form, width = FORMATS[name], WIDTH.get(name, 32)
    rule = ao.rules.adam(b1, b2, eps)
    tx, twin = ao.scale_by(rule, storage=form), ao.scale_by(rule)
    start = jnp.zeros((len(genes["period"]), width))

    @jax.jit
    def run(genes: dict[str, Array]) -> Any:
        def body(carry: Any, t: Array) -> Any:
            one, two, sums = carry
            jump = jnp.where(t > steps // 2, genes["jump"], 0.0)
            g = gradient({**genes, "scale": genes["scale"] + jump}, width, t)
            u, one = tx.update(g, one)
            v, two = twin.update(g, two)
            now = t >= steps // 4
            terms = jnp.stack([(u - v) ** 2, v**2, jnp.abs(u), jnp.abs(v)])
            total = sums[:4] + jnp.where(now, terms, 0.0)
            top = jnp.maximum(sums[4:], jnp.where(now, terms[2:], 0.0))
            return (one, two, jnp.concatenate([total, top])), None

        carry = tx.init(start), twin.init(start), jnp.zeros((6, *start.shape))
        return jax.lax.scan(body, carry, jnp.arange(steps, dtype=jnp.int32))[0][2]

    sums = np.asarray(run({n: jnp.asarray(v) for n, v in genes.items()}), np.float64)
    d, v, a, b = sums[:4].sum(2)
    (highest, high), taken = sums[4:].max(2), (steps - steps // 4) * width
    l1 = 1 + (a - b) / np.maximum(b, SMALL * taken)
    return Found(
        np.sqrt(d / np.maximum(v, SMALL**2 * taken)), highest / np.maximum(high, SMALL), l1
    )


def random_streams(rng: np.random.Generator, count: int) -> Genes:
    """Draw streams, of which many have one peculiarity and few have all."""

    def sometimes(share: float, drawn: Any, otherwise: float = 0.0) -> NDArray[np.float32]:
        return np.where(rng.random(count) < share, drawn, otherwise).astype(np.float32)

    jump = sometimes(0.2, 4 * rng.random(count) - 2)
    period = np.round(10_000 ** (rng.random(count) ** 2))
    drawn = {
        "period": period,
        "duty": np.minimum(np.ceil(30 ** sometimes(0.5, rng.random(count))), period),
        "between": sometimes(0.3, -6 * rng.random(count), -7.0),
        "sign": rng.integers(0, 4, count),
        "noise": sometimes(0.3, rng.random(count)),
        "depth": sometimes(0.3, 3 * rng.random(count)),
        "cycle": np.round(10 * 300 ** rng.random(count)),
        "rest": sometimes(0.2, rng.random(count)),
        "jump": jump,
        "scale": np.minimum(rng.uniform(-6, 0, count), -jump),
        "spread": rng.integers(0, 2, count),
    }
    return _inside({name: np.asarray(value, np.float32) for name, value in drawn.items()})


def _inside(genes: Genes) -> Genes:
    """Return the streams moved to where every format is fine.

    A single gradient leaves a nu of `(1 - b2) g^2`: at b2=0.9999 that of one of 1e-5 is as fine as
    that of gradients of 1e-7 at every step.
    """
    swing = genes["depth"] + np.maximum(-genes["jump"], 0)
    scale = np.maximum(genes["scale"], swing - 4.5)
    between = np.maximum(genes["between"], swing - 4.5 - scale)
    between = np.where(genes["between"] < -6, -7, between)
    moved = {"scale": scale, "between": between}
    return genes | {name: value.astype(np.float32) for name, value in moved.items()}


def change(rng: np.random.Generator, parents: Genes) -> Genes:
    """Return the streams with a fourth of their genes drawn anew, and periods a little off."""
    count = len(parents["period"])
    drawn = random_streams(rng, count)
    genes = {n: np.where(rng.random(count) < 0.25, drawn[n], v) for n, v in parents.items()}
    near = genes["period"] + rng.integers(-3, 4, count)
    genes["period"] = np.where(rng.random(count) < 0.5, np.maximum(near, 1), genes["period"])
    genes["duty"] = np.minimum(genes["duty"], genes["period"])
    return _inside({name: value.astype(np.float32) for name, value in genes.items()})


def evolve(
    name: str, b2: float, seed: int, generations: int, count: int, steps: int
) -> tuple[float, dict[str, float]]:
    """Return by how much the worst stream of a search exceeds its claim, and its genes."""
    rng = np.random.default_rng(seed)
    genes = random_streams(rng, count)
    worst: tuple[float, dict[str, float]] = (0.0, {})
    for _ in range(generations):
        found = measure(name, genes, steps, b2=b2)
        excess = found.excess(CLAIMS[name])
        best = np.argsort(-excess)
        top = int(best[0])
        if excess[top] > worst[0]:
            figures = {"rms": found.rms[top], "peak": found.peak[top], "l1": found.l1[top]}
            shown = {n: float(v[top]) for n, v in genes.items() if v[top] != STILL[n]}
            worst = float(excess[top]), {**figures, **shown}
        parents = np.concatenate([np.repeat(best[: count // 4], 3), best[: count // 4]])
        genes = change(rng, {n: v[parents] for n, v in genes.items()})
    return worst


def search(seed: int, seconds: float) -> None:
    """Search format by format until the time is over, and print the worst stream of each.

    Raises:
        SystemExit: 1 if a claim is broken.
    """
    start, broken, i = time.monotonic(), 0, 0
    while i == 0 or time.monotonic() - start < seconds:
        for b2 in (0.999, 0.95, 0.9999, 0.99):
            for name in CLAIMS:
                if i and time.monotonic() - start > seconds:
                    break
                excess, worst = evolve(name, b2, seed + i, 4, 64, 4000)
                told = ", ".join(f"{n} {v:.4g}" for n, v in worst.items())
                start_of_line = f"{name} b2={b2} seed={seed + i}"
                print(f"{start_of_line}: {excess:.2f} of the claim: {told}", flush=True)
                broken += excess > 1
                i += 1
    if broken:
        raise SystemExit(1)
