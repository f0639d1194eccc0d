"""Report a sweep, a suggestion or a watched run: a table, notes, and files."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from adam_optax._watch import plot
from adam_optax.lab.halving import rungs
from adam_optax.lab.observation import Observation
from adam_optax.lab.reports import html, sweep_plot
from adam_optax.lab.reports.files import to_csv, write_report
from adam_optax.lab.reports.loss_plot import render
from adam_optax.lab.results import Setting, Sweep
from adam_optax.lab.suggestion import Suggestion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Table = tuple[str, Sequence[str], list[list[str]]]
"""A title, a header and rows."""

ENDS = (".png", ".svg", ".csv", ".html")
"""Ends of the names of a report's files."""

_SHOWN = (
    "update_ratio",
    "step_size",
    "signal_to_noise",
    "eps_share",
    "storage_error",
    "nonfinite",
)
"""Recorded quantities that the table of a watched run shows."""


@dataclasses.dataclass(frozen=True)
class Report:
    """Hold the printed part of a report, and the contents of its files.

    Attributes:
        table: The table that is printed.
        notes: Sentences below the table.
        files: Contents of the files, by the end of the file's name.
    """

    table: Table
    notes: list[str]
    files: Mapping[str, bytes]

    def write(self, directory: Path, stem: str) -> list[Path]:
        """Write the files, all or none of them, into a folder of their own.

        Args:
            directory: Where the report's folder goes.
            stem: Name of the folder, and beginning of the names of the files.

        Raises:
            LabError: If a file cannot be written.
        """
        named = {stem + end: content for end, content in self.files.items()}
        return write_report(directory / stem, named)


def sweep_report(sweep: Sweep) -> Report:
    """Report a sweep: the settings in the order of their loss, every run in the CSV file."""
    names = list(sweep.settings[0].numbers)
    ranked = sorted(sweep.settings, key=lambda setting: setting.loss)
    done = f"{len(sweep.points)} runs"
    if sweep.interrupted:
        done = f"{len(sweep.points)} of {sweep.planned} runs, interrupted"
    header = ["optimiser", *(n.replace("_", " ") for n in names), "final loss", "test %"]
    rows = [[s.optimizer, *(f"{s.numbers[n]:.4g}" for n in names), *_found(s)] for s in ranked]
    title = f"{sweep.problem.name}: {done}; mean ± standard deviation over seeds, best first"
    drawn = sweep_plot.figure([(f"{sweep.problem.name}: mean and range over seeds", sweep)])
    runs = sweep.rows()
    table = to_csv(list(runs[0]), [list(row.values()) for row in runs])
    text = "final training loss over what was varied"
    return build_report((title, header, rows), [], drawn, table, text)


def suggestion_report(suggestion: Suggestion) -> Report:
    """Report a suggestion: the hyper-parameters, the settings tried, and the watched run."""
    title = (
        f"{suggestion.problem.name}, {suggestion.optimizer}: {suggestion.answer()}; from "
        f"{suggestion.epochs_trained:,} epochs of training"
    )
    rows = [
        [name.replace("_", " "), f"{suggestion.default[name]:.4g}", f"{value:.4g}"]
        for name, value in suggestion.numbers.items()
    ]
    shortest = rungs(suggestion.epochs)[0]
    tried = f"{shortest.epochs} epochs of {suggestion.epochs}, {shortest.seeds} seed"
    panels = [(", ".join(stage.asks), stage.sweep) for stage in suggestion.stages]
    drawn = sweep_plot.figure([(f"{names.replace('_', ' ')}: {tried}", s) for names, s in panels])
    runs = suggestion.rows()
    table = to_csv(list(runs[0]), [list(row.values()) for row in runs])
    seen = plot.figure(suggestion.observation.reading)
    more = html.heading("The suggested setting, watched")
    more += html.image(render(seen, "png"), "what the optimiser does to each layer")
    notes = suggestion.evidence()
    header = ["hyper-parameter", "default", "suggested"]
    text = "training loss after short runs, over what was tried"
    return build_report((title, header, rows), notes, drawn, table, text, more)


def watch_report(observation: Observation) -> Report:
    """Report a watched run: each layer at the last record, every record in the CSV file."""
    run = observation.run
    header = ["layer", "update/param", "step size, median", "signal/noise", "ruled by eps"]
    header += ["storage error", "not finite"]
    rows = [
        [name, *(_last(layer[quantity]) for quantity in _SHOWN)]
        for name, layer in observation.reading.items()
    ]
    step = max(int(layer["step"][-1]) for layer in observation.reading.values())
    title = f"{observation.problem.name}, {run.optimizer} at {run.learning_rate:.3g}: step {step}"
    drawn = plot.figure(observation.reading)
    table = to_csv(("step", "layer", "quantity", "value"), observation.rows)
    notes = [f"training loss {run.train_loss[-1]:.4g}, test accuracy {run.test_accuracy:.2%}"]
    text = "what the optimiser does to each layer, over steps"
    return build_report((title, header, rows), notes, drawn, table, text)


def _last(values: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> str:
    """Format the last record; of quantiles, the median."""
    newest = values[-1] if values.ndim == 1 else values[-1][values.shape[1] // 2]
    return f"{newest:.3g}" if np.isfinite(newest) else "—"


def _found(setting: Setting) -> list[str]:
    if not math.isfinite(setting.loss):
        lost = sum(not math.isfinite(loss) for loss in setting.losses)
        return [f"diverged {lost}/{len(setting.losses)}", "—"]
    accuracy = 100 * float(np.mean(setting.accuracies))
    return [f"{setting.loss:#.3g} ± {setting.spread:#.2g}", f"{accuracy:.2f}"]


def build_report(
    table: Table,
    notes: list[str],
    drawn: "Figure",
    rows: bytes,
    text: str,
    more: str = "",
) -> Report:
    """Build a report with the files of `ENDS`.

    Args:
        table: The table that is printed.
        notes: Sentences below the table.
        drawn: The figure.
        rows: The contents of the CSV file.
        text: Description of the figure.
        more: HTML below the figure.
    """
    picture = render(drawn, "png")
    title, header, cells = table
    parts = [
        html.table(header, cells),
        *map(html.paragraph, notes),
        html.image(picture, text),
        more,
    ]
    contents = (picture, render(drawn, "svg"), rows, html.page(title, parts))
    return Report(table, notes, dict(zip(ENDS, contents, strict=True)))
