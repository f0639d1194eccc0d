"""Count the bytes per parameter that a compiled step moves: `python -m benchmarks.compiled_bytes`.

The step is `tx.update` and `optax.apply_updates`, or `ao.step`, which is both in one. The benchmark
needs the extra `aot`, and no accelerator.
"""

import jax

import adam_optax as ao
from adam_optax.aot import targets
from tests.aot.compiled import compiled

jax.config.update("jax_platforms", "cpu")  # accelerators are compiled for, not used

FORMATS = {
    "float32": None,
    "stochastic()": ao.storage.stochastic(),
    "pair(4)": ao.storage.pair(4),
    "pair(3)": ao.storage.pair(3),
    "pair()": ao.storage.pair(),
    "pair(block=128)": ao.storage.pair(block=128),
    "pair(1, block=128)": ao.storage.pair(1, block=128),
    "float8()": ao.storage.float8(),
    "int8()": ao.storage.int8(),
    "int4()": ao.storage.int4(),
}
TARGETS = ("v5e", "v6e", "h100")


def table(names: list[str]) -> str:
    """Return the table: a row per format, two columns per accelerator."""
    heads = [head for name in names for head in (name, f"{name}, `ao.step`")]
    rows = [["adam, storage", *heads], ["---"] * (1 + len(heads))]
    for format_, storage in FORMATS.items():
        tx = ao.adam(1e-3, storage=storage)
        found = [compiled(name, tx, in_one=one) for name in names for one in (False, True)]
        rows.append([f"`{format_}`", *(f"{one.moved:.1f}" for one in found)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    print(table([n for n in TARGETS if not targets.missing(n)]))
