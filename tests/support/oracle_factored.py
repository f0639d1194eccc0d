"""Compute factored second moments in float64 NumPy: Adafactor, and others with its storage.

Shazeer & Stern 2018, "Adafactor: adaptive learning rates with sublinear memory cost", section 3:
the averages of row and column sums of s stand for the average of s, as row·col / sum(row). Sums
are means here, as in optax, which changes nothing. Leaves of more than two axes are factored over
their two longest, as in optax; of axes of one length the later counts as longer.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from tests.support.oracle import Adam, Array, Hyper, Leaf, _abs_sq, _at, _quotient
from tests.support.oracle_family import _known
from tests.support.oracle_other import RMSProp, rms


def factored_axes(shape: tuple[int, ...], least: int = 0) -> tuple[int, int] | None:
    """Return the second longest and the longest axis, or None if the first is below `least`."""
    order = sorted(range(len(shape)), key=lambda axis: shape[axis])
    if len(shape) < 2 or shape[order[-2]] < least:
        return None
    return order[-2], order[-1]


def _mean(x: Array, axis: int) -> Array:
    """Return the mean over an axis that stays, and 0 over an empty one."""
    return np.asarray(np.sum(x, axis, keepdims=True) / max(x.shape[axis], 1))


def outer(row: Array, col: Array, axes: tuple[int, int]) -> Array:
    """Return row·col / mean(row), each with the axis over which it is a mean kept as 1."""
    return np.asarray(_quotient(row, _mean(row, axes[0])) * col)


@dataclass
class Factored(Leaf):
    """Keep moments, `nu` say, as `nu_row` and `nu_col`, and read their product: a mix-in.

    row <- b·row + (1 - b)·mean(x over the longest axis), col over the second longest;
    nu = row·col / mean(row). Smaller leaves are dense. The three are among the moments, row and
    col without the axis that they have lost. `FACTORED` names the moments.
    """

    FACTORED: ClassVar[tuple[str, ...]] = ("nu",)

    least: int = field(default=0, kw_only=True)

    def _average(self, name: str, x: Array, b: float, start: float = 0.0) -> Array:
        axes = factored_axes(x.shape, self.least)
        if name not in self.FACTORED or axes is None:
            return super()._average(name, x, b, start)
        parts = []
        for part, axis in zip((f"{name}_row", f"{name}_col"), axes[::-1], strict=True):
            mean = np.squeeze(_mean(x, axis), axis)
            parts.append(np.expand_dims(super()._average(part, mean, b, start), axis))
        self.moments[name] = outer(parts[0], parts[1], axes)
        return self.moments[name]


@dataclass
class FactoredAdam(Factored, Adam):
    """Compute Adam with a factored nu, which the step reads; the corrections are Adam's."""


@dataclass
class FactoredRMSProp(Factored, RMSProp):
    """Compute RMSProp with a factored nu, not for `centered`."""


@dataclass
class Adafactor(Factored):
    """Compute Adafactor (Shazeer & Stern 2018, Algorithms 4 to 6), in the order of optax's.

    b = 1 - (t - decay_offset)^-decay_rate, so 0 at first; nu <- b·nu + (1 - b)·(g² + eps),
    factored; u = g / √nu; u <- u / max(1, RMS(u) / clipping_threshold);
    u <- u·max(1e-3, RMS(p)) with `multiply_by_parameter_scale`, which needs p; direction = u.
    With `momentum`, behind learning rate and scale and uncorrected as in optax:
    mu <- momentum·mu + (1 - momentum)·lr·u; lr·direction = mu.
    optax computes b in float32 always. Its weight decay is not multiplied by the learning rate.

    Attributes:
        learning_rate: lr, to be the one that `optimise` gets, for `momentum`; never 0.
    """

    decay_rate: Hyper = 0.8
    decay_offset: int = 0
    multiply_by_parameter_scale: bool = True
    clipping_threshold: float | None = 1.0
    eps: Hyper = 1e-30
    factored: bool = True
    momentum: Hyper | None = None
    learning_rate: Hyper = 1.0

    def __post_init__(self) -> None:
        if not self.factored:
            self.least = np.iinfo(np.int64).max

    def step(self, g: ArrayLike, p: ArrayLike | None = None) -> Array:
        """Take one gradient at parameters p and return the direction."""
        u = super().step(g)
        if self.clipping_threshold is not None:
            u = np.asarray(u / max(1.0, rms(u) / self.clipping_threshold))
        if self.multiply_by_parameter_scale:
            u = np.asarray(u * max(1e-3, rms(_known(p))))
        if self.momentum is None:
            return u
        momentum, lr = self._now(self.momentum, self.learning_rate)
        return np.asarray(self._average("mu", np.asarray(lr * u), momentum) / lr)

    def _direction(self, g: Array) -> Array:
        rate, eps = self._now(self.decay_rate, self.eps)
        b = -math.expm1(-rate * math.log(self.t - self.decay_offset))
        nu = self._average("nu", np.asarray(_abs_sq(g) + eps), b)
        return _quotient(g, np.sqrt(nu))


def optimise_adafactor(
    grads: ArrayLike,
    params: ArrayLike,
    learning_rate: Hyper | None = None,
    weight_decay_rate: Hyper = 0.0,
    **options: object,
) -> dict[str, Array]:
    """Run `Adafactor` over one leaf: p <- p - lr·direction - weight_decay_rate·p; lr None is 1."""
    rate = 1.0 if learning_rate is None else learning_rate
    rule = Adafactor(learning_rate=rate, **options)  # type: ignore[arg-type]
    p, updates, trajectory = np.asarray(params, np.float64), [], []
    for g in np.asarray(grads):
        lr, wd = _at(rule.t, rate), _at(rule.t, weight_decay_rate)
        updates.append(np.asarray(-lr * rule.step(g, p) - wd * p))
        p = np.asarray(p + updates[-1])
        trajectory.append(p)
    return {"updates": np.stack(updates), "params": np.stack(trajectory), **rule.moments}
