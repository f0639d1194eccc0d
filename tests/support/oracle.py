"""Compute Adam and its variants in float64 NumPy, the numbers that every test holds Adam to.

The formulas are written down from the papers, with optax's placing of the constants:

* Kingma & Ba 2015, "Adam: a method for stochastic optimization", Algorithms 1 and 2 (AdaMax);
* Loshchilov & Hutter 2019, "Decoupled weight decay regularization" (AdamW);
* Dozat 2016, "Incorporating Nesterov momentum into Adam" (NAdam);
* Reddi, Kale & Kumar 2018, "On the convergence of Adam and beyond" (AMSGrad).

One rule object follows one leaf. Real leaves are computed in float64 and complex ones in
complex128 with |g|² for g². In the formulas t counts from 1, while a schedule is read at the
count before the step, so from 0. Where a decay rate follows a schedule, c(t) = 1 - bᵗ stands for
1 - b_1·b_2·...·b_t, the weight that the average has seen.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.inexact]
Hyper = float | Callable[[int], ArrayLike]


def decay_power_complement(b: float, t: ArrayLike) -> NDArray[np.float64]:
    """Return 1 - bᵗ = -expm1(t·log b), for 0 <= b < 1 and t >= 1, without cancellation."""
    steps = np.asarray(t, np.float64)
    if b == 0.0:
        return np.ones_like(steps)
    return np.asarray(-np.expm1(steps * math.log(b)))


def relative_rms(actual: ArrayLike, expected: ArrayLike) -> float:
    """Return RMS(actual - expected) / RMS(expected); 0 for equal arrays, even of zeros."""
    x, y = _double(actual), _double(expected)
    if x.shape != y.shape:  # broadcasting would hide a wrong shape
        raise ValueError(f"shapes differ: {x.shape} and {y.shape}")
    error, size = float(np.linalg.norm(x - y)), float(np.linalg.norm(y))
    if size == 0.0:
        return math.inf if error > 0.0 else error
    return error / size


def _double(x: ArrayLike) -> Array:
    return np.asarray(x, np.complex128 if np.iscomplexobj(x) else np.float64)


def _at(count: int, value: Hyper) -> float:
    return float(np.asarray(value(count) if callable(value) else value))


def _log(b: float) -> float:
    return math.log(b) if b > 0 else -1e3


def _abs_sq(x: Array) -> Array:
    return np.asarray(x.real**2 + x.imag**2)


def _quotient(numerator: Array, denominator: Array) -> Array:
    """Return numerator / denominator, and 0 where the denominator is 0: no slope, no step."""
    zeros = np.zeros_like(numerator)
    return np.divide(numerator, denominator, out=zeros, where=denominator != 0.0)


@dataclass
class Leaf:
    """Hold what every rule keeps of its one leaf: the step count and the moments by name."""

    t: int = field(default=0, init=False)
    moments: dict[str, Array] = field(default_factory=dict, init=False)
    logs: dict[int, list[float]] = field(default_factory=dict, init=False)

    def step(self, g: ArrayLike, p: ArrayLike | None = None) -> Array:
        """Take one gradient and return the direction, neither negated nor scaled.

        Args:
            g: The gradient.
            p: The parameters, for the rules that read them: none here.
        """
        self.t += 1
        return self._direction(_double(g))

    def _direction(self, g: Array) -> Array:
        raise NotImplementedError

    def _now(self, *values: Hyper) -> list[float]:
        return [_at(self.t - 1, value) for value in values]

    def _seen(self, b: Hyper, further: int = 0) -> float:
        """Return c(t + further), the share of its weights that an average with this rate has seen.

        Steps beyond t are taken at the present rate.
        """
        if not callable(b):
            return float(decay_power_complement(float(np.asarray(b)), self.t + further))
        return -math.expm1(self._log_product(b, further))

    def _age(self, b: Hyper) -> float:
        """Return the steps at the present rate after which as little of the start would be left."""
        return self._log_product(b) / _log(_at(self.t - 1, b)) if callable(b) else float(self.t)

    def _log_product(self, b: Callable[[int], ArrayLike], further: int = 0) -> float:
        known = self.logs.setdefault(id(b), [])
        known.extend(_log(_at(i, b)) for i in range(len(known), self.t))
        return math.fsum(known[: self.t + further]) + max(further, 0) * known[-1]

    def _average(self, name: str, x: Array, b: float, start: float = 0.0) -> Array:
        """Update and return a moment: m <- b·m + (1 - b)·x, from `start`."""
        self.moments[name] = np.asarray(b * self.moments.get(name, start) + (1.0 - b) * x)
        return self.moments[name]


@dataclass
class Rule(Leaf):
    """Hold what Adam's own variants share: decay rates and Nesterov's look-ahead."""

    b1: Hyper = 0.9
    b2: Hyper = 0.999
    eps: Hyper = 1e-8
    nesterov: bool = field(default=False, kw_only=True)

    def _mu_hat(self, g: Array, b1: float, correct: bool = True) -> Array:
        """Update mu and return its estimate, with c(t) = 1 - b1ᵗ, or c = 1 uncorrected.

        Plain: mu / c(t). Nesterov: b1·mu / c(t+1) + (1 - b1)·g / c(t), where Dozat's factor b2
        on the second moment is left out, as it is by optax.
        """
        mu = self._average("mu", g, b1)
        now, ahead = (self._seen(self.b1, n) if correct else 1.0 for n in (0, 1))
        if self.nesterov:
            return np.asarray(b1 * mu / ahead + (1.0 - b1) * g / now)
        return np.asarray(mu / now)


@dataclass
class Adam(Rule):
    """Compute Adam and, with `nesterov`, NAdam.

    mu <- b1·mu + (1 - b1)·g; nu <- b2·nu + (1 - b2)·g²;
    direction = mu_hat / (√(nu / (1 - b2ᵗ) + eps_root) + eps).
    """

    eps_root: Hyper = 0.0

    def _direction(self, g: Array) -> Array:
        b1, b2, eps, eps_root = self._now(self.b1, self.b2, self.eps, self.eps_root)
        nu_hat = self._average("nu", _abs_sq(g), b2) / self._seen(self.b2)
        return _quotient(self._mu_hat(g, b1), np.asarray(np.sqrt(nu_hat + eps_root) + eps))


@dataclass
class AmsGrad(Rule):
    """Compute AMSGrad: Adam whose second moment never falls.

    optax:   nu_max <- max(nu_max, nu / (1 - b2ᵗ)), nu_hat = nu_max;
    raw_max: nu_max <- max(nu_max, nu), nu_hat = nu_max / (1 - b2ᵗ), the form of PyTorch;
    direction = mu_hat / (√(nu_hat + eps_root) + eps).
    """

    eps_root: Hyper = 0.0
    bias_correction_mu: bool = True
    bias_correction_nu: bool = True
    raw_max: bool = False

    def _direction(self, g: Array) -> Array:
        b1, b2, eps, eps_root = self._now(self.b1, self.b2, self.eps, self.eps_root)
        mu_hat = self._mu_hat(g, b1, self.bias_correction_mu)
        nu_hat = self._nu_hat(self._average("nu", _abs_sq(g), b2), b2)
        return _quotient(mu_hat, np.asarray(np.sqrt(nu_hat + eps_root) + eps))

    def _nu_hat(self, nu: Array, b2: float) -> Array:
        c = self._seen(self.b2) if self.bias_correction_nu else 1.0
        before, after = (1.0, c) if self.raw_max else (c, 1.0)
        nu_max = np.maximum(self.moments.get("nu_max", 0.0), nu / before)
        self.moments["nu_max"] = np.asarray(nu_max)
        return np.asarray(nu_max / after)


@dataclass
class AdaMax(Rule):
    """Compute AdaMax, Adam on the infinity norm.

    nu <- max(b2·nu, |g| + eps), which needs no correction; direction = mu_hat / nu.
    """

    def _direction(self, g: Array) -> Array:
        b1, b2, eps = self._now(self.b1, self.b2, self.eps)
        nu = np.maximum(b2 * self.moments.get("nu", np.zeros(())), np.abs(g) + eps)
        self.moments["nu"] = np.asarray(nu)
        return _quotient(self._mu_hat(g, b1), self.moments["nu"])


def optimise(
    rule: Leaf,
    grads: Iterable[ArrayLike],
    params: ArrayLike,
    learning_rate: Hyper,
    weight_decay: Hyper = 0.0,
    mask: bool = True,
) -> dict[str, Array]:
    """Run a rule with decoupled weight decay over one leaf.

    u_t = -lr_t·(direction + wd_t·p_{t-1}), the decay only where `mask`; p_t = p_{t-1} + u_t.

    Args:
        rule: The rule, which keeps its count and moments.
        grads: Gradients, steps on the leading axis.
        params: The parameters p_0.
        learning_rate: lr, a number or a schedule.
        weight_decay: wd, a number or a schedule.
        mask: Whether this leaf decays.

    Returns:
        "updates" and "params", stacked over steps, and the final moments by name.
    """
    p, updates, trajectory = _double(params), [], []
    for g in grads:
        lr, wd = _at(rule.t, learning_rate), _at(rule.t, weight_decay) if mask else 0.0
        u = -lr * (rule.step(g, p) + wd * p)
        p = np.asarray(p + u)
        updates.append(u)
        trajectory.append(p)
    return {"updates": np.stack(updates), "params": np.stack(trajectory), **rule.moments}
