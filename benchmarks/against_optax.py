"""Compare tracing, compiling and stepping with optax: `python -m benchmarks.against_optax`.

`--storage` names formats for our moments; optax's moments are float32. The two libraries are
measured in turn, so that the ratios hold on a machine whose speed drifts. The table shows medians,
and the ratio ours/optax as the median over pairs with the smallest and the largest. Times of the
host (trace, lower, compile) are CPU time of the process, other times are wall time.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import adam_optax as ao
from adam_optax._engine import leaf
from adam_optax._engine.kernels.cpu import machine
from adam_optax.aot import hlo
from benchmarks.contenders import transformer
from tests.engine.sharding.layouts import STORAGE

SHAPES = [(8, 8), (16,), (4, 4), (32,), (8, 16), (64,), (2, 2), (5,), (7, 3), (9,), (6, 6), (12,)]
SCHEDULE = optax.cosine_decay_schedule(1e-3, 1000)


class Row(NamedTuple):
    """Hold one line of the table: quantity, unit, our and optax's values, and a limit."""

    what: str
    unit: str
    ours: list[float]
    optax: list[float]
    limit: float | None

    def cells(self) -> tuple[str, ...]:
        """Return the cells of the line as text."""
        ratios = [a / b for a, b in zip(self.ours, self.optax, strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        limit = "" if self.limit is None else f"{self.limit:.2f}"
        ours, theirs = statistics.median(self.ours), statistics.median(self.optax)
        return f"{self.what} [{self.unit}]", f"{ours:.4g}", f"{theirs:.4g}", spread, limit


def small(leaves: int) -> Any:
    """Build a tree of tiny leaves of twelve shapes."""
    return {f"leaf{i}": jnp.ones(SHAPES[i % 12]) for i in range(leaves)}


def decoder(leaves: int) -> Any:
    """Build the first `leaves` leaves of a narrow transformer."""
    shapes = transformer(32, leaves // 12 + 1, 128)[:leaves]
    return {f"leaf{i}": jnp.ones(shape) for i, shape in enumerate(shapes)}


def big(millions: int, leaves: int) -> Any:
    """Build a tree of a few large leaves."""
    return {f"leaf{i}": jnp.ones((millions * 2**20 // leaves,)) for i in range(leaves)}


def train_step(tx: Any) -> Callable[..., Any]:
    """Return a new function for update and apply, of which JAX's jit has cached nothing."""

    def step(grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return step


def whole_step(tx: Any) -> Callable[..., Any]:
    """Return a new function like `train_step`'s, by `ao.step`."""
    return lambda grads, state, params: ao.step(tx, grads, state, params)


def stages(
    tx: Any, params: Any, step: Callable[[Any], Callable[..., Any]] = train_step
) -> dict[str, float]:
    """Return CPU seconds of tracing, lowering and compiling, and facts of the compiled step."""
    state = jax.eval_shape(tx.init, params)
    marks = [time.process_time()]
    traced = jax.jit(step(tx)).trace(params, state, params)
    marks.append(time.process_time())
    lowered = traced.lower()
    marks.append(time.process_time())
    compiled = lowered.compile()
    marks.append(time.process_time())
    took = dict(zip(("trace", "lower", "compile"), np.diff(marks).tolist(), strict=True))
    moved = compiled.cost_analysis()["bytes accessed"]
    made = {"equations": len(traced.jaxpr.eqns), "kernels": hlo.kernels(compiled.as_text())}
    host = {"trace + lower": took["trace"] + took.pop("lower")}
    return made | took | host | {"bytes": moved}


def steps(tx: Any, params: Any, repeats: int) -> Iterator[float]:
    """Yield wall seconds of a compiled step; gradients are donated too, as in training."""
    step = jax.jit(train_step(tx), donate_argnums=(0, 1, 2), keep_unused=True)
    fresh = jax.jit(lambda p: jax.tree.map(lambda x: x * 0.1, p))
    state = jax.jit(tx.init)(params)
    params, state = jax.block_until_ready(step(fresh(params), state, params))
    while True:
        took = 0.0
        for _ in range(repeats):
            grads = jax.block_until_ready(fresh(params))
            start = time.perf_counter()
            params, state = jax.block_until_ready(step(grads, state, params))
            took += time.perf_counter() - start
        yield took / repeats


def forget() -> None:
    """Forget the steps of leaves and their loops: else only the first round would make any."""
    leaf.compile_leaf_step.cache_clear()
    leaf.compile_step_scalars.cache_clear()
    machine._targets.clear()


def eager(tx: Any, params: Any, repeats: int) -> Iterator[float]:
    """Yield wall seconds of `tx.update` outside jit."""
    state = tx.init(params)
    jax.block_until_ready(tx.update(params, state, params))
    while True:
        start = time.perf_counter()
        for _ in range(repeats):
            jax.block_until_ready(tx.update(params, state, params))
        yield (time.perf_counter() - start) / repeats


Pair = tuple[Any, Any]
TREES = {"tiny": small, "transformer": decoder}


def compared(
    what: str, measure: Callable[..., Iterator[float]], txs: Pair, params: Any, **how: Any
) -> Row:
    """Measure rounds of our and optax's steps, one after the other."""
    repeats, rounds, limit = how["repeats"], how["rounds"], how["limit"]
    ours, theirs = (measure(tx, jax.tree.map(jnp.copy, params), repeats) for tx in txs)
    pairs = [(next(ours), next(theirs)) for _ in range(rounds)]
    return Row(what, "s", [a for a, _ in pairs], [b for _, b in pairs], limit)


def of_leaves(leaves: int, rounds: int, kind: str, storage: str) -> Iterator[Row]:
    """Yield the lines that depend on the number of leaves."""
    params = TREES[kind](leaves)
    txs = ao.adamw(1e-3, storage=STORAGE[storage]), optax.adamw(1e-3)
    columns: tuple[list[dict[str, float]], ...] = ([], [])
    for _ in range(rounds):
        forget()
        for column, tx in zip(columns, txs, strict=True):
            column.append(stages(tx, params))
    limits: dict[str, float] = {"trace + lower": 0.5} if leaves >= 100 else {}
    limits |= {"compile": 1.0, "kernels": 1.0, "bytes": 1.0}
    units = {"equations": "count", "kernels": "count", "bytes": "B"}
    title = f"{leaves} {kind} leaves" + ("" if storage == "float32" else f", `{storage}`")
    for name in columns[0][0]:
        ours, theirs = ([row[name] for row in column] for column in columns)
        yield Row(f"{title}: {name}", units.get(name, "s"), ours, theirs, limits.get(name))
    how = {"rounds": rounds, "repeats": 1 + 300 // leaves}
    yield compared(f"{title}: un-jitted update", eager, txs, params, limit=0.2, **how)
    yield compared(f"{title}: jitted step", steps, txs, params, limit=1.05, **how)


def of_bytes(millions: int, rounds: int) -> Iterator[Row]:
    """Yield the lines that depend on memory alone: one large leaf, and a usual chain."""
    how = {"rounds": rounds, "repeats": 1}
    txs = ao.adamw(1e-3), optax.adamw(1e-3)
    what = f"one leaf of {millions} M: jitted step"
    yield compared(what, steps, txs, big(millions, 1), limit=1.05, **how)
    chains = (
        optax.chain(ao.clip_by_global_norm(1.0), ao.adamw(SCHEDULE)),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(SCHEDULE)),
    )
    what = f"clip + adamw + schedule, {millions} M in 4 leaves: jitted step"
    yield compared(what, steps, chains, big(millions, 4), limit=0.5, **how)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="pairs of measurements (7)")
    parser.add_argument("--leaves", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--millions", type=int, default=64, help="size of the large leaf (64)")
    parser.add_argument("--trees", nargs="*", choices=TREES, default=["tiny"])
    parser.add_argument("--storage", nargs="*", choices=STORAGE, default=["float32"])
    args = parser.parse_args()
    print("| adamw | ours | optax | ours/optax: median (min-max) | bar |\n|---|---|---|---|---|")
    tables = [of_bytes(args.millions, args.rounds)] if args.millions else []
    tables += [
        of_leaves(n, args.rounds, kind, storage)
        for storage in args.storage
        for kind in args.trees
        for n in args.leaves
    ]
    for table in tables:
        for row in table:
            print("| " + " | ".join(row.cells()) + " |", flush=True)


if __name__ == "__main__":
    main()
