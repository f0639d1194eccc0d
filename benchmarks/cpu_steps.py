"""Measure what steps cost on a CPU, as loops and by XLA: `python -m benchmarks.cpu_steps`.

Three parts (`--parts`): `alone`, the step of one large leaf over PyTorch's fused AdamW and over
optax's; `host`, the CPU seconds of trace, lower and compile over optax's, many leaves; `training`,
the gradient of a small model and the step over the same with optax. Moments of PyTorch's fused
AdamW and optax's are float32. Steps are timed in processes of their own, all taking turns (see
`side_by_side`); where memory is too small for all, in groups, each with the two. `--torch` names a
Python that has PyTorch, and perhaps DeepSpeed, torchao and bitsandbytes. `--xla` also times formats
by XLA alone, which takes long.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
from jax.experimental.compilation_cache import compilation_cache

import adam_optax as ao
from benchmarks.against_optax import forget, small, stages, train_step, whole_step
from benchmarks.contenders import jax_optimizer
from benchmarks.side_by_side import Found, Names, compared, over, plot

FORMATS = (
    "stochastic()",
    "pair()",
    "pair(3)",
    "pair(block=128)",
    "pair(1, block=128)",
    "int8(block=128)",
    "float8()",
    "int4()",
)
FUSED, OPTAX = "PyTorch, fused", "optax"
PEERS: Names = {
    "DeepSpeed, CPUAdam": ("torch", "deepspeed"),
    "bitsandbytes, AdamW": ("torch", "bitsandbytes.AdamW"),
    "bitsandbytes, 8-bit": ("torch", "bitsandbytes.AdamW8bit"),
    "torchao, 8-bit": ("torch", "torchao"),
}
TRAININGS = {
    "mlp": ("mlp", "plain"),
    "mlp, clip + schedule": ("mlp", "chain"),
    "transformer": ("transformer", "plain"),
    "transformer, clip + schedule": ("transformer", "chain"),
    "wide": ("wide", "plain"),
    "wide, clip + schedule": ("wide", "chain"),
    "deep": ("deep", "plain"),
}
BYTES = 28
"""The memory of a contender, in bytes a parameter: what it steps, and what it made that of."""
RUNTIME = 250e6
"""The memory of a contender's Python and framework, in bytes."""


class Table(NamedTuple):
    """Hold what was measured of each contender: seconds by round, and ratios by base.

    CPU seconds are those of all threads: less depends on what else a machine does.
    """

    title: str
    bases: Sequence[str]
    seconds: dict[str, list[float]]
    busy: dict[str, list[float]]
    ratios: dict[str, dict[str, list[float]]]
    busy_ratios: dict[str, dict[str, list[float]]]

    def lines(self) -> Iterator[str]:
        """Yield the lines of a Markdown table."""
        heads = [f"{kind}over {b}" for kind in ("", "CPU ") for b in self.bases]
        heads.insert(len(self.bases), "CPU ms")
        yield f"| {self.title} | ms | " + " | ".join(heads) + " |"
        yield "|---" * (2 + len(heads)) + "|"
        for name, seconds in self.seconds.items():
            cells = [f"{1e3 * statistics.median(seconds):.3g}"]
            cells += [_spread(self.ratios[base][name]) for base in self.bases]
            cells += [f"{1e3 * statistics.median(self.busy[name]):.3g}"]
            cells += [_spread(self.busy_ratios[base][name]) for base in self.bases]
            yield f"| {name} | " + " | ".join(cells) + " |"


def _spread(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"


def _loop(storage: str) -> str:
    """Return the title of a format by a loop: where that is not the default, with the word."""
    return "float32, loop" if storage == "float32" else f"`{storage}`"


def made(title: str, bases: Sequence[str], groups: Sequence[dict[str, Found]]) -> Table:
    """Make a table of groups of contenders, each of which has the bases."""
    there = tuple(b for b in bases if all(b in group for group in groups))
    every = {name: found for group in groups for name, found in group.items()}
    seconds = {name: found.times for name, found in every.items()}
    busy = {name: found.busy for name, found in every.items()}
    ratios, busy_ratios = (
        {b: {name: over(group, name, b, kind) for group in groups for name in group} for b in there}
        for kind in ("times", "busy")
    )
    return Table(title, there, seconds, busy, ratios, busy_ratios)


def alone(millions: int, formats: Sequence[str], args: argparse.Namespace) -> Table:
    """Time the step of one leaf, in as many groups as memory asks for."""
    ours: Names = {"float32, XLA": ("jax", "float32|never|step")}
    ours |= {_loop(f): ("jax", f"{f}|always|step") for f in formats}
    if args.xla:
        ours |= {f"`{f}`, XLA": ("jax", f"{f}|never|step") for f in formats if f != "float32"}
    bases: Names = {FUSED: ("torch", "fused")} if args.torch else {}
    bases |= {OPTAX: ("jax", "optax")}
    rest = list(((PEERS if args.torch else {}) | ours).items())
    each = RUNTIME + BYTES * millions * 2**20
    fit = int(min(0.7 * _free() / each, 99)) - len(bases)
    if fit < 1:
        raise SystemExit(f"memory is too small for {millions} M parameters in three processes")
    groups = [bases | dict(rest[i : i + fit]) for i in range(0, len(rest), fit)]
    how = args.rounds, millions / 64, args.pythons
    found = [compared(("one", "plain"), group, *how) for group in groups]
    return made(f"step alone, {millions} M", list(bases), found)


def _free() -> float:
    """Return the bytes of memory that processes may have, where Linux tells them."""
    known = pathlib.Path("/proc/meminfo")
    if not known.exists():
        return float("inf")
    (line,) = (x for x in known.read_text().splitlines() if x.startswith("MemAvailable:"))
    return 1024.0 * int(line.split()[1])


def training(model: str, formats: Sequence[str], args: argparse.Namespace) -> Table:
    """Time a gradient and a step."""
    names = {"SGD": "sgd", OPTAX: "optax", "float32, XLA": "float32|never"}
    for f in formats:
        names |= {_loop(f): f"{f}|always|step", f"{_loop(f)}, update + apply": f"{f}|always"}
        if args.xla and f != "float32":
            names[f"`{f}`, XLA"] = f"{f}|never"
    contenders: Names = {title: ("training", name) for title, name in names.items()}
    pythons = args.pythons | {"training": sys.executable}
    found = compared(TRAININGS[model], contenders, args.rounds, args.scale, pythons)
    return made(f"training, {model}", [OPTAX], [found])


def host(leaves: int, formats: Sequence[str], args: argparse.Namespace) -> Table:
    """Take the CPU seconds of trace, lower and compile, in turn."""
    names = {OPTAX: "optax", "float32, XLA": "float32|never"}
    names |= {_loop(f): f"{f}|always" for f in formats}
    if args.xla:
        names |= {f"`{f}`, XLA": f"{f}|never" for f in formats if f != "float32"}
    params, found = small(leaves), {title: Found({}, [], []) for title in names}
    for _ in range(args.rounds_of_host):
        for title, name in names.items():
            tx, choice, _ = jax_optimizer(name, chain=False)
            forget()
            with ao.cpu_loops(choice), _no_cache():
                took = stages(tx, params, train_step if title == OPTAX else whole_step)
            found[title].busy.append(took["trace + lower"] + took["compile"])
            found[title].times.append(found[title].busy[-1])
    return made(f"trace + lower + compile, {leaves} leaves", [OPTAX], [found])


@contextlib.contextmanager
def _no_cache() -> Iterator[None]:
    """Compile anew whatever JAX has on disk; JAX asks for the setting only once without a reset."""
    before: bool = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]
    try:
        jax.config.update("jax_enable_compilation_cache", False)
        compilation_cache.reset_cache()
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()


def tables(args: argparse.Namespace) -> Iterator[Table]:
    """Yield the tables of the parts that are asked for."""
    if args.read:
        for path in args.read:
            yield from (Table(**kept) for kept in json.loads(path.read_text()))
        return
    parts: dict[str, tuple[Callable[..., Table], Sequence[Any], Sequence[str]]] = {
        "alone": (alone, args.millions, ("float32", *FORMATS)),
        "host": (host, args.leaves, ("float32", *FORMATS)),
        "training": (
            training,
            args.models,
            ("float32", "dense('bfloat16')", "stochastic()", "pair()", "pair(block=128)"),
        ),
    }
    for part in args.parts:
        measure, sizes, formats = parts[part]
        chosen = formats if args.formats is None else args.formats
        for size in sizes:
            yield measure(size, chosen, args)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = ("alone", "host", "training")
    parser.add_argument("--parts", nargs="*", choices=parts, default=list(parts))
    parser.add_argument("--rounds", type=int, default=9, help="of steps (9)")
    parser.add_argument("--rounds-of-host", type=int, default=3, help="of the host's work (3)")
    parser.add_argument("--millions", type=int, nargs="*", default=[1, 16, 64])
    parser.add_argument("--leaves", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--models", nargs="*", choices=TRAININGS, default=list(TRAININGS))
    parser.add_argument("--scale", type=float, default=1.0, help="below 1: smaller models")
    parser.add_argument("--formats", nargs="*", choices=("float32", "dense('bfloat16')", *FORMATS))
    parser.add_argument("--xla", action="store_true", help="formats by XLA alone, too")
    parser.add_argument("--torch", metavar="PYTHON", help="a Python that has PyTorch")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="keep the numbers")
    parser.add_argument(
        "--read", type=pathlib.Path, nargs="*", metavar="FILE", help="show kept numbers instead"
    )
    parser.add_argument("--figure", type=pathlib.Path, metavar="FILE", help="a figure, too")
    parser.add_argument("--cpu", action="store_true", help="ratios of CPU seconds in the figure")
    args = parser.parse_args(arguments)
    args.pythons = {"jax": sys.executable} | ({"torch": args.torch} if args.torch else {})
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n", flush=True)
    every = []
    for table in tables(args):
        print("\n".join(table.lines()), end="\n\n", flush=True)
        every.append(table)
        if args.json:
            args.json.write_text(json.dumps([t._asdict() for t in every], indent=1) + "\n")
    print(f"load average {os.getloadavg()[0]:.1f} at the end")
    if args.figure and every:
        kinds = [table.busy_ratios if args.cpu else table.ratios for table in every]
        panels = {t.title: kind[t.bases[0]] for t, kind in zip(every, kinds, strict=True)}
        label = "CPU time over" if args.cpu else "over"
        plot(panels, args.figure, [f"{label} {table.bases[0]}" for table in every])


if __name__ == "__main__":
    main()
