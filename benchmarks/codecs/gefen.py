"""Keep moments as Gefen does: nu shared by a block, mu in 8 bits by a learned codebook.

Source: Gefen (Benedek, Koren, Fried, arXiv 2606.13894), package gefen 1.2.3. Checked beside the
package's own optimiser on four gradients of 1,680 and 4,096 elements: the same blocks (256, 128, 1
and 35), the same codebook to the last bit, and 30 updates that differ by 2.4e-7 of their norm.
"""

import dataclasses
import functools as ft
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from adam_optax.storage import Format, LeafContext
from adam_optax.storage._base import MASKED
from benchmarks.codecs.groups import grouped, ungrouped

CODES = 256
"""The numbers of the codebook."""
BINS = 16 * CODES
"""The bins between -1 and 1 in which gradients are counted to learn a codebook."""
ALONE = 256
"""The block in which mu is scaled where each element has its own nu."""
MANY = 1024
"""The block beyond which a smaller divisor is taken."""
FEW = 4
"""The least number of blocks of a parameter."""
Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, repr=False)
class Gefen(Format):
    """Keep the mean of nu over blocks, and mu as codes of a codebook in units of a block's absmax.

    The step is made with what is kept, as theirs is. Blocks run along the last axis; theirs, over
    the flattened leaf, are the same where the block divides that axis.

    Attributes:
        block: the elements that share nu and the absmax of mu; 1: each has its own nu.
        codebook: the numbers of the codes; empty: those learned from normal numbers.
    """

    function: ClassVar[str] = "Gefen"
    components: ClassVar[tuple[str, ...]] = ("", "absmax")
    read_back: ClassVar[bool] = True
    block: int = 64
    codebook: tuple[float, ...] = dataclasses.field(default=(), repr=False)

    def encode(self, values: Sequence[Array], context: LeafContext) -> dict[str, Any]:
        """Return nu's mean of each block, or mu's codes and the absmax of each block."""
        (m,), (moment,) = values, context.moments
        if not moment.signed:
            return {"": _means(m, self.block), "absmax": MASKED}
        groups = grouped(m, self._scaled)
        absmax = jnp.max(jnp.abs(groups), axis=-1)
        unit = jnp.where(absmax > 0, absmax, 1.0)[..., None]
        table = self._table()
        middles = jnp.asarray((table[1:] + table[:-1]) / 2, jnp.float32)
        codes = jnp.searchsorted(middles, groups / unit).astype(jnp.uint8)
        return {"": ungrouped(codes, m.shape), "absmax": absmax}

    def decode(self, encoded: Mapping[str, Any], context: LeafContext) -> tuple[Array, ...]:
        """Return the moment in float32."""
        (moment,), shape, kept = context.moments, context.shape, encoded[""]
        if moment.signed:
            codes = grouped(kept.astype(jnp.int32), self._scaled)
            groups = jnp.asarray(self._table(), jnp.float32)[codes] * encoded["absmax"][..., None]
        else:
            groups = jnp.broadcast_to(kept[..., None], (*kept.shape, self.block))
        return (ungrouped(groups, shape),)

    @property
    def _scaled(self) -> int:
        """Return how many elements share an absmax of mu."""
        return self.block if self.block > 1 else ALONE

    def _table(self) -> Floats:
        return np.array(self.codebook or normal_codebook(self._scaled))


def _means(m: Array, block: int) -> Array:
    """Return the mean of each block, the last of which may be shorter."""
    size = m.shape[-1] if m.ndim else 1
    count = np.minimum(block, size - block * np.arange(-(-size // block)))
    groups = grouped(m, block)
    inside = jnp.asarray(np.arange(block)[None, :] < count[:, None])
    whole = jnp.where(jnp.broadcast_to(inside, groups.shape), groups, 0.0)
    each = jnp.broadcast_to(jnp.asarray(count, jnp.float32), groups.shape[:-1])
    return jnp.sum(whole, axis=-1) / each


def fitted(gradients: Sequence[Any]) -> list[Gefen]:
    """Return the format of each leaf, by the rules of the package, from its first gradient."""
    leaves = [np.asarray(g, np.float32).reshape(-1) for g in gradients]
    blocks = [period(g.astype(np.float64) ** 2) for g in leaves]
    counts = sum(
        (histogram(g, b) for g, b in zip(leaves, blocks, strict=True)), start=np.zeros(BINS)
    )
    codebook = tuple(learned_codebook(counts).tolist())
    return [Gefen(block, codebook) for block in blocks]


def period(squares: Floats) -> int:
    """Return the block that shares nu: where means of neighbouring blocks differ most.

    Among the divisors of the size that leave four blocks, it is the one above 8 with the largest
    local maximum of `mean |difference of neighbouring means of log squares|`; 1 without a maximum.

    Args:
        squares: the squares of a leaf's first gradient, flattened.
    """
    logs, size = np.log(squares + 1e-12), squares.size
    divisors = [p for p in range(1, size // FEW + 1) if size % p == 0]
    scores = [np.abs(np.diff(logs.reshape(-1, p).mean(1))).mean() for p in divisors]
    inner = range(1, len(divisors) - 1)
    peaks = [i for i in inner if divisors[i] > 8 and scores[i - 1] < scores[i] > scores[i + 1]]
    if not peaks:
        return 1
    best = divisors[max(peaks, key=lambda i: (scores[i], divisors[i]))]
    return min((p for p in divisors if MANY < p <= best and best % p == 0), default=best)


def histogram(flat: NDArray[np.float32], block: int) -> Floats:
    """Count a gradient's elements, in units of the absmax of their block, in bins from -1 to 1."""
    rows = flat.reshape(-1, block)
    absmax = np.abs(rows).max(1, keepdims=True)
    units = rows / np.where(absmax > 0, absmax, 1)
    places = np.floor((units + 1) / np.float32(2 / BINS)).astype(np.int64)
    return np.bincount(places.clip(0, BINS - 1).reshape(-1), minlength=BINS).astype(np.float64)


def learned_codebook(counts: Floats) -> Floats:
    """Return the codebook with the least mean square error on a histogram, -1 and 1 among it.

    Sorted numbers are cut into as many runs as there are codes. The best start of the last run
    never falls as its end grows, so that a dynamic programme halves the range of ends, all ranges
    of a level at once.

    Args:
        counts: how many numbers are in each bin from -1 to 1.
    """
    edges = np.linspace(-1, 1, BINS + 1, dtype=np.float32)
    centers = (0.5 * (edges[:-1] + edges[1:]))[counts > 0].astype(np.float64)
    if centers.size < CODES:
        table = np.full(CODES, centers[-1])
        table[: centers.size] = centers
        table[0], table[-1] = -1, 1
        return np.sort(table)
    weights = counts[counts > 0]
    sums = [np.concatenate([[0.0], np.cumsum(weights * centers**k)]) for k in range(3)]

    def cost(start: Any, end: Any, code: int) -> Any:
        w, wx, wxx = (s[end] - s[start] for s in sums)
        if code in (0, CODES - 1):
            at = -1.0 if code == 0 else 1.0
            return wxx - 2 * at * wx + at * at * w
        return wxx - wx * wx / np.where(w > 0, w, 1)

    total = centers.size
    best = np.full(total + 1, np.inf)
    best[1:] = cost(0, np.arange(1, total + 1), 0)
    starts = []
    for code in range(1, CODES):
        best, start = _next(best, cost, code, total)
        starts.append(start)
    table, end = np.empty(CODES), total
    for code in range(CODES - 1, 0, -1):
        begin = starts[code - 1][end]
        table[code] = (sums[1][end] - sums[1][begin]) / (sums[0][end] - sums[0][begin])
        end = begin
    table[0], table[-1] = -1, 1
    return np.sort(table)


def _next(before: Floats, cost: Any, code: int, total: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return the least costs with one more run, and the start of that run, for each end."""
    best, start = np.full(total + 1, np.inf), np.zeros(total + 1, np.int64)
    ranges = np.array([[code + 1, total, code, total - 1]])  # of ends, and of their starts
    while ranges.size:
        ranges = ranges[ranges[:, 0] <= ranges[:, 1]]
        first, last, low, high = ranges.T
        middle = (first + last) // 2
        widths = np.minimum(high, middle - 1) - low + 1
        at = np.concatenate([[0], np.cumsum(widths)[:-1]])
        begin = np.arange(widths.sum()) - np.repeat(at - low, widths)
        costs = before[begin] + cost(begin, np.repeat(middle, widths), code)
        least = np.minimum.reduceat(costs, at) if costs.size else costs
        hits = np.flatnonzero(costs == np.repeat(least, widths))
        chosen = begin[hits[np.searchsorted(hits, at)]]
        best[middle], start[middle] = least, chosen
        left = np.stack([first, middle - 1, low, chosen], 1)
        right = np.stack([middle + 1, last, chosen, high], 1)
        ranges = np.concatenate([left, right])
        ranges = ranges[ranges[:, 0] <= ranges[:, 1]]
    return best, start


@ft.cache
def normal_codebook(block: int) -> tuple[float, ...]:
    """Return the codebook that is learned from normal numbers."""
    numbers = np.random.default_rng(0).normal(size=(1 << 20) // block * block)
    return tuple(learned_codebook(histogram(numbers.astype(np.float32), block)).tolist())
