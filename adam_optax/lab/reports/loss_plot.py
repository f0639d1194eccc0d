"""Draw the figure of a comparison: training loss over steps, a curve for each optimiser."""

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from adam_optax._core.plotting import COLORS, DASHES, DPI
from adam_optax.lab.comparison import Comparison
from adam_optax.lab.errors import needs_lab_extra
from adam_optax.lab.run import WINDOW, Run, smooth

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (8.0, 5.0)
"""Width and height of a figure, in inches."""


def png(comparison: Comparison) -> bytes:
    """Draw the figure of a comparison as PNG.

    Raises:
        LabError: If matplotlib is not installed.
    """
    return render(figure(comparison), "png")


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


def figure(comparison: Comparison) -> "Figure":
    """Draw the smoothed loss of every optimiser, with a band from the best to the worst seed.

    Raises:
        LabError: If matplotlib is not installed.
    """
    with needs_lab_extra("the figure"):
        from matplotlib.figure import Figure
    # The object interface is used, because pyplot would change the caller's backend and figures.
    drawn = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    axes = drawn.add_subplot()
    groups = comparison.by_optimizer()
    for place, (name, runs) in enumerate(groups.items()):
        _draw(axes, place, len(groups), name, runs)
    _label(axes, comparison)
    return drawn


def curves(runs: list[Run]) -> NDArray[np.float64]:
    """Stack the smoothed losses, shape (seeds, steps), cut where the shortest curve ends.

    Runs that diverged are left out. If all runs diverged, the finite beginning of each is taken.
    """
    kept = [run for run in runs if not run.diverged] or runs
    smoothed = [smooth(run.losses) for run in kept]
    ends = [int(np.isfinite(losses).cumprod().sum()) for losses in smoothed]
    return np.stack([losses[: min(ends)] for losses in smoothed])


def _draw(axes: "Axes", place: int, count: int, name: str, runs: list[Run]) -> None:
    losses = curves(runs)
    steps = np.arange(1, losses.shape[1] + 1)
    color, dashes = COLORS[place % len(COLORS)], DASHES[place % len(DASHES)]
    # Curves that coincide stay visible, because the first is the widest and lies below the others.
    width = 3.2 - 1.8 * place / max(count - 1, 1)
    lowest, highest = losses.min(axis=0), losses.max(axis=0)
    axes.fill_between(steps, lowest, highest, color=color, alpha=0.15, linewidth=0)
    axes.plot(steps, losses.mean(axis=0), color=color, ls=dashes, lw=width, label=_text(name, runs))


def _text(name: str, runs: list[Run]) -> str:
    diverged = sum(run.diverged for run in runs)
    suffix = f" ({diverged} of {len(runs)} diverged)" if diverged else ""
    return f"{name}, rate {runs[0].learning_rate:.3g}{suffix}".replace("$", r"\$")


def _label(axes: "Axes", comparison: Comparison) -> None:
    target = comparison.problem.target_loss
    axes.axhline(target, color="#888888", lw=1, zorder=1, label=f"target {target:g}")
    axes.set_yscale("log")
    axes.set_xlabel("training step (batches)")
    axes.set_ylabel(f"training loss (nats, mean of {WINDOW} batches)")
    seeds = max((len(runs) for runs in comparison.by_optimizer().values()), default=0)
    plural = "s, band from best to worst" if seeds > 1 else ""
    axes.set_title(f"{comparison.problem.name}: mean of {seeds} seed{plural}")
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(loc="upper right", handlelength=4)
