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
                skip |= value > last.mean() + sigma * last.std(ddof=1)
            history.append(value)
        found.append(bool(skip))
    return found
