"""Compute decoupled weight decay in float64 NumPy: what multiplies the decay, and where it acts.

* Loshchilov & Hutter 2019, Algorithm 2: the decay is η_t·λ·p with the schedule's multiplier η_t
  alone, so `relative` where lr_t = η_t·α and peak = α, and `INDEPENDENT` where η_t = 1. PyTorch,
  optax and Paddle have lr_t·λ·p, `RATE`.
* Defazio 2025, "Why gradients rapidly increase near the end of training" (AdamC):
  lr_t²/max lr·λ·p, `corrected`; the paper has it for layers that a normalisation follows, the
  others keep `RATE`.
* Chen et al. 2025, "Cautious weight decay", Algorithm 1: λ·1(u·p >= 0)·p, u the step without
  decay, so that an entry with u = 0 decays; on complex leaves u·p is Re(u·conj(p)) here.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tests.support.oracle import Array, Hyper, Leaf, _abs_sq, _at, _double
from tests.support.oracle_other import stable_scale


@dataclass(frozen=True)
class Coupling:
    """Describe a decay term `inside(lr)·lr·wd·p + outside·wd·p`.

    The first summand is added to the step before the finish, the second after it.

    Attributes:
        inside: returns, of the learning rate, the factor of wd·p beside the direction.
        outside: the factor of wd·p beside the finished step.
        cautious: whether only entries decay whose step does not make them larger.
    """

    inside: Callable[[float], float]
    outside: float = 0.0
    cautious: bool = False


RATE = Coupling(lambda lr: 1.0)
INDEPENDENT = Coupling(lambda lr: 0.0, outside=1.0)


def relative(peak: float) -> Coupling:
    """Return the coupling wd·lr/peak."""
    return Coupling(lambda lr: 1.0 / peak)


def corrected(peak: float) -> Coupling:
    """Return AdamC's coupling, wd·lr²/peak."""
    return Coupling(lambda lr: lr / peak)


def cautious(coupling: Coupling = RATE) -> Coupling:
    """Return the same coupling, acting only where d·p >= 0."""
    return replace(coupling, cautious=True)


Finish = Callable[[Array, Array, Array, Any], Array]
"""A last change to the step: of the step, the gradient, the parameters and the rule."""


def trust_ratio(step: Array, g: Array, p: Array, rule: Any) -> Array:
    """Return step·‖p‖ / ‖step‖ (You et al. 2020, Algorithm 2), step itself if either is 0."""
    above, below = math.sqrt(np.sum(_abs_sq(p))), math.sqrt(np.sum(_abs_sq(step)))
    return np.asarray(step * (above / below if above > 0.0 and below > 0.0 else 1.0))


def stabilised(step: Array, g: Array, p: Array, rule: Any) -> Array:
    """Return step / max(1, RMS(g / √nu_hat)) (Wortsman et al. 2023, Algorithm 2)."""
    nu_hat = rule.moments["nu"] / rule._seen(rule.b2)
    return np.asarray(step * stable_scale(g, nu_hat, _at(rule.t - 1, rule.eps)))


def optimise(
    rule: Leaf,
    grads: Iterable[ArrayLike],
    params: ArrayLike,
    learning_rate: Hyper,
    weight_decay: Hyper,
    coupling: Coupling = RATE,
    finish: Finish | None = None,
) -> dict[str, Array]:
    """Run a rule with decoupled decay over one leaf; for `RATE` like `oracle.optimise`.

    u_t = -lr_t·finish(d + inside(lr_t)·wd_t·p) - outside·wd_t·p; the d of `RMSProp` with momentum
    is its trace over lr_t, so that the decay is what it is for the others.

    Args:
        rule: The rule, without decay and finish of its own.
        grads: Gradients, steps on the leading axis.
        params: The parameters p_0.
        learning_rate: lr, a number or a schedule; never 0 for `RMSProp` with momentum.
        weight_decay: wd, a number or a schedule.
        coupling: The factor of wd, and where the decay acts.
        finish: The last change to the step with the inner decay in it.

    Returns:
        "updates" and "params", stacked over steps, and the final moments by name.
    """
    p, updates, trajectory = _double(params), [], []
    for g in grads:
        lr, wd = _at(rule.t, learning_rate), _at(rule.t, weight_decay)
        d = rule.step(g, p)
        agrees = (d * np.conj(p)).real >= 0.0 if coupling.cautious else np.ones(p.shape, bool)
        decay = wd * p * agrees
        step = np.asarray(d + coupling.inside(lr) * decay)
        step = step if finish is None else finish(step, _double(g), p, rule)
        updates.append(np.asarray(-lr * step - coupling.outside * decay))
        p = np.asarray(p + updates[-1])
        trajectory.append(p)
    return {"updates": np.stack(updates), "params": np.stack(trajectory), **rule.moments}
