"""Report a comparison: a table, figures, CSV files, and a page that contains them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from adam_optax.lab.comparison import Comparison, Row, Spread
from adam_optax.lab.errors import needs_lab_extra
from adam_optax.lab.reports import html, loss_plot, sweep_plot
from adam_optax.lab.reports.files import to_csv, write_report
from adam_optax.lab.tuning import is_at_edge

if TYPE_CHECKING:
    from rich.table import Table

RUN_COLUMNS = (
    "problem",
    "optimizer",
    "seed",
    "learning_rate",
    "steps",
    "final_train_loss",
    "best_train_loss",
    "test_accuracy",
    "steps_to_target",
    "seconds_per_step",
    "state_bytes_per_parameter",
    "diverged",
)
CURVE_COLUMNS = ("problem", "optimizer", "seed", "step", "batch_loss")
_HEADER = ("optimiser", "rate", "final loss", "best loss", "test %", "steps to", "µs/step", "B/par")
_ENDS = (".png", ".svg", "-runs.csv", "-curves.csv", ".html")


def names(stem: str) -> tuple[str, ...]:
    """Return the file names of a report: figures, runs, loss curves, and the page of all."""
    return tuple(f"{stem}{end}" for end in _ENDS)


def write(comparison: Comparison, folder: Path, stem: str) -> list[Path]:
    """Write figures, CSV files and the page.

    Args:
        comparison: The comparison.
        folder: The folder of this report alone.
        stem: Beginning of the file names (see `names`).

    Raises:
        LabError: If matplotlib is missing or a file cannot be written.
    """
    drawn = loss_plot.figure(comparison)
    picture = loss_plot.render(drawn, "png")
    contents = (
        picture,
        loss_plot.render(drawn, "svg"),
        to_csv(RUN_COLUMNS, _run_rows(comparison)),
        to_csv(CURVE_COLUMNS, _curve_rows(comparison)),
        _page(comparison, picture),
    )
    return write_report(folder, dict(zip(names(stem), contents, strict=True)))


def table(comparison: Comparison) -> "Table":
    """Build the table of a comparison: mean ± standard deviation over seeds.

    Raises:
        LabError: If rich is not installed.
    """
    with needs_lab_extra("the table"):
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text
    target = comparison.problem.target_loss
    result = Table(box=SIMPLE_HEAD, title_justify="left", caption_justify="left")
    result.title = _title(comparison)
    result.caption = "\n".join(_notes(comparison))
    result.add_column("optimiser", no_wrap=True)
    result.add_column("rate", justify="right", no_wrap=True)
    # In 80 columns these cells break before the deviation; the numbers themselves stay whole.
    for header in ("final loss", "best loss", "test %", f"steps to {target:g}"):
        result.add_column(header, justify="right")
    result.add_column("µs/\nstep", justify="right", no_wrap=True)
    result.add_column("state\nB/par", justify="right", no_wrap=True)
    for row in comparison.rows():
        # A plain string would be read as markup, and a name in square brackets would be lost.
        result.add_row(*(Text(cell) for cell in _cells(row)))
    return result


def _page(comparison: Comparison, picture: bytes) -> bytes:
    target = f"steps to {comparison.problem.target_loss:g}"
    header = [target if name == "steps to" else name for name in _HEADER]
    rows = [_cells(row) for row in comparison.rows()]
    parts = [html.paragraph(_title(comparison)), html.table(header, rows)]
    parts += [html.paragraph(note) for note in _notes(comparison)]
    parts.append(html.image(picture, "training loss over steps, a curve for each optimiser"))
    if comparison.tuning:
        panels = list(comparison.tuning.items())
        tuned = loss_plot.render(sweep_plot.figure(panels), "png")
        parts.append(html.heading("Learning rates tried"))
        parts.append(html.image(tuned, "final loss over learning rate"))
    return html.page(f"{comparison.problem.name}: {comparison.problem.description}", parts)


def _notes(comparison: Comparison) -> list[str]:
    notes = ["losses in nats; state: bytes of optimiser state per model parameter"]
    if comparison.tuning:
        seeds = sorted({p.seed for sweep in comparison.tuning.values() for p in sweep.points})
        tried = max(len(sweep.settings) for sweep in comparison.tuning.values())
        listed = ", ".join(map(str, seeds))
        notes.append(f"each at the best of {tried} rates by mean final loss over seeds {listed}")
        edges = [name for name, sweep in comparison.tuning.items() if is_at_edge(sweep)]
        notes += [f"at the edge of the rates tried: {', '.join(edges)}"] if edges else []
    return notes


def _title(comparison: Comparison) -> str:
    done, planned = len(comparison.runs), comparison.planned
    if planned == 1:
        return f"{comparison.problem.name}: 1 run"
    runs = f"{done} of {planned} runs, interrupted" if comparison.interrupted else f"{done} runs"
    return f"{comparison.problem.name}: {runs}; mean ± standard deviation over seeds"


def _cells(row: Row) -> tuple[str, ...]:
    diverged = f"\ndiverged {row.diverged}/{row.seeds}" if row.diverged else ""
    return (
        row.optimizer,
        f"{row.learning_rate:.3g}",
        _loss(row.final_loss) + diverged,
        _loss(row.best_loss),
        _spread(row.test_accuracy, "{:.2f} ± {:.2f}", 100),
        _spread(row.steps_to_target, "{:.0f} ± {:.0f}") + _reached(row),
        f"{row.seconds_per_step * 1e6:.0f}",
        f"{row.state_bytes_per_parameter:.2f}",
    )


def _spread(value: Spread | None, form: str, scale: float = 1) -> str:
    if value is None:
        return "—"
    if value.std is None:
        return form.split(" ± ")[0].format(value.mean * scale)
    return form.format(value.mean * scale, value.std * scale)


def _loss(value: Spread | None) -> str:
    return _spread(value, "{:#.3g} ± {:#.2g}")


def _reached(row: Row) -> str:
    return "" if row.steps_to_target else f" ({row.reached}/{row.seeds})"


def _run_rows(comparison: Comparison) -> Iterator[tuple[object, ...]]:
    for run in comparison.runs:
        yield (
            comparison.problem.name,
            run.optimizer,
            run.seed,
            run.learning_rate,
            len(run.losses),
            run.train_loss[-1],
            min(run.train_loss),
            run.test_accuracy,
            run.steps_to_target,
            run.seconds_per_step,
            run.state_bytes_per_parameter,
            run.diverged,
        )


def _curve_rows(comparison: Comparison) -> Iterator[tuple[object, ...]]:
    for run in comparison.runs:
        for step, loss in enumerate(run.losses.tolist(), start=1):
            yield comparison.problem.name, run.optimizer, run.seed, step, loss
