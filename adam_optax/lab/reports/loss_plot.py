"""Draw the figure of a comparison: training loss over steps, test error over epochs."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adam_optax._core.plotting import Dashes, Style, optimizer_styles
from adam_optax.lab.comparison import Comparison
from adam_optax.lab.reports import canvas, words
from adam_optax.lab.reports.canvas import render
from adam_optax.lab.run import WINDOW, Run, first_smooth_step, smooth

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["curves", "figure", "png", "render", "test_errors"]

SIZE = (12.0, 5.0)
"""Width and height of the figure, in inches."""
_DASH_WIDTH = 1.8
"""The width of a line, in points, to which the lengths of its dashes belong."""
_BANDS = 4
"""The most optimisers whose bands over seeds are drawn: more bands make one brown cloud."""


def png(comparison: Comparison) -> bytes:
    """Draw the figure of a comparison as PNG.

    Raises:
        LabError: If matplotlib is not installed.
    """
    return render(figure(comparison), "png")


def figure(comparison: Comparison) -> "Figure":
    """Draw the smoothed loss of every optimiser, and the error on the test set beside it.

    Curves are means over the seeds that did not diverge, with a band from the best to the worst
    seed where the bands of few optimisers can be told apart. The legend is in the order of the
    training losses at the end.

    Raises:
        LabError: If matplotlib is not installed.
    """
    drawn = canvas.new_figure(*SIZE)
    training, testing = drawn.subplots(1, 2, width_ratios=(3, 2))
    groups = comparison.by_optimizer()
    styles = optimizer_styles(groups)
    found = {}
    for place, (name, runs) in enumerate(groups.items()):
        pen = _Pen(styles[name], place, len(groups))
        found[name] = (*_train_curve(training, pen, runs), runs)
        _test_curve(testing, pen, runs)
    _label_training(training, comparison)
    _label_testing(testing, comparison)
    ranked = sorted(found.items(), key=lambda item: -item[1][1])
    if len(groups) > 1:  # the only optimiser is named in the title
        handles = [line for _, (line, _, _) in ranked]
        canvas.legend_beside(drawn, handles, [_text(name, runs) for name, (_, _, runs) in ranked])
    note = [words.rates(comparison)]
    if max(map(len, groups.values()), default=0) > 1:
        marks = "Bands" if len(groups) <= _BANDS else "Bars at the ends"
        note.append(f"{marks}: from the best to the worst seed.")
    canvas.title(drawn, words.title(comparison), "\n".join(note))
    return drawn


def curves(runs: list[Run]) -> NDArray[np.float64]:
    """Stack the smoothed losses, shape (seeds, means), cut where the shortest curve ends.

    The first mean is that of step `first_smooth_step`. Runs that diverged are left out. If all runs
    diverged, the finite beginning of each is taken.
    """
    return _stacked([smooth(run.losses) for run in _sound(runs)])


def test_errors(runs: list[Run]) -> NDArray[np.float64]:
    """Stack the errors on the test set, in %, shape (seeds, epochs); as `curves` does."""
    errors = [100 * (1 - np.asarray(run.test_accuracies, np.float64)) for run in _sound(runs)]
    return _stacked(errors)


def _sound(runs: list[Run]) -> list[Run]:
    return [run for run in runs if not run.diverged] or runs


def _stacked(lines: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    ends = [int(np.isfinite(line).cumprod().sum()) for line in lines]
    return np.stack([line[: min(ends)] for line in lines])


class _Pen(NamedTuple):
    """Draw the curves of one optimiser among several.

    Attributes:
        style: The optimiser's line.
        place: The optimiser's place among those of the figure.
        of: Number of optimisers of the figure.
    """

    style: Style
    place: int
    of: int

    def draw(
        self, axes: "Axes", x: NDArray[np.int64], lines: NDArray[np.float64], **more: Any
    ) -> "Line2D":
        """Draw the mean of lines over seeds, and a band or a bar from the lowest to the highest."""
        # Curves that coincide stay visible: the first is the widest and lies below the others.
        width = max(3.2 - 0.3 * self.place, 1.3)
        pen = self.style.line() | {"ls": self._dashes(width)}
        (line,) = axes.plot(x, lines.mean(axis=0), lw=width, **pen, **more)
        lowest, highest = lines.min(axis=0), lines.max(axis=0)
        color = self.style.color
        if len(lines) > 1 and len(x) and self.of <= _BANDS:
            axes.fill_between(x, lowest, highest, color=color, alpha=0.15, linewidth=0)
        elif len(lines) > 1 and len(x):
            beyond = x[-1] + 0.012 * (1 + self.place) * (x[-1] - x[0])
            axes.plot([beyond] * 2, [lowest[-1], highest[-1]], color=color, lw=1.6, label="_bar")
        return line

    def _dashes(self, width: float) -> Dashes:
        """Return the dashes with the lengths that they have in the thinnest line.

        matplotlib makes the dashes of a wide line as much longer, so that few would be left.
        """
        if isinstance(self.style.dashes, str):
            return self.style.dashes
        start, lengths = self.style.dashes
        return start, tuple(_DASH_WIDTH / width * length for length in lengths)


def _train_curve(axes: "Axes", pen: _Pen, runs: list[Run]) -> tuple["Line2D", float]:
    """Draw the training loss, and return the line and the loss at its end."""
    losses = curves(runs)
    first = max(first_smooth_step(run.losses) for run in runs)
    line = pen.draw(axes, np.arange(first, first + losses.shape[1]), losses)
    return line, float(losses[:, -1].mean()) if losses.shape[1] else float("inf")


def _test_curve(axes: "Axes", pen: _Pen, runs: list[Run]) -> None:
    errors = test_errors(runs)
    if errors.shape[1] and not all(run.diverged for run in runs):
        points = {"marker": "o", "ms": 4} if errors.shape[1] == 1 else {}
        pen.draw(axes, np.arange(1, errors.shape[1] + 1), errors, **points)


def _text(name: str, runs: list[Run]) -> str:
    diverged = sum(run.diverged for run in runs)
    suffix = f" ({diverged} of {len(runs)} diverged)" if diverged else ""
    return f"{name}, rate {runs[0].learning_rate:.3g}{suffix}"


def _label_training(axes: "Axes", comparison: Comparison) -> None:
    axes.set_title("training", loc="left", fontsize="medium")
    window = max((first_smooth_step(run.losses) for run in comparison.runs), default=WINDOW)
    axes.set(xlabel="step (batch)", ylabel=f"loss of a batch (nats), mean of the last {window}")
    seen = [line.get_ydata() for line in axes.lines]
    values = np.concatenate([np.asarray(y, np.float64) for y in seen]) if seen else np.ones(0)
    if all(run.diverged for run in comparison.runs):
        for line in axes.lines:
            line.set_visible(False)
        canvas.say(axes, "every run diverged: a loss was not finite;\ntry lower learning rates")
        return
    if values.min() > 0:
        canvas.logarithmic(axes.yaxis)
    target = comparison.problem.target_loss
    if values.min() <= target <= values.max():  # elsewhere it would only stretch the axis
        canvas.guide(axes, target, f"target {target:g}")
    canvas.grid(axes)


def _label_testing(axes: "Axes", comparison: Comparison) -> None:
    axes.set_title("test set", loc="left", fontsize="medium")
    if not axes.lines:
        lost = all(run.diverged for run in comparison.runs)
        canvas.say(axes, "every run diverged" if lost else "no test accuracy was recorded")
        return
    axes.set(xlabel="epoch", ylabel="error on the test set (%)")
    axes.locator_params(axis="x", integer=True)
    lowest = min(float(np.min(np.asarray(line.get_ydata()))) for line in axes.lines)
    if lowest > 0:
        canvas.logarithmic(axes.yaxis)
    canvas.grid(axes)
