"""Report a reproduced figure, and read its runs back from the CSV file."""

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from adam_optax.lab.errors import DataError
from adam_optax.lab.grid import LEARNING_RATE
from adam_optax.lab.paper.claims import claims
from adam_optax.lab.paper.draw import figure
from adam_optax.lab.paper.figures import FIGURES, Panel
from adam_optax.lab.paper.intervals import half_width
from adam_optax.lab.paper.trials import Curve, Trial, at_the_edge, leaders, said_seeds
from adam_optax.lab.reports.files import to_csv
from adam_optax.lab.reports.html import Section
from adam_optax.lab.reports.report import Report
from adam_optax.lab.reports.studies import build_report
from adam_optax.lab.reports.tables import Column, Table

_FIRST = ("panel", "optimizer")
_LAST = ("seed", "epoch", "cost")


def paper_report(name: str, curves: Sequence[Curve], full: bool) -> Report:
    """Report a figure: each optimiser at its best rate, the claims, every run in the CSV file.

    Args:
        name: Name of the figure, `figure1` to `figure4`.
        curves: All runs of the figure.
        full: Whether the runs are of the paper's size.
    """
    size = sizes(name, full)
    others = _names(curves)
    found = leaders(curves)
    seeds = sorted({curve.seed for curve in curves})
    columns = [
        Column("panel", "", [t.panel for t in found], is_name=True),
        Column("optimiser", "", [t.optimizer for t in found], is_name=True),
        *(Column(n.replace("_", " "), "", [f"{t.numbers[n]:.4g}" for t in found]) for n in others),
        Column(
            "cost",
            "mean loss of the batches of the last epoch, in nats, at the best rate; of several "
            "seeds, ± half of the 95 % interval of the mean",
            [_cost(trial) for trial in found],
        ),
    ]
    title = (
        f"The Adam paper's {name}, each optimiser at its best learning rate ({size}); "
        f"{said_seeds(curves)}"
    )
    judged = claims(name, curves)
    notes = [*(f"{c.verdict}: {c.text} ({c.measured})" for c in judged), *_edges(curves)]
    table = Table(
        "A claim is judged by the 95 % interval of the ratio of costs over the seeds.",
        [
            Column("claim", "", [c.text for c in judged], is_name=True),
            Column("verdict", "", [c.verdict for c in judged], is_name=True),
            Column("measured", "", [c.measured for c in judged], is_name=True),
        ],
    )
    return build_report(
        f"Is what the Adam paper says of its figure {name[-1]} borne out?",
        Table(title, columns, notes),
        figure(name, curves, size),
        _table(curves, others),
        "Training cost, by epoch or by learning rate.",
        seeds,
        [Section("What the paper says of it", table)],
    )


def _cost(trial: Trial) -> str:
    if not math.isfinite(trial.cost):
        return "diverged at every rate"
    half = half_width(trial.seed_costs())
    return f"{trial.cost:.4g}" + ("" if half is None else f" ± {half:.2g}")


def sizes(name: str, full: bool) -> str:
    """Describe the sizes of a figure's experiments, panel by panel."""
    return "; ".join(_size(panel, full) for panel in FIGURES[name])


def _size(panel: Panel, full: bool) -> str:
    size = panel.paper if full else panel.small
    same = str(size) == str(panel.paper)
    beside = "as in the paper" if same else f"the paper: {panel.paper}"
    return f"{panel.name}: {size} ({beside}), {size.per_decade} rates a decade"


def read(path: Path) -> list[Curve]:
    """Read the runs from a CSV file of `paper_report`.

    Raises:
        DataError: If the file is missing or no such file.
    """
    try:
        return _curves(path.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: no results of reproduce ({error})") from error


def _curves(lines: Sequence[str]) -> list[Curve]:
    found: dict[tuple[str, str, tuple[tuple[str, float], ...], int], list[float]] = {}
    for row in csv.DictReader(lines, strict=True):
        numbers = {k: float(v) for k, v in row.items() if k not in _FIRST + _LAST}
        seed = int(row.get("seed", 0))  # earlier files are of one seed, and do not name it
        key = row["panel"], row["optimizer"], tuple(numbers.items()), seed
        found.setdefault(key, []).append(float(row["cost"]))
    if not found:
        raise ValueError("no rows")
    return [
        Curve(panel, optimizer, dict(numbers), tuple(costs), seed)
        for (panel, optimizer, numbers, seed), costs in found.items()
    ]


def _table(curves: Sequence[Curve], others: Sequence[str]) -> bytes:
    return to_csv((*_FIRST, *others, *_LAST), _lines(curves, others))


def _lines(curves: Sequence[Curve], others: Sequence[str]) -> Iterator[list[object]]:
    for c in curves:
        for epoch, cost in enumerate(c.costs, start=1):
            numbers = [f"{c.numbers[n]:g}" for n in others]
            yield [c.panel, c.optimizer, *numbers, c.seed, epoch, f"{cost:.5g}"]


def _names(curves: Sequence[Curve]) -> list[str]:
    return [LEARNING_RATE, *(name for name in curves[0].numbers if name != LEARNING_RATE)]


def _edges(curves: Sequence[Curve]) -> list[str]:
    found = [f"{c.optimizer} on {c.panel} ({c.rate:g})" for c in at_the_edge(curves)]
    return [f"at the edge of the rates tried: {', '.join(found)}"] if found else []
