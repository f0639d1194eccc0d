"""Judge by intervals whether one cost is lower than another, over the same seeds."""

import dataclasses
import enum
import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

LEVEL = 0.95
"""The confidence of an interval."""


class Verdict(enum.StrEnum):
    """Say what the runs show of a claim."""

    HOLDS = "borne out"
    FAILS = "not borne out"
    OPEN = "cannot tell at this size"
    ONE_SEED = "cannot tell from one seed"


@dataclasses.dataclass(frozen=True)
class Interval:
    """Hold an interval that contains a mean with the confidence `LEVEL`.

    Attributes:
        low: The lower end.
        high: The upper end.
    """

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.4g} to {self.high:.4g}"


def half_width(values: Sequence[float]) -> float | None:
    """Return half of the width of the interval of a mean, by Student's t.

    Args:
        values: Values of several seeds.

    Returns:
        The half width; `None` if there are fewer than two values, or one is not finite.
    """
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * error


@dataclasses.dataclass(frozen=True)
class Condition:
    """Hold a statement about two costs: one is lower than a factor times the other.

    The seeds give pairs, whose logarithms are compared: runs of one seed have the same start and
    the same batches, and much of what differs between seeds cancels.

    Attributes:
        one: Costs by seed, which the statement calls the lower ones.
        other: Costs of the same seeds.
        factor: The factor of the other costs.
        alike: Whether the statement is another one: they differ by less than this factor.
    """

    one: Sequence[float]
    other: Sequence[float]
    factor: float = 1.0
    alike: bool = False

    @property
    def holds(self) -> bool:
        """Return whether the statement is true of the means, whatever their intervals are."""
        one, other = float(np.mean(self.one)), float(np.mean(self.other))
        if self.alike:
            return abs(one - other) <= (self.factor - 1) * min(one, other)
        return one < self.factor * other

    @property
    def ratio(self) -> Interval:
        """Return the interval of the ratio of the costs, one over other."""
        logs = [math.log(a / b) for a, b in zip(self.one, self.other, strict=True)]
        half = half_width(logs)
        if half is None:
            return Interval(0.0, math.inf)
        return Interval(math.exp(np.mean(logs) - half), math.exp(np.mean(logs) + half))

    @property
    def verdict(self) -> Verdict:
        """Return whether the interval lies where the statement is true, elsewhere, or in both."""
        if len(self.one) < 2:
            return Verdict.ONE_SEED
        if not np.isfinite([*self.one, *self.other]).all():
            return self._of_diverged()
        low, high = self.ratio.low, self.ratio.high
        if self.alike:
            within = 1 / self.factor <= low and high <= self.factor
            without = low > self.factor or high < 1 / self.factor
            return Verdict.HOLDS if within else Verdict.FAILS if without else Verdict.OPEN
        if high < self.factor:
            return Verdict.HOLDS
        return Verdict.FAILS if low > self.factor else Verdict.OPEN

    def _of_diverged(self) -> Verdict:
        """Judge where runs diverged: only what every seed says counts."""
        lower = [a < self.factor * b for a, b in zip(self.one, self.other, strict=True)]
        if self.alike or not any(lower):
            return Verdict.FAILS
        return Verdict.HOLDS if all(lower) else Verdict.OPEN


def joint(conditions: Sequence[Condition]) -> Verdict:
    """Return the verdict on a claim that needs all of its conditions."""
    found = [condition.verdict for condition in conditions]
    for verdict in (Verdict.FAILS, Verdict.ONE_SEED, Verdict.OPEN):
        if verdict in found:
            return verdict
    return Verdict.HOLDS
