"""Measure what everything costs, keep it, renew the page: `python -m benchmarks.costs`.

Imports, first steps with and without JAX's cache of compiled programs, states, and what is
installed, each measured in fresh processes (`costs_probes.py`). All sides take turns, in rounds
until `--minutes` are over. A row is appended to `benchmarks/costs.csv`, and the tables of
`docs/measured/costs.md` are written anew from it. What is not installed (PyTorch, Keras) is left
out.
"""

import argparse
import datetime
import gzip
import importlib.metadata
import importlib.util
import io
import json
import math
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks import costs_page
from benchmarks.costs_probes import OURS, SIDES

ROOT = pathlib.Path(__file__).parents[1]
Samples = dict[str, dict[str, list[float]]]
"""What was measured in every round, by figure and side."""
ROUNDS = 5
STATES = (OURS, "optax", "PyTorch, fused", "Keras on JAX")


def probe(what: str, side: str = OURS, cache: str = "") -> Any:
    """Run a probe in a process of its own, and return what it prints."""
    environment = {name: x for name, x in os.environ.items() if not name.startswith("JAX_")}
    environment |= {"JAX_PLATFORMS": "cpu", "KERAS_BACKEND": "jax"}
    if cache:
        every = {"MIN_COMPILE_TIME_SECS": "0", "MIN_ENTRY_SIZE_BYTES": "-1"}
        environment |= {f"JAX_PERSISTENT_CACHE_{name}": x for name, x in every.items()}
        environment |= {"JAX_COMPILATION_CACHE_DIR": cache}
    command = [sys.executable, "-m", "benchmarks.costs_probes", what, side, str(time.time())]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{what} of {side}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def sides() -> list[str]:
    """Return the sides whose package is installed."""
    return [side for side, package in SIDES.items() if importlib.util.find_spec(package)]


def rounds(of: list[str], seconds: float, least: int = 2) -> Samples:
    """Measure first steps of all sides in turn, with an empty cache and then with a full one.

    Args:
        of: the sides.
        seconds: no round begins that would end later, once there are enough.
        least: so many rounds there are in any case.
    """
    samples: Samples = {}
    began = time.monotonic()
    for i in range(ROUNDS):
        spent = time.monotonic() - began
        if i >= least and spent * (i + 1) / i > seconds:
            break
        shift = i % len(of)
        for side in of[shift:] + of[:shift]:
            with tempfile.TemporaryDirectory() as cache:
                for kind in ("cold", "warm"):
                    for name, x in probe("first", side, cache).items():
                        shared = name in ("import", "rss", "modules")
                        figure = name if shared else f"{kind} {name}"
                        samples.setdefault(figure, {}).setdefault(side, []).append(x)
    return samples


def summed(samples: Samples) -> dict[str, str]:
    """Return cells of the row: the median, the least and the most, and the ratios to optax's.

    A ratio is of two processes in one round.
    """
    cells: dict[str, str] = {}
    for figure, by_side in samples.items():
        for side, values in by_side.items():
            cells[f"{figure}|{side}"] = _spread(values)
            if "optax" in by_side and figure not in ("rss", "modules"):
                ratios = [a / b for a, b in zip(values, by_side["optax"], strict=True)]
                cells[f"{figure} over optax|{side}"] = _spread(ratios)
    return cells


def _spread(values: list[float]) -> str:
    return " ".join(f"{x:.5g}" for x in (statistics.median(values), min(values), max(values)))


def wheel_files() -> list[pathlib.Path]:
    """Return the files that a wheel takes from this repository."""
    files = (path for path in (ROOT / "adam_optax").rglob("*") if path.is_file())
    kept = [path for path in files if "__pycache__" not in path.parts]
    return [*sorted(kept), ROOT / "adam_optax_command.py"]


def wheel_bytes() -> int:
    """Return the bytes of these files as a wheel packs them, without its metadata."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path in wheel_files():
            wheel.write(path, path.relative_to(ROOT))
    return len(packed.getvalue())


def sdist_sizes() -> tuple[int, int]:
    """Return how many files and bytes a source distribution has; git knows which are ours."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = settings["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    command = ["git", "ls-files", "-z", "--", *(name.lstrip("/") for name in included)]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [name for name in listed.split("\0") if (ROOT / name).is_file()]
    packed = io.BytesIO()
    with gzip.open(packed, "wb") as zipped, tarfile.open(fileobj=zipped, mode="w") as archive:
        for name in names:
            archive.add(ROOT / name, name)
    return len(names), len(packed.getvalue())


def installed_bytes(package: str) -> int:
    """Return the bytes of a package's files, as its distribution lists them."""
    if package == "adam_optax":
        return sum(path.stat().st_size for path in wheel_files())
    files = importlib.metadata.files(package) or []
    paths = (pathlib.Path(str(file.locate())) for file in files)
    return sum(path.stat().st_size for path in paths if path.is_file())


def counts(of: Iterable[str]) -> dict[str, str]:
    """Return the cells that no load of the machine changes."""
    found = probe("imported")
    cells = {"own modules": str(found["own"]), "packages": " ".join(found["packages"])}
    cells |= {"wheel files": str(len(wheel_files())), "wheel bytes": str(wheel_bytes())}
    files, size = sdist_sizes()
    cells |= {"sdist files": str(files), "sdist bytes": str(size)}
    cells |= {f"operations|{name}": str(n) for name, n in probe("operations").items()}
    for side in STATES:
        if side in of:
            for name, sizes in probe("state", side).items():
                cells |= {f"state {layout}|{name}": f"{x:.0f}" for layout, x in sizes.items()}
    packages = dict.fromkeys(SIDES[side] for side in of)
    return cells | {f"installed|{name}": str(installed_bytes(name)) for name in packages}


def about() -> dict[str, str]:
    """Say when, of what and where a row is."""
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    versions = {"jax": "jax", "optax": "optax", "torch": "torch", "keras": "keras"}
    llvm = importlib.util.find_spec("llvmlite")
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "version": importlib.metadata.version("adam-optax"),
        "commit": commit,
        "machine": f"{os.cpu_count()} cores, {_processor()}",
        "load": f"{os.getloadavg()[0]:.0f}" if hasattr(os, "getloadavg") else "",
        "loops": "yes" if llvm else "no",
        "python": platform.python_version(),
        **{n: importlib.metadata.version(n) for n in versions if importlib.util.find_spec(n)},
    }


def _processor() -> str:
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def row(minutes: float, of: list[str]) -> dict[str, str]:
    """Measure everything."""
    began = time.monotonic()
    cells: Mapping[str, str] = about() | counts(of)
    cells = {**cells, "array": f"{probe('overhead'):.0f}"}
    for side in {SIDES[side]: side for side in of}.values():
        probe("first", side)  # from now on all files are in memory, and all modules are byte code
    left = 60 * minutes - (time.monotonic() - began)
    samples = rounds(of, left)
    return {**cells, "rounds": str(len(samples["cold first"][of[0]])), **summed(samples)}


def main(arguments: list[str] | None = None) -> None:
    """Measure, append the row to the history, and renew the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, help="begin no round after (4)")
    parser.add_argument("--sides", nargs="+", choices=SIDES, help="all that are installed")
    parser.add_argument("--page", action="store_true", help="measure nothing: write the page anew")
    args = parser.parse_args(arguments)
    minutes = 4.0 if args.minutes is None else args.minutes
    if not 0 <= minutes < math.inf:
        parser.error(f"--minutes must be 0 or more, not {minutes:g}")
    if args.page and (args.sides or args.minutes is not None):
        parser.error("--page measures nothing: leave out --sides and --minutes")
    of = [side for side in sides() if not args.sides or side in args.sides]
    if missing := sorted({SIDES[side] for side in args.sides or () if side not in of}):
        parser.error(f"--sides: {', '.join(missing)} is not installed")
    if not args.page:
        costs_page.append(row(minutes, of))
    history = costs_page.history()
    costs_page.PAGE.write_text(costs_page.renewed(history), encoding="utf-8")
    print("\n".join(costs_page.changes(history)))


if __name__ == "__main__":
    main()
