"""Compute the forms of Adam in training stacks in float64 NumPy, from the stacks' sources.

As in `oracle_frameworks`, nothing of the package is imported: each function takes the gradients,
steps on the leading axis, and the first parameters, and returns the updates at learning rate 1e-3.
Each is written in the order of its source, with the decay where the source has it.
"""

import math
from typing import Any

import numpy as np

from tests.support.oracle_frameworks import RATE, warm

Array = np.ndarray[Any, np.dtype[np.float64]]


def adam_pax(
    grads: Array, start: Array, b1: float, b2: float, eps: float, eps_root: float, decay: float
) -> Array:
    """Return MaxText's `adam_pax`, praxis' `sharded_adam`: decay rates carry the bias correction.

    `decay (1 - decay^(t-1)) / (1 - decay^t)` is the rate of step t, so that the averages begin at
    the first gradient; then `mu / (sqrt(nu + eps_root) + eps)`, the weight decay, the rate.
    """
    p, updates = start, []
    m = v = np.zeros_like(start)
    for t, g in enumerate(grads, 1):
        r1, r2 = (b * warm(b, t - 1) / warm(b, t) for b in (b1, b2))
        m, v = (1 - r1) * g + r1 * m, (1 - r2) * g**2 + r2 * v
        step = m / (np.sqrt(v + eps_root) + eps)
        updates.append(-RATE * (step + decay * p))
        p = p + updates[-1]
    return np.stack(updates)


def bert_adam(grads: Array, start: Array, b1: float, b2: float, eps: float, decay: float) -> Array:
    """Return BERT's `AdamWeightDecayOptimizer`: `lr (m / (sqrt(v) + eps) + decay p)`."""
    p, updates = start, []
    m = v = np.zeros_like(start)
    for g in grads:
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * np.square(g)
        update = m / (np.sqrt(v) + eps) + decay * p
        updates.append(-RATE * update)
        p = p - RATE * update
    return np.stack(updates)


def adamd(grads: Array, start: Array, b1: float, b2: float, eps: float) -> Array:
    """Return AdamD (arXiv:2110.10828): `alpha sqrt(1 - b2^t) m / (sqrt(v) + eps)`."""
    updates = []
    m = v = np.zeros_like(start)
    for t, g in enumerate(grads, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        updates.append(-RATE * math.sqrt(warm(b2, t)) * m / (np.sqrt(v) + eps))
    return np.stack(updates)


def optimi_adam(
    grads: Array,
    start: Array,
    b1: float,
    b2: float,
    eps: float,
    decay: float,
    *,
    coupled: bool = False,
    max_lr: float | None = None,
    stable: bool = False,
    rectified: bool = False,
) -> Array:
    """Return optimi's Adam, AdamW, StableAdamW and RAdam, whose averages are kept corrected.

    `(b^t - b) / (b^t - 1)` is the decay rate of step t. The decay is L2 (`coupled`), decoupled, or
    fully decoupled, `1 - (lr / max_lr) decay`; `stable` divides the rate by max(1, rms) for both.
    """
    p, updates = start, []
    m = v = np.zeros_like(start)
    long = 2 / (1 - b2) - 1
    for t, gradient in enumerate(grads, 1):
        g = gradient + decay * p if coupled else gradient
        r1, r2 = ((b - b**t) / warm(b, t) for b in (b1, b2))
        m, v = m + (1 - r1) * (g - m), r2 * v + (1 - r2) * g * g
        rate = RATE
        if stable:
            rate /= max(1.0, math.sqrt(np.mean(g**2 / np.maximum(v, eps**2))))
        shrunk = 0.0 if coupled else (rate if max_lr is None else rate / max_lr) * decay * p
        wide = np.longdouble(b2)  # 199 - 194 loses digits
        rho = float(2 / (1 - wide) - 1 - 2 * t * wide**t / (1 - wide**t))
        if rectified and rho > 5:
            rate *= math.sqrt((rho - 4) * (rho - 2) * long / ((long - 4) * (long - 2) * rho))
        step = m if rectified and rho <= 5 else m / (np.sqrt(v) + eps)
        updates.append(
            -shrunk - rate * step
        )  # in one sum, whose digits the parameter does not take
        p = p + updates[-1]
    return np.stack(updates)


def nadamw(
    grads: Array,
    start: Array,
    b1: float,
    b2: float,
    eps: float,
    decay: float,
    max_lr: float | None = None,
) -> Array:
    """Return timm's NAdamW, that of MLCommons: `b1 m + (1 - b1) g`, both over `1 - b1^t`.

    With `max_lr`, timm's `corrected_weight_decay`: the decay is times `lr^2 / max_lr`.
    """
    p, updates = start, []
    m = v = np.zeros_like(start)
    for t, g in enumerate(grads, 1):
        shrunk = (RATE if max_lr is None else RATE**2 / max_lr) * decay * p
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        ahead = b1 * m + (1 - b1) * g
        root = np.sqrt(v) / math.sqrt(warm(b2, t)) + eps
        updates.append(-shrunk - RATE / warm(b1, t) * ahead / root)
        p = p + updates[-1]
    return np.stack(updates)


def lion(grads: Array, start: Array, b1: float, b2: float, decay: float) -> Array:
    """Return the Lion of Levanter and optimi: `sign(b1 m + (1 - b1) g)`, then `m` with b2."""
    p, updates, m = start, [], np.zeros_like(start)
    for g in grads:
        updates.append(-RATE * (np.sign(b1 * m + (1 - b1) * g) + decay * p))
        m, p = b2 * m + (1 - b2) * g, p + updates[-1]
    return np.stack(updates)


def big_vision_adafactor(
    grads: Array,
    start: Array,
    min_dim_size_to_factor: int = 32,
    decay_rate: float = 0.8,
    beta2_cap: float = 0.999,
    clipping_threshold: float | None = None,
    momentum: float | None = 0.9,
    eps: float = 1e-30,
    decay: float = 0.0,
    peak: float = RATE,
) -> Array:
    """Return big_vision's Adafactor with its moments in float64, and its weight decay.

    The decay rate of the second moment is `min(beta2_cap, 1 - t^-decay_rate)`; a plain average of
    the steps follows, before the learning rate. `wd` is multiplied by the schedule, which is the
    rate divided by its peak `config.lr`.
    """
    shape, p, updates = start.shape, start, []
    order = np.argsort(shape, kind="stable")
    factored = len(shape) > 1 and shape[order[-2]] >= min_dim_size_to_factor
    second, longest = (int(order[-2]), int(order[-1])) if factored else (0, 0)
    row, col, full, mean = 0.0, 0.0, np.zeros(shape), np.zeros(shape)
    for t, g in enumerate(grads, 1):
        b = min(beta2_cap, 1.0 - float(t) ** -decay_rate)
        square = g * g + eps
        if factored:
            row = b * row + (1 - b) * square.mean(longest, keepdims=True)
            col = b * col + (1 - b) * square.mean(second, keepdims=True)
            step = g * (row / row.mean(second, keepdims=True)) ** -0.5 * col**-0.5
        else:
            full = b * full + (1 - b) * square
            step = g * full**-0.5
        if clipping_threshold is not None:
            step = step / max(1.0, math.sqrt(np.mean(step * step)) / clipping_threshold)
        if momentum is not None:
            mean = momentum * mean + (1 - momentum) * step
            step = mean
        updates.append(-(RATE * step + RATE / peak * decay * p))
        p = p + updates[-1]
    return np.stack(updates)
