"""Draw the figure of the README: `python docs/figures/readme.py` writes `readme.svg` beside itself.

The left panel is computed here. The right one shows the table `streams`, which
`python -m benchmarks.streams` measures, from the page with the table.
"""

import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import optax

import adam_optax as ao

mpl.use("agg")
from matplotlib import pyplot as plt  # the backend comes first

HERE = pathlib.Path(__file__).parent
PAGE = HERE.parent / "measured" / "storage.md"
OURS, OPTAX, OTHERS, EXACT = "#0072b2", "#d55e00", "#cc79a7", "black"
STEPS = 1000


def steps_under_a_schedule(make: Any) -> np.ndarray:
    """Return the steps under a constant gradient of 1 while b2 goes from 0.95 to 0.999."""
    tx = make(b2=optax.linear_schedule(0.95, 0.999, STEPS), eps=0.0)
    step = lambda state, _: tx.update(jnp.ones(()), state)[::-1]  # noqa: E731
    return np.asarray(jax.lax.scan(step, tx.init(jnp.ones(())), None, length=STEPS)[1])


def read_streams() -> dict[str, tuple[float, float]]:
    """Return bytes a parameter and the error beside unlike neighbours, by format."""
    (table,) = re.findall(r"<!-- streams -->(.*?)<!-- /", PAGE.read_text(), re.DOTALL)
    found = {}
    for line in table.strip().splitlines()[2:]:
        name, size, _, unlike, *_ = (cell.strip() for cell in line.strip("|").split("|"))
        found[name.strip("`")] = float(size), float(unlike.split(",")[0])
    return found


def draw() -> None:
    """Draw both panels."""
    plt.rcParams |= {"font.size": 10, "axes.grid": True, "grid.alpha": 0.3, "svg.hashsalt": "adam"}
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")

    left.axhline(1, color=EXACT, lw=4, alpha=0.25, label="exact")
    left.plot(
        steps_under_a_schedule(optax.inject_hyperparams(optax.scale_by_adam)), OPTAX, label="optax"
    )
    left.plot(steps_under_a_schedule(ao.scale_by_adam), OURS, label="adam_optax")
    left.set(xlabel="step", ylabel="step / learning rate", ylim=(0.7, 1.1))
    left.set_title("Adam's step under a constant gradient,\nb2 on a schedule from .95 to .999")
    left.legend(loc="lower left")

    near = {"pair(1, block=64)": (-14, -14), "pair(block=128)": (-8, -14), "pair()": (7, 0)}
    for name, (size, error) in read_streams().items():
        theirs = "torchao" in name or "bitsandbytes" in name
        packed = name.startswith(("pair", "stochastic"))
        color = OTHERS if theirs else OURS
        right.plot(
            size, error, "s" if theirs else "o", color=color, alpha=1 if packed or theirs else 0.4
        )
        if packed or theirs:
            short = re.sub(r"^(\w+) [\d.]+ (AdamW)?", r"\1 ", name).replace(" (on a CPU)", "")
            right.annotate(
                short,
                (size, error),
                near.get(name, (7, -3)),
                textcoords="offset points",
                fontsize=8,
            )
    right.plot([], [], "o", color=OURS, label="adam_optax, pair and stochastic")
    right.plot([], [], "o", color=OURS, alpha=0.4, label="adam_optax, other formats")
    right.plot([], [], "s", color=OTHERS, label="other libraries, run themselves")
    right.legend(loc="center right", bbox_to_anchor=(1, 0.62), fontsize=8)
    right.set(yscale="log", xlim=(0.8, 5), ylim=(1e-3, 1e4))
    right.set(xlabel="bytes of state a parameter", ylabel="RMS error of the updates / float32's")
    right.set_title("Adam's moments in few bytes,\nneighbours six decades apart")
    plt.savefig(HERE / "readme.svg", metadata={"Date": None})


if __name__ == "__main__":
    draw()
