"""Draw the figures of the pages about rates, decay, memory and comparisons."""

import numpy as np

from adam_optax._core.plotting import BLUE, GREEN, ORANGE, PINK, SKY, VERMILION
from docs.learn.drawing import (
    GREY,
    INK,
    PALE,
    Page,
    color_of,
    figure,
    panels,
    style,
    thin,
    thin_log,
)


@figure
def bias_correction(page: Page) -> None:
    """Draw steps without the correction, and the first step in float32."""
    left, right = panels(1.3, 1)
    left.loglog(*thin_log(page["with_it"]), color=BLUE, lw=3, label="with correction")
    for (b2, steps), color in zip(page["without"].items(), (GREEN, VERMILION, PINK), strict=True):
        left.loglog(*thin_log(steps), color=color, label=f"without, β₂ = {b2:g}")
    left.set(title="Steps that should all be 1", xlabel="step", ylabel="learning rates")
    left.legend()
    b2s, errors = list(page["first"]), np.array(list(page["first"].values()))
    places = np.arange(len(b2s))
    right.bar(
        places - 0.2,
        np.maximum(errors[:, 1], 1e-8),
        0.4,
        color=color_of("optax 0.2.8"),
        label="optax 0.2.8",
    )
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
    for column, (name, color) in enumerate(zip(names, (GREEN, VERMILION, BLUE), strict=True)):
        left.semilogy(*thin(page["history"][:, column]), color=color, label=name)
    left.set(
        title="Rates of three weights", xlabel="step", ylabel="rate of the weight", ylim=(2e-4, 3)
    )
    left.legend(loc="upper right", fontsize=10)
    same = {"color": SKY, "ls": "--"}  # lies on Adam's line, and must be seen on it
    turned = {"color": BLUE, "ls": "-."}
    for losses, line, name in (
        (page["plain"], style("Adam") | {"lw": 3}, "Adam"),
        (page["large"], same, "Adam, loss times 1,000"),
        (page["turned"], turned, "Adam, valley turned by 45°"),
        (page["sgd"], style("SGD"), "SGD"),
    ):
        right.semilogy(losses, label=name, **line)
    right.set(title="Scaled and turned valleys", xlabel="step", ylabel="loss", ylim=(1e-3, 1e6))
    right.legend(loc="upper right")


@figure
def sparse_gradients(page: Page) -> None:
    """Draw the rate of a rare weight where it has a gradient."""
    (ax,) = panels(1)
    late = page["late"][:60]
    for (b2, rates), color in zip(
        page["rates"].items(), (ORANGE, VERMILION, GREEN, BLUE), strict=True
    ):
        ax.semilogy(late, rates[late], color=color, marker=".", label=f"β₂ = {b2:g}", lw=1.5)
    ax.set(title="Rate of one weight whenever it has a gradient: in 1 of 100 steps", xlabel="step")
    ax.set(ylabel="rate, in learning rates", ylim=(1, 150))
    ax.legend(ncols=4)


@figure
def changing_objectives(page: Page) -> None:
    """Draw nu falling, and a moving minimum."""
    left, right = panels(1, 1.2)
    left.semilogy(*thin(np.sqrt(page["nu"])), **style("Adam"), label="Adam: root of nu")
    total = np.sqrt(page["sum_of_squares"])
    left.semilogy(*thin(total), **style("AdaGrad"), label="AdaGrad: root of the sum")
    left.axvline(300, color=GREY, ls=":")
    left.set(title="Gradients shrink a hundredfold", xlabel="step", ylim=(0.05, 5000))
    left.legend(loc="upper right")
    right.plot(*thin(page["minimum"]), color=PALE, lw=5, label="the minimum")
    for name, track, label in (
        ("AdaGrad", "AdaGrad 1", "AdaGrad, rate 1"),
        ("Adam", "Adam", "Adam"),
    ):
        right.plot(*thin(page["tracks"][track]), **style(name), lw=1.3, label=label)
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
        page["lengths"].items(), (GREEN, BLUE, ORANGE, VERMILION), strict=True
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
        page["plain"].items(), (GREY, GREEN, BLUE, VERMILION), strict=True
    ):
        left.loglog(*thin_log(distance, 500), color=color, label=f"rate {alpha:g}")
    left.set(
        title="Without noise", xlabel="step", ylabel="distance from the minimum", ylim=(1e-4, 300)
    )
    left.legend(ncols=2, loc="upper right")
    for (name, distance), color in zip(
        page["noisy"].items(), (VERMILION, ORANGE, BLUE, GREEN), strict=True
    ):
        dashes = "--" if "warm" in name else "-"
        right.loglog(*thin_log(distance), color=color, label=name, ls=dashes)
    right.set(title="With noise in the gradients, 64 runs", xlabel="step", ylim=(1e-2, 30))
    right.legend(ncols=2)


@figure
def batch_size(page: Page) -> None:
    """Draw the loss over the rate at two batch sizes."""
    axes = panels(1, 1, 1, 1, sharey=True)
    for ax, (name, (_, rates)) in zip(axes, page["OPTIMIZERS"].items(), strict=True):
        for size, color in zip(page["SIZES"], (BLUE, VERMILION), strict=True):
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
            color=VERMILION,
            ls="--",
            label="weights with gradients of size 10",
        )
        ax.set(title=name, xlabel="step", ylim=(-0.03, 1.05))
    axes[0].set_ylabel("mean of 400 weights")
    axes[1].legend(loc="lower left")


@figure
def validation(page: Page) -> None:
    """Draw three pairs of curves."""
    axes = panels(1, 1, 1, sharey=True)
    titles = "Underfits: 2 hidden units", "Overfits: 200 hidden units", "200, weight decay of 1"
    runs = page["small"], page["large"], page["decayed"]
    for ax, title, (training, held_out, _) in zip(axes, titles, runs, strict=True):
        ax.loglog(*thin_log(training), color=BLUE, label="training loss")
        ax.loglog(*thin_log(held_out), color=VERMILION, label="validation loss")
        ax.axhline(page["NOISE"], color=GREY, ls=":", label="noise of the data")
        ax.set(title=title, xlabel="step", ylim=(0.008, 3))
    lowest = page["lowest"]
    axes[1].plot(lowest + 1, page["large"][1][lowest], "v", color=VERMILION, ms=9)
    axes[0].legend(loc="lower left")


@figure
def comparing(page: Page) -> None:
    """Draw loss over rate, and the reported seeds."""
    left, right = panels(1.4, 1)
    for place, (name, losses) in enumerate(page["tuning"].items()):
        color = color_of(name)
        left.loglog(page["RATES"], losses, marker="o", label=name, **style(name))
        left.plot(page["best"][name], np.nanmin(losses), "o", color=color, ms=13, mfc="none", mew=2)
        found = page["reported"][name]
        right.plot(place + np.linspace(-0.12, 0.12, len(found)), found, "o", color=color)
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
        page["half_lives"].items(), (GREEN, ORANGE, VERMILION, BLUE), strict=True
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
    colors = [color_of(name) for name in sizes]
    bars = ax.barh(list(sizes), list(sizes.values()), color=colors, height=0.6)
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
    ax.plot([0, 1], page["along"][[0, -1]], "o", color=VERMILION, ms=9)
    ax.text(0.02, page["along"][0] * 0.75, "the network", color=VERMILION, va="top")
    ax.text(
        0.98,
        page["along"][0] * 0.75,
        "its twin, units exchanged",
        color=VERMILION,
        va="top",
        ha="right",
    )
    ax.set(title="Loss on the straight line between two equal optima", xlabel="share of the twin")
    ax.set_ylim(page["along"][0] / 4, 2)
