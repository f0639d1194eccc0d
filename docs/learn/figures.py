"""Draw the figures of the pages in docs/learn from what the code on the pages computes.

    python docs/learn/figures.py            # all figures, into docs/learn/figures/
    python docs/learn/figures.py adam       # one of them

Each function here has the name of a page. The page's code blocks are run, and the function draws
what they have computed, by variables and functions of the page.
"""

import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any

import matplotlib as mpl

mpl.use("svg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

HERE = pathlib.Path(__file__).parent
INK, GREY = "#333333", "#777777"
BLUE, RED, GREEN = "#0072b2", "#d55e00", "#009e73"
PINK, ORANGE, SKY = "#b8608f", "#c98a00", "#56b4e9"
COLORS = {
    "SGD": GREY,
    "momentum": SKY,
    "Nesterov": RED,
    "AdaGrad": GREEN,
    "RMSProp": ORANGE,
    "AdaDelta": PINK,
    "Adam": BLUE,
}
"""One colour for each optimiser, on all pages; what a page compares Adam with is red."""
DASHES: dict[str, tuple[int, ...]] = {
    "SGD": (6, 2, 1, 2),
    "momentum": (4, 2, 1, 2, 1, 2),
    "Nesterov": (5, 3),
    "AdaGrad": (1, 2),
    "RMSProp": (3, 3),
    "AdaDelta": (9, 4),
    "Adam": (),
}
"""One dash for each, in widths of the line: line, gap, line ... The page `live` has the same."""
STYLE: Any = {
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
Page = dict[str, Any]
Range = tuple[float, float]
FIGURES: dict[str, Callable[[Page], None]] = {}


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
    return {"color": COLORS[name], "ls": (0, DASHES[name]) if DASHES[name] else "-"}


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


@figure
def gradient_descent(page: Page) -> None:
    """Draw three batch sizes."""
    left, right = panels(1, 1.2)
    inputs, targets = np.asarray(page["inputs"]), np.asarray(page["targets"])

    def loss(a: Any, b: Any) -> Any:
        return ((a[..., None] * inputs[:, 0] + b[..., None] * inputs[:, 1] - targets) ** 2).mean(-1)

    contours(left, loss, (-0.2, 2.3), (-1.8, 0.3), 10)
    for size, color, width in ((1, ORANGE, 0.9), (32, BLUE, 2), (256, INK, 2)):
        path, losses = page["runs"][size]
        steps = thin(path, 500)[0]
        left.plot(*path[steps].T, color=color, lw=width, marker="o" if size == 256 else None, ms=4)
        epochs = np.arange(len(losses)) * size / 256
        steps = thin(losses, 500)[0]
        name = {1: "one example", 32: "mini-batch of 32", 256: "batch: all 256"}[size]
        right.semilogy(
            epochs[steps], losses[steps] - page["best"] + 1e-6, color=color, lw=width, label=name
        )
    left.set(title="Three paths to the minimum", xlabel="first weight", ylabel="second weight")
    right.set(
        title="Loss above the lowest", xlabel="passes through the data (epochs)", ylim=(1e-5, 50)
    )
    right.legend(loc="upper right", ncols=3, columnspacing=0.8, handlelength=1, fontsize=10)


def _valley_paths(ax: Axes, paths: dict[str, Any], ylim: Range) -> None:
    """Draw paths over the valley."""
    contours(
        ax, lambda a, b: (a**2 + 50 * b**2) / 2, (-11, 6), ylim, [0.5, 2, 5, 10, 20, 35, 50, 70]
    )
    for name, path in paths.items():
        ax.plot(
            *np.asarray(path).T,
            **style(name),
            marker=".",
            markevery=2,
            ms=5,
            lw=1.4,
            label=name,
        )
    ax.plot(0, 0, "+", color=INK, ms=12)
    ax.set(xlabel="flat direction", ylabel="steep direction", xlim=(-11, 6), ylim=ylim)


@figure
def momentum(page: Page) -> None:
    """Draw momentum in a valley."""
    left, right = panels(1.2, 1)
    _valley_paths(left, {name: path[:60] for name, path in page["paths"].items()}, (-1.5, 1.5))
    left.set_title("60 steps in a valley")
    for name, losses in page["losses"].items():
        right.semilogy(losses, **style(name), label=name)
    right.set(title="Loss", xlabel="step", ylim=(1e-6, 200))
    right.legend(loc="lower left")


@figure
def adagrad(page: Page) -> None:
    """Draw the steps of a frequent and a rare weight, and what a spike leaves."""
    left, right = panels(1, 1)
    steps = np.asarray(page["steps"])
    left.loglog(*thin_log(steps[:, 0]), color=BLUE, label="gradient in each step")
    rare = np.flatnonzero(steps[:, 1])
    left.loglog(rare + 1, steps[rare, 1], ".", color=RED, label="gradient in each 100th step")
    left.set(
        title="A rare gradient gets ten times the step", xlabel="step", ylabel="length of the step"
    )
    left.legend()
    right.loglog(*thin_log(page["constant"]), color=BLUE, label="all gradients are 1")
    right.loglog(*thin_log(page["after"]), color=RED, label="the first one is 100")
    right.set(title="The sum never forgets", xlabel="step")
    right.legend()


@figure
def rmsprop(page: Page) -> None:
    """Draw the three moments, and how a spike is forgotten."""
    left, right = panels(1.25, 1)
    shown = slice(0, 600)
    left.plot(np.asarray(page["stream"])[shown], ".", color="#b5b5b0", ms=3)
    (nu,) = page["moments_on"](page["stream"], page["ao"].rmsprop(1.0, decay=0.99), ["nu"])
    centred = page["ao"].rmsprop(1.0, decay=0.99, centered=True)
    variance, mean = page["moments_on"](page["stream"], centred, ["variance", "mu"])
    lines = ((nu, BLUE, "root of the second moment"), (mean, GREEN, "first moment, the mean"))
    for values, color, name in (*lines, (variance, RED, "deviation: root of the variance")):
        left.plot(
            values[shown] if values is mean else np.sqrt(values[shown]), color=color, label=name
        )
    left.set(title="Gradients of mean 3 and deviation 1", xlabel="step", ylim=(-0.5, 8.5))
    left.legend(loc="upper right", ncols=1)
    right.semilogy(page["steps"], color=ORANGE)
    right.set(title="RMSProp forgets a gradient of 100", xlabel="step", ylabel="length of the step")


@figure
def adadelta(page: Page) -> None:
    """Draw how far AdaDelta gets by epsilon."""
    (ax,) = panels(1)
    for (eps, curve), color in zip(page["curves"].items(), (PINK, RED, BLUE), strict=True):
        ax.loglog(*thin_log(curve), color=color)
        label_end(ax, curve[-1], f"AdaDelta, eps = {eps:g}", color)
    rms = page["moved"](page["ao"].rmsprop(1e-3))
    ax.loglog(*thin_log(rms), color=ORANGE, ls="--")
    label_end(ax, rms[-1] * 0.4, "RMSProp, rate 0.001", ORANGE)
    ax.set(title="How far equal gradients carry a weight", xlabel="step", ylabel="distance")


@figure
def adam(page: Page) -> None:
    """Draw five optimisers in one valley."""
    paths = {name: np.vstack([(-10.0, 1.0), path]) for name, path in page["paths"].items()}
    left, right = panels(1.35, 1)
    _valley_paths(left, paths, (-1.3, 1.3))
    left.set_title("80 steps in a valley, from the left")
    for name, path in paths.items():
        losses = (path[:, 0] ** 2 + 50 * path[:, 1] ** 2) / 2
        right.semilogy(losses, **style(name), label=name)
    right.set(title="Loss", xlabel="step", ylim=(1e-5, 300))
    right.legend(loc="lower left", ncols=2)


@figure
def live(page: Page) -> None:
    """Draw what moves on the page where scripts run: five walks over three surfaces."""
    x, y = (-6, 6), (-3.375, 3.375)
    levels = {
        "valley": [0.5, 5, 17, 38, 71, 116],
        "saddle": [-0.9, -0.3, 0.5, 2, 5.5, 11],
        "slope": [1.1, 2, 3, 4, 5, 6],
    }
    axes = panels(1, 1, 1, sharey=True)
    for ax, (surface, loss) in zip(axes, page["SURFACES"].items(), strict=True):
        contours(ax, lambda a, b, loss=loss: np.asarray(loss((a, b))), x, y, levels[surface])
        for name in page["RATES"]:
            noise = 2.0 if surface == "slope" else 0.0
            path = np.asarray(page["walk"](page["make"](name), surface, noise=noise, steps=60))
            ax.plot(*path.T, **style(name), lw=1.6, label=name)
            ax.plot(*path[-1], "o", color=COLORS[name], ms=6)
        ax.plot(*path[0], "o", mfc="none", mec=INK, mew=2, ms=9)
        ax.set(title=f"{surface.capitalize()}, 60 steps", xlim=x, ylim=y, aspect="equal")
        ax.set(xlabel="weight x")
    axes[0].set_ylabel("weight y")
    plt.gcf().legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)


@figure
def bias_correction(page: Page) -> None:
    """Draw steps without the correction, and the first step in float32."""
    left, right = panels(1.3, 1)
    left.loglog(*thin_log(page["with_it"]), color=BLUE, lw=3, label="with correction")
    for (b2, steps), color in zip(page["without"].items(), (GREEN, RED, PINK), strict=True):
        left.loglog(*thin_log(steps), color=color, label=f"without, β₂ = {b2:g}")
    left.set(title="Steps that should all be 1", xlabel="step", ylabel="learning rates")
    left.legend()
    b2s, errors = list(page["first"]), np.array(list(page["first"].values()))
    places = np.arange(len(b2s))
    right.bar(places - 0.2, np.maximum(errors[:, 1], 1e-8), 0.4, color=RED, label="optax 0.2.8")
    right.bar(
        places + 0.2,
        np.maximum(errors[:, 0], 2e-8),
        0.4,
        color=BLUE,
        label="adam_optax (at most 1e-7)",
    )
    right.set_yscale("log")
    right.set_xticks(places, [f"1 - {1 - b2:.0e}".replace("e-0", "e-") for b2 in b2s])
    right.set(title="Error of the first step in float32", xlabel="β₂", ylim=(1e-8, 100))
    right.legend(loc="upper left")


@figure
def one_rate_per_weight(page: Page) -> None:
    """Draw rates that follow the gradients, and the turned valley."""
    left, right = panels(1, 1)
    names = "gradients of size 10", "size 1, ten times that near step 600", "size 0.1"
    for column, (name, color) in enumerate(zip(names, (GREEN, RED, BLUE), strict=True)):
        left.semilogy(*thin(page["history"][:, column]), color=color, label=name)
    left.set(
        title="Rates of three weights", xlabel="step", ylabel="rate of the weight", ylim=(2e-4, 3)
    )
    left.legend(loc="upper right", fontsize=10)
    for losses, color, name in (
        (page["plain"], BLUE, "Adam"),
        (page["large"], SKY, "Adam, loss times 1,000"),
        (page["turned"], RED, "Adam, valley turned by 45°"),
        (page["sgd"], GREY, "SGD"),
    ):
        right.semilogy(
            losses,
            color=color,
            label=name,
            ls="--" if color == SKY else "-",
            lw=3 if color == BLUE else 2,
        )
    right.set(title="Scaled and turned valleys", xlabel="step", ylabel="loss", ylim=(1e-3, 1e6))
    right.legend(loc="upper right")


@figure
def sparse_gradients(page: Page) -> None:
    """Draw the rate of a rare weight where it has a gradient."""
    (ax,) = panels(1)
    late = page["late"][:60]
    for (b2, rates), color in zip(page["rates"].items(), (ORANGE, RED, GREEN, BLUE), strict=True):
        ax.semilogy(late, rates[late], color=color, marker=".", label=f"β₂ = {b2:g}", lw=1.5)
    ax.set(title="Rate of one weight whenever it has a gradient: in 1 of 100 steps", xlabel="step")
    ax.set(ylabel="rate, in learning rates", ylim=(1, 150))
    ax.legend(ncols=4)


@figure
def changing_objectives(page: Page) -> None:
    """Draw nu falling, and a moving minimum."""
    left, right = panels(1, 1.2)
    left.semilogy(*thin(np.sqrt(page["nu"])), color=BLUE, label="Adam: root of nu")
    left.semilogy(
        *thin(np.sqrt(page["sum_of_squares"])), color=GREEN, label="AdaGrad: root of the sum"
    )
    left.axvline(300, color=GREY, ls=":")
    left.set(title="Gradients shrink a hundredfold", xlabel="step", ylim=(0.05, 5000))
    left.legend(loc="upper right")
    right.plot(*thin(page["minimum"]), color="#b5b5b0", lw=5, label="the minimum")
    for name, color in (("AdaGrad 1", GREEN), ("Adam", BLUE)):
        label = "AdaGrad, rate 1" if "G" in name else name
        right.plot(*thin(page["tracks"][name]), color=color, lw=1.3, label=label)
    right.axvline(1500, color=GREY, ls=":")
    right.set(
        title="A moving minimum, 100 times flatter after 1,500", xlabel="step", ylim=(-1.5, 2.0)
    )
    right.legend(loc="upper right", ncols=3)


@figure
def epsilon(page: Page) -> None:
    """Draw the step over the size of the gradient."""
    (ax,) = panels(1)
    for (eps, length), color in zip(
        page["lengths"].items(), (GREEN, BLUE, ORANGE, RED), strict=True
    ):
        ax.loglog(page["sizes"], length, color=color, label=f"eps = {eps:g}", marker=".")
    ax.text(1e-7, 4, "Adam: the size cancels", color=INK)
    ax.text(
        1e-7, 1e-12, "below eps: SGD with momentum,\nstep in proportion to the gradient", color=INK
    )
    ax.set(
        title="Length of a step",
        xlabel="size of the gradient",
        ylabel="learning rates",
        ylim=(1e-13, 30),
    )
    ax.legend(loc="lower right")


@figure
def learning_rate(page: Page) -> None:
    """Draw four rates, and four schedules in noise."""
    left, right = panels(1, 1)
    for (alpha, distance), color in zip(
        page["plain"].items(), (GREY, GREEN, BLUE, RED), strict=True
    ):
        left.loglog(*thin_log(distance, 500), color=color, label=f"rate {alpha:g}")
    left.set(
        title="Without noise", xlabel="step", ylabel="distance from the minimum", ylim=(1e-4, 300)
    )
    left.legend(ncols=2, loc="upper right")
    for (name, distance), color in zip(
        page["noisy"].items(), (RED, ORANGE, BLUE, GREEN), strict=True
    ):
        style = "--" if "warm" in name else "-"
        right.loglog(*thin_log(distance), color=color, label=name, ls=style)
    right.set(title="With noise in the gradients, 64 runs", xlabel="step", ylim=(1e-2, 30))
    right.legend(ncols=2)


@figure
def batch_size(page: Page) -> None:
    """Draw the loss over the rate at two batch sizes."""
    axes = panels(1, 1, 1, 1, sharey=True)
    for ax, (name, (_, rates)) in zip(axes, page["OPTIMIZERS"].items(), strict=True):
        for size, color in zip(page["SIZES"], (BLUE, RED), strict=True):
            losses = page["results"][name, size]
            ax.loglog(
                rates,
                np.where(losses < 4, losses, np.nan),
                color=color,
                marker="o",
                label=f"batch of {size}",
            )
            lowest = np.nanargmin(losses)
            ax.plot(rates[lowest], losses[lowest], "o", color=color, ms=12, mfc="none", mew=2)
        ax.set(title=name, xlabel="learning rate")
    axes[0].set(ylabel="loss after 4 epochs", ylim=(0.05, 8))
    axes[0].legend(loc="upper left", fontsize=10)


@figure
def weight_decay(page: Page) -> None:
    """Draw which weights decay."""
    axes = panels(1, 1, sharey=True)
    for ax, (name, path) in zip(axes, page["curves"].items(), strict=True):
        ax.plot(
            *thin(path[:, :400].mean(1), 150),
            color=BLUE,
            label="weights with gradients of size 0.01",
        )
        ax.plot(
            *thin(path[:, 400:].mean(1), 150),
            color=RED,
            ls="--",
            label="weights with gradients of size 10",
        )
        ax.set(title=name, xlabel="step", ylim=(-0.03, 1.05))
    axes[0].set_ylabel("mean of 400 weights")
    axes[1].legend(loc="lower left")


@figure
def nadam(page: Page) -> None:
    """Draw the turn, and the overshoot."""
    left, right = panels(1, 1)
    for name, color in (("Adam", BLUE), ("Nadam", RED)):
        left.plot(np.arange(40, 75), page["steps"][name][40:75], ".-", color=color, label=name)
        right.plot(page["places"][name][:120], color=color, label=name)
    left.set(title="The gradient turns at step 50", xlabel="step", ylabel="learning rates")
    right.set(title="To the minimum of a parabola", xlabel="step", ylabel="place")
    right.axhline(0, color=GREY, lw=1)
    left.legend()


@figure
def amsgrad(page: Page) -> None:
    """Draw the counterexample."""
    (ax,) = panels(1)
    colors = {"Adam": BLUE, "AMSGrad": RED, "Adam, b2 = 0.999": GREEN}
    for name, path in page["paths"].items():
        label = "Adam, short memory" if name == "Adam" else name
        ax.semilogx(*thin_log(path, 500), color=colors[name], label=label, lw=1.6)
    ax.text(1.05, 1.08, "the worst point", color=GREY)
    ax.text(1.05, -1.22, "the best point", color=GREY)
    ax.set(
        title="Gradients 4, -1, -1, 4, -1, -1, ...", xlabel="step", ylabel="x", ylim=(-1.35, 1.35)
    )
    ax.legend(loc="center right")


@figure
def adabelief(page: Page) -> None:
    """Draw the step over the noise."""
    (ax,) = panels(1)
    for name, color in (("Adam", BLUE), ("AdaBelief", RED)):
        ax.loglog(page["noises"], page["length"][name], "o-", color=color, label=name)
    ax.axhline(1, color=GREY, ls=":")
    ax.text(1.2, 1.25, "one learning rate", color=GREY)
    ax.set(
        title="Gradients of mean 1, with noise", xlabel="noise", ylabel="mean step, learning rates"
    )
    ax.legend()


@figure
def validation(page: Page) -> None:
    """Draw three pairs of curves."""
    axes = panels(1, 1, 1, sharey=True)
    titles = "Underfits: 2 hidden units", "Overfits: 200 hidden units", "200, weight decay of 1"
    runs = page["small"], page["large"], page["decayed"]
    for ax, title, (training, held_out, _) in zip(axes, titles, runs, strict=True):
        ax.loglog(*thin_log(training), color=BLUE, label="training loss")
        ax.loglog(*thin_log(held_out), color=RED, label="validation loss")
        ax.axhline(page["NOISE"], color=GREY, ls=":", label="noise of the data")
        ax.set(title=title, xlabel="step", ylim=(0.008, 3))
    lowest = page["lowest"]
    axes[1].plot(lowest + 1, page["large"][1][lowest], "v", color=RED, ms=9)
    axes[0].legend(loc="lower left")


@figure
def comparing(page: Page) -> None:
    """Draw loss over rate, and the reported seeds."""
    left, right = panels(1.4, 1)
    colors = dict(zip(page["MAKE"], (GREY, BLUE), strict=True))
    for place, (name, losses) in enumerate(page["tuning"].items()):
        left.loglog(page["RATES"], losses, "o-", color=colors[name], label=name)
        left.plot(
            page["best"][name], np.nanmin(losses), "o", color=colors[name], ms=13, mfc="none", mew=2
        )
        found = page["reported"][name]
        right.plot(place + np.linspace(-0.12, 0.12, len(found)), found, "o", color=colors[name])
    left.set(title="Mean loss of three seeds", xlabel="learning rate", ylabel="training loss")
    left.legend(loc="lower left")
    right.set_xticks([0, 1], [f"{n}\nat {page['best'][n]:.2g}" for n in page["MAKE"]])
    right.set(title="Each at its best rate, six other seeds", xlim=(-0.6, 1.6), ylim=(0, None))


@figure
def names(page: Page) -> None:
    """Draw what decay rates forget."""
    (ax,) = panels(1)
    ages = np.unique(np.geomspace(1, 3000, 200).astype(int))
    for (b, half), color in zip(
        page["half_lives"].items(), (GREEN, ORANGE, RED, BLUE), strict=True
    ):
        ax.semilogx(ages, b**ages, color=color, label=f"{b:g}: half after {half:.0f} steps")
    ax.axhline(0.5, color=GREY, ls=":")
    ax.set(title="Share of a gradient that is left in an average", xlabel="steps ago")
    ax.legend(title="decay rate")


@figure
def memory(page: Page) -> None:
    """Draw bytes of state."""
    (ax,) = panels(1)
    sizes = page["kept"]
    bars = ax.barh(
        list(sizes), list(sizes.values()), color=[GREY, SKY, ORANGE, BLUE, RED, GREEN], height=0.6
    )
    ax.bar_label(bars, [f"{size:.0f}" for size in sizes.values()], padding=5)
    ax.axvline(4, color=GREY, ls=":")
    ax.text(4.05, -0.05, "the float32 weight itself", color=GREY, va="center")
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    ax.set(title="State, bytes for each weight", xlim=(0, 13))


@figure
def symmetry(page: Page) -> None:
    """Draw the mountain between equal optima."""
    (ax,) = panels(1)
    ax.semilogy(page["shares"], page["along"], color=BLUE)
    ax.plot([0, 1], page["along"][[0, -1]], "o", color=RED, ms=9)
    ax.text(0.02, page["along"][0] * 0.75, "the network", color=RED, va="top")
    ax.text(
        0.98, page["along"][0] * 0.75, "its twin, units exchanged", color=RED, va="top", ha="right"
    )
    ax.set(title="Loss on the straight line between two equal optima", xlabel="share of the twin")
    ax.set_ylim(page["along"][0] / 4, 2)


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


def main(wanted: list[str], also: str = "") -> None:
    """Draw the wanted figures, or all; `also` names a folder for PNG files to look at."""
    with plt.rc_context(STYLE):
        for name, draw in FIGURES.items():
            if wanted and name not in wanted:
                continue
            draw(run_page(name))
            path = HERE / "figures" / f"{name}.svg"
            plt.savefig(path, metadata={"Date": None})
            path.write_text(shorten(path.read_text()))
            if also:
                plt.savefig(pathlib.Path(also) / f"{name}.png", dpi=96)
            plt.close("all")
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    folders = [a.removeprefix("--png=") for a in sys.argv[1:] if a.startswith("--png=")]
    main([a for a in sys.argv[1:] if not a.startswith("--")], *folders)
