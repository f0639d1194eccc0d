"""Compute later members of the family in float64 NumPy; conventions are `oracle_family`'s.

Written from the papers; where the authors' code differs from the paper, the class says so.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from tests.support.oracle import Adam, Array, Hyper, Leaf, Rule, _abs_sq, _double, _quotient
from tests.support.oracle_factored import Factored
from tests.support.oracle_family import _known, _rooted
from tests.support.oracle_other import _Wrapper, rms

Over = str | tuple[int | tuple[int, int], ...] | None


def block_means(x: Array, over: Over) -> Array:
    """Return x with each element replaced by the mean of its block, at x's shape.

    Args:
        x: The leaf.
        over: "all", or axes and pairs (axis, length of a block), or None: blocks of one element.
    """
    lengths = list(x.shape) if isinstance(over, str) else [1] * x.ndim
    if not isinstance(over, str):
        for entry in over or ():
            axis, length = entry if isinstance(entry, tuple) else (entry, x.shape[entry])
            lengths[axis] = length
    means = np.empty_like(x)
    for start in np.ndindex(*(n // b for n, b in zip(x.shape, lengths, strict=True))):
        block = tuple(slice(i * b, (i + 1) * b) for i, b in zip(start, lengths, strict=True))
        means[block] = np.mean(x[block])
    return means


@dataclass
class AdamMini(Rule):
    """Compute Adam-mini (Zhang et al. 2024, Algorithm 2): Adam with one nu for each block.

    mu as in Adam; nu <- b2·nu + (1 - b2)·mean(g²) over a block, here written at every element;
    direction = mu_hat / (√(nu / c_b2(t) + eps_root) + eps).
    """

    eps_root: Hyper = 0.0
    over: Over = "all"

    def _direction(self, g: Array) -> Array:
        b1, b2, eps, eps_root = self._now(self.b1, self.b2, self.eps, self.eps_root)
        nu = self._average("nu", block_means(_abs_sq(g), self.over), b2)
        nu_hat = nu / self._seen(self.b2)
        return _quotient(self._mu_hat(g, b1), _rooted(np.asarray(nu_hat), eps_root, eps))


@dataclass
class QHAdam(Leaf):
    """Compute QHAdam (Ma & Yarats 2019, equations 15 to 17).

    mu and nu as in Adam, corrected;
    direction = ((1 - v1)·g + v1·mu_hat) / (√((1 - v2)·g² + v2·nu_hat) + eps).
    The paper recommends v1 = 0.7, v2 = 1, b1 = 0.995, b2 = 0.999 (section 5).
    """

    b1: Hyper = 0.995
    b2: Hyper = 0.999
    v1: Hyper = 0.7
    v2: Hyper = 1.0
    eps: Hyper = 1e-8
    eps_root: Hyper = 0.0

    def _direction(self, g: Array) -> Array:
        b1, b2, v1, v2 = self._now(self.b1, self.b2, self.v1, self.v2)
        eps, eps_root = self._now(self.eps, self.eps_root)
        mu_hat = self._average("mu", g, b1) / self._seen(self.b1)
        nu_hat = self._average("nu", _abs_sq(g), b2) / self._seen(self.b2)
        above = np.asarray((1.0 - v1) * g + v1 * mu_hat)
        return _quotient(above, _rooted((1.0 - v2) * _abs_sq(g) + v2 * nu_hat, eps_root, eps))


@dataclass
class Grams(Adam):
    """Compute Grams (Cao et al. 2024, Algorithm 1): Adam's size with the gradient's sign.

    u = Adam's direction; direction = sign(g)·|u|; a complex sign is z / |z|.
    """

    eps: Hyper = 1e-6

    def _direction(self, g: Array) -> Array:
        size = np.abs(super()._direction(g))
        sign = _quotient(g, np.abs(g)) if np.iscomplexobj(g) else np.sign(g)
        return np.asarray(sign * size)


def _views(x: Array, channel_axis: int) -> list[tuple[int, ...]]:
    """Return the axes of a channel's vector, and those of the layer's."""
    rest = tuple(i for i in range(x.ndim) if i != channel_axis % x.ndim)
    return [rest, tuple(range(x.ndim))]


@dataclass
class AdamP(Rule):
    """Compute AdamP (Heo et al. 2021, Algorithm 2 and equation 12).

    u = Adam's direction, or with `nesterov` (b1·mu + (1 - b1)·g) / c_b1(t) for mu_hat, which is the
    authors' code's; for the views of a leaf of two axes or more as channels' vectors and as one
    vector, in this order: where |cos(g, p)| < delta / √n in every vector of n elements,
    u <- u - p·(p·u) / |p|², and weight decay is multiplied by `wd_ratio`; the first such view ends
    it. direction = u + weight_decay·wd_ratio·p, so that decay is inside; needs p.
    The paper tests each weight vector by itself; its authors' code all together, as here. The code
    adds eps to |p| in the denominator, and takes 1e-8 for the least norm in the cosine.
    """

    delta: Hyper = 0.1
    wd_ratio: Hyper = 0.1
    weight_decay: Hyper = 0.0
    channel_axis: int = -1

    def step(self, g: ArrayLike, p: ArrayLike | None = None) -> Array:
        """Take one gradient at parameters p and return the direction."""
        self.t += 1
        x, w = _double(g), _known(p)
        b1, b2, eps = self._now(self.b1, self.b2, self.eps)
        delta, ratio, decay = self._now(self.delta, self.wd_ratio, self.weight_decay)
        mu, nu = self._average("mu", x, b1), self._average("nu", _abs_sq(x), b2)
        top = b1 * mu + (1.0 - b1) * x if self.nesterov else mu
        root = np.sqrt(nu / self._seen(self.b2)) + eps
        u = _quotient(np.asarray(top / self._seen(self.b1)), np.asarray(root))
        for axes in _views(w, self.channel_axis) if w.ndim > 1 else []:
            dot = np.sum(x * w, axes, keepdims=True)
            norms = [np.sqrt(np.sum(y * y, axes, keepdims=True)) for y in (x, w)]
            cosine = np.abs(dot) / np.maximum(norms[0], eps) / np.maximum(norms[1], eps)
            length = math.prod(w.shape[i] for i in axes)
            if np.max(cosine) < delta / math.sqrt(length):
                unit = w / (norms[1] + eps)
                u = np.asarray(u - unit * np.sum(unit * u, axes, keepdims=True))
                decay *= ratio
                break
        return np.asarray(u + decay * w)


@dataclass
class Came(Factored):
    """Compute CAME (Luo et al. 2023, Algorithm 2).

    nu <- b2·nu + (1 - b2)·(g² + eps), factored; u = g / √nu; u <- u / max(1, RMS(u) / threshold);
    mu <- b1·mu + (1 - b1)·u; for leaves of two axes or more
    res <- b3·res + (1 - b3)·((u - mu)² + eps_res), factored, and direction = mu / √res; for others
    direction = mu, as in the authors' code (the paper speaks of matrices). Nothing is corrected.
    """

    FACTORED: ClassVar[tuple[str, ...]] = ("nu", "res")
    b1: Hyper = 0.9
    b2: Hyper = 0.999
    b3: Hyper = 0.9999
    eps: Hyper = 1e-30
    eps_res: Hyper = 1e-16
    clipping_threshold: float = 1.0

    def _direction(self, g: Array) -> Array:
        b1, b2, b3 = self._now(self.b1, self.b2, self.b3)
        eps, eps_res = self._now(self.eps, self.eps_res)
        u = _quotient(g, np.sqrt(self._average("nu", np.asarray(_abs_sq(g) + eps), b2)))
        u = np.asarray(u / max(1.0, rms(u) / self.clipping_threshold))
        mu = self._average("mu", u, b1)
        if g.ndim < 2:
            return mu.copy()
        res = self._average("res", np.asarray(_abs_sq(u - mu) + eps_res), b3)
        return _quotient(mu, np.sqrt(res))


@dataclass
class HistoryClipped(_Wrapper):
    """Compute a rule whose steps are clipped by their history, as AdaGC clips gradients.

    n_hat = n / c_beta(t - 1); from the step `warmup_steps` on, where n_hat > 0,
    d <- d·min(1, relative·n_hat / |d|); then n <- beta·n + (1 - beta)·|d| (Wang et al. 2025,
    Algorithm 1, where n is not corrected, and gradients are clipped by their global norm in the
    warm-up).
    """

    beta: float = 0.98
    relative: float = 1.05
    warmup_steps: int = 100
    step_norm: float = field(default=0.0, init=False)

    def _changed(self, direction: Array, g: Array) -> Array:
        length = float(np.linalg.norm(direction))
        if self.t >= self.warmup_steps and self.step_norm > 0.0:
            seen = -math.expm1((self.t - 1) * math.log(self.beta))
            scale = min(1.0, self.relative * self.step_norm / seen / length) if length else 1.0
            direction, length = np.asarray(direction * scale), length * scale
        self.step_norm = self.beta * self.step_norm + (1.0 - self.beta) * length
        return direction
