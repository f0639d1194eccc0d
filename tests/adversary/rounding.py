"""Search for steps along which `stochastic_rounding` is not as good as independent rounding.

A `Pattern` says how parameters step. It is run twice: rounded by the library, and by random bits
that know of nothing. The search keeps the patterns along which the two differ most, in the mean or
in the spread of the elements, and changes those further.
"""

import dataclasses
import functools
import itertools
import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

import adam_optax as ao
from adam_optax.precision._rounding import round_to_dtype
from tests.support import oracle_precision as oracle
from tests.support.precision import apply

LARGEST_ERROR = 4.0
"""The claim: how far the mean may be from independent rounding's, in standard errors."""
LARGEST_SPREAD = 1.2
"""The claim: how far the elements may be spread, over independent rounding's."""
LARGEST_PERIOD = 10_000


@dataclasses.dataclass(frozen=True)
class Pattern:
    """Describe the steps of a parameter, in units of its dtype at the start.

    Attributes:
        family: the name of the family it came from.
        dtype: that of the parameter.
        start: the parameter before the first step.
        period: the number of steps after which the pattern begins again.
        on: the number of steps of a period that are `up`.
        up: the length of a step in this part of a period.
        down: the length of a step in the other part.
        alternates: whether every second period has the other sign.
        drift: a length that is added to every step.
        noise: the standard deviation of what is added to the steps of all elements alike.
        rate: that of gradient descent on a quadratic, which is added to the steps.
        pull: the length of steps towards the minimum, as of Adam's, which are added, too.
        minimum: where the minimum of both is, from the start.
    """

    family: str
    dtype: str = "bfloat16"
    start: float = 1.0
    period: int = 1
    on: int = 1
    up: float = 0.0
    down: float = 0.0
    alternates: bool = False
    drift: float = 0.0
    noise: float = 0.0
    rate: float = 0.0
    pull: float = 0.0
    minimum: float = 0.0

    def steps(
        self, length: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Return the counts of so many steps, without those of length 0, and the lengths."""
        t = np.arange(length)
        if not (self.down or self.drift or self.noise or self.rate or self.pull):
            t = t // self.on * self.period + t % self.on
        lengths = np.where(t % self.period < self.on, self.up, self.down) + self.drift
        lengths *= np.where(t // self.period % 2, -1 if self.alternates else 1, 1)
        lengths += self.noise * rng.standard_normal(length)
        return t.astype(np.uint32), lengths.astype(np.float32)


class Case(NamedTuple):
    """Name a run: a pattern for so many steps of so many elements, at random numbers."""

    pattern: Pattern
    length: int = 2000
    elements: int = 1000
    seed: int = 0


class Verdict(NamedTuple):
    """Say how a run differs from independent rounding.

    Attributes:
        error: the mean over the elements less independent rounding's, in standard errors.
        spread: the deviation of the elements over independent rounding's.
        doubt: the standard error of `spread`, over `spread`.
    """

    error: float
    spread: float
    doubt: float

    @property
    def score(self) -> float:
        """Return how much of what is claimed is surely used up: above 1 is a finding."""
        surely = self.spread * math.exp(-4 * self.doubt)
        return max(abs(self.error) / LARGEST_ERROR, surely / LARGEST_SPREAD)


@functools.partial(jax.jit, static_argnames=("dtype", "elements", "at_random"))
def _run(
    dtype: str, elements: int, at_random: bool, steps: tuple[Array, Array], numbers: Any
) -> tuple[Array, Array]:
    """Return how far each element is from the start, at the end and on average, in units."""
    start, unit, rate, pull, minimum, seed = numbers
    tx = ao.precision.stochastic_rounding()

    def step(carry: tuple[Array, Array], step: tuple[Array, Array]) -> tuple[Any, None]:
        (p, total), (count, length) = carry, step
        away = p.astype(jnp.float32) - start
        above = away - minimum * unit
        u = unit * (length - pull * jnp.sign(above)) - rate * above
        if at_random:
            key = jax.random.fold_in(jax.random.key(seed, impl="rbg"), count)
            bits = jax.random.bits(key, (elements,), jnp.uint32)
            p = round_to_dtype(p.astype(jnp.float32) + u, p.dtype, bits).astype(p.dtype)
        else:
            state = ao.precision.StochasticRoundingState(count.astype(jnp.int32))
            p = apply(p, tx.update(u, state, p)[0])
        return (p, total + away / unit), None

    p = jnp.full(elements, start).astype(dtype)
    (p, total), _ = jax.lax.scan(step, (p, jnp.zeros(elements)), steps)
    return (p.astype(jnp.float32) - start) / unit, total / steps[0].size


def judge(case: Case) -> Verdict:
    """Run a pattern as the library rounds and as random bits do; return the worse comparison.

    Compared is where the elements are at the end, and where they were on average.
    """
    pattern, length, elements, seed = case
    rng = np.random.default_rng(seed)
    first, (counts, lengths) = rng.integers(2**30), pattern.steps(length, rng)
    unit = oracle.unit(pattern.start, pattern.dtype)
    numbers = pattern.start, unit, pattern.rate, pattern.pull, pattern.minimum
    arguments = (counts + np.uint32(first), lengths), (*map(np.float32, numbers), np.uint32(seed))
    runs = [_run(pattern.dtype, elements, at_random, *arguments) for at_random in (False, True)]
    pairs = zip(*(np.asarray(run, np.float64) for run in runs), strict=True)
    return max((_compare(ours, other) for ours, other in pairs), key=lambda v: v.score)


def _compare(ours: NDArray[np.float64], other: NDArray[np.float64]) -> Verdict:
    error, deviation, usual = ours.mean() - other.mean(), ours.std(), other.std()
    if not usual:  # independent rounding rounds nothing
        return Verdict(math.inf if error or deviation else 0.0, 0.0, 0.0)
    standard_error = math.hypot(deviation, usual) / math.sqrt(ours.size)
    doubt = math.hypot(_doubt_of_deviation(ours), _doubt_of_deviation(other))
    return Verdict(float(error / standard_error), float(deviation / usual), doubt)


def _doubt_of_deviation(x: NDArray[np.float64]) -> float:
    """Return the standard error of a sample's deviation, over the deviation."""
    kurtosis = np.mean((x - x.mean()) ** 4) / x.var() ** 2 if x.std() else 1.0
    return 0.5 * math.sqrt((kurtosis - 1) / x.size)


def confirmed(case: Case) -> tuple[Case, Verdict]:
    """Judge a case, and if it is a finding, which may be chance, eight times as many elements."""
    verdict = judge(case)
    if verdict.score > 1:
        case = case._replace(elements=8 * case.elements, seed=case.seed + 1)
        verdict = judge(case)
    return case, verdict


# --- The search --------------------------------------------------------------------------------

FAMILIES = (
    "alternating",
    "periodic",
    "sparse",
    "signs",
    "constant",
    "common noise",
    "descent",
    "sign descent",
    "weight decay",
)
_STARTS = (1.0, 1.0, 1.5, 2 - 2.0**-6, -1.0, 128.0, 0.1)
"""Powers of two, where the unit changes, come first."""


def draw(rng: np.random.Generator, dtype: str) -> Pattern:
    """Draw a pattern of any family."""
    family = str(rng.choice(FAMILIES))
    length = _log_uniform(rng, 0.01, 30.0)
    drift = length * float(rng.choice([0.05, 0.01, 0.001]) * rng.choice([-1, 0, 1]))
    period = 2 if family == "alternating" else round(_log_uniform(rng, 2, LARGEST_PERIOD))
    on = min(round(_log_uniform(rng, 1, period)), period - 1) if rng.random() < 0.5 else 1
    start, minimum = float(rng.choice(_STARTS)), float(rng.uniform(-3, 3))
    numbers: dict[str, Any] = {"period": period, "on": on, "up": length}
    if family in ("alternating", "periodic"):  # but for the drift, a period leads back
        numbers |= {"down": -length * on / (period - on), "drift": drift}
    elif family == "signs":
        numbers |= {"alternates": True}
    elif family == "constant":
        numbers = {"up": length}
    elif family == "common noise":
        numbers = {"noise": length, "drift": drift}
    elif family == "descent":
        numbers = {"rate": _log_uniform(rng, 0.003, 1.0), "minimum": minimum}
    elif family == "sign descent":
        numbers = {"pull": length / 10, "minimum": minimum}
    elif family == "weight decay":  # not so far that float32 flushes to zero
        zero = -start / oracle.unit(start, dtype)
        numbers = {"rate": _log_uniform(rng, 1e-5, 2e-3), "minimum": zero}
    return Pattern(family, dtype, start, **numbers)


def mutate(rng: np.random.Generator, pattern: Pattern) -> Pattern:
    """Change some of a pattern's numbers."""
    changed: dict[str, Any] = {
        field: getattr(pattern, field) * _log_uniform(rng, 0.7, 1.4)
        for field in ("up", "down", "drift", "noise", "rate", "pull", "minimum")
        if rng.random() < 0.4
    }
    if pattern.period > 2 and rng.random() < 0.5:
        changed["period"] = int(np.clip(pattern.period + rng.integers(-2, 3), 2, LARGEST_PERIOD))
        changed["on"] = int(np.clip(pattern.on + rng.integers(-1, 2), 1, changed["period"] - 1))
    if rng.random() < 0.2:
        units = float(rng.integers(-2, 3))
        changed["start"] = pattern.start + units * oracle.unit(pattern.start, pattern.dtype)
    return dataclasses.replace(pattern, **changed)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def hunt(seed: int, length: int, dtypes: tuple[str, ...]) -> Iterator[tuple[Case, Verdict]]:
    """Yield cases without end, half of them mutants of the eight worst so far."""
    rng, worst = np.random.default_rng(seed), list[tuple[float, Pattern]]()
    for turn in itertools.count():
        if turn % 2:
            pattern = mutate(rng, worst[rng.integers(len(worst))][1])
        else:
            pattern = draw(rng, dtypes[turn // 2 % len(dtypes)])
        case, verdict = confirmed(Case(pattern, length, seed=int(rng.integers(2**31))))
        worst = sorted([*worst, (verdict.score, pattern)], key=lambda pair: -pair[0])[:8]
        yield case, verdict


def search(seed: int, seconds: float) -> None:
    """Hunt for so many seconds, and print how many cases were tried and the worst of them.

    Raises:
        SystemExit: with the case, if a claim is broken.
    """
    end, worst = time.monotonic() + seconds, (-1.0, "")
    for tried, (case, verdict) in enumerate(hunt(seed, 20_000, ("bfloat16", "float16")), 1):
        worst = max(worst, (verdict.score, f"{verdict}: judge({case})"))
        if worst[0] > 1:
            raise SystemExit(f"broken after {tried} cases: {worst[1]}")
        if time.monotonic() > end:
            print(f"{tried} cases, the worst used {worst[0]:.0%} of what is claimed: {worst[1]}")
            return
