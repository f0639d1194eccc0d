"""Draw a sweep of two hyper-parameters as a map of its losses."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from adam_optax._core.plotting import EMPTY
from adam_optax.lab.reports import canvas
from adam_optax.lab.reports.words import digits
from adam_optax.lab.results import Setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(
    axes: "Axes",
    settings: Sequence[Setting],
    names: tuple[str, str],
    chosen: Setting,
    mark: str,
    default: Mapping[str, float],
) -> None:
    """Draw a cell for each setting, with its loss in numbers and as a colour.

    Args:
        axes: Where to draw.
        settings: The settings, a whole grid of two hyper-parameters.
        names: Names of the hyper-parameters, that of the horizontal axis first.
        chosen: The setting whose cell is framed.
        mark: What the frame says.
        default: Defaults by name; the cell of both, if it is there, is framed, too.
    """
    from matplotlib.colors import LogNorm, Normalize

    x, y = (sorted({setting.numbers[name] for setting in settings}) for name in names)
    table = np.full((len(y), len(x)), np.nan)
    for setting in settings:
        at = y.index(setting.numbers[names[1]]), x.index(setting.numbers[names[0]])
        table[at] = setting.loss if math.isfinite(setting.loss) else np.nan
    known = table[np.isfinite(table)]
    norm = (LogNorm if known.min() > 0 else Normalize)(known.min(), known.max())
    axes.set_facecolor(EMPTY)
    image = axes.pcolormesh(
        np.arange(len(x) + 1) - 0.5, np.arange(len(y) + 1) - 0.5, table, norm=norm, cmap="viridis"
    )
    for (row, column), loss in np.ndenumerate(table):
        text = digits(float(loss), 3) if np.isfinite(loss) else "diverged"
        light = not np.isfinite(loss) or float(norm(loss)) > 0.55
        color = "black" if light else "white"
        axes.text(column, row, text, ha="center", va="center", fontsize="small", color=color)
    framed, usual = _cell(chosen.numbers, names, x, y), _cell(default, names, x, y)
    both = framed == usual
    _frame(axes, framed, f"{mark}, the default" if both else mark, "-")
    _frame(axes, None if both else usual, "default", ":")
    axes.set_xticks(range(len(x)), [f"{value:.4g}" for value in x])
    axes.set_yticks(range(len(y)), [f"{value:.4g}" for value in y])
    axes.set(xlabel=names[0].replace("_", " "), ylabel=names[1].replace("_", " "))
    assert axes.figure is not None
    bar = axes.figure.colorbar(image, ax=axes)
    if known.min() > 0:
        canvas.logarithmic(bar.ax.yaxis)
    bar.set_label("training loss at the end (nats)")


def _cell(
    numbers: Mapping[str, float], names: tuple[str, str], x: list[float], y: list[float]
) -> tuple[int, int] | None:
    """Return the column and the row of a setting, or `None` if it is not in the grid."""
    first, second = (numbers.get(name) for name in names)
    if first not in x or second not in y:
        return None
    return x.index(first), y.index(second)


def _frame(axes: "Axes", cell: tuple[int, int] | None, text: str, dashes: str) -> None:
    """Frame a cell in white, with a word above its number, or below it in a dotted frame."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import Normal, Stroke

    if cell is None:
        return
    column, row = cell
    frame = Rectangle(
        (column - 0.46, row - 0.46), 0.92, 0.92, fill=False, ec="white", lw=2.4, ls=dashes
    )
    # A dark edge, without which the frame of a bright cell would not be seen.
    frame.set_path_effects([Stroke(linewidth=4.4, foreground="black"), Normal()])
    axes.add_patch(frame)
    height = 0.32 if dashes == "-" else -0.32
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85}
    axes.text(column, row + height, text, ha="center", va="center", fontsize="x-small", bbox=box)
