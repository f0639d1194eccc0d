"""Check the paper's claims about its figures against the numbers of the runs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from adam_optax.lab.paper.contenders import ADAGRAD_CONSTANT, UNCORRECTED
from adam_optax.lab.paper.draw import early
from adam_optax.lab.paper.run import Curve, best, leaders

_CONSTANT, _UNCORRECTED = ADAGRAD_CONSTANT.optimizer.name, UNCORRECTED.optimizer.name
_ALIKE = 0.05
"""Costs that differ by less than this fraction are called similar: a convention, since only one
seed is run."""


@dataclass(frozen=True)
class Claim:
    """Hold a claim of the paper beside the numbers that were measured.

    Attributes:
        text: The paper's words, shortened.
        measured: The measured numbers.
        holds: Whether the numbers bear the claim out.
    """

    text: str
    measured: str
    holds: bool


def claims(figure: str, curves: Sequence[Curve]) -> list[Claim]:
    """Check every claim of a figure against its runs.

    Args:
        figure: Name of the figure, `figure1` to `figure4`.
        curves: All runs of the figure.
    """
    return [claim(curves) for claim in _CLAIMS[figure]]


def _costs(curves: Sequence[Curve], panel: str) -> dict[str, float]:
    return {name: curve.cost for name, curve in best(curves, panel).items()}


def _listed(costs: dict[str, float]) -> str:
    ranked = sorted(costs.items(), key=lambda item: item[1])
    return ", ".join(f"{name} {cost:.4g}" for name, cost in ranked)


def _similar(a: float, b: float) -> bool:
    return abs(a - b) <= _ALIKE * min(a, b)


def _adam_as_nesterov(curves: Sequence[Curve]) -> Claim:
    costs = _costs(curves, "mnist")
    text = "MNIST: Adam yields similar convergence as SGD with momentum"
    return Claim(text, _listed(costs), _similar(costs["Adam"], costs["SGD Nesterov"]))


def _both_faster_than(adagrad: str) -> Callable[[Sequence[Curve]], Claim]:
    def claim(curves: Sequence[Curve]) -> Claim:
        costs = _costs(curves, "mnist")
        holds = costs[adagrad] > max(costs["Adam"], costs["SGD Nesterov"])
        return Claim(f"MNIST: both converge faster than {adagrad}", _listed(costs), holds)

    return claim


def _adagrad_on_words(adagrad: str) -> Callable[[Sequence[Curve]], Claim]:
    def claim(curves: Sequence[Curve]) -> Claim:
        costs = _costs(curves, "imdb")
        holds = costs[adagrad] < costs["SGD Nesterov"] * (1 - _ALIKE)
        text = f"IMDB: {adagrad} outperforms SGD with Nesterov momentum by a large margin"
        return Claim(text, _listed(costs), holds)

    return claim


def _adam_on_words(curves: Sequence[Curve]) -> Claim:
    costs = _costs(curves, "imdb")
    holds = costs["Adam"] < min(costs["AdaGrad"], costs[_CONSTANT]) * (1 + _ALIKE)
    return Claim("IMDB: Adam converges as fast as AdaGrad", _listed(costs), holds)


def _adam_on_mlp(curves: Sequence[Curve]) -> Claim:
    costs = _costs(curves, "mlp")
    text = "MLP with dropout: Adam shows better convergence than the other methods"
    return Claim(text, _listed(costs), costs["Adam"] == min(costs.values()))


def _first_epochs(panel: str) -> Callable[[Sequence[Curve]], Claim]:
    def claim(curves: Sequence[Curve]) -> Claim:
        costs = {name: c.costs[min(2, len(c.costs) - 1)] for name, c in best(curves, panel).items()}
        holds = max(costs["Adam"], costs["AdaGrad"]) < costs["SGD Nesterov"]
        text = f"CNN, {panel}: Adam and AdaGrad make rapid progress in the first three epochs"
        return Claim(text, _listed(costs), holds)

    return claim


def _in_the_end(panel: str) -> Callable[[Sequence[Curve]], Claim]:
    def claim(curves: Sequence[Curve]) -> Claim:
        costs = _costs(curves, panel)
        holds = max(costs["Adam"], costs["SGD Nesterov"]) < costs["AdaGrad"] * (1 - _ALIKE)
        text = f"CNN, {panel}: Adam and SGD eventually converge considerably faster than AdaGrad"
        return Claim(text, _listed(costs), holds)

    return claim


def _margin(panel: str) -> Callable[[Sequence[Curve]], Claim]:
    def claim(curves: Sequence[Curve]) -> Claim:
        costs = _costs(curves, panel)
        text = f"CNN, {panel}: Adam shows a marginal improvement over SGD with momentum"
        return Claim(text, _listed(costs), costs["Adam"] < costs["SGD Nesterov"])

    return claim


def _lowest(curves: Sequence[Curve], name: str, **numbers: float) -> float:
    """Return the cost at the best rate of an optimiser with these hyper-parameters."""
    return min(
        c.cost for c in curves if c.optimizer == name and numbers.items() <= c.numbers.items()
    )


def _as_good_as_uncorrected(curves: Sequence[Curve]) -> Claim:
    pairs = sorted({(c.numbers["b1"], c.numbers["b2"]) for c in curves})
    ratios = {
        (b1, b2): _lowest(curves, "Adam", b1=b1, b2=b2)
        / _lowest(curves, _UNCORRECTED, b1=b1, b2=b2)
        for b1, b2 in pairs
    }
    worst = max(ratios.values())
    said = ", ".join(f"{b1:g}/{b2:g} {ratio:.4f}" for (b1, b2), ratio in ratios.items())
    text = "Adam performs equal to or better than RMSProp, at the best rate of each"
    return Claim(text, f"corrected over uncorrected, by b1/b2: {said}", worst <= 1.01)


def _slow_decay_needs_it(curves: Sequence[Curve]) -> Claim:
    """Compare the costs without and with correction, at the rate that is best with correction."""
    ratios = {
        (lead.numbers["b1"], lead.numbers["b2"]): _lowest(curves, _UNCORRECTED, **lead.numbers)
        / lead.cost
        for lead in leaders(curves)
        if lead.optimizer == "Adam"
    }
    said = ", ".join(f"{b1:g}/{b2:g} {_times(ratio)}" for (b1, b2), ratio in ratios.items())
    slow, fast = ([r for (_, b2), r in ratios.items() if b2 == x] for x in (0.9999, 0.99))
    text = "b2 near 1 without bias correction leads to instabilities"
    measured = f"uncorrected over corrected, at the latter's best rate, by b1/b2: {said}"
    return Claim(text, measured, min(slow) > 1.5 and max(fast) < 1.1)


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if math.isfinite(ratio) else "diverged"


def _best_of_all(curves: Sequence[Curve]) -> Claim:
    sound = [c for c in curves if math.isfinite(c.cost)]
    first = min(sound, key=lambda c: c.cost)
    early_best = min(sound, key=lambda c: c.costs[early(sound) - 1])
    said = "; ".join(
        f"{when}: {_setting(c)}" for when, c in (("early", early_best), ("end", first))
    )
    text = "The best results come with small 1 - b2 and bias correction, most of all at the end"
    return Claim(text, said, first.optimizer == "Adam" and first.numbers["b2"] >= 0.999)


def _setting(curve: Curve) -> str:
    numbers = ", ".join(f"{name} {value:g}" for name, value in curve.numbers.items())
    return f"{curve.optimizer} ({numbers})"


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
