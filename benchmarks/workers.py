"""Time a sweep by one process, by one worker and by several: `python -m benchmarks.workers`.

The sweep is that of `adam-optax sweep digits`, with longer runs. Workers are processes that have
imported everything; each compiles the program anew, which is in the time. The ways are measured in
turn, so that the ratios hold on a machine whose speed drifts, and all of them must give the same
table.
"""

import argparse
import multiprocessing
import statistics
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack

from adam_optax import lab
from adam_optax.lab.optimizers import resolve
from adam_optax.lab.tuning import learning_rates


def run(
    executor: Executor | None, epochs: int, seeds: int
) -> tuple[float, list[dict[str, object]]]:
    """Return the seconds that a sweep takes, and its rows."""
    rates = learning_rates(lab.problems["digits"], resolve("adam"))
    grid = {"learning_rate": rates}
    begin = time.perf_counter()
    found = lab.sweep("digits", "adam", grid, range(seeds), epochs=epochs, executor=executor)
    return time.perf_counter() - begin, found.rows()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as opened:
        ways: dict[str, Executor | None] = {"this process": None}
        for count in (1, given.workers):
            pool = opened.enter_context(ProcessPoolExecutor(count, mp_context=spawn))
            ways[f"{count} worker{'s' * (count > 1)}"] = pool
        for executor in ways.values():
            run(executor, 1, given.seeds)  # everything is imported, by all workers
        times: dict[str, list[float]] = {name: [] for name in ways}
        tables = []
        for _ in range(given.rounds):
            for name, executor in ways.items():
                seconds, rows = run(executor, given.epochs, given.seeds)
                times[name].append(seconds)
                tables.append(rows)
                print(f"  {name}: {seconds:.1f} s", flush=True)
    assert all(rows == tables[0] for rows in tables)
    one = times["1 worker"]
    print(f"{'':16} {'seconds':>8}   one worker's time over it")
    for name, found in times.items():
        ratios = [a / b for a, b in zip(one, found, strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{name:16} {statistics.median(found):8.1f}   {spread}")


if __name__ == "__main__":
    main()
