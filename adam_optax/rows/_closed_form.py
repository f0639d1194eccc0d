r"""Compute in closed form what dense Adam does to a row while the row has no gradient.

**The problem.** A batch touches few rows of a table, but dense Adam moves all rows. Without a
gradient the moments of a row shrink by their decay rates at every step, and the row still takes the
step that the shrunken moments make. A row that was touched last at step `s` and is read after step
`t` has moved to

.. math:: p_t = p_s - \sum_{k=s+1}^{t} \alpha_k d_k,

where `α_k` is the learning rate and `d_k` the rule's direction without a gradient, for Adam
`μ̂_k / (√ν̂_k + eps)`. Adding up these `t - s` terms for every row, from an `s` of its own, would
cost as much as the dense optimiser.

**The drift.** If no gradient ever came after step `t`, the row would come down by all the terms to
come, its *drift*, and rest at its *resting point*:

.. math:: \Phi_t = \sum_{k>t} \alpha_k d_k, \qquad \mathrm{rest} = p_t - \Phi_t.

The sum converges where `b1 < √b2`, for each term is about `b1 / √b2` times the one before.

**The sum telescopes.** The drifts at `s` and at `t` differ by the terms between them, and by these
terms the row has moved::

    step     s+1   s+2   ...   t    t+1   t+2   ...
             |--- p_s - p_t ---|------ Φ_t --------
             |---------------- Φ_s ----------------

.. math:: \Phi_s - \Phi_t = \sum_{k=s+1}^{t} \alpha_k d_k = p_s - p_t
          \quad\Longrightarrow\quad p_s - \Phi_s = p_t - \Phi_t.

So a row's resting point does not change over a gap, a run of steps in which the row has no
gradient. The state keeps the resting point instead of the row (`RowsState.rest`), writes nothing in
a gap, and reads the row as `p_t = rest + Φ_t`. `Φ_t` depends on the row through its moments alone,
which `decay_over_gap` brings to step `t`; it does not depend on `s`. The learning rates and bias
corrections to come are the same for all rows and are computed once a step, as `DriftTerms`.

**Weight decay.** With decoupled weight decay `λ` a row also shrinks by `1 - α_k λ` at each step.
Let `P_t` be the product of these factors up to step `t`. Then `p_t / P_t` telescopes as `p_t` did:

.. math:: \Phi_t = \sum_{j \ge 1} \alpha_{t+j} \frac{P_t}{P_{t+j}} d_{t+j}, \qquad
          \frac{p_s - \Phi_s}{P_s} = \frac{p_t - \Phi_t}{P_t},

and with `rest = p_s - Φ_s` the row is read as `p_t = (P_t / P_s) rest + Φ_t`.

**The types.** `Drift` is the function `Φ` of a rule. `DriftTerms` are the factors of its sum at one
step, condensed from hundreds to about twelve by `_quadrature.py`. `RowsState` holds resting points,
moments and steps of the whole table, each row as of the step that touched the row last. `Rows` are
the rows of one batch, brought to the present step.
"""

import dataclasses
import functools as ft
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import DTypeLike
from numpy.typing import NDArray

from adam_optax.moments import Leaf
from adam_optax.rows._quadrature import PanelPlan, condense, plan_panels
from adam_optax.rules.base import Rule

BYTE_SHIFTS = (24, 16, 8, 0)
MAX_UNROLLED = 64
"""The most terms that are added up by unrolled code; more are added up in a loop."""

ValuesAtCounts = Callable[[Array, DTypeLike], Array]
"""A function from counts of steps and a dtype to a number for each of the counts."""


def decay_over_gap(x: Array, b: float, n: Array) -> Array:
    """Return `x b^n` row by row, with a relative error below 3e-7 for every n.

    `b^n` is the product of a factor for each byte of `n`, from tables that are computed in double.
    Each factor is multiplied into `x` by itself: the product of the factors can underflow where
    the product with `x` does not.

    Args:
        x: the rows, shape `(*n.shape, ...)`.
        b: the decay rate.
        n: the number of steps for each row, int32, not negative.
    """
    if b == 1:
        return x
    for shift in BYTE_SHIFTS:
        table = jnp.asarray(_powers_of_byte(b, shift), x.dtype)
        factor = table.at[(n >> shift) & 255].get(mode="promise_in_bounds")
        x = x * factor.reshape(n.shape + (1,) * (x.ndim - n.ndim))
    return x


@ft.cache
def _powers_of_byte(b: float, shift: int) -> NDArray[np.float64]:
    """Return `b^(i 2^shift)` for every byte i."""
    exponents = np.arange(256, dtype=np.float64) * 2.0**shift
    return np.exp(exponents * math.log(b)) if b > 0 else (exponents == 0).astype(np.float64)


def decay_rate(rule: Rule, name: str) -> float:
    """Return the factor by which a moment shrinks in a step without a gradient."""
    decay = rule.moments[name].decay
    assert isinstance(decay, int | float)  # schedules and arrays are refused at construction
    return float(decay)


class DriftTerms(NamedTuple):
    """Hold the factors of the drift's sum that all rows share, one for each (condensed) term.

    Attributes:
        weights: the factors of the direction: learning rate, weight decay and the decay of the
            numerator, shape `(K,)`.
        denominator_decay: the factors by which the moment in the denominator has shrunk, shape
            `(K,)`.
    """

    weights: Array
    denominator_decay: Array


@dataclasses.dataclass(frozen=True)
class Drift:
    """Compute the drift of a rule: how far a row would come down if no gradient came again.

    The rule's direction must be linear in one moment, over the root of another or of none.

    Attributes:
        rule: the variant.
        numerator: the moment in which the direction is linear; None if the rule takes no step
            without a gradient.
        denominator: the moment under the root; None if the root does not change without a gradient.
        has_eps_root: whether an epsilon is added under the root.
        retained: the factor that weight decay leaves of a row in a step; 1 if the factor changes
            from step to step.
    """

    rule: Rule
    numerator: str | None
    denominator: str | None = None
    has_eps_root: bool = False
    retained: float = 1.0

    @property
    def term_ratio(self) -> float:
        """Return the ratio of each term of the sum to the term before it, in the long run."""
        if self.numerator is None or self.rule.moments[self.numerator].decay == 0:
            return 0.0
        below = 1.0 if self.denominator is None else decay_rate(self.rule, self.denominator)
        return decay_rate(self.rule, self.numerator) / math.sqrt(below) / self.retained

    def num_terms(self, dtype: DTypeLike) -> int:
        """Return how many terms matter: the next is below a tenth of a rounding of the first."""
        if self.term_ratio == 0:
            return 0
        return max(1, math.ceil(math.log(_tolerance(dtype)) / math.log(self.term_ratio)))

    def terms(
        self, count: Array, learning_rate: ValuesAtCounts, fade: ValuesAtCounts, dtype: DTypeLike
    ) -> DriftTerms:
        """Return the terms of the drift after step `count`, condensed where they are many.

        Args:
            count: steps taken, an int32 scalar.
            learning_rate: the learning rates at counts.
            fade: `-log` of the factors by which weight decay shrinks a row at counts.
            dtype: the dtype of the terms.
        """
        terms = self.num_terms(dtype)
        if self.numerator is None or terms == 0:
            return DriftTerms(jnp.zeros(1, dtype), jnp.ones(1, dtype))
        counts = count + np.arange(terms, dtype=np.int32)
        after = jnp.exp(jnp.cumsum(fade(counts, dtype)))  # P_t / P_{t+j}
        a = learning_rate(counts, dtype) * after * self.unit_readings(self.numerator, count, dtype)
        if self.denominator is None:
            return DriftTerms(_one_if_converged(a) * jnp.sum(a)[None], jnp.ones(1, dtype))
        below = self.unit_readings(self.denominator, count, dtype)
        a = a * _one_if_converged(a / jnp.sqrt(below))
        plan = _plan_condensation(self, jnp.dtype(dtype))
        if plan.panels * plan.nodes >= terms:
            return DriftTerms(a, below)
        # What is interpolated is the term times sqrt(root). That product rises and falls as evenly
        # as can be, whether nu or eps dominates, so that no weight drowns in another's rounding.
        root = jnp.sqrt(below)
        y, weights = condense(jnp.log(root), a / jnp.sqrt(root), plan)
        return DriftTerms(weights * jnp.exp(y / 2), jnp.exp(2 * y))

    def __call__(self, terms: DriftTerms, moments: Mapping[str, Array]) -> Array | float:
        """Return how far rows with these moments would come down without further gradients.

        Args:
            terms: the terms of the present step.
            moments: the rows' moments at the present step, by name.
        """
        if self.numerator is None:
            return 0.0
        m, now = moments[self.numerator], dict(moments)
        leaf = Leaf(jnp.zeros_like(m), None, jnp.ones((), m.dtype), {}, hat=now)

        def add_term(i: Any, total: Array) -> Array:
            hat = now
            if self.denominator is not None:
                smaller = terms.denominator_decay[i] * now[self.denominator]
                hat = now | {self.denominator: smaller}
            return total + terms.weights[i] * self.rule.direction(leaf._replace(hat=hat))

        size, total = terms.weights.size, jnp.zeros_like(m)
        if size > MAX_UNROLLED:
            looped: Array = lax.fori_loop(0, size, add_term, total)
            return looped
        for i in range(size):
            total = add_term(i, total)
        return total

    def unit_readings(self, name: str, count: Array, dtype: DTypeLike) -> Array:
        """Return how the rule reads a moment of 1 after 1, 2, ... steps without a gradient.

        Args:
            name: the moment.
            count: the step at which the moment is 1.
            dtype: the dtype of the readings.

        Returns:
            The readings, shape `(num_terms(dtype),)`, corrected for their bias as the rule does.
        """
        moment, ages = self.rule.moments[name], np.arange(1, self.num_terms(dtype) + 1)
        decayed = jnp.asarray(decay_rate(self.rule, name) ** ages, dtype)
        t = (count + ages.astype(np.int32)).astype(dtype)
        leaf = Leaf(jnp.zeros_like(t), None, t, {}, ages={name: t})
        return moment.read(decayed, leaf, moment.precompute(t))


def _one_if_converged(steps: Array) -> Array:
    """Return 1, or NaN where the steps to come do not end: rows shrink faster than moments."""
    return jnp.where(steps[-1] <= 1e-5 * jnp.sum(steps), 1.0, jnp.nan)


@ft.lru_cache(maxsize=64)
def _plan_condensation(drift: Drift, dtype: np.dtype[Any]) -> PanelPlan:
    """Plan the nodes for the longest interval, which is that of step 0."""
    with jax.ensure_compile_time_eval():
        below = drift.unit_readings(drift.denominator or "", jnp.zeros((), jnp.int32), dtype)
        length = float(jnp.log(below[0] / below[-1])) / 2
    pole = math.pi / 2 if drift.has_eps_root else math.pi
    return plan_panels(length, pole, _tolerance(dtype))


def _tolerance(dtype: DTypeLike) -> float:
    return float(jnp.finfo(dtype).eps) / 10
