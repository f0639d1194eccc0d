"""Compare every storage format with its peers on four streams: `python -m benchmarks.streams`.

The Markdown table shows the worst phase (see `tests.support.streams`): the error of the updates,
the largest update and the mean size of an update, each over that of float32. The peers' numbers are
quoted from `peers.json`, which `benchmarks/peers.py` writes by running the peers. `--codecs` shows
the peers' formats of `benchmarks.codecs` instead, Gefen's also with the blocks and the codebook
that its rule takes from the first gradient.
"""

import argparse
import json
import pathlib
from collections.abc import Iterator, Mapping

import jax.numpy as jnp

from benchmarks.codecs import CODECS, gefen
from tests.support.formats import FORMATS, size
from tests.support.streams import STREAMS, Measure, adam, gradients, worst

PEERS = pathlib.Path(__file__).with_name("peers.json")
PEER_BYTES = {"AdamW8bit": 2 + 8 / 256, "AdamW4bit": 1 + 8 / 128, "AdamWFp8": 2 + 8 / 256}
"""Bytes per parameter of two moments, with a float32 scale for each block."""
NAMES = [name for name in FORMATS if name not in ("dense()", "factored()")]
"""Formats that are compared: `dense()` is float32 itself, `factored()` keeps a vector whole."""


def cell(phases: Mapping[str, Measure]) -> str:
    """Format the worst phase of a stream."""
    w = worst(phases)
    return f"{w.rms:.3g}, {w.peak:.3g}, {w.l1:.3g}"


def ours(n: int, b1: float, b2: float, seed: int) -> Iterator[tuple[str, float, list[str]]]:
    """Yield a line for every format."""
    for name in NAMES:
        cells = [cell(adam(FORMATS[name], stream, n, b1, b2, seed)) for stream in STREAMS]
        yield f"`{name}`", size(FORMATS[name]), cells


def codecs(n: int, b1: float, b2: float, seed: int) -> Iterator[tuple[str, float, list[str]]]:
    """Yield a line for every codec of the peers' formats."""
    for name, form in CODECS.items():
        yield name, size(form), [cell(adam(form, s, n, b1, b2, seed)) for s in STREAMS]
    cells, widths = [], set()
    for stream in STREAMS:
        (form,) = gefen.fitted([gradients(stream, n, seed)(jnp.int32(0))])
        cells.append(f"{cell(adam(form, stream, n, b1, b2, seed))} ({form.block})")
        widths.add(size(form, jnp.zeros(n)))
    yield "Gefen (blocks of its rule)", max(widths), cells


def peers() -> Iterator[tuple[str, float, list[str]]]:
    """Yield a line for every peer."""
    for name, streams in json.loads(PEERS.read_text()).items():
        cells = [cell({p: Measure(**m) for p, m in streams[s].items()}) for s in STREAMS]
        (width,) = (b for kind, b in PEER_BYTES.items() if kind in name)
        yield name, width, cells


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=32768, help="coordinates (32768)")
    parser.add_argument("--b1", type=float, default=0.9)
    parser.add_argument("--b2", type=float, default=0.999)
    parser.add_argument("--seed", type=int, default=0, help="of the gradients (0)")
    parser.add_argument("--codecs", action="store_true", help="show the peers' newest formats")
    args = parser.parse_args()
    whose = "theirs: " if args.codecs else ""
    print(f"| {whose}rms, peak, l1 | B | {' | '.join(STREAMS)} |")
    print("|---" * (2 + len(STREAMS)) + "|")
    what = args.n, args.b1, args.b2, args.seed
    lines = [codecs(*what) if args.codecs else ours(*what)]
    as_peers_were_run = (args.b1, args.b2, args.seed) == (0.9, 0.999, 0)
    if as_peers_were_run and not args.codecs:
        lines.append(peers())
    for rows in lines:
        for name, width, cells in rows:
            print(f"| {name} | {width:.3f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
