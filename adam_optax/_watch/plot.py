"""Draw the records of a watched optimiser: a panel for each quantity, a line for each layer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from adam_optax._core.extras import needs_extra
from adam_optax._core.plotting import COLORS, DASHES, DPI

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = {
    "update_ratio": "update RMS / parameter RMS",
    "step_size": "step size per weight (median; 5-95 %)",
    "root_nu": "root of nu per weight (median; 5-95 %)",
    "signal_to_noise": "signal to noise, mean of mu²/nu",
    "grad_rms": "gradient RMS",
    "eps_share": "share of weights ruled by eps",
    "storage_error": "storage error of a step",
    "nonfinite": "share of gradients not finite",
}
"""The quantities that are drawn, in this order, with the titles of their panels."""

_SHARES = ("eps_share", "nonfinite", "signal_to_noise")
"""Quantities between 0 and 1, which are drawn on a linear axis."""
_USUALLY_ZERO = ("eps_share", "nonfinite", "storage_error")
"""Quantities that are drawn only if they are not 0 all the time."""
_MAX_NAMED = 10
"""The most layers that have a colour and a name each."""

Readings: TypeAlias = Mapping[str, Mapping[str, NDArray[Any]]]
"""Arrays by layer and quantity, as `adam_optax.watch.read` returns them."""


def figure(readings: Readings) -> "Figure":
    """Draw what `adam_optax.watch.read` returned.

    Args:
        readings: arrays over the records, by layer and quantity.

    Raises:
        ValueError: if nothing was recorded.
        MissingExtraError: if matplotlib is not installed.
    """
    with needs_extra("the figure", "lab"):
        from matplotlib.figure import Figure
    if not any(len(layer["step"]) for layer in readings.values()):
        raise ValueError("there is no record to draw: train for a step first")
    shown = [name for name in PANELS if _is_worth_showing(readings, name)]
    result = Figure(figsize=(10.0, 2.9 * -(-len(shown) // 2) + 0.6), dpi=DPI, layout="constrained")
    grid = list(result.subplots(-(-len(shown) // 2), 2, squeeze=False).flat)
    for axes, name in zip(grid, shown, strict=False):
        _draw_panel(axes, name, readings)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    _draw_legend(result, readings)
    return result


def _is_worth_showing(readings: Readings, name: str) -> bool:
    """Tell whether a quantity is known of a layer and, if it is usually 0, not always 0."""
    values = np.concatenate([layer[name].ravel() for layer in readings.values()])
    known = values[np.isfinite(values)]
    return bool(len(known)) and not (name in _USUALLY_ZERO and not known.any())


def _draw_panel(axes: "Axes", name: str, readings: Readings) -> None:
    for place, layer in enumerate(readings.values()):
        _draw_line(axes, layer["step"], layer[name], _line_style(place, len(readings)))
    axes.set_title(PANELS[name], fontsize=10)
    axes.set_xlabel("training step")
    axes.grid(True, which="major", alpha=0.3)
    if name in _SHARES:
        axes.set_ylim(bottom=0)
    elif any((layer[name] > 0).any() for layer in readings.values()):
        axes.set_yscale("log")


def _draw_line(
    axes: "Axes", steps: NDArray[Any], values: NDArray[Any], style: dict[str, Any]
) -> None:
    """Draw a quantity of one layer; of quantiles, the median and a band between the outer ones."""
    if values.ndim == 1:
        axes.plot(steps, values, **style)
        return
    axes.plot(steps, values[:, values.shape[1] // 2], **style)
    axes.fill_between(
        steps, values[:, 0], values[:, -1], color=style["color"], alpha=0.12, linewidth=0
    )


def _line_style(place: int, count: int) -> dict[str, Any]:
    """Return the style of a layer's line, given the layer's place among `count` layers."""
    if count <= _MAX_NAMED:
        return {"color": COLORS[place % len(COLORS)], "ls": DASHES[place % len(DASHES)], "lw": 1.5}
    with needs_extra("the figure", "lab"):
        from matplotlib import colormaps
    return {"color": colormaps["viridis"](place / (count - 1)), "lw": 1.0}


def _draw_legend(result: "Figure", readings: Readings) -> None:
    if len(readings) > _MAX_NAMED:
        first, *_, last = readings
        result.suptitle(f"{len(readings)} layers, dark to bright: {first} to {last}")
        return
    names = [name.replace("$", r"\$") for name in readings]
    lines = result.axes[0].lines
    columns = 1 if max(map(len, names)) > 60 else min(len(names), 3)
    result.legend(lines, names, loc="outside upper center", ncols=columns, handlelength=4)
