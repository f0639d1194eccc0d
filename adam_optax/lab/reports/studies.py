"""Report a sweep, a suggestion or a watched run: a table, notes, and files."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from adam_optax._watch import plot
from adam_optax._watch.quantities import QUANTITIES, middle, short_names
from adam_optax.lab.halving import rungs
from adam_optax.lab.observation import Observation
from adam_optax.lab.reports import sweep_plot
from adam_optax.lab.reports.canvas import render
from adam_optax.lab.reports.defaults import default_numbers
from adam_optax.lab.reports.files import to_csv
from adam_optax.lab.reports.html import Section
from adam_optax.lab.reports.provenance import listed
from adam_optax.lab.reports.report import PAGE, Report
from adam_optax.lab.reports.sweep_plot import Panel
from adam_optax.lab.reports.tables import Column, Table
from adam_optax.lab.reports.words import digits
from adam_optax.lab.results import Setting, Sweep
from adam_optax.lab.shown import counted
from adam_optax.lab.suggestion import Suggestion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ENDS", "Report", "build_report", "suggestion_report", "sweep_report", "watch_report"]

ENDS = (".png", ".svg", ".csv", PAGE)
"""Ends of the names of a report's files."""

_RANKS = {
    "update_ratio": 1,
    "step_size": 2,
    "signal_to_noise": 3,
    "eps_share": 4,
    "storage_error": 5,
    "nonfinite": 6,
}
"""Recorded quantities that the table of a watched run shows; the last are the first left out."""
_LOSS = "mean loss of the whole training set after the last epoch, in nats"
_TEST = "share of the test set that is classified right after the last epoch"


def sweep_report(sweep: Sweep) -> Report:
    """Report a sweep: the settings in the order of their loss, every run in the CSV file."""
    across = sweep_plot.varied(sweep)
    names = _optimizers(sweep)
    what = f"{sweep.problem.name}, {names[0]}" if len(names) == 1 else sweep.problem.name
    table = sweep_table(sweep)
    drawn = sweep_plot.figure([Panel("", sweep)], f"{what}: {_budget(sweep)}")
    runs = sweep.rows()
    asked = ", ".join(across).replace("_", " ") or "setting"
    whose = f"{names[0]} on " if len(names) == 1 else ""
    return build_report(
        f"Which {asked} is best for {whose}{sweep.problem.name}?",
        table,
        drawn,
        to_csv(list(runs[0]), [list(row.values()) for row in runs]),
        "Loss at the end of training over what was varied.",
        _seeds(sweep),
    )


def sweep_table(sweep: Sweep) -> Table:
    """Build the table of a sweep: the settings, those with the lowest losses first.

    A hyper-parameter has a column if it was varied; what all runs had in common is in the title.
    """
    ranked = sorted(sweep.settings, key=lambda setting: setting.loss)
    names, across = _optimizers(sweep), sweep_plot.varied(sweep)
    fixed = {n: v for n, v in ranked[0].numbers.items() if n not in across}
    columns = []
    if len(names) > 1:
        columns.append(Column("optimiser", "", [s.optimizer for s in ranked], is_name=True))
    for name in across or list(fixed)[:1]:
        cells = [f"{setting.numbers[name]:.6g}" for setting in ranked]
        columns.append(Column(name.replace("_", " "), "", cells))
    columns.append(Column("final loss", _LOSS, [_final(setting) for setting in ranked]))
    columns.append(Column("test %", _TEST, [_test(setting) for setting in ranked], rank=1))
    done = f"{counted(len(sweep.points), 'run')} of {counted(_epochs(sweep), 'epoch')}"
    if sweep.interrupted:
        done = f"{len(sweep.points)} of {sweep.planned} runs, interrupted"
    with_names = f", {names[0]}" if len(names) == 1 else ""
    common = ", ".join(f"{n.replace('_', ' ')} {v:.4g}" for n, v in fixed.items() if across)
    seeds = _seeds(sweep)
    of = f"mean ± standard deviation of seeds {listed(seeds)}" if len(seeds) > 1 else ""
    title = [done, f"all with {common}" if common else "", of or f"seed {listed(seeds)}"]
    notes = _defaults(sweep, across)
    notes += [] if len(seeds) > 1 else ["One seed: small differences may be chance."]
    return Table(
        f"{sweep.problem.name}{with_names}: {'; '.join(filter(None, title))}; best first",
        columns,
        notes,
    )


def _defaults(sweep: Sweep, names: Sequence[str]) -> list[str]:
    """Return notes of the varied numbers' defaults, one for optimisers that share them."""
    shared: dict[str, list[str]] = {}
    for optimizer in _optimizers(sweep):
        known = default_numbers(optimizer, sweep.problem)
        said = [f"{name.replace('_', ' ')} {known[name]:.4g}" for name in names if name in known]
        if said:
            shared.setdefault(", ".join(said), []).append(optimizer)
    return [f"Default of {', '.join(who)}: {said}." for said, who in shared.items()]


def suggestion_report(suggestion: Suggestion) -> Report:
    """Report a suggestion: the hyper-parameters, the settings tried, and the watched run."""
    shortest = rungs(suggestion.epochs)[0]
    how = f"{counted(shortest.epochs, 'epoch')} of {suggestion.epochs}"
    panels = [
        Panel(
            f"{', '.join(stage.asks).replace('_', ' ')}: {how}",
            stage.sweep,
            _tried(stage.sweep, stage.chosen),
            "chosen",
        )
        for stage in suggestion.stages
    ]
    name, problem = suggestion.optimizer, suggestion.problem.name
    drawn = sweep_plot.figure(panels, f"{problem}, {name}: the short runs of the search")
    runs = suggestion.rows()
    seen = plot.figure(suggestion.observation.reading, _watched(suggestion.observation))
    more = Section(
        heading="The suggested setting, watched",
        png=render(seen, "png"),
        caption="What the optimiser does to each layer.",
    )
    return build_report(
        f"Which hyper-parameters suit {name} on {problem}?",
        suggestion_table(suggestion),
        drawn,
        to_csv(list(runs[0]), [list(row.values()) for row in runs]),
        "Loss at the end of the short runs over what was tried; the choice is made in longer ones.",
        sorted({int(row["seed"]) for row in runs}),
        [more],
    )


def _tried(sweep: Sweep, chosen: Setting) -> Setting:
    """Return the setting of a sweep that has the numbers of the chosen one."""
    same = (setting for setting in sweep.settings if setting.numbers == chosen.numbers)
    return next(same, chosen)


def suggestion_table(suggestion: Suggestion) -> Table:
    """Build the table of a suggestion: each hyper-parameter, beside its default."""
    names = list(suggestion.numbers)
    default, found = suggestion.default, suggestion.numbers
    return Table(
        f"{suggestion.problem.name}, {suggestion.optimizer}: {suggestion.answer()}; from "
        f"{counted(suggestion.epochs_trained, 'epoch')} of training",
        [
            Column("number", "", [name.replace("_", " ") for name in names], is_name=True),
            Column("default", "", [f"{default[name]:.4g}" for name in names]),
            Column("suggested", "", [f"{found[name]:.4g}" for name in names]),
        ],
        suggestion.evidence(),
    )


def watch_report(observation: Observation) -> Report:
    """Report a watched run: each layer at the last record, every record in the CSV file."""
    run = observation.run
    drawn = plot.figure(observation.reading, _watched(observation))
    return build_report(
        f"What does {run.optimizer} do to each layer on {observation.problem.name}?",
        watch_table(observation),
        drawn,
        to_csv(("step", "layer", "quantity", "value"), observation.rows),
        "What the optimiser does to each layer, over the steps.",
        [run.seed],
    )


def watch_table(observation: Observation) -> Table:
    """Build the table of a watched run: each layer at the last record."""
    run, reading = observation.run, observation.reading
    shared, names = short_names(list(reading))
    columns = [Column("layer", "", names, is_name=True)]
    for quantity, rank in _RANKS.items():
        about = QUANTITIES[quantity]
        cells = [_last(layer[quantity]) for layer in reading.values()]
        columns.append(Column(about.head, about.meaning, cells, rank))
    step = max(int(layer["step"][-1]) for layer in reading.values())
    of = f"layers of {shared}, " if shared else ""
    notes = [
        f"At the end: training loss {run.train_loss[-1]:.4g} nats, test accuracy "
        f"{run.test_accuracy:.2%}.",
    ]
    if any("—" in column.cells for column in columns):
        notes.append("—: not known of this optimiser.")
    return Table(f"{_watched(observation)}: {of}at step {step}", columns, notes)


def _watched(observation: Observation) -> str:
    run = observation.run
    return (
        f"{observation.problem.name}, {run.optimizer} at rate {run.learning_rate:.3g}, "
        f"seed {run.seed}"
    )


def _last(values: NDArray[np.float32]) -> str:
    """Format the last record; of quantiles, the median."""
    newest = middle(values)[-1]
    return f"{newest:.3g}" if np.isfinite(newest) else "—"


def _optimizers(sweep: Sweep) -> list[str]:
    return list(dict.fromkeys(setting.optimizer for setting in sweep.settings))


def _seeds(sweep: Sweep) -> list[int]:
    return sorted({point.seed for point in sweep.points})


def _budget(sweep: Sweep) -> str:
    seeds = _seeds(sweep)
    counts = [(len(sweep.settings), "setting"), (len(seeds), "seed"), (_epochs(sweep), "epoch")]
    return ", ".join(counted(count, what) for count, what in counts)


def _epochs(sweep: Sweep) -> int:
    return max(len(point.train_loss) for point in sweep.points)


def _final(setting: Setting) -> str:
    if not math.isfinite(setting.loss):
        lost = sum(not math.isfinite(loss) for loss in setting.losses)
        return f"diverged {lost}/{len(setting.losses)}"
    one = len(setting.losses) == 1
    return digits(setting.loss, 3) + ("" if one else f" ± {digits(setting.spread, 2)}")


def _test(setting: Setting) -> str:
    if not math.isfinite(setting.loss):
        return "—"
    return f"{100 * float(np.mean(setting.accuracies)):.2f}"


def build_report(
    question: str,
    table: Table,
    drawn: "Figure",
    rows: bytes,
    caption: str,
    seeds: Sequence[int],
    more: Sequence[Section] = (),
) -> Report:
    """Build a report with the files of `ENDS`.

    Args:
        question: The question that the report answers.
        table: The table that is printed.
        drawn: The figure.
        rows: The contents of the CSV file.
        caption: What the figure shows.
        seeds: The seeds of the runs.
        more: Further sections of the page.
    """
    contents = (render(drawn, "png"), render(drawn, "svg"), rows)
    files = dict(zip(ENDS, contents, strict=False))
    return Report(question, table, caption, files, seeds, more)
