"""Draw the figures of the pages about one optimiser after another."""

from collections.abc import Callable
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from adam_optax._core.plotting import BLUE, GREEN, ORANGE, VERMILION
from docs.learn.drawing import (
    GREY,
    INK,
    PALE,
    Page,
    Range,
    color_of,
    contours,
    figure,
    label_end,
    panels,
    style,
    styles,
    thin,
    thin_log,
)


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
    left.loglog(rare + 1, steps[rare, 1], ".", color=VERMILION, label="gradient in each 100th step")
    left.set(
        title="A rare gradient gets ten times the step", xlabel="step", ylabel="length of the step"
    )
    left.legend()
    right.loglog(*thin_log(page["constant"]), color=BLUE, label="all gradients are 1")
    right.loglog(*thin_log(page["after"]), color=VERMILION, label="the first one is 100")
    right.set(title="The sum never forgets", xlabel="step")
    right.legend()


@figure
def rmsprop(page: Page) -> None:
    """Draw the three moments, and how a spike is forgotten."""
    left, right = panels(1.25, 1)
    shown = slice(0, 600)
    left.plot(np.asarray(page["stream"])[shown], ".", color=PALE, ms=3)
    (nu,) = page["moments_on"](page["stream"], page["ao"].rmsprop(1.0, decay=0.99), ["nu"])
    centred = page["ao"].rmsprop(1.0, decay=0.99, centered=True)
    variance, mean = page["moments_on"](page["stream"], centred, ["variance", "mu"])
    lines = ((nu, BLUE, "root of the second moment"), (mean, GREEN, "first moment, the mean"))
    for values, color, name in (*lines, (variance, VERMILION, "deviation: root of the variance")):
        left.plot(
            values[shown] if values is mean else np.sqrt(values[shown]), color=color, label=name
        )
    left.set(title="Gradients of mean 3 and deviation 1", xlabel="step", ylim=(-0.5, 8.5))
    left.legend(loc="upper right", ncols=1)
    right.semilogy(page["steps"], **style("RMSProp"))
    right.set(title="RMSProp forgets a gradient of 100", xlabel="step", ylabel="length of the step")


@figure
def adadelta(page: Page) -> None:
    """Draw how far AdaDelta gets by epsilon."""
    (ax,) = panels(1)
    default = 1e-6
    names = {e: "AdaDelta" if e == default else f"AdaDelta {e}" for e in page["curves"]}
    lines = styles(names.values())
    for eps, curve in page["curves"].items():
        ax.loglog(*thin_log(curve), **lines[names[eps]])
        label_end(ax, curve[-1], f"AdaDelta, eps = {eps:g}", color_of("AdaDelta"))
    rms = page["moved"](page["ao"].rmsprop(1e-3))
    ax.loglog(*thin_log(rms), **style("RMSProp"))
    label_end(ax, rms[-1] * 0.4, "RMSProp, rate 0.001", color_of("RMSProp"))
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


def _height(loss: Callable[[tuple[Any, Any]], Any], a: Any, b: Any) -> Any:
    return np.asarray(loss((a, b)))


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
        contours(ax, partial(_height, loss), x, y, levels[surface])
        for name in page["RATES"]:
            noise = 2.0 if surface == "slope" else 0.0
            path = np.asarray(page["walk"](page["make"](name), surface, noise=noise, steps=60))
            ax.plot(*path.T, **style(name), lw=1.6, label=name)
            ax.plot(*path[-1], "o", color=color_of(name), ms=6)
        ax.plot(*path[0], "o", mfc="none", mec=INK, mew=2, ms=9)
        ax.set(title=f"{surface.capitalize()}, 60 steps", xlim=x, ylim=y, aspect="equal")
        ax.set(xlabel="weight x")
    axes[0].set_ylabel("weight y")
    plt.gcf().legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)


@figure
def nadam(page: Page) -> None:
    """Draw the turn, and the overshoot."""
    left, right = panels(1, 1)
    for name in ("Adam", "Nadam"):
        line = style(name)
        left.plot(np.arange(40, 75), page["steps"][name][40:75], marker=".", label=name, **line)
        right.plot(page["places"][name][:120], label=name, **line)
    left.set(title="The gradient turns at step 50", xlabel="step", ylabel="learning rates")
    right.set(title="To the minimum of a parabola", xlabel="step", ylabel="place")
    right.axhline(0, color=GREY, lw=1)
    left.legend()


@figure
def amsgrad(page: Page) -> None:
    """Draw the counterexample."""
    (ax,) = panels(1)
    long = {"color": BLUE, "ls": "--"}
    for name, path in page["paths"].items():
        label = "Adam, short memory" if name == "Adam" else name
        line = long if name == "Adam, b2 = 0.999" else style(name)
        ax.semilogx(*thin_log(path, 500), label=label, lw=1.6, **line)
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
    for name in ("Adam", "AdaBelief"):
        ax.loglog(page["noises"], page["length"][name], marker="o", label=name, **style(name))
    ax.axhline(1, color=GREY, ls=":")
    ax.text(1.2, 1.25, "one learning rate", color=GREY)
    ax.set(
        title="Gradients of mean 1, with noise", xlabel="noise", ylabel="mean step, learning rates"
    )
    ax.legend()
