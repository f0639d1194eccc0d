"""Make figures, and what they share: titles, legends beside the curves, notes, PNG and SVG."""

import io
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adam_optax._core.plotting import DPI, GUIDE, WORDS, plain
from adam_optax.lab.errors import needs_lab_extra

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure.

    Args:
        width: Width, in inches.
        height: Height, in inches.

    Raises:
        LabError: If matplotlib is not installed.
    """
    with needs_lab_extra("the figure"):
        from matplotlib.figure import Figure
    # The object interface is used, because pyplot would change the caller's backend and figures.
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def render(drawn: "Figure", kind: str, dpi: float = DPI) -> bytes:
    """Return a figure as PNG or SVG; the same figure gives the same bytes.

    Args:
        drawn: The figure.
        kind: `"png"` or `"svg"`.
        dpi: Pixels an inch.
    """
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "adam-optax", "svg.fonttype": "none"}):
        drawn.savefig(
            buffer, format=kind, dpi=dpi, metadata={"Date": None} if kind == "svg" else None
        )
    return buffer.getvalue()


def title(drawn: "Figure", text: str, note: str = "") -> None:
    """Write a title above a figure, and a note below it that says how to read it."""
    drawn.suptitle(plain(text), fontsize="large", x=0.01, ha="left")
    if note:
        letters = int(13 * drawn.get_figwidth())  # of a small font, an inch has some thirteen
        lines = [wrapped for line in note.split("\n") for wrapped in textwrap.wrap(line, letters)]
        said = plain("\n".join(lines))
        drawn.supxlabel(said, fontsize="small", color=WORDS, x=0.01, ha="left")


def legend_beside(
    drawn: "Figure", handles: Sequence["Artist"], labels: Sequence[str], heading: str = ""
) -> None:
    """Put the legend to the right of all panels, where it covers no curve."""
    drawn.legend(
        handles,
        list(map(plain, labels)),
        loc="outside right upper",
        handlelength=4.5,
        fontsize="small",
        title=heading or None,
        alignment="left",
        frameon=False,
    )


def grid(axes: "Axes") -> None:
    """Draw a faint grid behind the curves."""
    axes.grid(True, which="major", alpha=0.3)
    axes.set_axisbelow(True)


def logarithmic(axis: "Axis") -> None:
    """Make an axis logarithmic, with plain numbers beside 1 of each decade, or more of few."""
    from matplotlib.ticker import LogLocator, NullFormatter

    if axis is axis.axes.yaxis:
        axis.axes.set_yscale("log")
    else:
        axis.axes.set_xscale("log")
    lowest, highest = axis.get_view_interval()
    decades = math.log10(highest / lowest) if lowest > 0 else math.inf
    beside = (1,) if decades > 2.5 else (1, 2, 5) if decades > 1 else (1, 1.5, 2, 3, 4, 5, 6, 8)
    axis.set_major_locator(LogLocator(subs=beside, numticks=12))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def ticks_at(axis: "Axis", places: Sequence[float], values: Sequence[float]) -> None:
    """Put the ticks of an axis where there are points, and no others."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axis.set_major_locator(FixedLocator(list(places)))
    axis.set_minor_locator(NullLocator())
    axis.set_ticklabels([f"{value:.4g}" for value in values])


def say(axes: "Axes", text: str) -> None:
    """Write a text into a panel in which there is nothing to draw."""
    axes.text(
        0.5, 0.5, plain(text), transform=axes.transAxes, ha="center", va="center", color=WORDS
    )
    axes.set(xticks=[], yticks=[])


def guide(axes: "Axes", height: float, text: str) -> None:
    """Draw a level as a grey line, with its name at the right end, far from where curves fall."""
    axes.axhline(height, color=GUIDE, lw=1, zorder=1)
    axes.annotate(
        text,
        (0.99, height),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        ha="right",
        color=WORDS,
        fontsize="small",
    )
