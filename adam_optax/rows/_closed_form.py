r"""What dense Adam does to a row while its gradient is zero, in closed form.

Without a gradient a moment fades by its decay at every step, and the rule still moves the row. If
no gradient ever came again, the row would yet come down by the *drift*, a sum over steps to come,

.. math:: \Phi_t(\mu, \nu) = \sum_{j \ge 1} \alpha_{t+j} \frac{P_t}{P_{t+j}} d_j(\mu, \nu),

`d_j` the rule's direction after `j` steps without a gradient, `P_t` the product of `1 - rate *
weight_decay` so far. Along a gap the sum loses exactly the terms that have been walked, so
`(p - drift) / P` stays what it is. A row is kept as its resting point `rest = p - drift` as of its
last step `s`, and read as `P_t / P_s rest + drift` from its faded moments and the learning rates
to come, which are the same for all rows.
"""

import dataclasses
import functools as ft
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from adam_optax.moments import Leaf
from adam_optax.rows._quadrature import Plan, compress, plan
from adam_optax.rules.base import Rule

SHIFTS = (24, 16, 8, 0)
UNROLLED = 64
Schedule = Callable[[Array, Any], Array]
"""From counts and a dtype to a number for each of the counts."""


def faded(x: Array, b: float, n: Array) -> Array:
    """`x b^n` row by row, for `n >= 0` of the shape of x's leading axes, within 3e-7 for all n.

    One factor for each byte of `n`, from tables computed in double. They are multiplied in one by
    one, for their product may underflow where that with `x` does not.
    """
    if b == 1:
        return x
    for shift in SHIFTS:
        table = jnp.asarray(_powers(b, shift), x.dtype)
        factor = table.at[(n >> shift) & 255].get(mode="promise_in_bounds")
        x = x * factor.reshape(n.shape + (1,) * (x.ndim - n.ndim))
    return x


@ft.cache
def _powers(b: float, shift: int) -> Any:
    exponents = np.arange(256) * 2.0**shift
    return np.exp(exponents * math.log(b)) if b > 0 else (exponents == 0).astype(float)


class Ages(NamedTuple):
    """The terms of the drift, or the few that stand for them.

    Attributes:
        weights: what the direction is multiplied by, its numerator's fading among it.
        shares: by how much the moment in the denominator is smaller than now.
    """

    weights: Array
    shares: Array


@dataclasses.dataclass(frozen=True)
class Drift:
    """The drift of a rule whose direction is linear in a moment, beside the root of another.

    Attributes:
        rule: the variant.
        num: the moment in which its direction is linear; None if it has no step without a gradient.
        den: the moment under the root, None if that does not change without a gradient.
        rooted: whether something is added under the root.
        kept: what weight decay leaves of a row in a step, 1 if that changes from step to step.
    """

    rule: Rule
    num: str | None
    den: str | None = None
    rooted: bool = False
    kept: float = 1.0

    @property
    def ratio(self) -> float:
        """The part of a step that the next is, without a gradient and in units of P."""
        if self.num is None or self.rule.moments[self.num].decay == 0:
            return 0.0
        below = 1.0 if self.den is None else decay_of(self.rule, self.den)
        return decay_of(self.rule, self.num) / math.sqrt(below) / self.kept

    def terms(self, dtype: Any) -> int:
        """How many steps to come matter: the rest is less than a rounding of the first."""
        if self.ratio == 0:
            return 0
        return max(1, math.ceil(math.log(_tolerance(dtype)) / math.log(self.ratio)))

    def ages(self, count: Array, rate: Schedule, fade: Schedule, dtype: Any) -> Ages:
        """The terms after step `count`, condensed.

        Args:
            count: steps taken, an int32 scalar.
            rate: the learning rate.
            fade: by how much weight decay shrinks a row in a step, as `-log`.
            dtype: of what is returned.
        """
        terms = self.terms(dtype)
        if self.num is None or terms == 0:
            return Ages(jnp.zeros(1, dtype), jnp.ones(1, dtype))
        counts = count + np.arange(terms, dtype=np.int32)
        after = jnp.exp(jnp.cumsum(fade(counts, dtype)))  # P_t / P_{t+j}
        a = rate(counts, dtype) * after * self.read(self.num, count, dtype)
        if self.den is None:
            return Ages(_settled(a) * jnp.sum(a)[None], jnp.ones(1, dtype))
        shares = self.read(self.den, count, dtype)
        a = a * _settled(a / jnp.sqrt(shares))
        few = _plan(self, dtype)
        if few.panels * few.nodes >= terms:
            return Ages(a, shares)
        # What is interpolated is the term times sqrt(share): it rises and falls as evenly as it can
        # whether nu or eps rules, so that no weight drowns in the rounding of the others.
        root = jnp.sqrt(shares)
        y, weights = compress(jnp.log(root), a / jnp.sqrt(root), few)
        return Ages(weights * jnp.exp(y / 2), jnp.exp(2 * y))

    def __call__(self, ages: Ages, moments: dict[str, Array]) -> Array | float:
        """How far a row with these moments will yet come down."""
        if self.num is None:
            return 0.0
        m = moments[self.num]
        still = Leaf(jnp.zeros_like(m), None, jnp.ones((), m.dtype), {}, hat=moments)

        def step(i: Any, total: Array) -> Array:
            hat = moments
            if self.den is not None:
                hat = moments | {self.den: ages.shares[i] * moments[self.den]}
            return total + ages.weights[i] * self.rule.direction(still._replace(hat=hat))

        size, total = ages.weights.size, jnp.zeros_like(m)
        if size > UNROLLED:
            found: Array = lax.fori_loop(0, size, step, total)
            return found
        for i in range(size):
            total = step(i, total)
        return total

    def read(self, name: str, count: Array, dtype: Any) -> Array:
        """What a moment of 1 would be read as, after 1, 2, ... steps without a gradient."""
        moment, ages = self.rule.moments[name], np.arange(1, self.terms(dtype) + 1)
        left = jnp.asarray(decay_of(self.rule, name) ** ages, dtype)
        t = (count + ages.astype(np.int32)).astype(dtype)
        still = Leaf(jnp.zeros_like(t), None, t, {})
        return moment.read(left, still, moment.precompute(t))


def _settled(steps: Array) -> Array:
    """1, or NaN where the steps to come do not end: decay that outruns the fading of moments."""
    return jnp.where(steps[-1] <= 1e-5 * jnp.sum(steps), 1.0, jnp.nan)


@ft.lru_cache(maxsize=64)
def _plan(drift: Drift, dtype: Any) -> Plan:
    """The nodes for the longest interval, that of the start."""
    with jax.ensure_compile_time_eval():
        shares = drift.read(drift.den or "", jnp.zeros((), jnp.int32), dtype)
        length = float(jnp.log(shares[0] / shares[-1])) / 2
    reach = math.pi / 2 if drift.rooted else math.pi
    return plan(length, reach, _tolerance(dtype))


def decay_of(rule: Rule, name: str) -> float:
    """The factor by which a moment fades in a step without a gradient."""
    decay = rule.moments[name].decay
    assert isinstance(decay, int | float)  # schedules and arrays are refused at construction
    return float(decay)


def _tolerance(dtype: Any) -> float:
    return float(jnp.finfo(dtype).eps) / 10
