"""Check the paper's claims about its figures against the numbers of the runs."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from adam_optax.lab.paper.contenders import ADAGRAD_CONSTANT, UNCORRECTED
from adam_optax.lab.paper.draw import early
from adam_optax.lab.paper.intervals import Condition, Verdict, half_width, joint
from adam_optax.lab.paper.trials import Curve, Trial, best, choosing, judged, leaders

_CONSTANT, _UNCORRECTED = ADAGRAD_CONSTANT.optimizer.name, UNCORRECTED.optimizer.name
_ALIKE = 0.05
"""Costs that differ by less than this fraction are called similar: a convention."""


@dataclass(frozen=True)
class Claim:
    """Hold a claim of the paper beside the numbers that were measured.

    Attributes:
        text: The paper's words, shortened.
        measured: The measured numbers; of several seeds with 95 % intervals.
        holds: Whether the mean costs bear the claim out, whatever their intervals are.
        verdict: What the intervals say: borne out, not, or cannot tell.
    """

    text: str
    measured: str
    holds: bool
    verdict: Verdict


def claims(figure: str, curves: Sequence[Curve]) -> list[Claim]:
    """Check every claim of a figure against its runs.

    Args:
        figure: Name of the figure, `figure1` to `figure4`.
        curves: All runs of the figure.
    """
    return [claim(curves) for claim in _CLAIMS[figure]]


def _claim(text: str, measured: str, conditions: Mapping[str, Condition]) -> Claim:
    """Build a claim that needs all of its conditions, which are named by what is compared."""
    found = list(conditions.values())
    if any(len(condition.one) > 1 for condition in found):
        ratios = "; ".join(f"{name} {_ratio(one)}" for name, one in conditions.items())
        measured = f"{measured}; {ratios}"
    return Claim(text, measured, all(one.holds for one in found), joint(found))


def _ratio(condition: Condition) -> str:
    finite = math.isfinite(sum(condition.one) + sum(condition.other))
    return str(condition.ratio) if finite else "diverged"


def _below(
    costs: Mapping[str, Sequence[float]], ones: Iterable[str], others: Iterable[str], factor: float
) -> dict[str, Condition]:
    """Return conditions that each of some costs is below a factor times each of others."""
    return {
        f"{one} over {other}": Condition(costs[one], costs[other], factor)
        for one in ones
        for other in others
    }


def _costs(
    curves: Sequence[Curve], panel: str, epoch: int | None = None
) -> dict[str, tuple[float, ...]]:
    """Return the costs by seed of each optimiser at its best rate, after an epoch or the last."""
    found = best(curves, panel)
    return {name: trial.seed_costs(epoch) for name, trial in found.items()}


def _listed(costs: Mapping[str, Sequence[float]]) -> str:
    means = {name: sum(values) / len(values) for name, values in costs.items()}
    ranked = sorted(means.items(), key=lambda item: item[1])
    return ", ".join(
        f"{name} {mean:.4g}{_error(costs[name])}" if math.isfinite(mean) else f"{name} diverged"
        for name, mean in ranked
    )


def _error(values: Sequence[float]) -> str:
    half = half_width(values)
    return "" if half is None else f" ± {half:.2g}"


def _adam_as_nesterov(curves: Sequence[Curve]) -> Claim:
    costs = _costs(curves, "mnist")
    text = "MNIST: Adam yields similar convergence as SGD with momentum"
    alike = Condition(costs["Adam"], costs["SGD Nesterov"], 1 + _ALIKE, alike=True)
    return _claim(text, _listed(costs), {"Adam over SGD Nesterov": alike})


def _both_faster_than(adagrad: str) -> Callable[[Sequence[Curve]], Claim]:
    def claim(curves: Sequence[Curve]) -> Claim:
        costs = _costs(curves, "mnist")
        lower = _below(costs, ("Adam", "SGD Nesterov"), (adagrad,), 1.0)
        return _claim(f"MNIST: both converge faster than {adagrad}", _listed(costs), lower)

    return claim


def _adagrad_on_words(adagrad: str) -> Callable[[Sequence[Curve]], Claim]:
    def claim(curves: Sequence[Curve]) -> Claim:
        costs = _costs(curves, "imdb")
        text = f"IMDB: {adagrad} outperforms SGD with Nesterov momentum by a large margin"
        lower = _below(costs, (adagrad,), ("SGD Nesterov",), 1 - _ALIKE)
        return _claim(text, _listed(costs), lower)

    return claim


def _adam_on_words(curves: Sequence[Curve]) -> Claim:
    costs = _costs(curves, "imdb")
    lower = _below(costs, ("Adam",), ("AdaGrad", _CONSTANT), 1 + _ALIKE)
    return _claim("IMDB: Adam converges as fast as AdaGrad", _listed(costs), lower)


def _adam_on_mlp(curves: Sequence[Curve]) -> Claim:
    costs = _costs(curves, "mlp")
    text = "MLP with dropout: Adam shows better convergence than the other methods"
    others = [name for name in costs if name != "Adam"]
    return _claim(text, _listed(costs), _below(costs, ("Adam",), others, 1.0))


def _first_epochs(panel: str) -> Callable[[Sequence[Curve]], Claim]:
    def claim(curves: Sequence[Curve]) -> Claim:
        costs = _costs(curves, panel, 3)
        text = f"CNN, {panel}: Adam and AdaGrad make rapid progress in the first three epochs"
        lower = _below(costs, ("Adam", "AdaGrad"), ("SGD Nesterov",), 1.0)
        return _claim(text, _listed(costs), lower)

    return claim


def _in_the_end(panel: str) -> Callable[[Sequence[Curve]], Claim]:
    def claim(curves: Sequence[Curve]) -> Claim:
        costs = _costs(curves, panel)
        text = f"CNN, {panel}: Adam and SGD eventually converge considerably faster than AdaGrad"
        lower = _below(costs, ("Adam", "SGD Nesterov"), ("AdaGrad",), 1 - _ALIKE)
        return _claim(text, _listed(costs), lower)

    return claim


def _margin(panel: str) -> Callable[[Sequence[Curve]], Claim]:
    def claim(curves: Sequence[Curve]) -> Claim:
        costs = _costs(curves, panel)
        text = f"CNN, {panel}: Adam shows a marginal improvement over SGD with momentum"
        return _claim(text, _listed(costs), _below(costs, ("Adam",), ("SGD Nesterov",), 1.0))

    return claim


def _best(curves: Sequence[Curve], name: str, **numbers: float) -> Trial:
    """Return the trial at the best rate of an optimiser with these hyper-parameters."""
    of = [t for t in judged(curves) if t.optimizer == name and numbers.items() <= t.numbers.items()]
    return min(of, key=lambda trial: trial.cost)


def _as_good_as_uncorrected(curves: Sequence[Curve]) -> Claim:
    pairs = sorted({(c.numbers["b1"], c.numbers["b2"]) for c in curves})
    found = {
        (b1, b2): (_best(curves, "Adam", b1=b1, b2=b2), _best(curves, _UNCORRECTED, b1=b1, b2=b2))
        for b1, b2 in pairs
    }
    said = ", ".join(
        f"{b1:g}/{b2:g} {_times(one.cost / other.cost, 4)}"
        for (b1, b2), (one, other) in found.items()
    )
    text = "Adam performs equal to or better than RMSProp, at the best rate of each"
    lower = {
        f"{b1:g}/{b2:g}": Condition(one.seed_costs(), other.seed_costs(), 1.01)
        for (b1, b2), (one, other) in found.items()
    }
    return _claim(text, f"corrected over uncorrected, by b1/b2: {said}", lower)


def _slow_decay_needs_it(curves: Sequence[Curve]) -> Claim:
    """Compare the costs without and with correction, at the rate that is best with correction."""
    found = {
        (lead.numbers["b1"], lead.numbers["b2"]): (
            lead,
            _best(curves, _UNCORRECTED, **lead.numbers),
        )
        for lead in leaders(curves)
        if lead.optimizer == "Adam"
    }
    said = ", ".join(
        f"{b1:g}/{b2:g} {_times(other.cost / one.cost)}" for (b1, b2), (one, other) in found.items()
    )
    text = "b2 near 1 without bias correction leads to instabilities"
    measured = f"uncorrected over corrected, at the latter's best rate, by b1/b2: {said}"
    conditions = {}
    for (b1, b2), (one, other) in found.items():
        if b2 == 0.9999:  # at least 1.5 times as high without correction
            lower = Condition(one.seed_costs(), other.seed_costs(), 1 / 1.5)
            conditions[f"corrected over uncorrected, {b1:g}/{b2:g}"] = lower
        elif b2 == 0.99:  # at most 1.1 times as high
            near = Condition(other.seed_costs(), one.seed_costs(), 1.1)
            conditions[f"uncorrected over corrected, {b1:g}/{b2:g}"] = near
    return _claim(text, measured, conditions)


def _times(ratio: float, digits: int = 2) -> str:
    return f"{ratio:.{digits}f}" if math.isfinite(ratio) else "diverged"


def _best_of_all(curves: Sequence[Curve]) -> Claim:
    text = "The best results come with small 1 - b2 and bias correction, most of all at the end"
    found = judged(curves)
    claimed = [t for t in found if t.optimizer == "Adam" and t.numbers["b2"] >= 0.999]
    one, other = (
        min(some, key=lambda trial: trial.cost)
        for some in (claimed, [t for t in found if t not in claimed])
    )
    condition = Condition(one.seed_costs(), other.seed_costs())
    lower = {f"{_setting(one)} over {_setting(other)}": condition}
    sound = [trial for trial in found if math.isfinite(trial.cost)]
    tried = [trial for trial in choosing(curves) if math.isfinite(trial.cost)]
    if not (sound and tried):
        return _claim(text, "every run diverged", lower)
    epoch = early(tried[0].curves)
    early_best = min(tried, key=lambda trial: trial.costs[epoch - 1])
    first = min(sound, key=lambda trial: trial.cost)
    said = "; ".join(
        f"{when}: {_setting(t)}" for when, t in (("early", early_best), ("end", first))
    )
    return _claim(text, said, lower)


def _setting(trial: Trial) -> str:
    numbers = ", ".join(f"{name} {value:g}" for name, value in trial.numbers.items())
    return f"{trial.optimizer} ({numbers})"


_CLAIMS: dict[str, tuple[Callable[[Sequence[Curve]], Claim], ...]] = {
    "figure1": (
        _adam_as_nesterov,
        _both_faster_than("AdaGrad"),
        _both_faster_than(_CONSTANT),
        _adagrad_on_words("AdaGrad"),
        _adagrad_on_words(_CONSTANT),
        _adam_on_words,
    ),
    "figure2": (_adam_on_mlp,),
    "figure3": tuple(
        make(panel)
        for panel in ("plain", "dropout")
        for make in (_first_epochs, _in_the_end, _margin)
    ),
    "figure4": (_as_good_as_uncorrected, _slow_decay_needs_it, _best_of_all),
}
