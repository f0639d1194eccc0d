"""Draw figures of sweeps: final loss over the hyper-parameter that was varied."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adam_optax._core.plotting import COLORS, DASHES, DPI
from adam_optax.lab.errors import needs_lab_extra
from adam_optax.lab.reports.loss_plot import SIZE
from adam_optax.lab.results import Setting, Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES = 8
"""Number of lines that are drawn: those with the lowest losses."""


def figure(panels: Sequence[tuple[str, Sweep]]) -> "Figure":
    """Draw a panel for each sweep: final loss over the hyper-parameter with the most values.

    A panel has a line for each combination of the other hyper-parameters.

    Args:
        panels: Titles and sweeps.

    Raises:
        LabError: If matplotlib is not installed.
    """
    with needs_lab_extra("the figure"):
        from matplotlib.figure import Figure
    rows, columns = -(-len(panels) // 2), min(len(panels), 2)
    width, height = SIZE if len(panels) == 1 else (12.0, 4.2 * rows)
    drawn = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    grid = list(drawn.subplots(rows, columns, squeeze=False).flat)
    for axes, (title, sweep) in zip(grid, panels, strict=False):
        _panel(axes, sweep)
        axes.set_title(title)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    return drawn


def varied(sweep: Sweep) -> list[str]:
    """Return the hyper-parameters that differ between settings, those with most values first."""
    names = list(sweep.settings[0].numbers)
    counts = {n: len({setting.numbers[n] for setting in sweep.settings}) for n in names}
    return sorted((n for n in names if counts[n] > 1), key=lambda n: -counts[n])


def _panel(axes: "Axes", sweep: Sweep) -> None:
    across, *others = varied(sweep) or list(sweep.settings[0].numbers)[:1]
    lines: dict[str, list[Setting]] = {}
    for setting in sweep.settings:
        lines.setdefault(_label(sweep, setting, others), []).append(setting)
    ranked = sorted(lines.items(), key=lambda item: min(s.loss for s in item[1]))[:_LINES]
    for place, (label, settings) in enumerate(ranked):
        _line(axes, place, label, across, sorted(settings, key=lambda s: s.numbers[across]))
    values = [setting.numbers[across] for setting in sweep.settings]
    if min(values) > 0 and max(values) > 3 * min(values):
        axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(across.replace("_", " "))
    axes.set_ylabel("final training loss (nats)")
    axes.grid(True, which="major", alpha=0.3)
    if len(lines) > 1 or others:
        axes.legend(handlelength=4, fontsize="small", title=_title(len(lines)))


def _title(count: int) -> str | None:
    return f"the best {_LINES} of {count}" if count > _LINES else None


def _label(sweep: Sweep, setting: Setting, others: Sequence[str]) -> str:
    several = len({s.optimizer for s in sweep.settings}) > 1
    parts = [setting.optimizer] if several or not others else []
    return ", ".join([*parts, *(f"{name} {setting.numbers[name]:.4g}" for name in others)])


def _line(axes: "Axes", place: int, label: str, across: str, settings: list[Setting]) -> None:
    color, dashes = COLORS[place % len(COLORS)], DASHES[place % len(DASHES)]
    sound = [s for s in settings if math.isfinite(s.loss)]
    x = [s.numbers[across] for s in sound]
    axes.plot(x, [s.loss for s in sound], color=color, ls=dashes, marker="o", ms=3.5, label=label)
    lowest, highest = ([pick(s.losses) for s in sound] for pick in (min, max))
    axes.fill_between(x, lowest, highest, color=color, alpha=0.12, linewidth=0)
    lost = [s.numbers[across] for s in settings if not math.isfinite(s.loss)]
    if lost:  # crosses at the top mark where runs diverged
        axes.plot(lost, [0.97] * len(lost), "x", color=color, transform=axes.get_xaxis_transform())
