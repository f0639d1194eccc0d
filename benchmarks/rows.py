"""Time a step for tables with more and more rows: `python -m benchmarks.rows`.

Dense Adam (optax's and ours), the lazy rule of SparseAdam and exact rows take the same batches in
turn, so that the ratios hold on a machine whose speed drifts. All states are donated. The table
shows medians over rounds, with the smallest and the largest ratio; `--plot FILE` draws the times.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import adam_optax as ao
from adam_optax import rows
from adam_optax._core import plotting

SIZES = (30_000, 100_000, 300_000, 1_000_000, 3_000_000)
WIDTH, TOUCHED = 64, 4096
STYLES = {
    "optax.adam, dense": plotting.STYLES["optax.adam"],
    "adam, dense": plotting.STYLES["adam"],
    "rows.adam, lazy": plotting.STYLES["rows.adam, lazy"],
    "rows.adam, exact": plotting.STYLES["rows.adam, exact"],
}
MARKS = "osD^"
Step = Callable[[Any, Any], Any]


class Row(NamedTuple):
    """Hold, for a number of rows, the seconds per step of each way by round, and scratch bytes."""

    num_rows: int
    seconds: dict[str, list[float]]
    scratch: dict[str, int]

    def ratio(self, one: str, other: str) -> tuple[float, float, float]:
        """Return the median, the least and the most of one way's time over the other's."""
        pairs = zip(self.seconds[one], self.seconds[other], strict=True)
        each = sorted(a / b for a, b in pairs)
        return statistics.median(each), each[0], each[-1]


def loss(params: Any, local: Any) -> Any:
    """Compute a cheap loss that has a gradient in every element."""
    return jnp.sum(jnp.tanh(params[local]))


def dense(tx: Any) -> tuple[Any, Step]:
    """Return the initialisation and the step of a dense optimiser."""

    def step(carry: Any, ids: Any) -> Any:
        table, state = carry
        grads = jax.grad(loss)(table, ids)
        updates, state = tx.update(grads, state, table)
        return optax.apply_updates(table, updates), state

    return lambda table: (table, tx.init(table)), step


def sparse(tx: Any, num_rows: int) -> tuple[Any, Step]:
    """Return the initialisation and the step of a table of rows."""

    def step(state: Any, ids: Any) -> Any:
        batch = rows.unique(ids, num_rows)
        found = tx.lookup(state, batch.ids)
        return tx.apply(state, found, jax.grad(loss)(found.params, batch.local))

    return tx.init, step


def ways(num_rows: int) -> dict[str, tuple[Any, Step]]:
    """Return the initialisation and the step of every way that is compared."""
    return {
        "optax.adam, dense": dense(optax.adam(1e-3)),
        "adam, dense": dense(ao.adam(1e-3)),
        "rows.adam, lazy": sparse(rows.adam(1e-3, exact=False), num_rows),
        "rows.adam, exact": sparse(rows.adam(1e-3), num_rows),
    }


def batches(num_rows: int, count: int) -> Iterator[Any]:
    """Yield batches of 4,096 distinct ids."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield jnp.asarray(rng.choice(num_rows, TOUCHED, replace=False), jnp.int32)


def measure(num_rows: int, rounds: int, repeats: int) -> Row:
    """Time the ways in turn."""
    ids = list(batches(num_rows, repeats))
    seconds: dict[str, list[float]] = {}
    scratch: dict[str, int] = {}
    runs: dict[str, tuple[Any, Any]] = {}
    for name, (init, step) in ways(num_rows).items():
        state = jax.block_until_ready(init(jnp.zeros((num_rows, WIDTH))))
        compiled = jax.jit(step, donate_argnums=0).lower(state, ids[0]).compile()
        memory: Any = compiled.memory_analysis()
        scratch[name] = memory.temp_size_in_bytes
        runs[name] = compiled, jax.block_until_ready(compiled(state, ids[0]))
    for _ in range(rounds):
        for name, (compiled, state) in runs.items():
            start = time.perf_counter()
            for batch in ids:
                state = compiled(state, batch)
            jax.block_until_ready(state)
            seconds.setdefault(name, []).append((time.perf_counter() - start) / repeats)
            runs[name] = compiled, state
    return Row(num_rows, seconds, scratch)


def table(found: list[Row]) -> str:
    """Return the times as a Markdown table."""
    names = list(found[0].seconds)
    head = ["rows", *(f"{n} [ms]" for n in names), "optax/exact", "exact/lazy", "scratch [MB]"]
    lines = [head, ["---"] * len(head)]
    for row in found:
        times = [f"{1e3 * statistics.median(row.seconds[n]):.3g}" for n in names]
        spread = [
            "{:.2f} ({:.2f}-{:.2f})".format(*row.ratio(*pair))
            for pair in ((names[0], names[-1]), (names[-1], names[-2]))
        ]
        memory = f"{row.scratch[names[0]] / 1e6:.0f}, {row.scratch[names[-1]] / 1e6:.1f}"
        lines.append([f"{row.num_rows:,}", *times, *spread, memory])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(found: list[Row], path: Path) -> None:
    """Draw time against rows, both on logarithmic scales."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    counts = [row.num_rows for row in found]
    for name, mark in zip(found[0].seconds, MARKS, strict=True):
        each, style = np.array([row.seconds[name] for row in found]) * 1e3, STYLES[name]
        axes.plot(counts, np.median(each, 1), marker=mark, label=name, **style.line())
        axes.fill_between(counts, each.min(1), each.max(1), color=style.color, alpha=0.15)
    axes.set(xscale="log", yscale="log", xlabel="rows of the table", ylabel="ms a step")
    axes.set_title(f"{TOUCHED:,} rows of {WIDTH} touched in a step", loc="left")
    figure.supxlabel(
        "median of the rounds; band: least to most, which other work on the machine widens",
        fontsize="small",
        color="#555555",
    )
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", handlelength=4.5, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    found = [measure(n, given.rounds, given.repeats) for n in given.rows]
    print(table(found))
    if given.plot:
        plot(found, given.plot)


if __name__ == "__main__":
    main()
