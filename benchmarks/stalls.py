"""Table how often stored moments rest, what they keep of a step, and how they follow a change.

`python -m benchmarks.stalls` measures every format and every peer's (minutes), and prints the
Markdown tables of `docs/measured/stalls.md`; see `benchmarks.stall_rates` for what is measured.
`--json` keeps what was measured, `--read` makes the tables of it again.
"""

import argparse
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import adam_optax as ao
from benchmarks.codecs import CODECS
from benchmarks.nearest import Nearest, NearestTogether
from benchmarks.stall_rates import FACTORS, Answer, Rates, answers, needed, rates
from benchmarks.stored import stored
from tests.support.formats import FORMATS, size

DATA = pathlib.Path(__file__).with_name("stalls.json")
"""What was measured for the page."""
ALL: dict[str, Any] = {f"`{name}`": storage for name, storage in FORMATS.items()} | {
    "bitsandbytes, torchao 8 bits": Nearest(ao.storage.int8()),
    "torchao 4 bits": NearestTogether(ao.storage.int4()),
    **{
        n: CODECS[n]
        for n in ("HeavyBall bf16+8", "FlashOptim", "COAT", "SOLO 4/4", "SOLO 2/2", "Gefen")
    },
}
"""Every format that is measured, by the name that tables show.

Of SOLO with 4 and 2 bits, mu is that of 4/4 and nu that of 2/2."""
ASIDE = {True: "alike", False: "unlike"}
"""How neighbours are, by whether their gradients are of one size."""
Found = Mapping[str, Any]
"""What was measured of a format: bytes, rates by neighbours and moment, answers."""


def measured(name: str, rows: int, columns: int, seed: int) -> Found:
    """Measure a format."""
    one = stored(ALL[name])
    both = {
        aside: {n: r._asdict() for n, r in rates(one, alike, rows, columns, seed).items()}
        for alike, aside in ASIDE.items()
    }
    followed = [a._asdict() for a in answers(one, len(FACTORS) * -(-rows // 32), seed)]
    return {"bytes": size(ALL[name]), **both, "answers": followed, "shared": one.shared}


def moments_table(moment: str, found: Mapping[str, Found]) -> Iterator[str]:
    """Yield the lines of the table of a moment."""
    kept = "away, back" if moment == "mu" else "up, down"
    columns = [f"{a}: {c}" for a in ASIDE.values() for c in ("rests", f"keeps {kept}, level")]
    yield f"| {moment}: foreseen, measured, difference | B | {' | '.join(columns)} |"
    yield "|---" * (2 + len(columns)) + "|"
    for name, one in found.items():
        cells = []
        for aside in ASIDE.values():
            r = Rates(**one[aside][moment])
            cells.append(f"{r.foreseen:.3f}, {r.measured:.3f}, {r.foreseen - r.measured:+.3f}")
            shares = [f"{share:.2f}".replace("-0.00", "0.00") for share in (r.away, r.back)]
            shares = ["-", "-"] if moment in one["shared"] else shares
            level = f"{r.level:.2f}" if r.level < 100 else f"{r.level:.2g}"
            cells.append(", ".join([*shares, level]))
        yield f"| {name} | {one['bytes']:.2f} | {' | '.join(cells)} |"


def answers_table(found: Mapping[str, Found]) -> Iterator[str]:
    """Yield the lines of the table of steps until nu has followed a change."""
    heads = [f"x {f:g}" if f > 1 else f"/ {1 / f:g}" for f in FACTORS]
    yield f"| steps until nu is within 10 % | {' | '.join(heads)} |"
    yield "|---" * (1 + len(heads)) + "|"
    yield f"| the exact average | {' | '.join(f'{needed(f):,}' for f in FACTORS)} |"
    for name, one in found.items():
        yield f"| {name} | {' | '.join(_answer(Answer(**a)) for a in one['answers'])} |"


def _answer(a: Answer) -> str:
    return f"never: {a.level:.3g}" if a.steps is None else f"{a.steps:,}"


def tables(found: Mapping[str, Found]) -> dict[str, str]:
    """Return the tables of the page, by their marks."""
    lines = {
        "stalls_nu": moments_table("nu", found),
        "stalls_mu": moments_table("mu", found),
        "stalls_answers": answers_table(found),
    }
    return {name: "\n".join(table) for name, table in lines.items()}


def _count(text: str) -> int:
    """Return a number from 1 on."""
    if (n := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {n}")
    return n


def main(argv: list[str] | None = None) -> None:
    """Measure, or read what was measured, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="FORMAT", help="as tables show it: 'pair()'")
    parser.add_argument("--rows", type=_count, help="of 256 elements (32)")
    parser.add_argument("--columns", type=_count, help="foreseen of each block (16)")
    parser.add_argument("--seed", type=int, help="of the gradients (0)")
    parser.add_argument("--json", type=pathlib.Path, help="where to keep what is measured")
    parser.add_argument("--read", type=pathlib.Path, help="what was kept, instead of measuring")
    args = parser.parse_args(argv)
    names = {name.strip("`"): name for name in ALL}
    for name in (wanted := [name.strip("`") for name in args.only or names]):
        if name not in names:
            parser.error(f"--only: {name!r} is none of {', '.join(names)}")
    found: dict[str, Found] = {}
    if args.read:
        for option in ("json", "rows", "columns", "seed"):
            if getattr(args, option) is not None:
                parser.error(f"--read measures nothing: leave out --{option}")
        try:
            kept = json.loads(args.read.read_text(encoding="utf-8"))
            asked = map(names.__getitem__, wanted) if args.only else kept
            found = {name: kept[name] for name in asked}
            tables(found)
        except (OSError, ValueError, TypeError, LookupError) as error:
            parser.error(f"--read {args.read}: is no whole file of --json: {error!r}")
    for name in () if args.read else map(names.__getitem__, wanted):
        found[name] = measured(name, args.rows or 32, args.columns or 16, args.seed or 0)
        if args.json:
            args.json.write_text(json.dumps(found, indent=1) + "\n")
    print("\n\n".join(tables(found).values()))


if __name__ == "__main__":
    main()
