"""Time optimisers of three frameworks side by side: `python -m benchmarks.side_by_side`.

Each optimiser runs in a process of its own (`contenders.py`); all processes of a model are alive at
once and step in turn, so that the ratios hold on a machine whose speed drifts. The table shows
medians with the smallest and the largest; `--plot` draws them. `--torch` names a Python that has
PyTorch, and perhaps torchao; without `--torch`, the optimisers of both are left out.
"""

import argparse
import contextlib
import json
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from adam_optax._core import plotting

ROOT = pathlib.Path(__file__).parents[1]
Names = dict[str, tuple[str, str]]
"""What runs an optimiser, and its name there, by title; see `contenders.py`."""
Ratios = dict[str, list[float]]
"""Ratios of seconds to those of another contender in the same round, sorted, by title."""
CONTENDERS: Names = {
    "adam_optax": ("jax", "float32"),
    "adam_optax, `stochastic()`": ("jax", "stochastic()"),
    "adam_optax, `pair()`": ("jax", "pair()"),
    "optax": ("jax", "optax"),
    "PyTorch, fused": ("torch", "fused"),
    "PyTorch, foreach": ("torch", "foreach"),
    "torchao, 8-bit": ("torch", "torchao"),
}
STYLES = {"ours": plotting.STYLES["adam"], "others'": plotting.STYLES["sgd"]}
PEERS = ("optax", "PyTorch", "torchao", "DeepSpeed", "bitsandbytes")
"""How the titles of others' optimisers begin."""
MODELS = {
    "one leaf": ("one", "plain"),
    "transformer": ("transformer", "plain"),
    "tiny leaves": ("tiny", "plain"),
    "transformer, clip + schedule": ("transformer", "chain"),
}


class Found(NamedTuple):
    """Hold the facts of a contender's set-up, and the seconds and CPU seconds of its steps."""

    facts: dict[str, float]
    times: list[float]
    busy: list[float]


class Contender:
    """Run a process that steps when asked."""

    def __init__(self, python: str, *arguments: str) -> None:
        """Start the process, and wait until its step is compiled."""
        command = [python, "-m", "benchmarks.contenders", *arguments]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT
        )
        self.facts: dict[str, float] = self._answer()

    def step(self) -> tuple[float, float]:
        """Ask for a step, and return its seconds and CPU seconds."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        took, busy = self._answer()
        return took, busy

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(self.process.stderr.read().strip().splitlines()[-1])
        return json.loads(line)


def compared(
    model: tuple[str, str], contenders: Names, rounds: int, scale: float, pythons: dict[str, str]
) -> dict[str, Found]:
    """Measure rounds of all contenders on one model, one after the other."""
    found: dict[str, Found] = {}
    with contextlib.ExitStack() as stack:
        alive: dict[str, Contender] = {}
        for title, (framework, name) in contenders.items():
            if python := pythons.get(framework):
                with _unable(title):
                    one = Contender(python, framework, name, *model, str(scale))
                    stack.callback(one.process.wait)
                    stack.callback(one.process.kill)
                    alive[title], found[title] = one, Found(one.facts, [], [])
        for _ in range(rounds):
            for title, one in alive.items():
                took, busy = one.step()
                found[title].times.append(took)
                found[title].busy.append(busy)
    return found


@contextlib.contextmanager
def _unable(title: str) -> Iterator[None]:
    """Leave out a contender that cannot run here, and print the reason."""
    try:
        yield
    except RuntimeError as error:
        print(f"{title} is left out: {error}", file=sys.stderr)


def rows(model: str, found: dict[str, Found]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    for title, (facts, times, _) in found.items():
        ratios = over(found, title)
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        each = facts["parameters"]
        cells = [model, title, f"{1e3 * statistics.median(times):.3g}", spread]
        cells += [f"{facts['compiled']:.2g}", f"{facts['peak'] / 1e6:.3g}"]
        yield "| " + " | ".join([*cells, f"{facts['state'] / each:.3g}"]) + " |"


def plot(panels: dict[str, Ratios], path: pathlib.Path, labels: Sequence[str]) -> None:
    """Draw a panel for each model: the ratios' median; a bar from the smallest to the largest."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    titles = list(dict.fromkeys(title for ratios in panels.values() for title in ratios))
    columns = min(4, len(panels))
    down = -(-len(panels) // columns)
    size = 2.2 + 2.8 * columns, (0.9 + 0.3 * len(titles)) * down
    figure, axes = plt.subplots(
        down, columns, figsize=size, sharex=True, sharey=True, squeeze=False
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (model, ratios), label in zip(axes.flat, panels.items(), labels, strict=False):
        for title, of in ratios.items():
            _draw(axis, titles.index(title), title, of)
        axis.axvline(1, color="black", linewidth=0.5, linestyle=":")
        axis.set_xscale("log", base=2)
        axis.set_xlabel(label)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set_title(model, fontsize=9)
        axis.margins(x=0.3)
    axes[0, 0].set_yticks(range(len(titles)), [t.replace("`", "") for t in titles])
    axes[0, 0].set_ylim(len(titles) - 0.5, -0.7)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def over(
    found: dict[str, Found], title: str, base: str = "optax", kind: str = "times"
) -> list[float]:
    """Return the ratios of step times to another contender's in the same round, sorted."""
    ours, theirs = (getattr(found[name], kind) for name in (title, base))
    return sorted(a / b for a, b in zip(ours, theirs, strict=True))


def _draw(axis: Any, row: int, title: str, ratios: list[float]) -> None:
    middle = statistics.median(ratios)
    whose, mark = ("others'", "s") if title.startswith(PEERS) else ("ours", "o")
    color = STYLES[whose].color
    axis.plot([ratios[0], ratios[-1]], [row, row], color=color, linewidth=2)
    axis.plot([middle], [row], mark, color=color)
    beside = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
    axis.annotate(f"{middle:.2f}", (ratios[-1], row), **beside)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="of all contenders (9)")
    parser.add_argument("--scale", type=float, default=1.0, help="below 1: smaller models")
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--torch", metavar="PYTHON", help="a Python that has PyTorch")
    parser.add_argument("--plot", type=pathlib.Path, metavar="FILE", help="a figure, too")
    args = parser.parse_args()
    pythons = {"jax": sys.executable} | ({"torch": args.torch} if args.torch else {})
    head = ["model", "AdamW", "step [ms]", "over optax's", "compile [s]", "peak [MB]"]
    print("| " + " | ".join([*head, "state [B/par]"]) + " |")
    print("|---|---|---|---|---|---|---|")
    every: dict[str, dict[str, Found]] = {}
    for model in args.models:
        how = args.rounds, args.scale, pythons
        every[model] = compared(MODELS[model], CONTENDERS, *how)
        for line in rows(model, every[model]):
            print(line, flush=True)
    if args.plot:
        panels = {model: {t: over(found, t) for t in found} for model, found in every.items()}
        plot(panels, args.plot, ["step time / optax's"] * len(panels))


if __name__ == "__main__":
    main()
