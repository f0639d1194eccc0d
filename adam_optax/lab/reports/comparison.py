"""Report a comparison: a table, figures, CSV files, and a page that contains them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from adam_optax.lab.comparison import Comparison, Row, Spread
from adam_optax.lab.reports import loss_plot, sweep_plot, words
from adam_optax.lab.reports.files import to_csv
from adam_optax.lab.reports.html import Section
from adam_optax.lab.reports.report import PAGE, Report
from adam_optax.lab.reports.tables import Column, Table
from adam_optax.lab.results import Sweep
from adam_optax.lab.run import WINDOW, Run
from adam_optax.lab.shown import counted
from adam_optax.lab.tuning import is_at_edge

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
EPOCH_COLUMNS = ("problem", "optimizer", "seed", "epoch", "train_loss", "test_accuracy")
FINAL_LOSS = "mean loss of the whole training set after the last epoch, in nats"
TEST_SHARE = "share of the test set that is classified right after the last epoch"
_ENDS = (".png", ".svg", "-runs.csv", "-epochs.csv", "-curves.csv")


def names(stem: str) -> tuple[str, ...]:
    """Return the file names of a report: figures, runs, epochs, batches, and the page of all."""
    return tuple(f"{stem}{end}" for end in (*_ENDS, PAGE))


def write(comparison: Comparison, folder: Path, stem: str) -> list[Path]:
    """Write figures, CSV files and the page.

    Args:
        comparison: The comparison.
        folder: The folder of this report alone.
        stem: Beginning of the file names (see `names`).

    Raises:
        LabError: If a package is missing or a file cannot be written.
    """
    return comparison_report(comparison).write(folder, stem)


def comparison_report(comparison: Comparison) -> Report:
    """Report a comparison: each optimiser in the table, every run, epoch and batch in CSV files.

    Raises:
        LabError: If matplotlib is not installed.
    """
    drawn = loss_plot.figure(comparison)
    contents = (
        loss_plot.render(drawn, "png"),
        loss_plot.render(drawn, "svg"),
        to_csv(RUN_COLUMNS, run_rows(comparison)),
        to_csv(
            EPOCH_COLUMNS,
            ((comparison.problem.name, *row) for run in comparison.runs for row in epoch_rows(run)),
        ),
        to_csv(CURVE_COLUMNS, _curve_rows(comparison)),
    )
    caption = (
        "Left: the training loss, a curve for each optimiser. Right: the error on the test set, "
        "which may rise where the training loss still falls."
    )
    return Report(
        question=words.question(comparison),
        table=table(comparison),
        caption=caption,
        files=dict(zip(_ENDS, contents, strict=True)),
        seeds=sorted({run.seed for run in comparison.runs}),
        more=_tuning(comparison.tuning, comparison.problem.name),
    )


def table(comparison: Comparison) -> Table:
    """Build the table of a comparison: mean ± standard deviation over seeds."""
    rows = comparison.rows()
    target = f"{comparison.problem.target_loss:g}"

    def column(head: str, meaning: str, cells: Sequence[str], rank: int) -> Column:
        return Column(head, meaning, cells, rank)

    return Table(
        _title(comparison),
        [
            Column("optimiser", "", [row.optimizer for row in rows], is_name=True),
            column("rate", "learning rate", [f"{row.learning_rate:.3g}" for row in rows], 0),
            column(
                "final loss",
                FINAL_LOSS,
                [_final(row) for row in rows],
                0,
            ),
            column(
                "best loss",
                "the lowest such loss after any epoch",
                [_loss(row.best_loss) for row in rows],
                5,
            ),
            column(
                "test %",
                TEST_SHARE,
                [_spread(row.test_accuracy, "{:.2f} ± {:.2f}", 100) for row in rows],
                0,
            ),
            column(
                f"steps to {target}",
                f"steps until the last {WINDOW} batches had a mean loss of {target}: the loss of "
                f"batches in training, not of the whole set{_few(rows)}",
                [_spread(row.steps_to_target, "{:.0f} ± {:.0f}") + _reached(row) for row in rows],
                4,
            ),
            column(
                "µs/step",
                "time of a gradient and an update, the median over seeds and epochs, without "
                "compiling; it changes with what else the machine does",
                [f"{row.seconds_per_step * 1e6:.0f}" for row in rows],
                3,
            ),
            column(
                "state B/par",
                "bytes of optimiser state for each model parameter",
                [f"{row.state_bytes_per_parameter:.2f}" for row in rows],
                2,
            ),
        ],
        _notes(comparison),
    )


def run_table(run: Run) -> Table:
    """Build the table of one run: what it ended with."""
    epochs = counted(len(run.train_loss), "epoch")
    lost = "; diverged" if run.diverged else ""
    return Table(
        f"{run.optimizer} at rate {run.learning_rate:.3g}, seed {run.seed}: {epochs}{lost}",
        [
            Column("steps", "", [f"{len(run.losses):,}"]),
            Column("final loss", FINAL_LOSS, [words.digits(run.train_loss[-1], 3)]),
            Column("test %", TEST_SHARE, [f"{100 * run.test_accuracy:.2f}"]),
        ],
    )


def _tuning(tuning: Mapping[str, Sweep], problem: str) -> list[Section]:
    """Return the section of the page about the learning rates that were tried."""
    if not tuning:
        return []
    panels = [sweep_plot.Panel(name, sweep, mark="taken") for name, sweep in tuning.items()]
    drawn = sweep_plot.figure(panels, f"{problem}: learning rates tried")
    png = loss_plot.render(drawn, "png")
    return [
        Section(
            heading="Learning rates tried", png=png, caption="final loss over the learning rate"
        )
    ]


def _notes(comparison: Comparison) -> list[str]:
    notes = [words.rates(comparison)]
    if any(not row.steps_to_target for row in comparison.rows()):
        notes.append("—: not every seed got there, or every run diverged.")
    edges = [name for name, sweep in comparison.tuning.items() if is_at_edge(sweep)]
    if edges:
        notes.append(f"At the edge of the rates tried: {', '.join(edges)}.")
    return list(filter(None, notes))


def _title(comparison: Comparison) -> str:
    done, planned = len(comparison.runs), comparison.planned
    runs = f"{counted(done, 'run')} of {words.epochs(comparison)}"
    if comparison.interrupted:
        runs = f"{done} of {planned} runs, interrupted"
    seeds = {run.seed for run in comparison.runs}
    means = "mean ± standard deviation" if len(seeds) > 1 else ""
    over = words.seeds(comparison).removeprefix("mean ")
    return f"{comparison.problem.name}: {runs}; {f'{means} {over}'.strip()}"


def _final(row: Row) -> str:
    """Format the final loss, and how many runs diverged."""
    lost = [f"diverged {row.diverged}/{row.seeds}"] if row.diverged else []
    found = [] if row.final_loss is None else [_loss(row.final_loss)]
    return "\n".join(found + lost)


def _spread(value: Spread | None, form: str, scale: float = 1) -> str:
    if value is None:
        return "—"
    if value.std is None:
        return form.split(" ± ")[0].format(value.mean * scale)
    return form.format(value.mean * scale, value.std * scale)


def _loss(value: Spread | None) -> str:
    if value is None:
        return "—"
    mean = words.digits(value.mean, 3)
    return mean if value.std is None else f"{mean} ± {words.digits(value.std, 2)}"


def _few(rows: Sequence[Row]) -> str:
    """Say what the numbers of `_reached` mean, if there are any."""
    row = next((row for row in rows if not row.steps_to_target), None)
    return f"; ({row.reached}/{row.seeds}): {row.reached} of {row.seeds} got there" if row else ""


def _reached(row: Row) -> str:
    return "" if row.steps_to_target else f" ({row.reached}/{row.seeds})"


def run_rows(comparison: Comparison) -> Iterator[tuple[object, ...]]:
    """Yield a row of `RUN_COLUMNS` for each run."""
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


def epoch_rows(run: Run) -> Iterator[tuple[object, ...]]:
    """Yield a row of `EPOCH_COLUMNS`, without the problem, for each epoch of a run."""
    accuracies = run.test_accuracies or (None,) * len(run.train_loss)
    measured = zip(run.train_loss, accuracies, strict=True)
    for epoch, (loss, accuracy) in enumerate(measured, start=1):
        yield run.optimizer, run.seed, epoch, loss, accuracy


def _curve_rows(comparison: Comparison) -> Iterator[tuple[object, ...]]:
    for run in comparison.runs:
        for step, loss in enumerate(run.losses.tolist(), start=1):
            yield comparison.problem.name, run.optimizer, run.seed, step, loss
