"""Draw the paper's figures from the runs."""

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adam_optax._core.plotting import Style, optimizer_styles
from adam_optax.lab.paper.figures import FIGURES, Panel
from adam_optax.lab.paper.intervals import half_width
from adam_optax.lab.paper.trials import Curve, Trial, best, choosing, judged, said_seeds
from adam_optax.lab.reports import canvas
from adam_optax.lab.reports.provenance import listed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FRAME = 2.7
"""How many times the lowest cost the frame of a figure over rates ends."""
_LOST = "every run diverged:\na loss was not finite"


def figure(name: str, curves: Sequence[Curve], size: str) -> "Figure":
    """Draw a figure of the paper from its runs: means over seeds, with 95 % intervals.

    Args:
        name: Name of the figure, `figure1` to `figure4`.
        curves: All runs of the figure.
        size: Sizes of the experiments, panel by panel, for the lines below the figure.

    Raises:
        LabError: If matplotlib is not installed.
    """
    panels = FIGURES[name]
    gridded = bool(panels[0].grid)
    rows, columns = (2, 3) if gridded else (1, len(panels))
    width = 8.2 if columns == 1 else 14.0
    drawn = canvas.new_figure(width, 1.2 + (3.6 * rows if gridded else 4.2))
    axes = list(drawn.subplots(rows, columns, squeeze=False, sharey=gridded).flat)
    said = said_seeds(curves)
    note = [said if ":" in said else said[0].upper() + said[1:]]  # panels have small letters
    several = any(len(trial.curves) > 1 for trial in judged(curves))
    if gridded:
        _over_rates(axes, panels[0], curves)
        lines, bars = ({s for t in some(curves) for s in t.seeds} for some in (choosing, judged))
        if lines != bars:
            note = [f"Lines: seed {listed(lines)}, by which the rates are chosen"]
        of = "of the mean" if lines == bars else f"and mean of seeds {listed(bars)}"
        note += [f"bars: 95 % interval {of}, at the end"] if several else []
        note.append(
            "thin: early, thick: at the end; cross: a run diverged, triangle: the end is above the "
            "frame; Adam, uncorrected is what the paper calls RMSProp with momentum"
        )
        canvas.legend_beside(drawn, *axes[0].get_legend_handles_labels())
    else:
        styles = optimizer_styles(sorted({curve.optimizer for curve in curves}))
        for one, panel in zip(axes, panels, strict=True):
            _over_epochs(one, panel, curves, styles)
        note += ["band: 95 % interval of the mean"] if several else []
        note.append("each optimiser at its best learning rate")
    heading = f"Kingma & Ba 2015, figure {name[-1]}, run anew"
    canvas.title(drawn, heading, "; ".join(note) + ".\n" + size.replace("; ", "\n"))
    return drawn


def _over_epochs(
    axes: "Axes", panel: Panel, curves: Sequence[Curve], styles: dict[str, Style]
) -> None:
    """Draw the cost of each optimiser at its best rate, epoch by epoch."""
    found = best(curves, panel.name)
    lost = [name for name, trial in found.items() if not math.isfinite(trial.cost)]
    for name, trial in sorted(found.items(), key=lambda item: -item[1].cost):
        epochs = np.arange(1, len(trial.costs) + 1)
        said = "diverged at every rate" if name in lost else f"rate {trial.rate:.3g}"
        label = f"{name}, {said}"
        if name in lost:
            axes.plot([], [], label=label, lw=1.8, **styles[name].line())
            continue
        axes.plot(epochs, trial.costs, label=label, lw=1.8, **styles[name].line())
        halves = [half_width(trial.seed_costs(int(epoch))) for epoch in epochs]
        if None not in halves:
            low, high = (trial.costs + sign * np.array(halves, float) for sign in (-1, 1))
            axes.fill_between(epochs, low, high, color=styles[name].color, alpha=0.15, linewidth=0)
    if len(lost) == len(found):
        canvas.say(axes, _LOST)
    else:
        axes.locator_params(axis="x", integer=True)
        canvas.logarithmic(axes.yaxis)
    axes.set(xlabel="epoch", ylabel="training cost (nats, mean of an epoch)")
    axes.set_title(panel.title, loc="left", fontsize="medium")
    canvas.grid(axes)
    axes.legend(
        handlelength=4.5,
        fontsize="small",
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        frameon=False,
    )


def _over_rates(grid: Sequence["Axes"], panel: Panel, curves: Sequence[Curve]) -> None:
    """Draw the cost over the rate for each pair of betas, early and at the end."""
    pairs = list(itertools.product(*panel.grid.values()))
    styles = optimizer_styles([one.optimizer.name for one in panel.contenders])
    every, bars = choosing(curves), judged(curves)
    top = _FRAME * min(trial.cost for trial in every)
    for axes, pair in zip(grid, pairs, strict=True):
        chosen = dict(zip(panel.grid, pair, strict=True))
        for contender in panel.contenders:
            name = contender.optimizer.name
            runs, more = (
                [t for t in some if t.optimizer == name and chosen.items() <= t.numbers.items()]
                for some in (every, bars)
            )
            last = len(runs[0].curves[0].costs)
            for epoch, width in ((early(runs[0].curves), 1.0), (last, 2.2)):
                line = {**styles[name].line(), "lw": width}
                _line(axes, runs, epoch, line, f"{name}, epoch {epoch}", top)
            _bars(axes, more, styles[name], top)
        axes.set_title(
            ", ".join(f"{key} = {value:g}" for key, value in chosen.items()),
            loc="left",
            fontsize="medium",
        )
        axes.set_xlabel("learning rate")
        canvas.grid(axes)
        if math.isfinite(top):
            axes.set_xscale("log")
        else:
            canvas.say(axes, _LOST)
    if math.isfinite(top):
        grid[0].set_ylim(0.9 * top / _FRAME, top)
    for axes in grid[:: len(grid) // 2]:
        axes.set_ylabel("negative bound (nats, mean of an epoch)")


def _line(
    axes: "Axes", runs: Sequence[Trial], epoch: int, style: Any, label: str, top: float
) -> None:
    if not math.isfinite(top):
        axes.plot([], [], label=label, **style)
        return
    ranked = sorted(runs, key=lambda trial: trial.rate)
    found = [(trial.rate, float(trial.costs[epoch - 1])) for trial in ranked]
    inside = [(rate, cost if cost <= top else math.nan) for rate, cost in found]
    axes.plot(*zip(*inside, strict=True), marker="o", ms=3, label=label, **style)
    if epoch < len(runs[0].curves[0].costs):
        return
    # What is beyond the frame is marked at its top: in two heights, so that no mark hides another.
    height = 0.98 if style["ls"] == "-" else 0.94
    marks = (
        ("x", [rate for rate, cost in found if not math.isfinite(cost)]),
        ("^", [rate for rate, cost in found if math.isfinite(cost) and cost > top]),
    )
    for mark, rates in marks:
        heights, above = [height] * len(rates), axes.get_xaxis_transform()
        axes.plot(rates, heights, mark, ms=4, color=style["color"], transform=above, label="_mark")


def _bars(axes: "Axes", runs: Sequence[Trial], style: Style, top: float) -> None:
    """Draw the mean cost at the end, with its interval, where several seeds judge."""
    for trial in runs:
        half = half_width(trial.seed_costs())
        if half is not None and trial.cost <= top:
            bar: dict[str, Any] = {
                "fmt": "_",
                "ms": 9,
                "capsize": 4,
                "elinewidth": 1.4,
                "zorder": 4,
            }
            axes.errorbar([trial.rate], [trial.cost], [half], color=style.color, **bar)


def early(runs: Sequence[Curve]) -> int:
    """Return the epoch after a tenth of the training, as the paper shows epoch 10 of 100."""
    return max(1, len(runs[0].costs) // 10)
