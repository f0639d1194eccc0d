"""Time a step in every format beside optax's in float32: `python -m benchmarks.storage_cost`.

The step of one large leaf is jitted, everything is donated, and our step and optax's are measured
in turn (see `against_optax`).
"""

import argparse

import optax

import adam_optax as ao
from benchmarks.against_optax import big, compared, steps
from tests.support.formats import FORMATS

LIMITS = {"pair()": 2.0, "pair(block=128)": 4.0}
"""Limits of our time over optax's, for the formats for which a limit is promised."""


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="pairs of measurements (5)")
    parser.add_argument("--millions", type=int, default=16, help="size of the leaf (16)")
    parser.add_argument("--formats", nargs="*", default=list(FORMATS), choices=list(FORMATS))
    args = parser.parse_args()
    print("| adam | ours | optax | ours/optax: median (min-max) | bar |\n|---|---|---|---|---|")
    for name in args.formats:
        txs = ao.adam(1e-3, storage=FORMATS[name]), optax.adam(1e-3)
        how = {"rounds": args.rounds, "repeats": 1, "limit": LIMITS.get(name)}
        row = compared(f"`{name}`", steps, txs, big(args.millions, 1), **how)
        print("| " + " | ".join(row.cells()) + " |", flush=True)


if __name__ == "__main__":
    main()
