"""Time watching on a model of 10 M parameters: `python -m benchmarks.watching`.

Steps with and without `ao.watch` are timed in turn, so that the ratio holds on a machine whose
speed drifts. The table shows medians of rounds of twenty steps, and the ratios (median, smallest
and largest) of wall time and of CPU time, which other programs on the machine disturb less.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import adam_optax as ao

WIDTH, LAYERS, STEPS = 1024, 9, 20


def model() -> Any:
    """Build nine square layers with biases: 9.4 M parameters."""
    keys = jax.random.split(jax.random.key(0), LAYERS)
    size = (WIDTH, WIDTH)
    return [{"w": jax.random.normal(k, size) / 32, "b": jnp.zeros(WIDTH)} for k in keys]


def stepper(tx: Any) -> Callable[..., Any]:
    """Return the compiled training step; parameters and state are donated."""

    def loss(params: Any, x: Any) -> Any:
        for layer in params:
            x = jax.nn.relu(x @ layer["w"] + layer["b"][None])
        return jnp.mean(x * x)

    def step(params: Any, state: Any, x: Any) -> Any:
        grads = jax.grad(loss)(params, x)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return jax.jit(step, donate_argnums=(0, 1))


class Side:
    """Train with or without watching, and time the steps."""

    def __init__(self, tx: Any, x: Any) -> None:
        self._step, self._x = stepper(tx), x
        self._at = (model(), tx.init(model()))
        self.seconds()

    def seconds(self) -> tuple[float, float]:
        """Return wall seconds and CPU seconds per step of a round."""
        begin = time.perf_counter(), time.process_time()
        for _ in range(STEPS):
            self._at = self._step(*self._at, self._x)
        jax.block_until_ready(self._at)
        took = time.perf_counter() - begin[0], time.process_time() - begin[1]
        return took[0] / STEPS, took[1] / STEPS


def line(batch: int, storage: Any, rounds: int) -> str:
    """Return a row of the table."""
    tx, x = ao.adam(1e-3, storage=storage), jax.random.normal(jax.random.key(1), (batch, WIDTH))
    plain, watched = Side(tx, x), Side(ao.watch(tx), x)
    pairs = [(plain.seconds(), watched.seconds()) for _ in range(rounds)]
    wall, cpu = ([(a[i], b[i]) for a, b in pairs] for i in (0, 1))
    alone, both = (1e3 * statistics.median(column) for column in zip(*wall, strict=True))
    return f"| {batch} | {alone:.1f} | {both:.1f} | {_spread(wall)} | {_spread(cpu)} |"


def _spread(pairs: list[tuple[float, float]]) -> str:
    ratios = [b / a for a, b in pairs]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 128])
    given = parser.parse_args()
    print("| batch | adam [ms] | watched [ms] | ratio | ratio of CPU time |\n|---|---|---|---|---|")
    for batch in given.batch:
        print(line(batch, None, given.rounds), flush=True)


if __name__ == "__main__":
    main()
