"""Draw lines, contours and labels as all figures of the lessons have them, and write small files.

An optimiser has one colour and one dash in all figures of the project: those of
`adam_optax._core.plotting`. What is no optimiser, a batch size or a group of weights say, has a
colour of the same palette.
"""

import pathlib
import re
from collections.abc import Callable, Iterable
from typing import Any

import matplotlib as mpl

mpl.use("svg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from adam_optax._core.plotting import optimizer_styles

HERE = pathlib.Path(__file__).parent
INK, GREY, PALE = "#333333", "#777777", "#b5b5b0"
"""Text; what is no curve, guide lines and notes; and what is given: gradients, a minimum."""
LOOK: Any = {
    "figure.figsize": (10, 3.7),  # 720 points are 960 pixels of a browser
    "figure.facecolor": "#fbfbf8",  # a light card, so that dark pages can show it as it is
    "axes.facecolor": "#fbfbf8",
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e4e4e0",
    "font.size": 11,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "none",  # text stays text: small files, and readers can search it
    "svg.hashsalt": "adam-optax",  # the same figure is the same file
    "path.simplify_threshold": 0.5,
}
"""The look of the lessons' figures, on a page of the site."""
Page = dict[str, Any]
"""What a page's code has defined, by name."""
Range = tuple[float, float]
"""The ends of an axis."""
_NAMES = {
    "Nesterov": "sgd nesterov",
    "SGD, momentum": "momentum",
    "Adam, pair()": "adam",
    "optax 0.2.8": "optax.adam",
}
"""Optimisers that the lessons name otherwise than the registry of lines does."""


FIGURES: dict[str, Callable[[Page], None]] = {}
"""The drawings by the names of their pages."""


def figure(draw: Callable[[Page], None]) -> Callable[[Page], None]:
    """Register a drawing under the name of its page."""
    FIGURES[draw.__name__] = draw
    return draw


def run_page(name: str) -> Page:
    """Run a page's code blocks and return what they have defined."""
    page: Page = {"__name__": name}
    text = (HERE / f"{name}.md").read_text()
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        exec(compile(block, f"{name}.md", "exec"), page)
    return page


def panels(*widths: float, **options: Any) -> tuple[Axes, ...]:
    """Return axes side by side, of these relative widths."""
    _, axes = plt.subplots(1, len(widths), width_ratios=widths, layout="constrained", **options)
    return tuple(np.atleast_1d(axes))


def style(name: str) -> dict[str, Any]:
    """Return the colour and the dash of an optimiser, for `plot`."""
    return styles([name])[name]


def styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the colours and dashes of optimisers in one figure, for `plot`.

    What begins with an optimiser's name and a space is a form of it, and has its colour.
    """
    asked = {name: _NAMES.get(name, name) for name in names}
    found = optimizer_styles(asked.values())
    return {name: found[known].line() for name, known in asked.items()}


def color_of(name: str) -> str:
    """Return the colour of an optimiser, for bars and marks."""
    color: str = style(name)["color"]
    return color


def label_end(ax: Axes, y: float, text: str, color: str) -> None:
    """Write a line's name behind its end."""
    ax.annotate(
        text,
        (1.01, y),
        xycoords=("axes fraction", "data"),
        color=color,
        va="center",
        annotation_clip=False,
    )


def thin(values: Any, most: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and values, at most so many, so that files stay small."""
    values = np.asarray(values)
    steps = np.unique(np.linspace(0, len(values) - 1, most).astype(int))
    return steps, values[steps]


def thin_log(values: Any, most: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Return steps from 1 and values, evenly spaced on a logarithmic axis."""
    values = np.asarray(values)
    steps = np.unique(np.geomspace(1, len(values), most).astype(int))
    return steps, values[steps - 1]


def contours(
    ax: Axes, function: Callable[[Any, Any], Any], x: Range, y: Range, levels: Any
) -> None:
    """Draw the lines of equal loss."""
    xs, ys = np.meshgrid(np.linspace(x[0], x[1], 40), np.linspace(y[0], y[1], 40))
    ax.contour(xs, ys, function(xs, ys), levels=levels, colors="#c4c4c0", linewidths=0.8)
    ax.grid(visible=False)


def _round(tag: str) -> str:
    """Round the coordinates of a tag to a tenth of a point."""
    return re.sub(r"-?\d+\.\d{2,}", lambda n: f"{float(n[0]):.1f}".removesuffix(".0"), tag)


def shorten(svg: str) -> str:
    """Write the same picture in fewer bytes: rounded coordinates, and each style once."""
    svg = re.sub(r"<metadata>.*?</metadata>|<!-- .*? -->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<[^>]+>", lambda tag: _round(tag[0]), svg)  # not what stands between tags
    svg = re.sub(r"font-family: [^;\"]*", "font-family: 'DejaVu Sans', Verdana, sans-serif", svg)
    styles = list(dict.fromkeys(re.findall(r' style="([^"]*)"', svg)))
    rules = "".join(f".s{i}{{{style}}}" for i, style in enumerate(styles))
    svg = re.sub(r' style="([^"]*)"', lambda m: f' class="s{styles.index(m[1])}"', svg)
    svg = re.sub(r"(<svg[^>]*>)", lambda m: f"{m[1]}\n<style>{rules}</style>", svg, count=1)
    return re.sub(r"\s*\n\s*", "\n", svg)
