"""Bytes a parameter moved by the compiled update. `python -m tests.benchmarks.compiled_bytes`.

Needs the extra `aot`, and no accelerator.
"""

import jax

import adam_optax as ao
from tests.aot import targets
from tests.aot.compiled import compiled

jax.config.update("jax_platforms", "cpu")  # the others are compiled for, not used

FORMATS = {
    "float32": None,
    "stochastic()": ao.storage.stochastic(),
    "pair(4)": ao.storage.pair(4),
    "pair(3)": ao.storage.pair(3),
    "pair()": ao.storage.pair(),
    "pair(block=128)": ao.storage.pair(block=128),
}


def table(names: list[str]) -> str:
    """A row per format, a column per accelerator."""
    rows = [["adam, storage", *names], ["---"] * (1 + len(names))]
    for name, storage in FORMATS.items():
        found = [compiled(target, ao.adam(1e-3, storage=storage)) for target in names]
        rows.append([f"`{name}`", *(f"{one.moved:.1f}" for one in found)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    print(table([n for n in (*targets.TPUS, *targets.GPUS) if not targets.missing(n)]))
