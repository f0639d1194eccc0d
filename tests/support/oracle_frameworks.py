"""Compute the frameworks' formulas in float64 NumPy, from their sources.

Nothing of the package is imported. Each function takes the gradients, steps on the leading axis,
and returns the updates at learning rate 1e-3; a function with weight decay takes the first
parameters too. `1 - b**t` is computed by `expm1`, so that updates are off by roundings alone.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
RATE = 1e-3


def warm(b: float, t: float) -> float:
    """Return `1 - b^t`."""
    return float(-np.expm1(t * np.log(b))) if b > 0 else 1.0


def _moments(grads: Array, b1: float, b2: float) -> Iterator[tuple[int, Array, Array, Array]]:
    m = v = np.zeros_like(grads[0])
    for t, g in enumerate(grads, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        yield t, g, m, v


def algorithm_1(grads: Array, b1: float, b2: float, eps: float) -> Array:
    """Return the updates of the paper's Algorithm 1: `m/bc1 / (sqrt(v/bc2) + eps)`."""
    return np.stack(
        [
            -RATE * (m / warm(b1, t)) / (np.sqrt(v / warm(b2, t)) + eps)
            for t, _, m, v in _moments(grads, b1, b2)
        ]
    )


def epsilon_hat(grads: Array, b1: float, b2: float, eps: float) -> Array:
    """Return the end of the paper's section 2: `alpha sqrt(bc2)/bc1 m / (sqrt(v) + eps)`."""
    return np.stack(
        [
            -RATE * np.sqrt(warm(b2, t)) / warm(b1, t) * m / (np.sqrt(v) + eps)
            for t, _, m, v in _moments(grads, b1, b2)
        ]
    )


def nesterov(grads: Array, b1: float, b2: float, eps: float) -> Array:
    """Return optax's NAdam: `b1 m/(1 - b1^(t+1)) + (1-b1) g/(1 - b1^t)` over Adam's root."""
    updates = []
    for t, g, m, v in _moments(grads, b1, b2):
        ahead = b1 * m / warm(b1, t + 1) + (1 - b1) * g / warm(b1, t)
        updates.append(-RATE * ahead / (np.sqrt(v / warm(b2, t)) + eps))
    return np.stack(updates)


def amsgrad_corrected(grads: Array, b1: float, b2: float, eps: float) -> Array:
    """Return optax's AMSGrad: the maximum over the corrected v."""
    updates, top = [], np.zeros_like(grads[0])
    for t, _, m, v in _moments(grads, b1, b2):
        top = np.maximum(top, v / warm(b2, t))
        updates.append(-RATE * m / warm(b1, t) / (np.sqrt(top) + eps))
    return np.stack(updates)


def amsgrad_pytorch(grads: Array, b1: float, b2: float, eps: float) -> Array:
    """Return PyTorch's AMSGrad: the maximum over v, corrected afterwards; eps as in Algorithm 1."""
    updates, top = [], np.zeros_like(grads[0])
    for t, _, m, v in _moments(grads, b1, b2):
        top = np.maximum(top, v)
        updates.append(-RATE / warm(b1, t) * m / (np.sqrt(top) / np.sqrt(warm(b2, t)) + eps))
    return np.stack(updates)


def amsgrad_hat(grads: Array, b1: float, b2: float, eps: float) -> Array:
    """Return Keras's and Lasagne's AMSGrad: the maximum over v; eps beside its root."""
    updates, top = [], np.zeros_like(grads[0])
    for t, _, m, v in _moments(grads, b1, b2):
        top = np.maximum(top, v)
        updates.append(-RATE * np.sqrt(warm(b2, t)) / warm(b1, t) * m / (np.sqrt(top) + eps))
    return np.stack(updates)


def adamax_inside(grads: Array, b1: float, b2: float, eps: float) -> Array:
    """Return PyTorch's and optax's AdaMax: `u = max(b2 u, |g| + eps)`."""
    updates, u = [], np.zeros_like(grads[0])
    for t, g, m, _ in _moments(grads, b1, b2):
        u = np.maximum(b2 * u, np.abs(g) + eps)
        updates.append(-RATE / warm(b1, t) * m / np.where(u > 0, u, 1.0))
    return np.stack(updates)


def adamax_outside(grads: Array, b1: float, b2: float, eps: float) -> Array:
    """Return the AdaMax of Keras, Lasagne and jax's examples: `m / (u + eps)`."""
    updates, u = [], np.zeros_like(grads[0])
    for t, g, m, _ in _moments(grads, b1, b2):
        u = np.maximum(b2 * u, np.abs(g))
        updates.append(-RATE / warm(b1, t) * m / (u + eps))
    return np.stack(updates)


def _rectified(grads: Array, b1: float, b2: float, eps: float, *, hat: bool) -> Array:
    updates, limit = [], 2 / (1 - b2) - 1
    for t, _, m, v in _moments(grads, b1, b2):
        # In extended precision: 1999 - 1994 loses digits.
        b = np.longdouble(b2)
        rho = float(2 / (1 - b) - 1 - 2 * t * b**t / (-np.expm1(t * np.log(b))))
        step, root = m / warm(b1, t), np.sqrt(warm(b2, t))
        if rho > 5:
            r = np.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
            step = step * r / (np.sqrt(v) / root + (eps / root if hat else eps))
        updates.append(-RATE * step)
    return np.stack(updates)


def radam(grads: Array, b1: float, b2: float, eps: float) -> Array:
    """Return optax's RAdam: `r m/bc1 / (sqrt(v/bc2) + eps)`, and `m/bc1` while rho is small."""
    return _rectified(grads, b1, b2, eps, hat=False)


def radam_hat(grads: Array, b1: float, b2: float, eps: float) -> Array:
    """Return PyTorch's RAdam: `r m/bc1 sqrt(bc2) / (sqrt(v) + eps)` where rho > 5."""
    return _rectified(grads, b1, b2, eps, hat=True)


def scheduled_nadam(grads: Array, b1: float, b2: float, eps: float, momentum_decay: float) -> Array:
    """Return PyTorch's NAdam, and Keras's with 1: the momentum is `b1 (1 - 0.96^(t psi)/2)`."""
    updates, product = [], 1.0
    for t, g, m, v in _moments(grads, b1, b2):
        mu, ahead = (b1 * (1 - 0.5 * 0.96 ** (s * momentum_decay)) for s in (t, t + 1))
        product *= mu
        step = (1 - mu) * g / (1 - product) + ahead * m / (1 - product * ahead)
        updates.append(-RATE * step / (np.sqrt(v / warm(b2, t)) + eps))
    return np.stack(updates)


def fading_adam(grads: Array, b1: float, b2: float, eps: float, decay_factor: float) -> Array:
    """Return Blocks's Adam: `beta_1_decayed` is in the average and in its correction."""
    updates, m, v = [], np.zeros_like(grads[0]), np.zeros_like(grads[0])
    for t, g in enumerate(grads, 1):
        b = b1 * decay_factor ** (t - 1)
        m, v = b * m + (1 - b) * g, b2 * v + (1 - b2) * g * g
        updates.append(-RATE * np.sqrt(warm(b2, t)) / warm(b, t) * m / (np.sqrt(v) + eps))
    return np.stack(updates)


def constant_adam(grads: Array, b1: float, b2: float, eps: float) -> Array:
    """Return ODL's Adam: `step = learning_rate * sqrt(1 - beta2) / (1 - beta1)` throughout."""
    step = RATE * np.sqrt(1 - b2) / (1 - b1)
    return np.stack([-step * m / (np.sqrt(v) + eps) for _, _, m, v in _moments(grads, b1, b2)])


def adadelta(grads: Array, rho: float, eps: float) -> Array:
    """Return Lasagne's and H2O's AdaDelta: `sqrt(e_x + eps) / sqrt(e_g + eps) g`.

    `e_x` is that of the steps before.
    """
    updates, e_g, e_x = [], np.zeros_like(grads[0]), np.zeros_like(grads[0])
    for g in grads:
        e_g = rho * e_g + (1 - rho) * g * g
        step = np.sqrt(e_x + eps) / np.sqrt(e_g + eps) * g
        e_x = rho * e_x + (1 - rho) * step * step
        updates.append(-RATE * step)
    return np.stack(updates)


def adamw_paddle(
    grads: Array, start: Array, b1: float, b2: float, eps: float, decay: float
) -> Array:
    """Return Paddle's AdamW: `p (1 - lr coeff)`, then Algorithm 1's step."""
    p, updates = start, []
    for t, _, m, v in _moments(grads, b1, b2):
        shrunk = p * (1 - RATE * decay)
        after = shrunk - RATE / warm(b1, t) * (m / (np.sqrt(v) / np.sqrt(warm(b2, t)) + eps))
        updates.append(after - p)
        p = after
    return np.stack(updates)


def adamw_chainer(
    grads: Array, start: Array, b1: float, b2: float, eps: float, decay: float, eta: float = 1.0
) -> Array:
    """Return Chainer's AdamW: `eta (alpha_t m / (sqrt(v) + eps) + weight_decay_rate p)`.

    `alpha_t = alpha sqrt(1 - b2^t) / (1 - b1^t)`; the rate of decay is not multiplied by alpha.
    """
    p, updates = start, []
    for t, _, m, v in _moments(grads, b1, b2):
        alpha = RATE * np.sqrt(warm(b2, t)) / warm(b1, t)
        updates.append(-eta * (alpha * m / (np.sqrt(v) + eps) + decay * p))
        p = p + updates[-1]
    return np.stack(updates)


def adamw_mxnet(
    grads: Array,
    start: Array,
    b1: float,
    b2: float,
    eps: float,
    decay: float,
    *,
    correct_bias: bool = True,
    fused: bool = True,
) -> Array:
    """Return MXNet's AdamW: `lr_t (m / (sqrt(v) + eps) + wd p)`.

    `lr_t = lr sqrt(1 - b2^t) / (1 - b1^t)`, so that wd too is multiplied by the correction; `lr_t`
    is lr without `correct_bias`. The form that is not fused decays the stepped parameter:
    `w -= lr_t d; w -= lr_t wd w`.
    """
    p, updates = start, []
    for t, _, m, v in _moments(grads, b1, b2):
        lr = RATE * (np.sqrt(warm(b2, t)) / warm(b1, t) if correct_bias else 1.0)
        step = -lr * m / (np.sqrt(v) + eps)
        updates.append(step - lr * decay * (p if fused else p + step))
        p = p + updates[-1]
    return np.stack(updates)
