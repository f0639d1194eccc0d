"""Judge a setting against the default over paired runs: the same seeds, so the same batches."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from adam_optax.lab.results import Setting

CONFIDENCE = 0.95
"""Confidence of every interval."""
FEWEST_SEEDS = 6
"""Seeds that a verdict takes, at least: five of five better happens once in 16 by luck alone."""

_NORMAL = 1.96, 0.84
"""Quantiles of the normal distribution: of an interval of 95 %, and of a chance of 80 %."""
_MOST_SEEDS = 1000
"""Seeds that are worth mentioning, at most."""
_LEAST = float(np.finfo(np.float32).tiny)
"""The lowest loss that has a logarithm: a loss of 0 counts as so much."""

Interval = tuple[float, float]
"""The lower and the upper end of a range."""
_ANYWHERE: Interval = (-math.inf, math.inf)


@dataclass(frozen=True, eq=False)
class Paired:
    """Hold runs of a setting and of the default with the same seeds, and judge the setting.

    The measure is the loss of the whole training set at the end of a run, and a gain the logarithm
    of the default's loss over the setting's. The setting counts as better only if

    - the median of the gains is above 0 with 95 % confidence, by the sign test, which supposes
      nothing of the losses' distribution: the usual run is better;
    - the mean of the gains is above 0 with 95 % confidence, by Student's t;
    - the mean loss itself is lower: no rare bad run takes away what the usual run gains;
    - the test accuracy is not lower with 95 % confidence, by Student's t: the loss is not bought by
      overfitting.

    Attributes:
        default: The runs of the default.
        chosen: The runs of the setting, in the same order of seeds.
        planned: Number of seeds that were planned.
    """

    default: Setting
    chosen: Setting
    planned: int

    @cached_property
    def gains(self) -> NDArray[np.float64]:
        """Return the gain by seed: infinite if one of the runs diverged, 0 if both did."""
        default, chosen = (
            np.log(np.maximum(setting.losses, _LEAST)) for setting in (self.default, self.chosen)
        )
        both = np.isinf(default) & np.isinf(chosen)
        with np.errstate(invalid="ignore"):  # infinity minus infinity, where both diverged
            return np.where(both, 0.0, default - chosen)

    @property
    def seeds(self) -> int:
        """Return the number of seeds."""
        return len(self.gains)

    @property
    def lower(self) -> int:
        """Return the number of seeds with which the setting's loss is lower."""
        return int((self.gains > 0).sum())

    @cached_property
    def median_gain(self) -> Interval:
        """Return the interval of the gains' median."""
        rank, ordered = _rank(self.seeds), np.sort(self.gains)
        return (float(ordered[rank - 1]), float(ordered[-rank])) if rank else _ANYWHERE

    @cached_property
    def mean_gain(self) -> Interval:
        """Return the interval of the gains' mean, over the seeds with which no run diverged.

        It is infinite where it is runs of the default that leave no such seeds.
        """
        if (self.gains == math.inf).sum() > max(0, self.seeds - 2):
            return math.inf, math.inf
        return _t_interval(self.gains[np.isfinite(self.gains)])

    @cached_property
    def accuracy_gain(self) -> Interval:
        """Return the interval of the mean by which the setting's test accuracy is higher."""
        return _t_interval(np.subtract(self.chosen.accuracies, self.default.accuracies))

    @property
    def is_better(self) -> bool:
        """Return whether the setting is better, in the sense of the class."""
        surely = self.median_gain[0] > 0 and self.mean_gain[0] > 0
        return surely and not self.is_risky and not self.loses_accuracy

    @property
    def is_risky(self) -> bool:
        """Return whether the mean loss is not lower."""
        return not self.chosen.loss < self.default.loss

    @property
    def loses_accuracy(self) -> bool:
        """Return whether the test accuracy is lower than the default's."""
        return self.accuracy_gain[1] < 0

    @property
    def is_decided(self) -> bool:
        """Return whether the seeds that are left cannot make the setting better any more."""
        return self.seeds - self.lower >= max(1, _rank(self.planned))

    def verdict(self) -> str:
        """Say in a sentence what the runs show, with the numbers."""
        return f"{self._word()}: {self._numbers()}"

    def cost_to_know(self, epochs: int) -> str:
        """Say how many seeds would show a gain of the size that these runs have, if there is one.

        Args:
            epochs: Epochs of each run.
        """
        seeds = self._seeds_to_know()
        if seeds is None:
            return "nothing in these runs speaks for the change: more seeds are not worth it"
        if seeds > _MOST_SEEDS:
            return f"a gain as small as this one would take more than {_MOST_SEEDS} seeds to show"
        return (
            f"to know would take about {seeds} seeds, {2 * seeds} runs of {epochs} epochs: a gain "
            "as large as in these runs would then show four times out of five"
        )

    def _word(self) -> str:
        usual = self.median_gain[0] > 0 or 2 * self.lower > self.seeds
        if self.is_better:
            return "better"
        if usual and self.is_risky:
            return "lower in most runs, but not on average, because some are bad"
        if usual and self.loses_accuracy:
            return "a lower training loss, bought by test accuracy"
        return "no gain" if self._seeds_to_know() is None else "cannot tell"

    def _seeds_to_know(self) -> int | None:
        """Estimate the number of seeds that show the gain; `None`: nothing speaks for a gain.

        The usual formulas for the size of a sample, of the sign test and of Student's.
        """
        sound = self.gains[np.isfinite(self.gains)]
        mean = float(sound.mean()) if len(sound) > 1 else 0.0
        # Of n runs that are all better, the share is taken as if half a run were not.
        share = min(self.lower, self.seeds - 0.5) / self.seeds
        if self.is_risky or self.loses_accuracy or mean <= 0 or share <= 0.5:
            return None
        ends, chance = _NORMAL
        by_mean = ((ends + chance) * float(sound.std(ddof=1)) / mean) ** 2
        root = ends * 0.5 + chance * math.sqrt(share * (1 - share))
        return max(FEWEST_SEEDS, math.ceil(max(by_mean, (root / (share - 0.5)) ** 2)))

    def _numbers(self) -> str:
        planned = "" if self.seeds == self.planned else f" ({self.planned} were planned)"
        lost = [
            f"{who} diverged with {count}"
            for who, setting in (("it", self.chosen), ("the default", self.default))
            if (count := sum(map(math.isinf, setting.losses)))
        ]
        parts = [
            f"a lower training loss with {self.lower} of {self.seeds} seeds{planned}",
            *lost,
            *self._averages(),
            f"mean {self.chosen.loss:.3g} against {self.default.loss:.3g} nats",
            f"test accuracy {_percent(self.chosen)} against {_percent(self.default)} %",
        ]
        return ", ".join(parts)

    def _averages(self) -> list[str]:
        """Write the average gains as multiples of the default's loss, with their intervals."""
        sound = self.gains[np.isfinite(self.gains)]
        if not len(sound):
            return []
        median, mean = float(np.median(sound)), float(np.mean(sound))
        return [
            f"{_times(median, self.median_gain)} the default's in the median",
            f"{_times(mean, self.mean_gain)} in the geometric mean",
        ]


def _rank(seeds: int) -> int:
    """Return the rank of the ends of the median's interval among sorted gains; 0: there is none.

    The setting is better in the median if fewer than so many gains are not above 0.
    """
    from scipy.stats import binom

    return int(binom.ppf((1 - CONFIDENCE) / 2, seeds, 0.5))


def _t_interval(values: NDArray[np.float64]) -> Interval:
    """Return Student's interval of the mean."""
    from scipy.stats import t

    if len(values) < 2:
        return _ANYWHERE
    error = values.std(ddof=1) / math.sqrt(len(values))
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * error)
    return float(values.mean()) - half, float(values.mean()) + half


def _times(average: float, interval: Interval) -> str:
    """Write a gain as a multiple of the default's loss."""
    said = f"{math.exp(-average):.3g} times"
    if not all(map(math.isfinite, interval)):
        return said
    low, high = (math.exp(-end) for end in reversed(interval))
    return f"{said} ({low:.3g} to {high:.3g})"


def _percent(setting: Setting) -> str:
    return f"{100 * float(np.mean(setting.accuracies)):.2f}"
