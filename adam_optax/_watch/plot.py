"""The figure of a watched optimiser: a panel for each quantity, a line for each layer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
"""What is shown, in this order, and what the axis is called; what is never known is left out."""

_SHARES = ("eps_share", "nonfinite", "signal_to_noise")
_QUIET = ("eps_share", "nonfinite", "storage_error")
_LEGEND = 10
"""Up to so many layers each have a colour and a name."""

Reading = Mapping[str, Mapping[str, NDArray[Any]]]


def figure(reading: Reading) -> "Figure":
    """Draws what `adam_optax.watch.read` gave.

    Raises:
      ValueError: If nothing was recorded.
      MissingExtraError: If matplotlib is not installed.
    """
    with needs_extra("the figure", "lab"):
        from matplotlib.figure import Figure
    if not any(len(layer["step"]) for layer in reading.values()):
        raise ValueError("there is no record to draw: train for a step first")
    shown = [name for name in PANELS if _is_worth_showing(reading, name)]
    result = Figure(figsize=(10.0, 2.9 * -(-len(shown) // 2) + 0.6), dpi=DPI, layout="constrained")
    grid = list(result.subplots(-(-len(shown) // 2), 2, squeeze=False).flat)
    for axes, name in zip(grid, shown, strict=False):
        _panel(axes, name, reading)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    _legend(result, reading)
    return result


def _is_worth_showing(reading: Reading, name: str) -> bool:
    """Whether it is known of a layer and, where it is usually 0, is not 0 all the time."""
    values = np.concatenate([layer[name].ravel() for layer in reading.values()])
    known = values[np.isfinite(values)]
    return bool(len(known)) and not (name in _QUIET and not known.any())


def _panel(axes: "Axes", name: str, reading: Reading) -> None:
    for place, layer in enumerate(reading.values()):
        _line(axes, layer["step"], layer[name], _style(place, len(reading)))
    axes.set_title(PANELS[name], fontsize=10)
    axes.set_xlabel("training step")
    axes.grid(True, which="major", alpha=0.3)
    if name in _SHARES:
        axes.set_ylim(bottom=0)
    elif any((layer[name] > 0).any() for layer in reading.values()):
        axes.set_yscale("log")


def _line(axes: "Axes", steps: NDArray[Any], values: NDArray[Any], style: dict[str, Any]) -> None:
    if values.ndim == 1:
        axes.plot(steps, values, **style)
        return
    axes.plot(steps, values[:, values.shape[1] // 2], **style)
    axes.fill_between(
        steps, values[:, 0], values[:, -1], color=style["color"], alpha=0.12, linewidth=0
    )


def _style(place: int, count: int) -> dict[str, Any]:
    if count <= _LEGEND:
        return {"color": COLORS[place % len(COLORS)], "ls": DASHES[place % len(DASHES)], "lw": 1.5}
    with needs_extra("the figure", "lab"):
        from matplotlib import colormaps
    return {"color": colormaps["viridis"](place / (count - 1)), "lw": 1.0}


def _legend(result: "Figure", reading: Reading) -> None:
    if len(reading) > _LEGEND:
        first, *_, last = reading
        result.suptitle(f"{len(reading)} layers, dark to bright: {first} to {last}")
        return
    names = [name.replace("$", r"\$") for name in reading]
    lines = result.axes[0].lines
    columns = 1 if max(map(len, names)) > 60 else min(len(names), 3)
    result.legend(lines, names, loc="outside upper center", ncols=columns, handlelength=4)
