"""Compute Adam's neighbours in float64 NumPy: bounded and cautious steps, and older optimisers.

Conventions are those of `tests.support.oracle_family`; the moments bear optax's field names where
optax has the rule. Averages and norms run over the whole leaf. Adafactor is in
`tests.support.oracle_factored`.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from tests.support.oracle import (
    Array,
    Hyper,
    Leaf,
    Rule,
    _abs_sq,
    _double,
    _quotient,
)


def rms(x: ArrayLike) -> float:
    """Return √mean(|x|²), 0 for an empty leaf."""
    square = _abs_sq(_double(x))
    return math.sqrt(float(np.mean(square))) if square.size else 0.0


def stable_scale(g: ArrayLike, nu: ArrayLike, eps: float) -> float:
    """Return StableAdamW's factor on the learning rate, 1 / max(1, RMS_t).

    RMS_t = √mean(g² / max(nu, eps²)) (Wortsman et al. 2023, Algorithm 2).

    Args:
        g: The gradient.
        nu: The corrected second moment, g² already in it.
        eps: The constant that is added to √nu in the step.
    """
    floor = np.asarray(np.maximum(_double(nu), eps**2))
    return 1.0 / max(1.0, rms(np.sqrt(_quotient(_abs_sq(_double(g)), floor))))


@dataclass
class StableAdamW(Rule):
    """Compute StableAdamW (Wortsman et al. 2023, Algorithm 2): AdamW with update clipping.

    mu, nu as in Adam; nu_hat = nu / c_b2(t);
    direction = stable_scale(g, nu_hat, eps)·(mu_hat / (√nu_hat + eps) + weight_decay·p).
    The paper stores the corrected moments, by the decay rates b·c_b(t - 1) / c_b(t); stored here
    are Adam's. Decay is inside since the paper scales it too. Needs p where it is not 0.
    """

    b2: Hyper = 0.99
    eps: Hyper = 1e-6
    weight_decay: Hyper = 0.0

    def step(self, g: ArrayLike, p: ArrayLike | None = None) -> Array:
        """Take one gradient at parameters p and return the direction."""
        self.t += 1
        x = _double(g)
        b1, b2, eps, decay = self._now(self.b1, self.b2, self.eps, self.weight_decay)
        mu_hat = self._mu_hat(x, b1)
        nu_hat = self._average("nu", _abs_sq(x), b2) / self._seen(self.b2)
        u = _quotient(mu_hat, np.asarray(np.sqrt(nu_hat) + eps))
        if decay != 0.0:
            if p is None:
                raise ValueError("weight decay reads the parameters")
            u = np.asarray(u + decay * _double(p))
        return np.asarray(stable_scale(x, nu_hat, eps) * u)


@dataclass
class AdaBound(Leaf):
    """Compute AdaBound (Luo et al. 2019, Algorithm 2).

    The corrections and eps are those of the authors' code:
    mu, nu as in Adam; rate = lr·√c_b2(t) / c_b1(t) / (√nu + eps), clipped between
    final·(1 - 1 / (gamma·t + 1)) and final·(1 + 1 / (gamma·t)); lr·direction = rate·mu.
    final = final_lr, the paper's, without `base_lr`; final_lr·lr / base_lr, as in the authors'
    code, with it: the same while lr is base_lr. The paper's theory has a further 1/√t on the rate.

    Attributes:
        learning_rate: lr, to be the one that `optimise` gets; not 0 without `base_lr`.
        base_lr: The initial learning rate, to which final_lr belongs.
    """

    b1: Hyper = 0.9
    b2: Hyper = 0.999
    eps: Hyper = 1e-8
    final_lr: Hyper = 0.1
    gamma: Hyper = 1e-3
    learning_rate: Hyper = 1e-3
    base_lr: float | None = None

    def _direction(self, g: Array) -> Array:
        b1, b2, eps = self._now(self.b1, self.b2, self.eps)
        final_lr, gamma, lr = self._now(self.final_lr, self.gamma, self.learning_rate)
        mu, nu = self._average("mu", g, b1), self._average("nu", _abs_sq(g), b2)
        top = np.sqrt(self._seen(self.b2)) / self._seen(self.b1)
        denominator = np.asarray(np.sqrt(self._bounding(nu)) + eps)
        rate = _quotient(np.full(g.shape, float(top)), denominator)
        final = final_lr / (lr if self.base_lr is None else self.base_lr)
        low, high = 1.0 - 1.0 / (gamma * self.t + 1.0), 1.0 + 1.0 / (gamma * self.t)
        return np.asarray(np.clip(rate, final * low, final * high) * mu)

    def _bounding(self, nu: Array) -> Array:
        return nu


@dataclass
class AMSBound(AdaBound):
    """Compute AMSBound (Luo et al. 2019, Algorithm 3): AdaBound over nu_max <- max(nu_max, nu)."""

    def _bounding(self, nu: Array) -> Array:
        self.moments["nu_max"] = np.asarray(np.maximum(self.moments.get("nu_max", 0.0), nu))
        return self.moments["nu_max"]


@dataclass
class _Tracing(Leaf):
    def _trace(self, x: Array, decay: float, nesterov: bool) -> Array:
        """Update trace <- x + decay·trace, from 0; return it or x + decay·trace once more."""
        trace = np.asarray(x + decay * self.moments.get("trace", 0.0))
        self.moments["trace"] = trace
        return np.asarray(x + decay * trace) if nesterov else trace.copy()


@dataclass
class Momentum(_Tracing):
    """Compute momentum (Polyak 1964), undamped, or Nesterov's as in Sutskever et al. 2013.

    trace <- g + momentum·trace; direction = trace, or g + momentum·trace with `nesterov`.
    optax.sgd's own default is no momentum at all.
    """

    momentum: Hyper = 0.9
    nesterov: bool = False

    def _direction(self, g: Array) -> Array:
        return self._trace(g, self._now(self.momentum)[0], self.nesterov)


@dataclass
class AdaGrad(Leaf):
    """Compute AdaGrad (Duchi, Hazan & Singer 2011, Figure 1, diagonal).

    sum_of_squares <- sum_of_squares + g², from `initial_accumulator_value`;
    direction = g / √(sum_of_squares + eps).
    The paper starts from 0 and adds its δ outside the root.
    """

    initial_accumulator_value: float = 0.1
    eps: Hyper = 1e-7

    def _direction(self, g: Array) -> Array:
        before = self.moments.get("sum_of_squares", self.initial_accumulator_value)
        total = np.asarray(before + _abs_sq(g))
        self.moments["sum_of_squares"] = total
        return _quotient(g, np.sqrt(total + self._now(self.eps)[0]))


@dataclass
class RMSProp(_Tracing):
    """Compute RMSProp (Tieleman & Hinton 2012, lecture 6.5), centred as in Graves 2013.

    nu <- decay·nu + (1 - decay)·g², from `initial_scale`; centred, mu <- decay·mu + (1 - decay)·g
    and v = nu - mu², else v = nu; `bias_correction` divides nu and mu by c_decay(t) first;
    x = g / √(v + eps), or g / (√v + eps) without `eps_in_sqrt`; direction = x.
    With `momentum`, optax traces behind the learning rate: trace <- lr·x + momentum·trace, and
    lr·direction = trace, or lr·x + momentum·trace with `nesterov`.
    Centred, v is summed from terms that are not negative. optax subtracts: corrected, where v = 0
    at t = 1, it rounds to either side, and without `eps_in_sqrt` that can make nan.

    Attributes:
        learning_rate: lr, to be the one that `optimise` gets, if that is a schedule; never 0.
    """

    decay: Hyper = 0.9
    eps: Hyper = 1e-8
    initial_scale: float = 0.0
    eps_in_sqrt: bool = True
    centered: bool = False
    momentum: Hyper | None = None
    nesterov: bool = False
    bias_correction: bool = False
    learning_rate: Hyper = 1.0
    _weight: float = field(default=0.0, init=False, repr=False)
    _mean: Array = field(default_factory=lambda: np.zeros(()), init=False, repr=False)
    _left: float = field(default=0.0, init=False, repr=False)
    _scatter: Array = field(default_factory=lambda: np.zeros(()), init=False, repr=False)

    def _direction(self, g: Array) -> Array:
        decay, eps, lr = self._now(self.decay, self.eps, self.learning_rate)
        c = float(self._seen(self.decay)) if self.bias_correction else 1.0
        v = np.asarray(self._average("nu", _abs_sq(g), decay, self.initial_scale) / c)
        if self.centered:
            self._average("mu", g, decay)
            v = self._variance(g, decay, c)
        root = np.sqrt(v + eps) if self.eps_in_sqrt else np.sqrt(v) + eps
        x = _quotient(g, np.asarray(root))
        if self.momentum is None:
            return x
        (momentum,) = self._now(self.momentum)
        return np.asarray(self._trace(np.asarray(lr * x), momentum, self.nesterov) / lr)

    def _variance(self, g: Array, decay: float, c: float) -> Array:
        """Return nu / c - |mu / c|² by the weighted updates of West 1979.

        With the weights' sum w, their mean m = mu / w and the scatter s around it,
        nu = s + w·m² + (the initial value, decayed).
        """
        old = decay * self._weight
        self._weight = old + (1.0 - decay)
        gain, away = (1.0 - decay) / self._weight, g - self._mean
        self._scatter = np.asarray(decay * self._scatter + old * gain * _abs_sq(away))
        self._mean = np.asarray(self._mean + gain * away)
        self._left = decay * (self.initial_scale if self.t == 1 else self._left)
        share = 1.0 if self.bias_correction and not callable(self.decay) else self._weight / c
        v = (self._scatter + self._left) / c + share * (1.0 - share) * _abs_sq(self._mean)
        return np.maximum(v, 0.0)  # below 0 only under a schedule of decay


@dataclass
class AdaDelta(Leaf):
    """Compute AdaDelta (Zeiler 2012, Algorithm 1).

    e_g <- rho·e_g + (1 - rho)·g²; direction = g·√(e_x + eps) / √(e_g + eps);
    then e_x <- rho·e_x + (1 - rho)·direction², the learning rate left out.
    optax squares complex numbers themselves, not their moduli as here.
    """

    rho: Hyper = 0.9
    eps: Hyper = 1e-6

    def _direction(self, g: Array) -> Array:
        rho, eps = self._now(self.rho, self.eps)
        e_g = self._average("e_g", _abs_sq(g), rho)
        above = np.sqrt(self.moments.get("e_x", np.zeros(g.shape)) + eps)
        direction = _quotient(np.asarray(above * g), np.sqrt(e_g + eps))
        self._average("e_x", _abs_sq(direction), rho)
        return direction


@dataclass
class _Wrapper(Leaf):
    """Change the direction of a rule, and show that rule's count and moments."""

    rule: Leaf

    def __post_init__(self) -> None:
        self.t, self.moments = self.rule.t, self.rule.moments

    def step(self, g: ArrayLike, p: ArrayLike | None = None) -> Array:
        direction = self.rule.step(g, p)
        self.t = self.rule.t
        return self._changed(direction, _double(g))

    def _changed(self, direction: Array, g: Array) -> Array:
        raise NotImplementedError


@dataclass
class Cautious(_Wrapper):
    """Compute a cautious rule (Liang et al. 2024, Algorithm 1), scaled as in timm.

    mask = direction·g > 0, or Re(direction·conj(g)) > 0; direction·mask / max(mean(mask), 1e-3).
    The paper divides by mean(mask) + eps: not the same where hardly any entry is left.
    Decoupled decay stays outside the mask.
    """

    min_mean: float = 1e-3

    def _changed(self, direction: Array, g: Array) -> Array:
        mask = (direction * np.conj(g)).real > 0.0
        kept = float(np.mean(mask)) if mask.size else 1.0
        return np.asarray(direction * mask / max(kept, self.min_mean))


@dataclass
class RmsClipped(_Wrapper):
    """Compute a rule with Adafactor's clipping (Shazeer & Stern 2018, section 6).

    direction / max(1, RMS(direction) / threshold). See `stable_scale` for StableAdamW's.
    """

    threshold: float = 1.0

    def _changed(self, direction: Array, g: Array) -> Array:
        return np.asarray(direction / max(1.0, rms(direction) / self.threshold))


@dataclass
class TemporalAverage(Leaf):
    """Average the parameters over time (Kingma & Ba 2015, section 7.2).

    theta_bar <- b2·theta_bar + (1 - b2)·theta, from 0; `step(theta)` takes the parameters after a
    step, not a gradient, and returns theta_bar / c_b2(t).
    """

    b2: Hyper = 0.999

    def _direction(self, g: Array) -> Array:
        (b2,) = self._now(self.b2)
        return np.asarray(self._average("theta_bar", g, b2) / self._seen(self.b2))


def warming_average(start: Array, trajectory: Array, b2: float) -> Array:
    """Return the averages after each step, from the parameters before the first one.

    shadow <- d·shadow + (1 - d)·theta with d = min(b2, (1 + t) / (10 + t)), as TensorFlow's
    ExponentialMovingAverage has it with `num_updates=t`.
    """
    shadow, found = np.asarray(start, np.float64), []
    for t, theta in enumerate(trajectory, 1):
        d = min(b2, (1 + t) / (10 + t))
        shadow = d * shadow + (1 - d) * np.asarray(theta)
        found.append(shadow)
    return np.stack(found)
