"""Adam whose moments take micro-batches one by one, in float64, importing nothing of ours."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def folded(
    grads: Array,
    start: Array,
    rate: Callable[[int], float],
    decay: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    squares: str = "mean",
) -> tuple[Array, Array, Array]:
    """Return the parameters after each step, and the last moments.

    Args:
        grads: gradients of shape (steps, k, size).
        start: the parameters.
        rate: the learning rate by step, 0 at the first.
        decay: AdamW's.
        b1: decay rate of the first moment.
        b2: decay rate of the second moment.
        eps: added to the root.
        squares: what enters nu: "mean", the mean of squares; "whole", the square of the mean;
            "AdamA", the sum of the squares of the gradients over k (arXiv 2305.19982).
    """
    p, mu, nu = start.copy(), np.zeros_like(start), np.zeros_like(start)
    trajectory = []
    for t, batch in enumerate(grads):
        k = len(batch)
        seen = {
            "mean": np.mean(batch**2, axis=0),
            "whole": np.mean(batch, axis=0) ** 2,
            "AdamA": np.sum((batch / k) ** 2, axis=0),
        }[squares]
        mu = b1 * mu + (1 - b1) * batch.mean(axis=0)
        nu = b2 * nu + (1 - b2) * seen
        step = mu / (1 - b1 ** (t + 1)) / (np.sqrt(nu / (1 - b2 ** (t + 1))) + eps)
        p = p - rate(t) * (step + decay * p)
        trajectory.append(p)
    return np.stack(trajectory), mu, nu
