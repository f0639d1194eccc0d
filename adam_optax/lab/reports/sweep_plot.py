"""Draw figures of sweeps: the loss at the end over the hyper-parameters that were varied."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adam_optax._core.plotting import (
    BAD,
    GUIDE,
    WORDS,
    Style,
    optimizer_styles,
    ordered_styles,
    plain,
)
from adam_optax.lab.reports import canvas, sweep_map
from adam_optax.lab.reports.defaults import default_numbers
from adam_optax.lab.reports.provenance import listed
from adam_optax.lab.reports.scales import Scale, scale_of
from adam_optax.lab.results import Setting, Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES = 8
"""Number of lines that are drawn: those with the lowest losses."""
_FAR = 10
"""How many times beyond the other values one that diverged is drawn where it is."""


@dataclasses.dataclass(frozen=True)
class Panel:
    """Describe a panel of a figure.

    Attributes:
        title: The title.
        sweep: The runs that are drawn.
        chosen: The setting that is marked; `None`: the one with the lowest loss.
        mark: What the mark says.
    """

    title: str
    sweep: Sweep
    chosen: Setting | None = None
    mark: str = "lowest"


def figure(panels: Sequence[Panel], title: str) -> "Figure":
    """Draw a panel for each sweep, and for each optimiser of a sweep of several numbers.

    One varied number is drawn as a line for each optimiser, two as a map, more as lines for the
    best combinations of the others. Defaults are marked, as is the chosen setting of a panel.

    Args:
        panels: The panels.
        title: Title of the figure.

    Raises:
        LabError: If matplotlib is not installed.
    """
    parts = [part for panel in panels for part in _split(panel)]
    rows, columns = -(-len(parts) // 2), min(len(parts), 2)
    drawn = canvas.new_figure(8.5 if columns == 1 else 13.0, 0.7 + 4.4 * rows)
    grid = list(drawn.subplots(rows, columns, squeeze=False).flat)
    for axes, part in zip(grid, parts, strict=False):
        _panel(axes, part)
        axes.set_title(plain(part.title), fontsize="medium", loc="left")
    for axes in grid[len(parts) :]:
        axes.set_axis_off()
    _share_losses([axes for axes, part in zip(grid, parts, strict=False) if not _is_map(part)])
    canvas.title(drawn, title, _note(parts))
    return drawn


def varied(sweep: Sweep) -> list[str]:
    """Return the hyper-parameters that differ between settings, those with most values first."""
    names = list(sweep.settings[0].numbers)
    counts = {n: len({setting.numbers[n] for setting in sweep.settings}) for n in names}
    return sorted((n for n in names if counts[n] > 1), key=lambda n: -counts[n])


def _split(panel: Panel) -> list[Panel]:
    """Split a panel by optimiser, if the other numbers alone need all lines of it."""
    names = _optimizers(panel.sweep)
    if len(names) == 1 or len(varied(panel.sweep)) < 2:
        return [panel]
    found = []
    for name in names:
        points = tuple(point for point in panel.sweep.points if point.optimizer == name)
        part = dataclasses.replace(panel.sweep, points=points, planned=len(points))
        title = f"{panel.title}, {name}" if panel.title else name
        found.append(dataclasses.replace(panel, title=title, sweep=part))
    return found


def _panel(axes: "Axes", panel: Panel) -> None:
    settings = panel.sweep.settings
    chosen = panel.chosen or min(settings, key=lambda setting: setting.loss)
    names = varied(panel.sweep)
    if not any(math.isfinite(setting.loss) for setting in settings):
        _nothing(axes, panel.sweep)
    elif _is_map(panel):
        name = _optimizers(panel.sweep)[0]
        default = default_numbers(name, panel.sweep.problem)
        sweep_map.draw(axes, settings, (names[0], names[1]), chosen, panel.mark, default)
    else:
        across, *others = names or list(settings[0].numbers)[:1]
        _lines(axes, panel, across, others, chosen)


def _is_map(panel: Panel) -> bool:
    """Tell whether a panel is a map: of a whole grid of two numbers, three values of each."""
    settings, names = panel.sweep.settings, varied(panel.sweep)
    if len(names) != 2 or len(_optimizers(panel.sweep)) > 1:
        return False
    counts = [len({setting.numbers[name] for setting in settings}) for name in names]
    whole = len(settings) == counts[0] * counts[1] and min(counts) > 2
    return whole and any(math.isfinite(setting.loss) for setting in settings)


def _optimizers(sweep: Sweep) -> list[str]:
    return list(dict.fromkeys(setting.optimizer for setting in sweep.settings))


def _nothing(axes: "Axes", sweep: Sweep) -> None:
    tried = [f"{name.replace('_', ' ')} {_ends(sweep, name)}" for name in varied(sweep)]
    where = f" ({', '.join(tried)})" if tried else ""
    canvas.say(axes, f"every run diverged{where}:\na loss was not finite; try lower learning rates")


def _ends(sweep: Sweep, name: str) -> str:
    values = [setting.numbers[name] for setting in sweep.settings]
    return f"{min(values):g} to {max(values):g}"


def _lines(axes: "Axes", panel: Panel, across: str, others: Sequence[str], chosen: Setting) -> None:
    """Draw a line for each optimiser, or for each of the best combinations of other numbers."""
    settings = panel.sweep.settings
    scale = scale_of(across, [setting.numbers[across] for setting in settings])
    groups: dict[tuple[float, ...], list[Setting]] = {}
    names = _optimizers(panel.sweep)
    for setting in settings:
        key = tuple(setting.numbers[name] for name in others)
        groups.setdefault(key or (names.index(setting.optimizer),), []).append(setting)
    best = sorted(groups, key=lambda key: min(s.loss for s in groups[key]))[:_LINES]
    if others:  # values in an order, and not in that of their losses
        shown = sorted(best)
        labels = [_label(key, others) for key in shown]
        styles = ordered_styles(len(shown))
    else:
        shown = best
        labels = [groups[key][0].optimizer for key in shown]
        styles = list(optimizer_styles(labels).values())
    for key, label, style in zip(shown, labels, styles, strict=True):
        _line(axes, scale, style, plain(label), groups[key])
    x, y = scale.place(chosen.numbers[across]), chosen.loss
    if math.isfinite(y):
        axes.plot(x, y, "o", ms=11, mfc="none", mec="black", mew=1.5, zorder=5)
        axes.annotate(
            panel.mark, (x, y), (0, -17), textcoords="offset points", ha="center", fontsize="small"
        )
    if min(min(s.losses) for s in settings) > 0:
        canvas.logarithmic(axes.yaxis)
    axes.margins(y=0.15)
    _mark_default(axes, scale, panel.sweep, across)
    scale.apply(axes.xaxis)
    axes.set_ylabel("training loss at the end (nats)")
    canvas.grid(axes)
    if others or len(shown) > 1 or len(groups) > 1:
        heading = f"the best {_LINES} of {len(groups)}" if len(groups) > _LINES else None
        axes.legend(
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            handlelength=4.5,
            fontsize="small",
            title=heading,
            frameon=False,
        )


def _label(key: tuple[float, ...], others: Sequence[str]) -> str:
    named = zip(others, key, strict=True)
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in named)


def _line(axes: "Axes", scale: Scale, style: Style, label: str, settings: list[Setting]) -> None:
    """Draw the means as a line, every seed as a dot, and a cross at the top for what diverged."""
    ranked = sorted(settings, key=lambda s: scale.place(s.numbers[scale.name]))
    sound = [s for s in ranked if math.isfinite(s.loss)]
    x = [scale.place(s.numbers[scale.name]) for s in sound]
    axes.plot(x, [s.loss for s in sound], marker="o", ms=4, label=label, **style.line())
    for place, setting in zip(x, sound, strict=True):
        if len(setting.losses) > 1:
            at = [place] * len(setting.losses)
            axes.plot(at, setting.losses, "_", ms=7, color=style.color, alpha=0.8)
    _cross(axes, [s.numbers[scale.name] for s in ranked if not math.isfinite(s.loss)], scale, x)


def _cross(axes: "Axes", lost: list[float], scale: Scale, x: list[float]) -> None:
    """Draw a cross at the top for each value that diverged.

    A value far beyond those that did not would press all the others into a corner; its cross is at
    the edge, beside its number.
    """
    for value in lost:
        place = min(max(scale.place(value), min(x) / _FAR), max(x) * _FAR) if x else value
        top = axes.get_xaxis_transform()
        axes.plot([place], [0.97], "x", color=BAD, transform=top)
        if place != scale.place(value):
            axes.annotate(
                f"{value:.3g}",
                (place, 0.97),
                (0, -14),
                xycoords=top,
                textcoords="offset points",
                ha="center",
                fontsize="small",
                color=BAD,
            )


def _mark_default(axes: "Axes", scale: Scale, sweep: Sweep, across: str) -> None:
    """Draw a dotted line at the default of the number, if all optimisers of a sweep share it."""
    known = [default_numbers(name, sweep.problem).get(across) for name in _optimizers(sweep)]
    values = [setting.numbers[across] for setting in sweep.settings]
    if None in known or len(set(known)) > 1 or not min(values) <= known[0] <= max(values):  # type: ignore[operator]
        return
    x = scale.place(known[0])  # type: ignore[arg-type]
    axes.axvline(x, color=GUIDE, ls=":", lw=1.2, zorder=1)
    axes.annotate(
        "default",
        (x, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(3, -11),
        textcoords="offset points",
        color=WORDS,
        fontsize="small",
    )


def _share_losses(grid: "Sequence[Axes]") -> None:
    """Give the panels one range of losses, so that heights can be compared between them."""
    drawn = [axes for axes in grid if axes.lines]
    if len(drawn) < 2:
        return
    lows, highs = zip(*(axes.get_ylim() for axes in drawn), strict=True)
    for axes in drawn:
        axes.set_ylim(min(lows), max(highs))
        if axes.get_yscale() == "log":
            canvas.logarithmic(axes.yaxis)  # the numbers beside the new range


def _note(panels: Sequence[Panel]) -> str:
    points = list(itertools.chain.from_iterable(panel.sweep.points for panel in panels))
    seeds = {point.seed for point in points}
    bars = "" if all(map(_is_map, panels)) else "; short bars: each seed"
    said = f"Mean of seeds {listed(seeds)}{bars}."
    if len(seeds) == 1:
        said = f"One seed ({listed(seeds)}): differences may be chance."
    if any(not math.isfinite(point.final_loss) for point in points):
        said += " Crosses: a run diverged."
    return said
