"""What is shown and kept of a sweep, a suggestion and a watched run."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from adam_optax._watch import plot
from adam_optax.lab import html, sweep_plot
from adam_optax.lab.files import to_csv, write_all
from adam_optax.lab.observe import Observation
from adam_optax.lab.plot import rendered
from adam_optax.lab.points import Setting, Sweep
from adam_optax.lab.suggest import Suggestion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Table = tuple[str, Sequence[str], list[list[str]]]
"""A title, a header and rows."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What is shown of a study, and its files.

    Attributes:
      table: What is printed.
      notes: Sentences below it.
      files: By the end of the name.
    """

    table: Table
    notes: list[str]
    files: Mapping[str, bytes]

    def write(self, directory: Path, stem: str) -> list[Path]:
        """Writes the files, whole or not at all.

        Raises:
          LabError: If one cannot be written.
        """
        return write_all(directory, {stem + end: content for end, content in self.files.items()})


ENDS = (".png", ".svg", ".csv", ".html")
"""How the files of every report end."""


def sweep_report(sweep: Sweep) -> Report:
    """Settings in the order of their loss, and every run in the CSV file."""
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
    return report_of((title, header, rows), [], drawn, table, text)


def suggestion_report(suggestion: Suggestion) -> Report:
    """The numbers, what was tried for each, and the watched run."""
    title = (
        f"{suggestion.problem.name}, {suggestion.optimizer}: suggested from "
        f"{sum(len(stage.sweep.points) for stage in suggestion.stages)} runs of "
        f"{suggestion.epochs} epochs"
    )
    rows = [[name.replace("_", " "), f"{value:.4g}"] for name, value in suggestion.numbers.items()]
    panels = [(", ".join(stage.asks), stage.sweep) for stage in suggestion.stages]
    drawn = sweep_plot.figure([(f"stage {i}: {n}", s) for i, (n, s) in enumerate(panels, start=1)])
    tried = [
        {"stage": number, **row}
        for number, stage in enumerate(suggestion.stages, start=1)
        for row in stage.sweep.rows()
    ]
    table = to_csv(list(tried[0]), [list(row.values()) for row in tried])
    seen = plot.figure(suggestion.observation.reading)
    more = html.heading("The suggested setting, watched")
    more += html.image(rendered(seen, "png"), "what the optimiser does to each layer")
    notes = suggestion.evidence()
    text = "final training loss over what was tried"
    return report_of((title, ["number", "value"], rows), notes, drawn, table, text, more)


def watch_report(observation: Observation) -> Report:
    """Each layer at the last record, and every record in the CSV file."""
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
    return report_of((title, header, rows), notes, drawn, table, text)


_SHOWN = (
    "update_ratio",
    "step_size",
    "signal_to_noise",
    "eps_share",
    "storage_error",
    "nonfinite",
)


def _last(values: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> str:
    """The last record; of quantiles, the median."""
    newest = values[-1] if values.ndim == 1 else values[-1][values.shape[1] // 2]
    return f"{newest:.3g}" if np.isfinite(newest) else "—"


def _found(setting: Setting) -> list[str]:
    if not math.isfinite(setting.loss):
        lost = sum(not math.isfinite(loss) for loss in setting.losses)
        return [f"diverged {lost}/{len(setting.losses)}", "—"]
    accuracy = 100 * float(np.mean(setting.accuracies))
    return [f"{setting.loss:#.3g} ± {setting.spread:#.2g}", f"{accuracy:.2f}"]


def report_of(
    table: Table,
    notes: list[str],
    drawn: "Figure",
    rows: bytes,
    text: str,
    more: str = "",
) -> Report:
    """A report with the files of `ENDS`.

    Args:
      table: What is printed.
      notes: Sentences below it.
      drawn: The figure.
      rows: The CSV file.
      text: What the figure shows.
      more: HTML below the figure.
    """
    picture = rendered(drawn, "png")
    title, header, cells = table
    parts = [
        html.table(header, cells),
        *map(html.paragraph, notes),
        html.image(picture, text),
        more,
    ]
    contents = (picture, rendered(drawn, "svg"), rows, html.page(title, parts))
    return Report(table, notes, dict(zip(ENDS, contents, strict=True)))
