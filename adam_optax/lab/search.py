"""Search for hyper-parameters by successive halving, and confirm the choice on fresh seeds."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adam_optax.lab._problems.problem import Problem
from adam_optax.lab.grid import LEARNING_RATE
from adam_optax.lab.halving import (
    SEEDS,
    Budget,
    Expense,
    Runs,
    Train,
    expenses,
    halve,
    late_losses,
    rungs,
)
from adam_optax.lab.optimizers import Optimizer, default_numbers
from adam_optax.lab.paired import Paired
from adam_optax.lab.results import Setting, Sweep
from adam_optax.lab.tuning import learning_rates

BETAS = {"b1": (0.5, 0.8, 0.9, 0.95), "b2": (0.9, 0.99, 0.999, 0.9999)}
"""Values that are tried, every `b1` with every `b2`."""
EPS = (1e-12, 1e-8, 1e-6, 1e-4, 1e-2)
"""Values of epsilon that are tried."""

Numbers = dict[str, float]
"""Hyper-parameters by name."""


@dataclass(frozen=True, eq=False)
class Stage:
    """Hold one stage of the search: the hyper-parameters in question, and the runs.

    Attributes:
        asks: Names of the hyper-parameters in question.
        rounds: The runs of each round of successive halving: many settings shortly, then few of
            them longer, as `halving.rungs` says.
        kept: The setting before the stage, which took part in all rounds.
        chosen: The setting after the stage.
        reason: The reason for the choice, in a sentence with the numbers.
    """

    asks: tuple[str, ...]
    rounds: tuple[Sweep, ...]
    kept: Setting
    chosen: Setting
    reason: str

    @property
    def sweep(self) -> Sweep:
        """Return the runs of the first round, in which every setting was tried."""
        return self.rounds[0]


@dataclass(frozen=True, eq=False)
class Confirmation:
    """Hold whole runs of what was chosen, and of the default, with seeds new to the search.

    Attributes:
        sweep: The runs.
        paired: The judgement.
    """

    sweep: Sweep
    paired: Paired


class Search:
    """Choose hyper-parameters stage by stage, and confirm what was chosen.

    Args:
        problem: The problem to train on.
        optimizer: The optimiser.
        seeds: Seeds of the confirmation.
        epochs: Epochs of a whole run.
        train: Trains jobs.
        on_progress: As in `suggest`.
        on_note: As in `suggest`.
        on_round: Called before runs are trained with what they are for.

    Attributes:
        default: The default hyper-parameters by name.
        budget: The runs that are planned, at most.
        runs: The runs that were trained.
    """

    def __init__(
        self,
        problem: Problem,
        optimizer: Optimizer,
        seeds: Sequence[int],
        epochs: int,
        train: Train,
        on_progress: Callable[[int, int], object] | None = None,
        on_note: Callable[[str], object] | None = None,
        on_round: Callable[[str], object] | None = None,
    ) -> None:
        rate = optimizer.rate * problem.learning_rate
        self.default = {LEARNING_RATE: rate, **default_numbers(optimizer, (*BETAS, "eps"))}
        self._seeds, self._rounds, self._note = seeds, rungs(epochs), on_note or (lambda _: None)
        self._questions = _questions(self.default, learning_rates(problem, optimizer))
        planned = [
            expenses(_words(asks), len(changes), self._rounds, place == 0)
            for place, (asks, changes) in enumerate(self._questions)
        ]
        planned.append([Expense("confirming", 2, len(seeds), epochs)])
        planned.append([Expense("watching", 1, 1, epochs)])
        self.budget = Budget(tuple(itertools.chain.from_iterable(planned)), epochs)
        self._costs = [sum(expense.total for expense in part) for part in planned]
        self.runs = Runs(problem, train, self.budget.epochs, on_progress, on_round)

    def run(self) -> tuple[list[Stage], Confirmation | None]:
        """Return the stages and the confirmation: `None` if the default was chosen."""
        for line in self.budget.lines():
            self._note(line)
        stages: list[Stage] = []
        numbers = self.default
        for place, (asks, changes) in enumerate(self._questions, start=1):
            stages.append(self._stage(asks, numbers, changes))
            numbers = stages[-1].chosen.numbers
            is_last, is_default = place == len(self._questions), numbers == self.default
            left = sum(self._costs[place + (is_last and is_default) :])
            self.runs.plan(left)
            self._note(f"{stages[-1].reason}; {self.budget.left(left)}")
        return stages, None if numbers == self.default else self._confirm(numbers)

    def _stage(self, asks: tuple[str, ...], base: Numbers, changes: Sequence[Numbers]) -> Stage:
        """Try changes of a setting; the best learning rate is taken, other changes if clear."""
        tries = [base | change for change in changes]
        seeds = choosing_seeds(self._seeds)
        rounds = halve(self.runs, tries, base, seeds, self._rounds, _words(asks))
        last = rounds[-1].settings
        kept, best = last[0], last[int(np.argmin(late_losses(rounds[-1])))]
        take = asks == (LEARNING_RATE,) or Paired(kept, best, SEEDS).is_better
        chosen = best if take else kept
        return Stage(asks, rounds, kept, chosen, _reason(asks, rounds, kept, best, chosen))

    def _confirm(self, numbers: Numbers) -> Confirmation:
        """Train a setting and the default in whole runs, by half of the seeds at a time."""
        count, epochs = len(self._seeds), self._rounds[-1].epochs
        for seeds in (self._seeds[: count // 2], self._seeds):
            sweep = self.runs.sweep([self.default, numbers], seeds, epochs, "confirmation")
            default, chosen = sweep.settings
            found = Confirmation(sweep, Paired(default, chosen, count))
            if found.paired.is_decided:
                break
        self.runs.plan(self._costs[-1])
        return found


def choosing_seeds(seeds: Sequence[int], count: int = SEEDS) -> list[int]:
    """Return seeds for choosing, none of which is among the seeds of the confirmation.

    They are half of the range of seeds away, and depend on the first seed only: with more seeds
    the same choice is confirmed.
    """
    taken, size = set(seeds), 2**31
    after = ((seeds[0] + size // 2 + place) % size for place in itertools.count())
    return list(itertools.islice((seed for seed in after if seed not in taken), count))


def _questions(
    default: Numbers, rates: Sequence[float]
) -> list[tuple[tuple[str, ...], list[Numbers]]]:
    """List for each stage the names in question, and the values to try beside the default's."""
    betas = {name: values for name, values in BETAS.items() if name in default}
    asked: list[dict[str, Sequence[float]]] = [{LEARNING_RATE: rates}, {**betas}]
    asked.append({"eps": EPS} if "eps" in default else {})
    return [
        (
            tuple(values),
            [
                change
                for pair in itertools.product(*values.values())
                if (change := dict(zip(values, pair, strict=True))).items() - default.items()
            ],
        )
        for values in asked
        if values
    ]


def _reason(
    asks: tuple[str, ...], rounds: Sequence[Sweep], kept: Setting, best: Setting, chosen: Setting
) -> str:
    tried, seeds = rounds[0].settings, len(chosen.losses)
    said = f"{named(asks, chosen.numbers)}: training loss {_loss(chosen)} in whole runs"
    if chosen is not best:
        said += f"; {named(asks, best.numbers)} with {_loss(best)} is not clearly better"
    elif kept is not best:
        said += f", against {_loss(kept)} with {named(asks, kept.numbers)}"
    said += f" ({seeds} seeds for choosing; the best of {len(tried)}"
    if asks == (LEARNING_RATE,):
        said += _limits(rounds[0], chosen)
    return f"{said})"


def _limits(sweep: Sweep, chosen: Setting) -> str:
    grid = [setting.numbers[LEARNING_RATE] for setting in sweep.settings]
    lost = [s.numbers[LEARNING_RATE] for s in sweep.settings if not math.isfinite(s.loss)]
    said = f" from {min(grid):.3g} to {max(grid):.3g}"
    if chosen.numbers[LEARNING_RATE] in (min(grid), max(grid)):
        said += ", at whose edge it is: a better one may lie beyond"
    return said + (f"; diverges from {min(lost):.3g} on" if lost else "")


def _words(names: Sequence[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)


def named(names: Sequence[str], numbers: Mapping[str, float]) -> str:
    """Write hyper-parameters with their values."""
    return ", ".join(f"{_words([name])} {numbers[name]:.4g}" for name in names)


def _loss(setting: Setting) -> str:
    if lost := sum(map(math.isinf, setting.losses)):
        return f"infinite, as {lost} of {len(setting.losses)} diverged"
    return f"{setting.loss:.4g} ± {setting.spread:.2g}"
