"""Time a sweep beside the loops that people write: `python -m benchmarks.sweeps`.

Thirty-two settings of Adam are trained on the digits; the time includes the compilation. The ways
are measured in turn, so that the ratios hold on a machine whose speed drifts. The table shows
medians, and the ratio of each way to the sweep as the median over rounds with the smallest and the
largest.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
import optax

import adam_optax as ao
from adam_optax import lab
from adam_optax.lab.task import Task

SETTINGS = {
    "learning_rate": [1e-3, 3e-3, 1e-2, 3e-2],
    "b1": [0.5, 0.9],
    "b2": [0.99, 0.999],
    "eps": [1e-8, 1e-4],
}
POINTS: list[Any] = [
    dict(zip(SETTINGS, p, strict=True)) for p in itertools.product(*SETTINGS.values())
]
SEEDS = range(2)


def swept(parallel: int | None) -> Callable[[Task, int], list[float]]:
    """Return the way that is `lab.sweep`, with so many runs vmapped."""

    def run(task: Task, epochs: int) -> list[float]:
        found = lab.sweep(task.problem, "adam", SETTINGS, SEEDS, epochs=epochs, parallel=parallel)
        return [point.final_loss for point in found.points]

    return run


def anew(task: Task, epochs: int) -> list[float]:
    """Train with a step that is compiled for every setting."""
    losses = []
    for point in POINTS:
        tx = ao.adam(**point)
        step = _compiled(task, partial(_itself, tx))
        losses += [_trained(task, step, tx.init, {}, seed, epochs) for seed in SEEDS]
    return losses


def once(task: Task, epochs: int) -> list[float]:
    """Train with one step that is compiled for all settings and called in a loop."""
    step = _compiled(task, lambda numbers: ao.adam(**numbers))
    init = ao.adam(1e-3).init
    return [_trained(task, step, init, p, seed, epochs) for p in POINTS for seed in SEEDS]


def _itself(tx: Any, numbers: Any) -> Any:
    del numbers
    return tx


def _compiled(task: Task, make: Callable[[Any], Any]) -> Any:
    @jax.jit
    def step(params: Any, state: Any, batch: Any, numbers: Any, x: Any, y: Any) -> Any:
        grads = jax.grad(task.batch_loss)(params, batch, x, y)
        updates, state = make(numbers).update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return step


def _trained(task: Task, step: Any, init: Any, point: Any, seed: int, epochs: int) -> float:
    params = task.params(seed)
    state = init(params)
    numbers = {name: np.float32(value) for name, value in point.items()}
    for order in itertools.islice(task.orders(seed), epochs):
        for batch in order:
            params, state = step(params, state, batch, numbers, *task.train)
    return task.evaluate(params)[0]


WAYS = {
    "lab.sweep": swept(None),
    "lab.sweep, 8 vmapped": swept(8),
    "lab.sweep, 32 vmapped": swept(32),
    "a step compiled for every setting": anew,
    "one compiled step": once,
}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    given = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(given.rounds):
        for name, way in WAYS.items():
            jax.clear_caches()
            task = Task("digits")
            begin = time.perf_counter()
            losses = way(task, given.epochs)
            times[name].append(time.perf_counter() - begin)
            assert len(losses) == len(POINTS) * len(SEEDS)
    print("| 32 settings, 2 seeds, digits | seconds | over lab.sweep: median (min-max) |")
    print("|---|---|---|")
    for name, took in times.items():
        ratios = [a / b for a, b in zip(took, times["lab.sweep"], strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        print(f"| {name} | {statistics.median(took):.1f} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
