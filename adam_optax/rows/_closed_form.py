r"""Compute in closed form what dense Adam does to a row while the row has no gradient.

**The problem.** A batch touches few rows of a table, but dense Adam moves all rows. Without a
gradient the moments of a row shrink by their decay rates at every step, and the row still takes the
step that the shrunken moments make. A row that was touched last at step `s` and is read after step
`t` has moved to

.. math:: p_t = \frac{P_t}{P_s} p_s - \sum_{k=s+1}^{t} \alpha_k \frac{P_t}{P_k} d_k,

where `α_k` is the learning rate, `P_k` the product of the factors `1 - α λ` that a decoupled weight
decay `λ` leaves of a row in each step up to `k`, and `d_k` the rule's direction without a gradient:
for Adam, with `j = k - s`,

.. math:: d_k = \frac{a_{k,j} m_s}{r_{k,j} \sqrt{v_s} + \epsilon}, \qquad
          a_{k,j} = \frac{b_1^j}{1 - b_1^k}, \quad
          r_{k,j} = \sqrt{\frac{b_2^j}{1 - b_2^k}}.

Adding up these `t - s` terms for every row, from an `s` of its own, would cost as much as the dense
optimiser.

**The sum ends.** Each term is about `ρ = b1 / √b2` times the one before, so that after `N` of them
(`Drift.num_terms`, 196 for Adam's default rates) the rest is below a rounding of the first. Where
`ρ` is not well below 1 the sum has no end, and the rates are refused.

**The sum is condensed.** As a function of `y = log r` the direction is smooth, with poles at a
distance `π` from the real axis. Interpolating at `K` Chebyshev nodes `y_i` (`_quadrature.py`)
turns the sum into `K` terms (14 for Adam's default rates) with weights that are the same for all
elements of a row:

.. math:: \sum_k \alpha_k \frac{P_t}{P_k} d_k = \sum_{i=1}^{K} w_i \frac{m_s}{e^{y_i} \sqrt{v_s} +
          \epsilon}.

**Weights of short gaps.** Let a row have been without gradient for `n = t - s <= N` steps. Written
with the moments as they would be now, `b1^n m_s` and `b2^n v_s`, the term of step `k` is the same
for all rows. So the weights of all gaps up to `N` are partial sums over the last `N` steps, from
the newest backwards; they are computed once a step (`Drift.look_back`).

**Weights of long gaps.** A gap beyond `N` has the whole sum over the steps `s+1 ... s+N`, which
depends on `s` alone. When a row is written, the weights of this sum are written with it
(`Drift.look_ahead`, `RowsState.ahead`), from the learning rates that the schedule foresees. They
are read only after those `N` steps were taken. A row of no more than `K` elements keeps the sum
itself.

**What is not done.** An earlier form kept `p_s` minus the sum of all steps to come, a row's resting
point, which does not change over a gap, and added what is still to come when the row is read. It
needs no weights in the state. But steps to come that are larger than the row leave nothing of the
row's last digits, as before a jump of the learning rate; where the rates grow faster than `1/ρ`,
or weight decay outruns the moments, the sum to come has no end. Here a row is never combined with
steps that it has not taken.

**The types.** `Drift` knows the sum of a rule. `Window` are the weights of short gaps at one step,
`Ahead` those of a long gap. `RowsState` holds rows and moments of the whole table, each row as of
the step that touched the row last. `Rows` are the rows of one batch, brought to the present step.
"""

import dataclasses
import functools as ft
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import DTypeLike
from numpy.typing import NDArray

from adam_optax.directions import Direction, ratio
from adam_optax.moments import Leaf
from adam_optax.rows._quadrature import Panels, plan_panels
from adam_optax.rules.base import Rule

BYTE_SHIFTS = (24, 16, 8, 0)
LAST_COUNT = 2**31 - 1
MAX_UNROLLED = 64
"""The most terms that are added up by unrolled code; more are added up in a loop."""

ValuesAtCounts = Callable[[Array, DTypeLike], Array]
"""A function from counts of steps and a dtype to a number for each of the counts."""


def decay_over_gap(x: Array, b: float, n: Array, *, signed: bool = True) -> Array:
    """Return `x b^n` row by row, with a relative error below 3e-7 for every n.

    `b^n` is the product of a factor for each byte of `n`, from tables that are computed in double.
    Each factor is multiplied into `x` by itself: the product of the factors can underflow where
    the product with `x` does not. A factor near 1 is given as its distance from 1: rounded itself,
    it would be too large, or too small, in every gap of as many steps, and thousands of gaps add
    up in a second moment.

    A square that overflowed stays infinite, and an average of squares that is not 0 does not become
    0, as under the dense optimiser: `update_ema` takes from it a share `1 - b`, which is 0 once it
    is below the least number. The next step would be a quotient of `eps` alone.

    Args:
        x: the rows, shape `(*n.shape, ...)`.
        b: the decay rate.
        n: the number of steps for each row, int32, not negative.
        signed: whether the moment can be negative, which an average of squares cannot.
    """
    if b == 1:
        return x
    decayed = x
    for shift in BYTE_SHIFTS:
        powers = _powers_of_byte(b, shift)
        near_one, byte = powers > 0.5, (n >> shift) & 255
        table = jnp.asarray(np.where(near_one, powers - 1, powers), x.dtype)
        change = per_row(table.at[byte].get(mode="promise_in_bounds"), x)
        is_near = per_row(jnp.asarray(near_one).at[byte].get(mode="promise_in_bounds"), x)
        decayed = jnp.where(is_near, decayed, 0) + change * decayed
    if not signed:
        least = float(jnp.finfo(x.dtype).tiny) / (1 - b)
        decayed = jnp.maximum(decayed, jnp.minimum(x, least))
    return jnp.where(jnp.isinf(x), x, decayed)


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


def per_row(x: Array, like: Array) -> Array:
    """Return a number for each row in a shape that combines with the rows' elements."""
    return x.reshape(x.shape + (1,) * (like.ndim - x.ndim))


class Window(NamedTuple):
    """Hold what rows have in common whose gap is at most N, one entry for each gap from 0 on.

    Attributes:
        weights: the weights `w_i e^{-y_i}` of the sum over the gap, for the moments as of the row's
            last step, shape `(N + 1, K)`.
        fades: `-log` of the factor by which weight decay shrank rows in the gap, shape `(N + 1,)`.
    """

    weights: Array
    fades: Array


class Ahead(NamedTuple):
    """Hold what rows need that are touched now, once the next N steps have been taken.

    Attributes:
        weights: the weights `w_i e^{-y_i}` of the sum over these steps, shape `(K,)`.
        fades: `-log` of the factor by which weight decay shrinks rows in these steps, as the sum
            of the logarithms' whole parts and that of the rest.
    """

    weights: Array
    fades: tuple[Array, Array]


@dataclasses.dataclass(frozen=True)
class Drift:
    """Compute how far a rule moves a row while the row has no gradient.

    The rule's direction must be linear in one moment, over the root of another or of none.

    Attributes:
        rule: the variant.
        numerator: the moment in which the direction is linear; None if the rule takes no step
            without a gradient.
        denominator: the moment under the root; None if the root does not change without a gradient.
            Else the direction is `ratio(eps, eps_root)`.
        eps: what is added to the root.
        eps_root: what is added under the root.
    """

    rule: Rule
    numerator: str | None
    denominator: str | None = None
    eps: float = 0.0
    eps_root: float = 0.0

    @property
    def term_ratio(self) -> float:
        """Return the ratio of each term of the sum to the term before it, in the long run."""
        if self.numerator is None or self.rule.moments[self.numerator].decay == 0:
            return 0.0
        return decay_rate(self.rule, self.numerator) / math.sqrt(self._decay_below)

    @property
    def _decay_below(self) -> float:
        return 1.0 if self.denominator is None else decay_rate(self.rule, self.denominator)

    def num_terms(self, dtype: DTypeLike) -> int:
        """Return how many terms matter: all later ones are below a tenth of a rounding."""
        if self.term_ratio == 0:
            return 0
        least = _tolerance(dtype) * (1 - self.term_ratio)
        return max(1, math.ceil(math.log(least) / math.log(self.term_ratio)))

    def num_weights(self, dtype: DTypeLike) -> int:
        """Return how many numbers a row keeps for the sum over a long gap."""
        terms = self.num_terms(dtype)
        if self.denominator is None or terms == 0:
            return min(terms, 1)
        panels = self._panels(dtype)
        return panels.number * panels.size

    def look_back(
        self, count: Array, learning_rate: ValuesAtCounts, fade: ValuesAtCounts, dtype: DTypeLike
    ) -> Window:
        """Return what rows have in common whose gap ends now, for every gap up to N.

        Args:
            count: steps taken, an int32 scalar.
            learning_rate: the learning rates at counts.
            fade: `-log` of the factors by which weight decay shrinks a row at counts.
            dtype: the dtype of the weights.
        """
        if (terms := self.num_terms(dtype)) == 0:
            return Window(jnp.zeros((1, 0), dtype), jnp.zeros(1, dtype))
        ages = np.arange(0, -terms, -1, dtype=np.int32)  # from the newest step backwards
        steps = count + ages
        taken, steps = steps >= 1, jnp.maximum(steps, 1)
        fades = _sums(jnp.where(taken, fade(steps - 1, dtype), 0)[:, None])[:, 0]
        a = jnp.where(taken, learning_rate(steps - 1, dtype), 0) * jnp.exp(-fades[:-1])
        # A root of b2 for each step of the longest gap, so that no place is below 0.
        weights = _sums(self._weigh(a, ages, steps, -ages, dtype))
        gaps = np.arange(terms + 1, dtype=np.float64)[:, None]
        decays = self.term_ratio**gaps
        return Window(weights * jnp.asarray(decays, dtype), fades)

    def look_ahead(
        self, count: Array, learning_rate: ValuesAtCounts, fade: ValuesAtCounts, dtype: DTypeLike
    ) -> Ahead:
        """Return what rows need that are touched in step `count`; see `look_back`."""
        if (terms := self.num_terms(dtype)) == 0:
            return Ahead(jnp.zeros(0, dtype), (jnp.zeros((), dtype), jnp.zeros((), dtype)))
        ages = np.arange(1, terms + 1, dtype=np.int32)
        steps = count + jnp.minimum(ages, LAST_COUNT - count)  # which does not overflow
        fades = fade(steps - 1, dtype)
        after = _sums(fades[::-1, None])[:-1, 0][::-1]
        a = learning_rate(steps - 1, dtype) * jnp.exp(-after)
        lowest = self._decay_below ** (-terms / 2)
        weights = jnp.sum(self._weigh(a, ages, steps, terms - ages, dtype), 0) * lowest
        whole = jnp.round(fades)
        return Ahead(weights, (jnp.sum(whole), jnp.sum(fades - whole)))

    def __call__(self, weights: Array, gap: Array, moments: Mapping[str, Array]) -> Array:
        """Return how far rows came down in their gaps.

        Args:
            weights: the weights for each row, shape `(*gap.shape, K)`.
            gap: for how many steps each row has had no gradient; it may be cut at N.
            moments: the rows' moments by name, as of each row's last step.
        """
        name = self.numerator or ""
        m = moments[name]
        leaf = Leaf(jnp.zeros_like(m), None, jnp.ones((), m.dtype), {})
        roots, scale = self._roots(m.dtype)
        scales = per_row(scale.at[gap].get(mode="promise_in_bounds"), m)

        def add_term(i: Any, total: Array) -> Array:
            w = per_row(weights[..., i], m)
            if self.denominator is None:
                return total + self.rule.direction(leaf._replace(hat={**moments, name: w * m}))
            # The denominator is divided by r, as the weights are: r^2 v might underflow.
            direction = self._direction(roots[i] * scales)
            return total + direction(leaf._replace(hat={**moments, name: w * m}))

        total = jnp.zeros_like(m)
        if (size := weights.shape[-1]) > MAX_UNROLLED:
            looped: Array = lax.fori_loop(0, size, add_term, total)
            return looped
        for i in range(size):
            total = add_term(i, total)
        return total

    def _direction(self, r: Array) -> Direction:
        """Return the direction over a root that is `r` times as large, times `r`."""
        assert self.numerator == "mu"
        return ratio(self.eps / r, self.eps_root / r**2 if self.eps_root > 0 else 0.0)

    def _weigh(
        self, a: Array, ages: NDArray[np.int32], steps: Array, above: NDArray[Any], dtype: DTypeLike
    ) -> Array:
        """Return the weights of single terms, divided by the nodes' roots, shape `(terms, K)`.

        Args:
            a: the factors of the terms, without the decay of the numerator.
            ages: how often the moments are decayed in each term, counted from those that are given.
            steps: the step of each term.
            above: how many decays each term's root is above the lowest root.
            dtype: the dtype of the weights.
        """
        a = a * self.unit_readings(self.numerator or "", ages, steps, dtype)
        if self.denominator is None:
            return a[:, None]
        # The root is sqrt(b2^age) times that of the bias correction, which is above it.
        panels = self._panels(dtype)
        y = above * -math.log(self._decay_below) / 2
        ones = np.zeros_like(ages)
        shift = jnp.log(self.unit_readings(self.denominator, ones, steps, dtype)) / 2
        # What is interpolated is the term times sqrt(root). That product rises and falls as evenly
        # as can be, whether nu or eps dominates, so that no weight drowns in another's rounding.
        even = jnp.exp(-shift / 2)[:, None] * np.exp((panels.nodes + y[:, None]) / -2).astype(dtype)
        return a[:, None] * even * panels.interpolate(y, jnp.maximum(shift, 0))

    def unit_readings(
        self, name: str, ages: NDArray[np.int32], steps: Array, dtype: DTypeLike
    ) -> Array:
        """Return how the rule reads a moment of 1 without a gradient.

        Args:
            name: the moment.
            ages: how many decays before each reading the moment is 1.
            steps: the step of each reading, for the correction of the bias.
            dtype: the dtype of the readings.
        """
        moment = self.rule.moments[name]
        decayed = jnp.asarray(decay_rate(self.rule, name) ** ages.astype(np.float64), dtype)
        t = steps.astype(dtype)
        leaf = Leaf(jnp.zeros_like(t), None, t, {}, ages={name: t})
        return moment.read(decayed, leaf, moment.precompute(t))

    def _panels(self, dtype: DTypeLike) -> Panels:
        """Return the panels over `log r`, from the last term's root to that of step 1."""
        b = self._decay_below
        length = self.num_terms(dtype) * -math.log(b) / 2 - math.log1p(-b) / 2
        pole = math.pi / 2 if self.eps_root > 0 else math.pi
        return plan_panels(length, pole, _tolerance(dtype))

    def _roots(self, dtype: DTypeLike) -> tuple[Array, Array]:
        """Return the nodes' roots after no decay, and what n decays leave of a root."""
        half = math.log(self._decay_below) / 2
        gaps = np.arange(self.num_terms(dtype) + 1)
        nodes = np.zeros(1) if self.denominator is None else self._panels(dtype).nodes
        return jnp.asarray(np.exp(nodes), dtype), jnp.asarray(np.exp(half * gaps), dtype)


def _sums(x: Array) -> Array:
    """Return the sums of the first 0, 1, ... entries along the first axis."""
    return jnp.concatenate([jnp.zeros((1, *x.shape[1:]), x.dtype), jnp.cumsum(x, 0)])


def _tolerance(dtype: DTypeLike) -> float:
    return float(jnp.finfo(dtype).eps) / 10
