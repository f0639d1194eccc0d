"""Keep what `benchmarks.clusters` finds in a file, and make a table and a figure of it.

The file has a line for each cell, written when its compilation ends. A run that is killed leaves
at most one line that is not whole, which the next run drops and measures again.
"""

import collections
import csv
import functools
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from adam_optax._core import plotting
from benchmarks import cluster_cells
from benchmarks.cluster_cells import FORMATS, FSDP, LAYOUTS, SLICES, STEP, WAYS, Cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
RESULTS = HERE / "clusters.csv"
PAGE = HERE.parent / "docs" / "measured" / "clusters.md"
FIGURE = HERE.parent / "docs" / "measured" / "figures" / "clusters.svg"
COMPILED, NO_ROOM, SLOW, FAILED = "compiled", "does not fit", "over the time limit", "failed"
OUTCOMES = (COMPILED, NO_ROOM, SLOW, FAILED)


class Result(NamedTuple):
    """Hold what is known of a cell; numbers are of one chip, and 0 where nothing was compiled.

    Attributes:
        outcome: One of `OUTCOMES`.
        reason: Why there is no compiled step, or an empty text.
        state: Bytes of the optimiser's state.
        arguments: Bytes of parameters, gradients and state.
        moved: Bytes that a step moves to and from memory.
        moved_each: The same for each parameter, of all chips together.
        collectives: Operations in which chips talk, by kind: `all-gather 10`, with `; ` between.
        received: Bytes that it receives in them, the least, as `aot.facts` counts them.
        scratch: Bytes of temporary memory.
        copied: Bytes of results that are not written over their arguments.
        kernels: Number of kernels.
        seconds: Seconds to trace, lower and compile, on a machine that did other work, too.
        versions: The versions of jax and of the compiler.
    """

    outcome: str
    reason: str = ""
    state: int = 0
    arguments: int = 0
    moved: int = 0
    moved_each: float = 0.0
    collectives: str = ""
    received: int = 0
    scratch: int = 0
    copied: int = 0
    kernels: int = 0
    seconds: float = 0.0
    versions: str = ""


Results = dict[Cell, Result]
HEAD = (*Cell._fields, *Result._fields)


def read(path: Path = RESULTS) -> Results:
    """Return the results in a file, or none if there is no file.

    Raises:
        ValueError: If the file is none of this command's; the message names the line.
    """
    if not path.exists():
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text; move the file away") from error
    if lines and not lines[-1].endswith("\n"):
        lines.pop()  # the run was killed while it wrote this line
    rows = list(csv.reader(lines))
    if rows and tuple(rows[0]) != HEAD:
        raise ValueError(f"{path}: line 1 is not {','.join(HEAD)}; move the file away")
    found: Results = {}
    for number, row in enumerate(rows[1:], 2):
        try:
            cell, result = _parsed(row)
        except ValueError as error:
            raise ValueError(f"{path}: line {number}: {error}; delete the line") from error
        found[cell] = result
    return found


def _parsed(row: list[str]) -> tuple[Cell, Result]:
    """Return the cell and the result of a line."""
    if len(row) != len(HEAD):
        raise ValueError(f"{len(row)} fields, not {len(HEAD)}")
    model, accelerator, chips, *rest = row[: len(Cell._fields)]
    values = row[len(Cell._fields) :]
    kinds = [type(x) for x in Result("")._asdict().values()]
    result = Result(*(kind(x) for kind, x in zip(kinds, values, strict=True)))
    if result.outcome not in OUTCOMES:
        raise ValueError(f"outcome {result.outcome!r} is none of {', '.join(OUTCOMES)}")
    cell = Cell(model, accelerator, int(chips), *rest)
    if cell not in _known():
        raise ValueError(f"{cell} is no cell of this command")
    return cell, result


@functools.cache
def _known() -> frozenset[Cell]:
    return frozenset(cluster_cells.cells())


def append(cell: Cell, result: Result, path: Path = RESULTS) -> None:
    """Write a line to the file, behind its last whole line."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    if not whole:
        writer.writerow(HEAD)
    writer.writerow([*cell, *result])
    with path.open("a", encoding="utf-8") as file:
        file.write(line.getvalue())


def missing(found: Mapping[Cell, Result], only: str = "") -> list[Cell]:
    """Return the cells that have no result yet and whose text matches, the most telling first."""
    wanted = re.compile(only)
    return [c for c in cluster_cells.cells() if c not in found and wanted.search(str(c))]


def summary(found: Results) -> str:
    """Return a sentence with the numbers of cells, and two tables: of traffic, and of talk.

    They have a row for each sharding, way and accelerator of which a step was compiled. Their
    numbers are the least and the most over models and numbers of chips.
    """
    done = {c: r for c, r in found.items() if r.outcome == COMPILED}
    counts = collections.Counter(one.outcome for one in found.values())
    total = len(cluster_cells.cells())
    said = [f"{counts[o]:,} {words}" for o, words in SAID.items() if counts[o]]
    text = f"Of {total:,} steps {'; '.join([*said, f'{total - len(found):,} are left'])}."
    rows = [["spread by", "step", "on", *(f"`{name}`" for name in FORMATS)]]
    others = [["spread by", "step", "on", "compiled", "talk", "received", "scratch"]]
    for group in itertools.product(LAYOUTS, WAYS, SLICES):
        of = {c: r for c, r in done.items() if (c.layout, c.way, c.accelerator) == group}
        if of:
            layout, way, accelerator = group
            names = [layout, f"`{way}`", accelerator]
            rows.append([*names, *_traffic(of)])
            others.append([*names, *_talk(of)])
    return "\n".join([text, "", *_lines(rows), "", *_lines(others)])


def _lines(rows: list[list[str]]) -> Iterator[str]:
    """Yield the lines of a table, whose first row is its head."""
    for row in (rows[0], ["---"] * len(rows[0]), *rows[1:]):
        yield "| " + " | ".join(row) + " |"


SAID = {
    COMPILED: "are compiled",
    NO_ROOM: "do not fit into the chips' memory",
    SLOW: "took longer than the limit",
    FAILED: "failed",
}


def _traffic(of: Results) -> Iterator[str]:
    """Yield for each format the bytes that are moved for a parameter."""
    for storage in FORMATS:
        each = [r.moved_each for c, r in of.items() if c.storage == storage]
        yield _span(each, lambda x: f"{x:,.1f}")


def _talk(of: Results) -> list[str]:
    """Return the number of steps, the collectives of those that have any, and scratch."""
    talk = [r for r in of.values() if r.collectives]
    kinds = sorted({kind for r in talk for kind in re.findall(r"[a-z-]+(?= )", r.collectives)})
    spans = [_span([r.received for r in talk], size), _span([r.scratch for r in of.values()], size)]
    return [f"{len(of)}", ", ".join(kinds) or "none", *spans]


def _span(values: Iterable[float], shown: Callable[[float], str]) -> str:
    """Return the least and the most of the values, once if they look alike."""
    if not (ordered := sorted(values)):
        return ""
    return " to ".join(dict.fromkeys((shown(ordered[0]), shown(ordered[-1]))))


def size(count: float) -> str:
    """Return a number of bytes with three digits: `1.26 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def write_page(found: Results, path: Path = PAGE) -> None:
    """Write the table between its marks in the page."""
    text = path.read_text(encoding="utf-8")
    before, start, rest = text.partition("<!-- clusters -->\n")
    _, end, after = rest.partition("<!-- /clusters -->")
    if not (start and end):
        raise ValueError(f"{path} has no <!-- clusters --> and <!-- /clusters -->")
    path.write_text(f"{before}{start}{summary(found)}\n{end}{after}", encoding="utf-8")


_NAMES = [name if name != "float32" else "" for name in FORMATS]
STYLES = dict(
    zip(
        FORMATS,
        plotting.optimizer_styles(f"adam {name}".strip() for name in _NAMES).values(),
        strict=True,
    )
)
"""A line for each format: Adam's colour, and a dash of its own."""
MARKS = dict(zip(FORMATS, "o^sD", strict=True))
Curves = dict[tuple[str, str], list[tuple[int, Result]]]
"""Numbers of chips and results, by model and format."""
DRAWN = {"state": "state [bytes]", "moved": "moved by a step [bytes]"}
"""The quantities that the figure shows, by their fields."""


def draw(found: Results, path: Path = FIGURE) -> None:
    """Draw how the bytes of state and of traffic of a chip grow with chips and parameters.

    The steps are those by `ao.step` under FSDP on the first accelerator.
    """
    from matplotlib import rc_context

    from docs.learn.drawing import LOOK, shorten

    first = next(iter(SLICES))
    lines = curves(found, first)
    models = list(dict.fromkeys(model for model, _ in lines))
    if not models:
        return
    with rc_context(LOOK):
        figure = _figure(lines, models, first)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})
    path.write_text(shorten(path.read_text(encoding="utf-8")), encoding="utf-8")


def _figure(lines: Curves, models: list[str], accelerator: str) -> "Figure":
    """Return a figure with a row for each quantity and a column for each model."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.6), layout="constrained")
    grid = figure.subplots(len(DRAWN), len(models), sharex=True, sharey="row", squeeze=False)
    for row, (field, label) in zip(grid, DRAWN.items(), strict=True):
        for axes, model in zip(row, models, strict=True):
            for (of, storage), points in lines.items():
                if of == model:
                    chips = [n for n, _ in points]
                    sizes = [getattr(one, field) for _, one in points]
                    style = {"marker": MARKS[storage], **STYLES[storage].line()}
                    axes.plot(chips, sizes, label=storage, **style)
            axes.set(xscale="log", yscale="log")
            axes.grid(alpha=0.3)
            axes.yaxis.set_major_formatter(lambda y, _: size(y))
        row[0].set_ylabel(label)
    ticks = sorted({n for points in lines.values() for n, _ in points})
    for axes, model in zip(grid[0], models, strict=True):
        axes.set_title(f"{model} parameters", loc="left")
        axes.set_xticks(ticks, [f"{n:,}" for n in ticks], fontsize="small")
        axes.minorticks_off()
    figure.supxlabel(f"number of {accelerator} chips")
    handles, names = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(FORMATS), handlelength=4.5)
    return figure


def curves(found: Results, accelerator: str) -> Curves:
    """Return the points of the figure's lines, by model and format, from few chips to many."""
    points: Curves = {}
    for cell in sorted(cluster_cells.cells(), key=lambda c: c.chips):
        drawn = (cell.accelerator, cell.layout, cell.way) == (accelerator, FSDP, STEP)
        result = found.get(cell)
        if drawn and result is not None and result.outcome == COMPILED:
            points.setdefault((cell.model, cell.storage), []).append((cell.chips, result))
    order = [(m, f) for m in cluster_cells.MODELS for f in FORMATS]
    return {key: points[key] for key in order if key in points}
