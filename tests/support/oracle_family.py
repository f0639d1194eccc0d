"""Compute the rest of the Adam family in float64 NumPy; its neighbours are in `oracle_other`.

Semantics, names and defaults are those of the optax alias where optax has the variant, and the
paper's otherwise. Where optax departs from the paper, the class says so. As in `oracle`,
t counts from 1, c_b(t) = 1 - bᵗ, g² is |g|² on complex leaves, and 0/0 is 0; decoupled weight
decay is `optimise`'s, except where a rule puts it inside (`Lamb`, `NovoGrad`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, localcontext

import numpy as np
from numpy.typing import ArrayLike

from tests.support.oracle import (
    Adam,
    Array,
    Hyper,
    Leaf,
    Rule,
    _abs_sq,
    _double,
    _quotient,
)


def fourth_root(count: float) -> float:
    """Return count^¼, ADOPT's bound on a normalised gradient."""
    return math.sqrt(math.sqrt(count))


def sma_length(b2: float, t: float) -> tuple[float, float]:
    """Return RAdam's ρ_∞ = 2/(1 - b2) - 1 and ρ_t = ρ_∞ - 2t·b2ᵗ/(1 - b2ᵗ).

    ρ_t is a small difference of large numbers, so 60 digits are carried.
    """
    with localcontext(prec=60):
        b, steps = Decimal(b2), Decimal(t)
        power = b**steps
        infinite = 2 / (1 - b) - 1
        return float(infinite), float(infinite - 2 * steps * power / (1 - power))


def _known(p: ArrayLike | None) -> Array:
    if p is None:
        raise ValueError("this rule reads the parameters")
    return _double(p)


def _rooted(nu: Array, eps_root: float, eps: float) -> Array:
    return np.asarray(np.sqrt(nu + eps_root) + eps)


@dataclass
class AdamHat(Rule):
    """Compute Adam with epsilon-hat (Kingma & Ba 2015, end of section 2), TensorFlow's form.

    mu, nu as in Adam; alpha_t = √c_b2(t) / c_b1(t); direction = alpha_t·mu / (√nu + eps), which
    is Adam with eps / √c_b2(t) for eps. With `nesterov`, Adam's look-ahead replaces mu / c_b1(t).
    """

    def _direction(self, g: Array) -> Array:
        b1, b2, eps = self._now(self.b1, self.b2, self.eps)
        nu = self._average("nu", _abs_sq(g), b2)
        root = np.sqrt(self._seen(self.b2))
        return _quotient(np.asarray(root * self._mu_hat(g, b1)), _rooted(nu, 0.0, eps))


@dataclass
class AdaBelief(Rule):
    """Compute AdaBelief (Zhuang et al. 2020, Algorithm 2).

    mu <- b1·mu + (1 - b1)·g; nu <- b2·nu + (1 - b2)·(g - mu)² + eps_root, with the new mu and the
    constant kept in the stored moment; direction = mu_hat / (√(nu / c_b2(t)) + eps).
    The paper has one ε, 1e-8, for both constants; optax has 1e-16.
    """

    eps: Hyper = 1e-16
    eps_root: Hyper = 1e-16

    def _direction(self, g: Array) -> Array:
        b1, b2, eps, eps_root = self._now(self.b1, self.b2, self.eps, self.eps_root)
        mu_hat = self._mu_hat(g, b1)
        nu = self._average("nu", _abs_sq(g - self.moments["mu"]), b2) + eps_root
        self.moments["nu"] = np.asarray(nu)
        return _quotient(mu_hat, _rooted(nu / self._seen(self.b2), 0.0, eps))


@dataclass
class Acprop(Leaf):
    """Compute ACProp (Zhuang et al. 2021): AdaBelief whose denominator is one step old.

    direction = g / (√(nu / c_b2(t - 1)) + eps) with the nu of the step before, and with 1 under
    the root at t = 1; then mu <- b1·mu + (1 - b1)·g and nu <- b2·nu + (1 - b2)·(g - m)² + eps_root.
    The paper, its authors' code and optax's documentation take the new mu for m; optax's code
    takes the old one, which is the default here. `as_paper` takes the new one.
    """

    b1: Hyper = 0.9
    b2: Hyper = 0.999
    eps: Hyper = 1e-16
    eps_root: Hyper = 1e-16
    as_paper: bool = field(default=False, kw_only=True)

    def _direction(self, g: Array) -> Array:
        b1, b2, eps, eps_root = self._now(self.b1, self.b2, self.eps, self.eps_root)
        mu, nu_hat = self.moments.get("mu", np.zeros_like(g)), np.ones(g.shape)
        if self.t > 1:
            nu_hat = np.asarray(self.moments["nu"] / self._seen(self.b2, -1))
        new_mu = self._average("mu", g, b1)
        error = g - (new_mu if self.as_paper else mu)
        self.moments["nu"] = np.asarray(self._average("nu", _abs_sq(error), b2) + eps_root)
        return _quotient(g, _rooted(nu_hat, 0.0, eps))


@dataclass
class Yogi(Leaf):
    """Compute Yogi (Zaheer et al. 2018, Algorithm 2).

    mu <- b1·mu + (1 - b1)·g; nu <- nu - (1 - b2)·sign(nu - g²)·g²;
    direction = (mu / c_b1(t)) / (√(nu / c_b2(t) + eps_root) + eps).
    The paper has no corrections, mu from 0 and nu from the squares of a first mini-batch; optax
    starts both moments at `initial_accumulator_value` and corrects both, initial values and all.
    """

    b1: Hyper = 0.9
    b2: Hyper = 0.999
    eps: Hyper = 1e-3
    eps_root: Hyper = 0.0
    initial_accumulator_value: float = 1e-6

    def _direction(self, g: Array) -> Array:
        b1, b2, eps, eps_root = self._now(self.b1, self.b2, self.eps, self.eps_root)
        start, square = self.initial_accumulator_value, _abs_sq(g)
        mu_hat = self._average("mu", g, b1, start) / self._seen(self.b1)
        nu = self.moments.get("nu", np.full(g.shape, start))
        self.moments["nu"] = np.asarray(nu - (1.0 - b2) * np.sign(nu - square) * square)
        nu_hat = self.moments["nu"] / self._seen(self.b2)
        return _quotient(mu_hat, _rooted(nu_hat, eps_root, eps))


@dataclass
class RAdam(Rule):
    """Compute Rectified Adam (Liu et al. 2020, Algorithm 2).

    direction = r_t·mu_hat / (√(nu / c_b2(t) + eps_root) + eps) where ρ_t >= threshold, else mu_hat,
    r_t = √((ρ_t - 4)(ρ_t - 2)ρ_∞ / ((ρ_∞ - 4)(ρ_∞ - 2)ρ_t)), see `sma_length`.
    The paper rectifies where ρ_t > 4 and has no eps; its authors' code has 5, >= and eps.
    """

    eps_root: Hyper = 0.0
    threshold: Hyper = 5.0

    def _direction(self, g: Array) -> Array:
        b1, b2, eps, eps_root = self._now(self.b1, self.b2, self.eps, self.eps_root)
        mu_hat, nu = self._mu_hat(g, b1), self._average("nu", _abs_sq(g), b2)
        limit, rho = sma_length(b2, self._age(self.b2))
        if rho < self._now(self.threshold)[0]:
            return mu_hat
        r = np.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
        nu_hat = nu / self._seen(self.b2)
        return _quotient(np.asarray(r * mu_hat), _rooted(nu_hat, eps_root, eps))


@dataclass
class Adan(Leaf):
    """Compute Adan (Xie et al. 2022, Algorithm 1), whose β are 1 - b here.

    d = g - g_before, 0 at t = 1; mu <- b1·mu + (1 - b1)·g; delta <- b2·delta + (1 - b2)·d;
    nu <- b3·nu + (1 - b3)·(g + k·d)²; all three corrected by their c_b(t);
    direction = (mu_hat + k·delta_hat) / (√(nu_hat + eps_root) + eps).
    The paper's k = 1 - β2 is b2, as in its authors' code; optax has k = 1 - b2, which is the
    default here. `as_paper` takes b2. The paper's weight decay is proximal, optax's AdamW's.
    """

    b1: Hyper = 0.98
    b2: Hyper = 0.92
    b3: Hyper = 0.99
    eps: Hyper = 1e-8
    eps_root: Hyper = 1e-8
    as_paper: bool = field(default=False, kw_only=True)

    def _direction(self, g: Array) -> Array:
        b1, b2, b3 = self._now(self.b1, self.b2, self.b3)
        eps, eps_root = self._now(self.eps, self.eps_root)
        k = b2 if self.as_paper else 1.0 - b2
        d = g - self.moments.get("g", g)
        self.moments["g"] = g.copy()
        mu_hat = self._average("mu", g, b1) / self._seen(self.b1)
        delta_hat = self._average("delta", d, b2) / self._seen(self.b2)
        nu_hat = self._average("nu", _abs_sq(g + k * d), b3) / self._seen(self.b3)
        return _quotient(np.asarray(mu_hat + k * delta_hat), _rooted(nu_hat, eps_root, eps))


@dataclass
class Lamb(Adam):
    """Compute LAMB (You et al. 2020, Algorithm 2, φ the identity).

    u = Adam's direction + weight_decay·p; direction = u·‖p‖ / ‖u‖, norms over the leaf, the ratio
    1 where either norm is 0. Needs p.
    """

    eps: Hyper = 1e-6
    weight_decay: Hyper = 0.0

    def step(self, g: ArrayLike, p: ArrayLike | None = None) -> Array:
        """Take one gradient at parameters p and return the direction."""
        x = _known(p)
        u = super().step(g) + self._now(self.weight_decay)[0] * x
        above, below = float(np.linalg.norm(x)), float(np.linalg.norm(u))
        return np.asarray(u * (above / below if above > 0.0 and below > 0.0 else 1.0))


@dataclass
class NovoGrad(Leaf):
    """Compute NovoGrad (Ginsburg et al. 2019, Algorithm 1), one nu for the leaf.

    nu = ‖g‖² at t = 1, then nu <- b2·nu + (1 - b2)·‖g‖²;
    mu <- b1·mu + g / (√(nu + eps_root) + eps) + weight_decay·p, from 0; direction = mu.
    The paper's defaults are b1 = 0.95, b2 = 0.98. Needs p where weight_decay is not 0.
    """

    b1: Hyper = 0.9
    b2: Hyper = 0.25
    eps: Hyper = 1e-6
    eps_root: Hyper = 0.0
    weight_decay: Hyper = 0.0

    def step(self, g: ArrayLike, p: ArrayLike | None = None) -> Array:
        """Take one gradient at parameters p and return the direction."""
        self.t += 1
        x = _double(g)
        b1, b2, eps, eps_root = self._now(self.b1, self.b2, self.eps, self.eps_root)
        nu = self._average("nu", np.asarray(np.sum(_abs_sq(x))), b2 if self.t > 1 else 0.0)
        term = _quotient(x, _rooted(nu, eps_root, eps))
        (decay,) = self._now(self.weight_decay)
        if decay != 0.0:
            term = term + decay * _known(p)
        self.moments["mu"] = np.asarray(b1 * self.moments.get("mu", 0.0) + term)
        return self.moments["mu"].copy()


@dataclass
class Lion(Leaf):
    """Compute Lion (Chen et al. 2023, Algorithm 2); a complex sign is z / |z|.

    direction = sign(b1·mu + (1 - b1)·g); then mu <- b2·mu + (1 - b2)·g.
    """

    b1: Hyper = 0.9
    b2: Hyper = 0.99

    def _direction(self, g: Array) -> Array:
        b1, b2 = self._now(self.b1, self.b2)
        mixed = np.asarray(b1 * self.moments.get("mu", 0.0) + (1.0 - b1) * g)
        self._average("mu", g, b2)
        return _quotient(mixed, np.abs(mixed)) if np.iscomplexobj(g) else np.sign(mixed)


@dataclass
class Adopt(Rule):
    """Compute ADOPT (Taniguchi et al. 2024, Algorithm 2), real leaves only where clipped.

    t = 1 only sets nu = g², mu = 0, and moves nothing. Afterwards, with count = t - 1,
    x = clip(g / max(√nu, eps), ±clip_value_fn(count)) with the nu of the step before;
    mu <- b1·mu + (1 - b1)·x; nu <- b2·nu + (1 - b2)·g²; direction = mu, or with `nesterov`
    b1·mu + (1 - b1)·x, which the paper does not have.
    """

    b2: Hyper = 0.9999
    eps: Hyper = 1e-6
    use_clipping: bool = field(default=True, kw_only=True)
    clip_value_fn: Callable[[int], float] = field(default=fourth_root, kw_only=True)

    def _direction(self, g: Array) -> Array:
        b1, b2, eps = self._now(self.b1, self.b2, self.eps)
        if self.t == 1:
            self.moments.update(mu=np.zeros_like(g), nu=_abs_sq(g))
            return np.zeros_like(g)
        x = _quotient(g, np.maximum(np.sqrt(self.moments["nu"]), eps))
        if self.use_clipping:
            if np.iscomplexobj(x):
                raise TypeError("complex numbers are not ordered, so they cannot be clipped")
            bound = self.clip_value_fn(self.t - 1)
            x = np.clip(x, -bound, bound)
        self._average("nu", _abs_sq(g), b2)
        mu = self._average("mu", x, b1)
        return np.asarray(b1 * mu + (1.0 - b1) * x) if self.nesterov else mu.copy()


@dataclass
class AdEMAMix(Leaf):
    """Compute AdEMAMix (Pagliardini et al. 2024, Algorithm 1).

    mu <- b1·mu + (1 - b1)·g; mu_slow <- b3·mu_slow + (1 - b3)·g, uncorrected; nu as in Adam;
    direction = (mu / c_b1(t) + alpha·mu_slow) / (√(nu / c_b2(t) + eps_root) + eps).
    The paper reads its schedules of alpha and b3 at t, optax at t - 1, as here.
    """

    b1: Hyper = 0.9
    b2: Hyper = 0.999
    b3: Hyper = 0.9999
    alpha: Hyper = 5.0
    eps: Hyper = 1e-8
    eps_root: Hyper = 0.0

    def _direction(self, g: Array) -> Array:
        b1, b2, b3, alpha = self._now(self.b1, self.b2, self.b3, self.alpha)
        eps, eps_root = self._now(self.eps, self.eps_root)
        mu_hat = self._average("mu", g, b1) / self._seen(self.b1)
        mixed = np.asarray(mu_hat + alpha * self._average("mu_slow", g, b3))
        nu_hat = self._average("nu", _abs_sq(g), b2) / self._seen(self.b2)
        return _quotient(mixed, _rooted(nu_hat, eps_root, eps))


@dataclass
class SimplifiedAdEMAMix(Leaf):
    """Compute Simplified AdEMAMix (Morwani et al. 2025).

    mu <- b1·mu + g, a sum and uncorrected; nu as in Adam;
    direction = (mu + alpha·g) / (√(nu / c_b2(t) + eps_root) + eps).
    optax squares a complex gradient itself, not its modulus as here.
    """

    b1: Hyper = 0.99
    b2: Hyper = 0.95
    alpha: Hyper = 0.0
    eps: Hyper = 1e-8
    eps_root: Hyper = 0.0

    def _direction(self, g: Array) -> Array:
        b1, b2, alpha = self._now(self.b1, self.b2, self.alpha)
        eps, eps_root = self._now(self.eps, self.eps_root)
        self.moments["mu"] = np.asarray(b1 * self.moments.get("mu", 0.0) + g)
        nu_hat = self._average("nu", _abs_sq(g), b2) / self._seen(self.b2)
        mixed = np.asarray(self.moments["mu"] + alpha * g)
        return _quotient(mixed, _rooted(nu_hat, eps_root, eps))


@dataclass
class LaProp(Leaf):
    """Compute LaProp (Ziyin, Wang & Ueda 2020, Algorithm 1): normalise first, then average.

    nu <- b2·nu + (1 - b2)·g²; mu <- b1·mu + (1 - b1)·g / (√(nu / c_b2(t)) + eps);
    direction = mu / c_b1(t). The authors' code averages lr·g/(…), the same at a constant rate.
    """

    b1: Hyper = 0.9
    b2: Hyper = 0.999
    eps: Hyper = 1e-15

    def _direction(self, g: Array) -> Array:
        b1, b2, eps = self._now(self.b1, self.b2, self.eps)
        nu_hat = self._average("nu", _abs_sq(g), b2) / self._seen(self.b2)
        mu = self._average("mu", _quotient(g, _rooted(nu_hat, 0.0, eps)), b1)
        return np.asarray(mu / self._seen(self.b1))
