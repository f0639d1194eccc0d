"""Which steps are skipped, and by how much gradients are clipped, by their history: in float64.

Written from OLMo-core's rule (a sample's mean and deviation of the last values) and from papers
(ZClip, arXiv 2504.02507; AdaGC, arXiv 2502.11034), and importing nothing of ours.
"""

import math
from collections.abc import Sequence

import numpy as np


def skipped(streams: Sequence[Sequence[float]], window: int, sigma: float) -> list[bool]:
    """Return which steps are skipped, given the values of each step: a norm, perhaps a loss."""
    histories: list[list[float]] = [[] for _ in streams[0]]
    found = []
    for values in streams:
        skip = False
        for history, value in zip(histories, values, strict=True):
            if not math.isfinite(value):
                skip = True
                continue
            last = np.asarray(history[-window:], np.float64)
            if len(last) >= max(2, window // 2):
                deviation = max(last.std(ddof=1), 1e-6 * np.abs(last).max())
                skip |= value > last.mean() + sigma * deviation
            history.append(value)
        found.append(bool(skip))
    return found


def zclip(
    norms: Sequence[float], alpha: float = 0.97, limit: float = 2.5, warmup: int = 25
) -> list[float]:
    """Return the norms as ZClip leaves them (Algorithm 1, adaptive)."""
    buffer: list[float] = []
    mean = variance = 0.0
    found = []
    for norm in norms:
        if not math.isfinite(norm):
            found.append(0.0)
            continue
        if len(buffer) < warmup:
            buffer.append(norm)
            mean, variance = float(np.mean(buffer)), float(np.var(buffer))
            found.append(norm)
            continue
        z = (norm - mean) / math.sqrt(variance)
        if z > limit:
            norm = mean + limit * math.sqrt(variance) / (z / limit)
        mean = alpha * mean + (1 - alpha) * norm
        variance = alpha * variance + (1 - alpha) * (norm - mean) ** 2
        found.append(norm)
    return found


def adagc(
    norms: Sequence[Sequence[float]],
    beta: float = 0.98,
    relative: float = 1.05,
    absolute: float = 1.0,
    warmup: int = 100,
) -> list[list[float]]:
    """Return the norms of each leaf as AdaGC leaves them (Algorithm 1)."""
    averages: list[float] = []
    found = []
    for t, row in enumerate(norms, 1):
        if t < warmup:
            h = min(absolute / math.sqrt(sum(n * n for n in row)), 1.0)
            clipped = [h * n for n in row]
            both = zip(averages, clipped, strict=True)
            averages = [min(a, c) for a, c in both] if averages else clipped
        else:
            pairs = zip(averages, row, strict=True)
            clipped = [min(relative * a / n, 1.0) * n for a, n in pairs]
            both = zip(averages, clipped, strict=True)
            averages = [beta * a + (1 - beta) * c for a, c in both]
        found.append(clipped)
    return found
