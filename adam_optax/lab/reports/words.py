"""Word what a comparison's figure, table and page have in common: titles, and at which rates."""

import shlex

from adam_optax.lab._problems.builtin import problems
from adam_optax.lab.comparison import Comparison
from adam_optax.lab.optimizers import DEFAULT_OPTIMIZERS
from adam_optax.lab.reports.defaults import default_rate
from adam_optax.lab.reports.provenance import listed
from adam_optax.lab.shown import counted


def question(comparison: Comparison) -> str:
    """Return the question that a comparison answers."""
    names = list(comparison.by_optimizer())
    what = comparison.problem.name
    if len(names) == 1:
        return f"How does {names[0]} train {what}?"
    return f"Which optimiser trains {what} best?"


def title(comparison: Comparison) -> str:
    """Return the title of a comparison's figure: problem, the only optimiser, seeds and epochs."""
    rates = {(run.optimizer, run.learning_rate) for run in comparison.runs}
    alone = "".join(f", {name} at rate {rate:.3g}" for name, rate in rates) * (len(rates) == 1)
    return f"{comparison.problem.name}{alone}: {seeds(comparison)}; {epochs(comparison)}"


def epochs(comparison: Comparison) -> str:
    """Say of how many epochs the longest run is."""
    return counted(max((len(run.train_loss) for run in comparison.runs), default=0), "epoch")


def seeds(comparison: Comparison) -> str:
    """Say of how many seeds the means are, and of which."""
    found = {run.seed for run in comparison.runs}
    return f"mean of seeds {listed(found)}" if len(found) > 1 else f"seed {listed(found)}"


def rates(comparison: Comparison) -> str:
    """Say at which learning rates optimisers were compared, and how to compare at better ones.

    An optimiser at a default rate may lose or win for its rate alone, so that no figure or table
    should be read without this sentence.
    """
    names = list(comparison.by_optimizer())
    if comparison.tuning:
        tried = max(len(sweep.settings) for sweep in comparison.tuning.values())
        found = {p.seed for sweep in comparison.tuning.values() for p in sweep.points}
        return (
            f"Each at its own best of {tried} learning rates, by the mean loss at the end of "
            f"training over seeds {listed(found)}."
        )
    if len(names) < 2:
        return ""
    defaults = {run.optimizer: _default(comparison, run.optimizer) for run in comparison.runs}
    at_defaults = all(run.learning_rate == defaults[run.optimizer] for run in comparison.runs)
    which = "its default learning rate" if at_defaults else "the learning rate given"
    return f"Each at {which}, not at its best; for that: {_tune_command(comparison)}"


def _default(comparison: Comparison, name: str) -> float | None:
    rate = default_rate(name)
    return None if rate is None else rate * comparison.problem.learning_rate


def _tune_command(comparison: Comparison) -> str:
    names = list(comparison.by_optimizer())
    own = comparison.problem.name not in problems or any(default_rate(n) is None for n in names)
    if own:
        return "compare(..., tune=True)"
    listed_names = [] if names == list(DEFAULT_OPTIMIZERS) else ["--optimizer", ",".join(names)]
    words = ["adam-optax", "compare", comparison.problem.name, *listed_names, "--tune"]
    return shlex.join(words)


def digits(number: float, count: int) -> str:
    """Return a number with so many digits, zeros at its end too, and no point after the last."""
    return f"{number:#.{count}g}".removesuffix(".")
