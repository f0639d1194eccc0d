"""Compare hyper-parameters by path with `optax.partition`: `python -m benchmarks.partitions`.

Ten programs (`tests/programs/partitions.py`): bytes of the state, kernels of a compiled step on a
CPU, and seconds to trace a step, the first time in a process and the least of five times.
"""

import subprocess
import sys
import time

import jax
import optax

from tests.programs.partitions import PARTITIONED, Cost, cost, parameters
from tests.programs.program import OURS

COLUMNS = ("bytes", "kernels", "first trace [ms]", "warm trace [ms]")


def measure(name: str, kind: str) -> tuple[float, Cost]:
    """Return the seconds of the first trace in this process, and the cost of a step."""
    jax.config.update("jax_numpy_dtype_promotion", "standard")
    program, params = PARTITIONED[name], parameters()
    tx = program.make(optax) if kind == "optax" else program.by_path(OURS)
    state = jax.eval_shape(tx.init, params)
    start = time.perf_counter()
    jax.jit(tx.update).trace(params, state, params)
    return time.perf_counter() - start, cost(tx, params)


def table() -> str:
    """Return the table, each cell optax's number and ours, each measured in its own process."""
    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name in PARTITIONED:
        rows = []
        for kind in ("optax", "ours"):
            command = [sys.executable, "-m", "benchmarks.partitions", name, kind]
            rows.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        pairs = zip(*(row.split() for row in rows), strict=True)
        lines.append(f"| {name} | " + " | ".join(" / ".join(pair) for pair in pairs) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        first, found = measure(*sys.argv[1:])
        print(found.bytes, found.kernels, round(first * 1e3), round(found.seconds * 1e3))
    else:
        print(table())
