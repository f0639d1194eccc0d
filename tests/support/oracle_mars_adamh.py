"""Compute MARS, Hyperball, Adam-atan2 and AdEMAMix's warm-ups in float64 NumPy, from the papers.

Conventions are those of `oracle`: t counts from 1, c_b(t) = 1 - bᵗ, and 0/0 is 0.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from tests.support.oracle import Adam, Array, Hyper, Leaf, Rule, _abs_sq, _double, _quotient


def norm(x: ArrayLike) -> float:
    """Return the Euclidean norm of all elements."""
    return float(np.sqrt(np.sum(_abs_sq(_double(x)))))


def unit(x: Array) -> Array:
    """Return Normalize(x) = x / ‖x‖, and 0 for 0."""
    return np.asarray(x / norm(x) if norm(x) > 0.0 else x)


@dataclass
class Mars(Leaf):
    """Compute MARS-AdamW (Yuan et al. 2024, Algorithm 2) with MARS-approx's gradients.

    c = g_t + gamma·b1/(1 - b1)·(g_t - g_{t-1}); c <- c / ‖c‖ if ‖c‖ > 1 (`max_norm` for 1), over
    one parameter; mu <- b1·mu + (1 - b1)·c; nu <- b2·nu + (1 - b2)·c²;
    direction = (mu / c_b1(t)) / (√(nu / c_b2(t) + eps_root) + eps).
    The paper starts with x_1 = x_0, so that its first difference is 0. `zero_start` has g_0 = 0,
    which is what its authors' code has.
    """

    b1: Hyper = 0.95
    b2: Hyper = 0.99
    gamma: Hyper = 0.025
    max_norm: Hyper = 1.0
    eps: Hyper = 1e-8
    eps_root: Hyper = 0.0
    zero_start: bool = field(default=False, kw_only=True)

    def _corrected(self, g: Array) -> Array:
        b1, gamma, most = self._now(self.b1, self.gamma, self.max_norm)
        last = self.moments.get("g", np.zeros_like(g) if self.zero_start else g)
        self.moments["g"] = g.copy()
        c = g + gamma * b1 / (1.0 - b1) * (g - last)
        return np.asarray(c * most / norm(c) if norm(c) > most else c)

    def _direction(self, g: Array) -> Array:
        b1, b2, eps, eps_root = self._now(self.b1, self.b2, self.eps, self.eps_root)
        c = self._corrected(g)
        mu = self._average("mu", c, b1) / self._seen(self.b1)
        nu = self._average("nu", _abs_sq(c), b2) / self._seen(self.b2)
        return _quotient(np.asarray(mu), np.asarray(np.sqrt(nu + eps_root) + eps))


@dataclass
class MarsLion(Mars):
    """Compute MARS-Lion (Yuan et al. 2024, Algorithm 3): mu as MARS's, direction = sign(mu)."""

    def _direction(self, g: Array) -> Array:
        return np.sign(self._average("mu", self._corrected(g), self._now(self.b1)[0]))


@dataclass
class AdamH(Adam):
    """Compute Adam-Hyperball (Wen et al. 2026).

    R = ‖p_0‖; p <- R·N(p - lr·R·N(u)) with N(x) = x / ‖x‖ and u Adam's direction, to which
    weight_decay·p may be added, as HeavyBall does. `lr·direction` is the way to the new parameter.
    Where R is 0, the direction is u.

    Attributes:
        learning_rate: lr, to be the one that `optimise` gets; never 0.
    """

    b2: Hyper = 0.95
    weight_decay: Hyper = 0.0
    learning_rate: Hyper = 0.01

    def step(self, g: ArrayLike, p: ArrayLike | None = None) -> Array:
        """Take one gradient at parameters p and return the direction."""
        assert p is not None
        x = _double(p)
        u = super().step(g) + self._now(self.weight_decay)[0] * x
        radius = float(self.moments.setdefault("radius", np.asarray(norm(x))))
        (lr,) = self._now(self.learning_rate)
        if radius == 0.0:
            return u
        return np.asarray((x - radius * unit(x - lr * radius * unit(u))) / lr)


@dataclass
class AdamAtan2(Rule):
    """Compute Adam-atan2 (Everett et al. 2024): direction = a·atan2(mu_hat, b·√nu_hat)."""

    a: Hyper = 4.0 / math.pi
    b: Hyper = 1.0

    def _direction(self, g: Array) -> Array:
        b1, b2, a, b = self._now(self.b1, self.b2, self.a, self.b)
        mu, nu = self._mu_hat(g, b1), self._average("nu", _abs_sq(g), b2) / self._seen(self.b2)
        return np.asarray(a * np.arctan2(np.abs(mu), b * np.sqrt(nu)) * unit_phase(mu))


def unit_phase(x: Array) -> Array:
    """Return x / |x|, and 0 for 0."""
    return np.asarray(_quotient(x, np.abs(x)))


def ademamix_alpha(count: ArrayLike, alpha: float, steps: int, start: float = 0.0) -> Array:
    """Return AdEMAMix's alpha (Pagliardini et al. 2025) at t = count + 1, in long double."""
    share = np.minimum((np.asarray(count, np.longdouble) + 1) / steps, 1)
    return np.asarray((1 - share) * start + share * alpha)


def one_minus_b3(count: ArrayLike, b3: float, steps: int, start: float = 0.9) -> Array:
    """Return 1 minus AdEMAMix's b3 at t = count + 1, in long double.

    b3(t) = min(exp(log(start)·log(b3) / ((1 - t/T)·log(b3) + t/T·log(start))), b3).
    """
    share = np.minimum((np.asarray(count, np.longdouble) + 1) / steps, 1)
    first, last = np.log(np.longdouble(start)), np.log(np.longdouble(b3))
    return np.asarray(-np.expm1(first * last / ((1 - share) * last + share * first)))


def read(schedule: Callable[..., ArrayLike], count: int) -> float:
    """Return what a schedule says at a count."""
    return float(np.asarray(schedule(np.int32(count))))
