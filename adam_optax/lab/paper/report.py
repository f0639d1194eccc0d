"""Report a reproduced figure, and read its runs back from the CSV file."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from adam_optax.lab.errors import DataError
from adam_optax.lab.grid import LEARNING_RATE
from adam_optax.lab.paper.claims import Claim, claims
from adam_optax.lab.paper.draw import figure
from adam_optax.lab.paper.figures import FIGURES, Panel
from adam_optax.lab.paper.run import Curve, at_the_edge, leaders
from adam_optax.lab.reports import html
from adam_optax.lab.reports.files import to_csv
from adam_optax.lab.reports.studies import Report, build_report

_FIRST = ("panel", "optimizer")
_LAST = ("epoch", "cost")


def paper_report(name: str, curves: Sequence[Curve], full: bool) -> Report:
    """Report a figure: each optimiser at its best rate, the claims, every run in the CSV file.

    Args:
        name: Name of the figure, `figure1` to `figure4`.
        curves: All runs of the figure.
        full: Whether the runs are of the paper's size.
    """
    size = sizes(name, full)
    others = _names(curves)
    header = ["panel", "optimiser", *(n.replace("_", " ") for n in others), "cost, last epoch"]
    rows = [
        [c.panel, c.optimizer, *(f"{c.numbers[n]:.4g}" for n in others), f"{c.cost:.4g}"]
        for c in leaders(curves)
    ]
    title = f"The Adam paper's {name}, each optimiser at its best learning rate ({size})"
    judged = claims(name, curves)
    more = html.heading("What the paper says of it") + html.table(
        ("claim", "borne out", "measured"), [[c.text, _verdict(c), c.measured] for c in judged]
    )
    notes = [*(f"{_verdict(c)}: {c.text} ({c.measured})" for c in judged), *_edges(curves)]
    drawn = figure(name, curves, size)
    text = "training cost, by epoch or by learning rate"
    return build_report((title, header, rows), notes, drawn, _table(curves, others), text, more)


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
    found: dict[object, list[float]] = {}
    for row in csv.DictReader(lines, strict=True):
        numbers = {k: float(v) for k, v in row.items() if k not in _FIRST + _LAST}
        key = row["panel"], row["optimizer"], tuple(numbers.items())
        found.setdefault(key, []).append(float(row["cost"]))
    if not found:
        raise ValueError("no rows")
    return [Curve(p, o, dict(numbers), tuple(costs)) for (p, o, numbers), costs in found.items()]  # type: ignore[misc,has-type]


def _table(curves: Sequence[Curve], others: Sequence[str]) -> bytes:
    return to_csv((*_FIRST, *others, *_LAST), _lines(curves, others))


def _lines(curves: Sequence[Curve], others: Sequence[str]) -> Iterator[list[object]]:
    for c in curves:
        for epoch, cost in enumerate(c.costs, start=1):
            numbers = [f"{c.numbers[n]:g}" for n in others]
            yield [c.panel, c.optimizer, *numbers, epoch, f"{cost:.5g}"]


def _names(curves: Sequence[Curve]) -> list[str]:
    return [LEARNING_RATE, *(name for name in curves[0].numbers if name != LEARNING_RATE)]


def _verdict(claim: Claim) -> str:
    return "yes" if claim.holds else "no"


def _edges(curves: Sequence[Curve]) -> list[str]:
    found = [f"{c.optimizer} on {c.panel} ({c.rate:g})" for c in at_the_edge(curves)]
    return [f"at the edge of the rates tried: {', '.join(found)}"] if found else []
