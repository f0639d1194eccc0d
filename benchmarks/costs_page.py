"""Keep the history of costs, and write the page `docs/measured/costs.md` from it."""

import csv
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.costs_probes import LEAVES, OURS, PAIR, SIDES, XLA

ROOT = pathlib.Path(__file__).parents[1]
HISTORY = ROOT / "benchmarks" / "costs.csv"
PAGE = ROOT / "docs" / "measured" / "costs.md"
Row = Mapping[str, str]
NOTHING = "\N{EN DASH}"

TOLERANCES = {
    "own modules": 1.10,
    "wheel files": 1.10,
    "wheel bytes": 1.10,
    "operations": 1.05,
    "state": 1.0,
}
"""By which factor a count may grow before the command must be run anew.

A few new modules are no regression. The compiled step grows by a new check or cast at most. A
state that grows by a byte breaks checkpoints: it is never an accident that may pass.
"""
TRACKED = {
    "own modules that the import loads": "own modules",
    "files of the wheel": "wheel files",
    "bytes of the wheel": "wheel bytes",
    "operations of the lowered step, float32": "operations|float32",
    "operations of the lowered step, `stochastic()`": "operations|stochastic()",
    "operations of the lowered step, `pair()`": "operations|pair()",
    "bytes of state, a million in one leaf, `pair()`": "state one|pair()",
    "import, CPU time over optax's": f"import over optax|{OURS}",
    "first step, cold, CPU time over optax's": f"cold first over optax|{OURS}",
    "first step, warm, CPU time over optax's": f"warm first over optax|{OURS}",
    "first step, cold, `pair()`, over optax's": f"cold first over optax|{PAIR}",
    "first step, warm, `pair()`, over optax's": f"warm first over optax|{PAIR}",
    "first step, cold, by XLA alone, over optax's": f"cold first over optax|{XLA}",
}
"""The figures whose history the page shows, and their columns."""


def history(path: pathlib.Path = HISTORY) -> list[Row]:
    """Read all rows, the oldest first.

    Raises:
        ValueError: if a line of the file has more cells than there are columns.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows, 2):
        if None in row:
            raise ValueError(f"{path}, row {number}: more cells than columns")
    return [{name: x for name, x in row.items() if x} for row in rows]


def append(row: Row, path: pathlib.Path = HISTORY) -> None:
    """Add a row to the file; new figures get columns, and older rows have none of these."""
    rows = [*(history(path) if path.exists() else []), row]
    names = list(dict.fromkeys(name for each in rows for name in each))
    beside = path.with_suffix(".tmp")
    with beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(beside, path)


def grown(last: Row, now: Mapping[str, float]) -> list[str]:
    """Say which counts have grown by more than their tolerance since a row."""
    found = []
    for name, x in now.items():
        before = float(last[name]) if name in last else None
        factor = TOLERANCES[name if name in TOLERANCES else name.split("|")[0].split()[0]]
        if before is not None and x > factor * before:
            found.append(f"{name}: {x:.0f}, was {before:.0f}, may grow by {factor - 1:.0%}")
    return found


def renewed(rows: Sequence[Row], page: str = "") -> str:
    """Return the page with the tables, the machine and the date of the last row."""
    text, last = page or PAGE.read_text(encoding="utf-8"), rows[-1]
    tables = {"first": first(last), "state": states(last), "size": sizes(last)}
    tables["changes"] = changes(rows)
    for name, lines in tables.items():
        mark = f"costs_{name}"
        new = f"<!-- {mark} -->\n" + "\n".join(lines) + f"\n<!-- /{mark} -->"
        pattern = rf"<!-- {mark} -->.*?<!-- /{mark} -->"
        text, times = re.subn(pattern, lambda _, new=new: new, text, flags=re.DOTALL)  # type: ignore[misc]
        assert times == 1, f"{mark} is {times} times in the page"
    where = f"{last['machine']}, load {last['load']}, {last['rounds']} rounds"
    made = f"**machine** {where} · **date** {last['date']}"
    return re.sub(r"\*\*machine\*\* .*? · \*\*date\*\* \d{4}-\d\d-\d\d", lambda _: made, text)


def first(row: Row) -> Iterator[str]:
    """Yield the tables of imports and of first steps."""
    measured = [side for side in SIDES if f"import|{side}" in row]
    yield from _head(["import", "CPU s", "over optax's", "peak memory [MB]", "modules"])
    packages: dict[str, str] = {}
    for side in measured:
        packages.setdefault(SIDES[side], side)
    for package, side in packages.items():
        cells = [_cell(row, f"import|{side}"), _cell(row, f"import over optax|{side}")]
        cells += [f"{_middle(row, f'rss|{side}') / 1e6:.0f}"]
        yield _line([f"`import {package}`", *cells, f"{_middle(row, f'modules|{side}'):.0f}"])
    yield ""
    heads = ["first step", "cold [CPU s]", "over optax's", "warm [CPU s]", "over optax's"]
    yield from _head([*heads, "of it compiling, cold", "warm"])
    for side in measured:
        columns = [f"{kind} first{of}" for kind in ("cold", "warm") for of in ("", " over optax")]
        cells = [_cell(row, f"{column}|{side}") for column in columns]
        eager = side.startswith("PyTorch")
        for kind in ("cold", "warm"):
            cells.append(NOTHING if eager else _cell(row, f"{kind} compile|{side}"))
        yield _line([_code(side), *cells])


def states(row: Row) -> Iterator[str]:
    """Yield the table of states.

    Bytes a parameter are what a leaf twice as large has more; the rest of a leaf's is fixed.
    """
    heads = ["state", "bytes a parameter", "fixed bytes", "MB, one leaf", "MB, a hundred leaves"]
    yield from _head([*heads, "arrays of a hundred leaves", "their objects on the host [kB]"])
    each = float(row["array"])
    for column in row:
        if column.startswith("state one|"):
            name = column.partition("|")[2]
            one, twice, many = (float(row[f"state {x}|{name}"]) for x in ("one", "twice", "many"))
            rate = (twice - one) / 2**20
            cells = [f"{rate:.4g}", f"{one - rate * 2**20:.0f}", f"{one / 1e6:.4g}"]
            cells.append(f"{many / 1e6:.4g}")
            arrays = row.get(f"state arrays|{name}")
            cells += [arrays, f"{float(arrays) * each / 1e3:.0f}"] if arrays else [NOTHING, NOTHING]
            yield _line([_code(name), *cells])


def sizes(row: Row) -> Iterator[str]:
    """Yield the table of what is installed, and of what a step is lowered to."""
    yield from _head(["what is kept", "files", "MB"])
    for name in ("wheel", "sdist"):
        yield _line([name, row[f"{name} files"], f"{float(row[f'{name} bytes']) / 1e6:.2f}"])
    for column in row:
        if column.startswith("installed|"):
            name = column.partition("|")[2]
            yield _line([f"`{name}` when installed", "", f"{float(row[column]) / 1e6:.4g}"])
    yield ""
    yield from _head([f"AdamW on {LEAVES} leaves, lowered", "operations"])
    for column in row:
        if column.startswith("operations|"):
            yield _line([_code(column.partition("|")[2]), row[column]])


def changes(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the table of the tracked figures: now, before, and in all rows."""
    last = rows[-1]
    before = next((row for row in reversed(rows[:-1]) if _alike(row, last)), {})
    was = f"{before['date']}, {before['commit']}" if before else "no row before"
    yield from _head([f"{last['date']}, {last['commit']}", "now", was, "", "all rows"])
    for title, column in TRACKED.items():
        if column in last:
            old = _cell(before, column)
            line = sparkline([_middle(row, column) for row in rows if column in row])
            yield _line([title, _cell(last, column), old, verdict(before, last, column), line])


def _alike(row: Row, last: Row) -> bool:
    """Tell whether two rows are of one machine and the same versions."""
    names = ("machine", "jax", "optax", "loops")
    return [row.get(name) for name in names] == [last.get(name) for name in names]


def verdict(before: Row, last: Row, column: str) -> str:
    """Say whether a figure left the spread that it had, or a count its tolerance."""
    if column not in before:
        return ""
    (_, *old), (_, *new) = (_numbers(row, column) for row in (before, last))
    if not old:
        return "**more**" if grown(before, {column: float(last[column])}) else ""
    if new[0] > old[1]:
        return "**more**"
    return "less" if new[1] < old[0] else ""


def sparkline(values: Sequence[float]) -> str:
    """Draw the values as bars of eight heights, from three on."""
    if len(values) < 3:
        return ""
    low, high = min(values), max(values)
    return "".join("▁▂▃▄▅▆▇█"[round(7 * (x - low) / ((high - low) or 1))] for x in values)


def _numbers(row: Row, column: str) -> list[float]:
    return [float(x) for x in row[column].split()]


def _middle(row: Row, column: str) -> float:
    return _numbers(row, column)[0]


def _cell(row: Row, column: str) -> str:
    if column not in row:
        return NOTHING
    middle, *ends = _numbers(row, column)
    if not ends:
        return f"{middle:,.0f}"
    return f"{middle:.2f} ({ends[0]:.2f}-{ends[1]:.2f})"


def _code(name: str) -> str:
    """Set calls as code: `pair()`."""
    return re.sub(r"\w+\(.*\)", lambda match: f"`{match[0]}`", name)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _head(cells: Sequence[str]) -> Iterator[str]:
    yield _line(cells)
    yield "|---" * len(cells) + "|"
