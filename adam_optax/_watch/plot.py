"""Draw the records of a watched optimiser: lines of few layers, maps and extremes of many."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adam_optax._core.extras import needs_extra
from adam_optax._core.plotting import DPI, EMPTY, GUIDE, Style, ordered_styles, plain
from adam_optax._watch.quantities import (
    QUANTILES,
    QUANTITIES,
    Readings,
    middle,
    short_names,
    worth_showing,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_MAX_NAMED = 10
"""The most layers that are all drawn as lines, each with a name."""
_UNLIKE = 4
"""How many of many layers are drawn as lines: those that are least like the others."""
_COLUMNS = 5
"""Small panels beside each other."""
_FEW_DECADES = 300.0
"""An axis whose end is so many times its start has numbers at its decades alone."""
_TICKS = 12
"""The most layers that are named beside a map."""
_LETTERS = 34
"""The most letters of a layer's name beside a panel; of a longer name, the end is shown."""


def figure(readings: Readings, title: str = "") -> "Figure":
    """Draw what `adam_optax.watch.read` returned.

    Of up to ten layers each is a line, and what is recorded of single weights has a small panel for
    each layer. Of more layers, a map shows all, and lines the few that are least like the others.

    Args:
        readings: arrays over the records, by layer and quantity.
        title: the title: what was trained, and how.

    Raises:
        ValueError: if nothing was recorded.
        MissingExtraError: if matplotlib is not installed.
    """
    with needs_extra("the figure", "lab"):
        from matplotlib.figure import Figure
    if not any(len(layer["step"]) for layer in readings.values()):
        raise ValueError("there is no record to draw: train for a step first")
    shown = worth_showing(readings)
    shared, names = short_names(list(readings))
    many = len(readings) > _MAX_NAMED
    size = (13.0, 0.8 + 3.4 * len(shown)) if many else (12.0, _height(shown, len(readings)))
    result = Figure(figsize=size, dpi=DPI, layout="constrained")
    heading = [title, f"layers of {shared}" if shared else "", _counted(readings) if many else ""]
    text = ", ".join(filter(None, heading))
    if text:
        result.suptitle(plain(text), fontsize="large", x=0.01, ha="left")
    if many:
        _draw_many(result, shown, readings, names)
    else:
        _draw_few(result, shown, readings, names)
    return result


def _counted(readings: Readings) -> str:
    return f"{len(readings)} layers, the first at the top of each map"


def _height(shown: Sequence[str], layers: int) -> float:
    """Return the height of a figure of few layers, in inches."""
    wide = [name for name in shown if name not in QUANTILES]
    small = (len(shown) - len(wide)) * -(-layers // _COLUMNS)
    return 0.9 + 2.9 * -(-len(wide) // 2) + 2.3 * small


def _draw_few(
    result: "Figure", shown: Sequence[str], readings: Readings, names: Sequence[str]
) -> None:
    wide = [name for name in shown if name not in QUANTILES]
    quantiles = [name for name in shown if name in QUANTILES]
    rows = -(-len(readings) // _COLUMNS)
    heights = [2.9 * -(-len(wide) // 2)] * bool(wide) + [2.3 * rows] * len(quantiles)
    parts = list(result.subfigures(len(heights), 1, squeeze=False, height_ratios=heights).flat)
    styles = ordered_styles(len(readings))
    if wide:
        _draw_wide(parts[0], wide, readings, names, styles)
    for part, name in zip(parts[len(parts) - len(quantiles) :], quantiles, strict=True):
        _draw_small(part, name, readings, names, styles)


def _draw_wide(
    part: "SubFigure",
    shown: Sequence[str],
    readings: Readings,
    names: Sequence[str],
    styles: Sequence[Style],
) -> None:
    """Draw a panel for each quantity, with a line for each layer."""
    grid = list(part.subplots(-(-len(shown) // 2), 2, squeeze=False).flat)
    for axes, name in zip(grid, shown, strict=False):
        for layer, style in zip(readings.values(), styles, strict=True):
            axes.plot(layer["step"], middle(layer[name]), lw=1.5, **style.line())
        _label(axes, name, readings)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    labels = [plain(_ending(name)) for name in names]
    part.legend(
        grid[0].lines,
        labels,
        loc="outside right upper",
        handlelength=4.5,
        fontsize="small",
        frameon=False,
    )


def _draw_small(
    part: "SubFigure",
    name: str,
    readings: Readings,
    names: Sequence[str],
    styles: Sequence[Style],
) -> None:
    """Draw a small panel for each layer: the median over its weights, and a band."""
    columns = min(_COLUMNS, len(readings))
    rows = -(-len(readings) // columns)
    grid = list(part.subplots(rows, columns, squeeze=False, sharey=True).flat)
    positive = False
    for axes, layer, label, style in zip(grid, readings.values(), names, styles, strict=False):
        values = layer[name]
        axes.plot(layer["step"], middle(values), lw=1.5, **style.line())
        axes.fill_between(
            layer["step"], values[:, 0], values[:, -1], color=style.color, alpha=0.2, linewidth=0
        )
        axes.set_title(plain(_ending(label)), fontsize="small")
        axes.set_xlabel("step", fontsize="small")
        axes.tick_params(labelsize="small")
        axes.grid(True, which="major", alpha=0.3)
        positive |= bool((values > 0).any())
    if positive:
        _logarithmic(grid[0])
    for axes in grid[::columns]:
        axes.set_ylabel(QUANTITIES[name].label)
    for axes in grid[len(readings) :]:
        axes.set_axis_off()
    title = f"{QUANTITIES[name].title}: median, band from 5 to 95 % of the layer's weights"
    part.suptitle(title, fontsize="medium", x=0.01, ha="left")


def _draw_many(
    result: "Figure", shown: Sequence[str], readings: Readings, names: Sequence[str]
) -> None:
    """Draw for each quantity a map of all layers, and the layers that are least like the others."""
    grid = result.subplots(len(shown), 2, squeeze=False, width_ratios=(3, 2))
    for (left, right), name in zip(grid, shown, strict=True):
        table, steps = _table(readings, name)
        _draw_map(left, name, table, steps, names)
        _draw_unlike(right, name, table, steps, names)


def _table(readings: Readings, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a quantity by layer and step, NaN where it is not known, and the steps."""
    steps = max((layer["step"] for layer in readings.values()), key=len)
    table = np.full((len(readings), len(steps)), np.nan)
    for row, layer in enumerate(readings.values()):
        table[row, : len(layer["step"])] = middle(layer[name])
    return table, steps


def _draw_map(
    axes: "Axes", name: str, table: NDArray[Any], steps: NDArray[Any], names: Sequence[str]
) -> None:
    from matplotlib.colors import LogNorm, Normalize

    known = table[np.isfinite(table) & (table > 0)]
    is_log = len(known) > 0 and not QUANTITIES[name].is_share
    norm = LogNorm(known.min(), known.max()) if is_log else Normalize(0.0, 1.0)
    axes.set_facecolor(EMPTY)  # of what is not known, or 0 on a logarithmic scale
    rows = np.arange(len(table) + 1) - 0.5
    edges = np.concatenate([steps[:1] - 0.5, (steps[1:] + steps[:-1]) / 2, steps[-1:] + 0.5])
    shown = np.where(table > 0, table, np.nan) if is_log else table
    image = axes.pcolormesh(edges, rows, shown, norm=norm, cmap="viridis")
    some = np.unique(np.linspace(0, len(names) - 1, _TICKS).round().astype(int))
    axes.set_yticks(some, [plain(_ending(names[row])) for row in some], fontsize="x-small")
    axes.set_ylim(rows[-1], rows[0])
    axes.set_xlabel("training step")
    axes.set_title(QUANTITIES[name].title, loc="left", fontsize="medium")
    assert axes.figure is not None
    axes.figure.colorbar(image, ax=axes).set_label(QUANTITIES[name].label)


def _draw_unlike(
    axes: "Axes", name: str, table: NDArray[Any], steps: NDArray[Any], names: Sequence[str]
) -> None:
    """Draw the few layers that are least like the median layer, over the range of all."""
    known = table[np.isfinite(table).any(axis=1)]
    axes.fill_between(
        steps,
        np.nanmin(known, axis=0),
        np.nanmax(known, axis=0),
        color=GUIDE,
        alpha=0.2,
        linewidth=0,
        label="all layers",
    )
    places = most_unlike(table, _UNLIKE, QUANTITIES[name].is_share)
    for place, style in zip(places, ordered_styles(len(places)), strict=True):
        label = plain(_ending(names[place]))
        axes.plot(steps, table[place], lw=1.5, label=label, **style.line())
    _scale(axes, name, bool((known > 0).any()))
    axes.set(xlabel="training step", ylabel=QUANTITIES[name].label)
    axes.set_title("the layers least like the others", loc="left", fontsize="medium")
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        fontsize="x-small",
        handlelength=4,
        frameon=False,
    )


def most_unlike(table: NDArray[Any], count: int, is_share: bool) -> list[int]:
    """Return the rows that are farthest from the median row, in the order of the rows.

    The distance of a share is the mean of its differences over the columns; of anything else, the
    mean of how many times the row is the median, up or down.

    Args:
        table: numbers that are not negative, by layer and record; NaN where one is not known.
        count: how many rows, at most.
        is_share: whether the numbers are shares.
    """
    numbers = table if is_share else np.log(np.where(table > 0, table, np.nan))
    numbers = numbers[:, np.isfinite(numbers).any(axis=0)]
    apart = np.abs(numbers - np.nanmedian(numbers, axis=0)) if numbers.size else numbers
    far = np.array([np.nanmean(row) if np.isfinite(row).any() else -1.0 for row in apart])
    return sorted(int(row) for row in np.argsort(-far, kind="stable")[:count])


def _label(axes: "Axes", name: str, readings: Readings) -> None:
    axes.set_title(QUANTITIES[name].title, loc="left", fontsize="medium")
    axes.set(xlabel="training step", ylabel=QUANTITIES[name].label)
    axes.grid(True, which="major", alpha=0.3)
    _scale(axes, name, any((layer[name] > 0).any() for layer in readings.values()))


def _scale(axes: "Axes", name: str, positive: bool) -> None:
    """Make an axis of shares linear from 0, and any other logarithmic."""
    if QUANTITIES[name].is_share:
        axes.set_ylim(bottom=0)
    elif positive:
        _logarithmic(axes)


def _logarithmic(axes: "Axes") -> None:
    """Make an axis logarithmic, with numbers at decades, or also between few of them."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    lowest, highest = axes.get_ylim()
    beside = (1,) if highest > _FEW_DECADES * lowest else (1, 2, 5)
    axes.yaxis.set_major_locator(LogLocator(subs=beside, numticks=9))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _ending(name: str) -> str:
    return name if len(name) <= _LETTERS else f"…{name[1 - _LETTERS :]}"
