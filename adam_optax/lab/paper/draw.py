"""Draw the paper's figures from the runs."""

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adam_optax._core.plotting import DPI, OPTIMIZERS
from adam_optax.lab.errors import needs_lab_extra
from adam_optax.lab.grid import LEARNING_RATE
from adam_optax.lab.paper.figures import FIGURES, Panel
from adam_optax.lab.paper.run import Curve, best

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def figure(name: str, curves: Sequence[Curve], size: str) -> "Figure":
    """Draw a figure of the paper from its runs.

    Args:
        name: Name of the figure, `figure1` to `figure4`.
        curves: All runs of the figure.
        size: Sizes of the experiments, panel by panel, for the lines below the figure.

    Raises:
        LabError: If matplotlib is not installed, or every run of an optimiser diverged.
    """
    with needs_lab_extra("the figure"):
        from matplotlib.figure import Figure
    panels = FIGURES[name]
    gridded = bool(panels[0].grid)
    rows, columns = (2, 3) if gridded else (1, len(panels))
    drawn = Figure(figsize=({1: 8.0, 2: 10.8, 3: 12.0}[columns], 4.2 * rows), dpi=DPI)
    drawn.set_layout_engine("constrained")
    axes = list(drawn.subplots(rows, columns, squeeze=False, sharey=gridded).flat)
    if gridded:
        _over_rates(axes, panels[0], curves)
        drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    else:
        for one, panel in zip(axes, panels, strict=True):
            _over_epochs(one, panel, curves)
    drawn.supxlabel(size.replace("; ", "\n"), fontsize="small", color="#555555")
    return drawn


def _over_epochs(axes: "Axes", panel: Panel, curves: Sequence[Curve]) -> None:
    """Draw the cost of each optimiser at its best rate, epoch by epoch."""
    for name, curve in best(curves, panel.name).items():
        epochs = range(1, len(curve.costs) + 1)
        label = f"{name}, rate {curve.rate:.3g}"
        axes.plot(epochs, curve.costs, label=label, **_style(name))
    axes.locator_params(axis="x", integer=True)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:.3g}")
    axes.yaxis.set_minor_formatter("{x:.2g}")
    axes.tick_params(which="both", labelsize="small")
    axes.set(title=panel.title, xlabel="epoch", ylabel="training cost (nats, mean of an epoch)")
    axes.grid(True, which="both", alpha=0.25)
    axes.legend(handlelength=4, fontsize="small")


def _over_rates(grid: Sequence["Axes"], panel: Panel, curves: Sequence[Curve]) -> None:
    """Draw the cost over the rate for each pair of betas, early and at the end.

    A cross marks a rate at which the run diverged.
    """
    pairs = list(itertools.product(*panel.grid.values()))
    for axes, pair in zip(grid, pairs, strict=True):
        chosen = dict(zip(panel.grid, pair, strict=True))
        for contender in panel.contenders:
            name = contender.optimizer.name
            runs = [
                c for c in curves if c.optimizer == name and chosen.items() <= c.numbers.items()
            ]
            for epoch, width in ((early(runs), 1.0), (len(runs[0].costs), 2.2)):
                _line(axes, runs, epoch, {**_style(name), "lw": width}, f"{name}, epoch {epoch}")
        axes.set_title(", ".join(f"{key} = {value:g}" for key, value in chosen.items()))
        axes.set(xscale="log", xlabel="learning rate")
        axes.grid(True, alpha=0.25)
    lowest = min(curve.cost for curve in curves)
    grid[0].set_ylim(0.9 * lowest, 2.7 * lowest)
    for axes in grid[:: len(grid) // 2]:
        axes.set_ylabel("negative bound (nats, mean of an epoch)")


def _line(axes: "Axes", runs: Sequence[Curve], epoch: int, style: Any, label: str) -> None:
    found = sorted((c.numbers[LEARNING_RATE], c.costs[epoch - 1]) for c in runs)
    sound = [(rate, cost) for rate, cost in found if math.isfinite(cost)]
    axes.plot(*zip(*sound, strict=True), marker="o", ms=3, label=label, **style)
    lost = [rate for rate, cost in found if not math.isfinite(cost)]  # crosses at the top
    height = 0.98 if style["ls"] == "-" else 0.94
    heights = [height] * len(lost)
    axes.plot(lost, heights, "x", color=style["color"], transform=axes.get_xaxis_transform())


def early(runs: Sequence[Curve]) -> int:
    """Return the epoch after a tenth of the training, as the paper shows epoch 10 of 100."""
    return max(1, len(runs[0].costs) // 10)


def _style(name: str) -> dict[str, Any]:
    color, dashes = OPTIMIZERS[name]
    return {"color": color, "ls": dashes}
