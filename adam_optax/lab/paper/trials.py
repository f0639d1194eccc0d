"""Group the runs of a figure: by setting, by what chose the rates, and by what judges."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adam_optax.lab.grid import LEARNING_RATE
from adam_optax.lab.reports.provenance import listed


@dataclass(frozen=True)
class Curve:
    """Record the cost of one run of a panel, epoch by epoch.

    Attributes:
        panel: Name of the panel.
        optimizer: Name of the optimiser.
        numbers: Hyper-parameters by name, among them `learning_rate`.
        costs: Mean loss of the batches of each epoch, noise of the model included, in nats.
        seed: Seed of the initial parameters and of the order of the batches.
    """

    panel: str
    optimizer: str
    numbers: dict[str, float]
    costs: tuple[float, ...]
    seed: int = 0

    @property
    def rate(self) -> float:
        """Return the learning rate."""
        return self.numbers[LEARNING_RATE]

    @property
    def cost(self) -> float:
        """Return the cost of the last epoch; infinite if the cost of any epoch is not finite."""
        return self.costs[-1] if all(map(math.isfinite, self.costs)) else math.inf


@dataclass(frozen=True)
class Trial:
    """Hold the runs of one optimiser with one setting, one for each seed.

    Attributes:
        curves: The runs, in the order of their seeds.
    """

    curves: tuple[Curve, ...]

    @property
    def panel(self) -> str:
        """Return the name of the panel."""
        return self.curves[0].panel

    @property
    def optimizer(self) -> str:
        """Return the name of the optimiser."""
        return self.curves[0].optimizer

    @property
    def numbers(self) -> dict[str, float]:
        """Return the hyper-parameters by name."""
        return self.curves[0].numbers

    @property
    def rate(self) -> float:
        """Return the learning rate."""
        return self.curves[0].rate

    @property
    def seeds(self) -> list[int]:
        """Return the seeds."""
        return [curve.seed for curve in self.curves]

    @property
    def cost(self) -> float:
        """Return the mean cost of the last epoch; infinite if a run diverged."""
        return sum(curve.cost for curve in self.curves) / len(self.curves)

    @property
    def costs(self) -> NDArray[np.float64]:
        """Return the mean cost of each epoch."""
        means: NDArray[np.float64] = np.mean([curve.costs for curve in self.curves], axis=0)
        return means

    def seed_costs(self, epoch: int | None = None) -> tuple[float, ...]:
        """Return the cost of each seed.

        Args:
            epoch: After which epoch, from 1; after the last, if there are fewer, or if it is
                `None`: the cost is then infinite for a run that diverged.
        """
        if epoch is None:
            return tuple(curve.cost for curve in self.curves)
        return tuple(curve.costs[min(epoch, len(curve.costs)) - 1] for curve in self.curves)


def trials(curves: Sequence[Curve]) -> list[Trial]:
    """Group runs that differ by their seeds alone."""
    found: dict[object, list[Curve]] = {}
    for curve in curves:
        key = curve.panel, curve.optimizer, *curve.numbers.items()
        found.setdefault(key, []).append(curve)
    return [Trial(tuple(sorted(runs, key=lambda c: c.seed))) for runs in found.values()]


def judged(curves: Sequence[Curve]) -> list[Trial]:
    """Return the trials by which claims are judged: of the seeds that had no part in the choice.

    A seed that was trained at all rates has chosen among them, and what it chose may look good by
    chance; so its runs are left out where others are of the same optimiser. Where all rates have
    the same seeds, all of it is returned.
    """
    found = []
    for group in _groups(curves):
        chose = set.intersection(*(set(trial.seeds) for trial in group))
        fresh = [tuple(c for c in trial.curves if c.seed not in chose) for trial in group]
        found += [Trial(runs) for runs in fresh if runs] or group
    return found


def choosing(curves: Sequence[Curve]) -> list[Trial]:
    """Return the trials at all rates, with the seeds that all rates of an optimiser have."""
    found = []
    for group in _groups(curves):
        chose = set.intersection(*(set(trial.seeds) for trial in group))
        found += [Trial(tuple(c for c in t.curves if c.seed in chose)) for t in group if chose]
    return found


def said_seeds(curves: Sequence[Curve]) -> str:
    """Say of which seeds the costs are, and which chose the rates; by panel, if they differ."""
    panels: dict[str, list[Curve]] = {}
    for curve in curves:
        panels.setdefault(curve.panel, []).append(curve)
    said = {name: _said_seeds(some) for name, some in panels.items()}
    if len(set(said.values())) == 1:
        return next(iter(said.values()))
    return "; ".join(f"{name}: {text}" for name, text in said.items())


def _said_seeds(curves: Sequence[Curve]) -> str:
    seeds = {seed for trial in judged(curves) for seed in trial.seeds}
    chose = {seed for trial in choosing(curves) for seed in trial.seeds} - seeds
    said = f"{'seed' if len(seeds) == 1 else 'mean of seeds'} {listed(seeds)}"
    return f"{said}, rates chosen with seed {listed(chose)}" if chose else said


def leaders(curves: Sequence[Curve]) -> list[Trial]:
    """Return the trials at the best learning rate, with the lowest mean cost in the last epoch.

    There is one trial for each panel, optimiser and setting of the other hyper-parameters, of the
    seeds that judge. Where every one has a run that diverged, it is that of the lowest rate, and
    its cost is infinite.
    """
    found: dict[object, Trial] = {}
    for trial in judged(curves):
        kept = found.setdefault(group_of(trial), trial)
        found[group_of(trial)] = min(kept, trial, key=lambda t: (t.cost, t.rate))
    return list(found.values())


def diverged(curves: Sequence[Curve]) -> bool:
    """Return whether a run of every trial diverged."""
    return not any(math.isfinite(trial.cost) for trial in leaders(curves))


def best(curves: Sequence[Curve], panel: str) -> dict[str, Trial]:
    """Return the leaders of a panel without a grid, by optimiser."""
    return {t.optimizer: t for t in leaders(curves) if t.panel == panel}


def at_the_edge(curves: Sequence[Curve]) -> list[Trial]:
    """Return the leaders at an edge of the rates tried, which a rate beyond might beat."""
    tried: dict[object, list[float]] = {}
    for trial in trials(curves):
        tried.setdefault(group_of(trial), []).append(trial.rate)
    sound = (trial for trial in leaders(curves) if math.isfinite(trial.cost))
    return [t for t in sound if t.rate in _ends(tried[group_of(t)])]


def _groups(curves: Sequence[Curve]) -> list[list[Trial]]:
    """Return the trials of each panel, optimiser and setting of the other numbers."""
    found: dict[object, list[Trial]] = {}
    for trial in trials(curves):
        found.setdefault(group_of(trial), []).append(trial)
    return list(found.values())


def _ends(rates: Sequence[float]) -> tuple[float, float]:
    return min(rates), max(rates)


def group_of(trial: Trial) -> object:
    """Return panel, optimiser and other numbers of a trial: all but the learning rate."""
    others = [number for number in trial.numbers.items() if number[0] != LEARNING_RATE]
    return trial.panel, trial.optimizer, *others
