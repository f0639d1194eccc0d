"""Search for what breaks a claim of this library: `python -m benchmarks.adversary AREA --seed S`.

Each area has claims that its search holds to (`docs/attacked.md` lists them). The command prints what
was tried and the worst case found; it ends with exit code 1, and the case to reproduce, if a claim
breaks. The same searches run for a moment in the tests, and longer in the heavy ones.
"""

import argparse
import importlib

AREAS = {
    "storage": "formats beside float32, on streams of gradients that are evolved",
    "rows": "embedding rows beside dense Adam in float64, under schedules by family",
    "rounding": "16-bit parameters beside independent rounding, along trajectories",
    "files": "mutants of every kind of checkpoint",
    "command_line": "command lines that users and their scripts may write",
}
"""What is attacked, by the name of its module in `tests.adversary`."""


def main() -> None:
    """Run the search of an area for the time that is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "area", choices=AREAS, help="; ".join(f"{n}: {x}" for n, x in AREAS.items())
    )
    parser.add_argument("--seed", type=int, default=0, help="of the search (0)")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long to search (600)")
    args = parser.parse_args()
    importlib.import_module(f"tests.adversary.{args.area}").search(args.seed, args.seconds)


if __name__ == "__main__":
    main()
