"""Write results: a CSV file to which each case is appended, and one page of Markdown."""

import contextlib
import csv
import fcntl
import io
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from adam_optax._core.files import read_regular, write_atomically
from benchmarks.gpu.case import Measured

COLUMNS = ("part", "case", *Measured._fields)
END = "took"
"""The measure with which a case ends: without its line a case was not finished."""
FAILED, ABSENT = "failed", "absent"
"""The measures whose note says why a case measured nothing."""
SAME = ("size", "device", "jax")
"""The facts that are those of all results in a folder."""


class Row(NamedTuple):
    """Hold a line of the file."""

    part: str
    case: str
    measured: Measured


class Results:
    """Read and append the results in a folder.

    Args:
        folder: where they are; made if it is not there.

    Raises:
        SystemExit: if the folder cannot be one, or has results of something else.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SystemExit(f"{error}: choose another --out") from None
        self._file, self._facts = folder / "results.csv", folder / "facts.json"
        self._table, self._lock = folder / "results.md", folder / "lock"
        self._running = folder / "running"
        for path in (self._file, self._facts):
            if path.exists() and not self._is_ours(path):
                raise SystemExit(f"{path} is not of this command: choose another --out")

    def _is_ours(self, path: pathlib.Path) -> bool:
        """Tell whether a file is one that this command wrote: both are always whole."""
        if path == self._file:
            return read_regular(path).startswith(_line(COLUMNS).encode())
        try:
            return self._known().keys() == {"facts", "planned"}
        except (TypeError, ValueError):
            return False

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder: of two runs that append to it, both could do one case.

        Raises:
            SystemExit: if another run holds it.
        """
        with self._lock.open("w") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                where = self._lock.parent
                raise SystemExit(f"another run writes to {where}: wait for it") from None
            yield

    def rows(self) -> list[Row]:
        """Return the rows of finished cases; a case that was cut short has none."""
        if not self._file.exists():
            return []
        whole, _, _ = read_regular(self._file).decode(errors="replace").rpartition("\n")
        lines = list(csv.reader(io.StringIO(whole)))
        read = [row for line in lines[1:] if (row := _parsed(line)) is not None]
        finished = {row[:2] for row in read if row.measured.measure == END}
        return [row for row in read if row[:2] in finished]

    def done(self) -> set[tuple[str, str]]:
        """Return the parts and keys of the cases that are finished."""
        return {row[:2] for row in self.rows()}

    def tidy(self, retry: bool = False) -> None:
        """Take out of the file what a killed run left unfinished.

        Args:
            retry: whether to take out the cases, too, that failed or lacked something.
        """
        rows = self.rows()
        lost = {row[:2] for row in rows if row.measured.measure in (FAILED, ABSENT)}
        kept = [row for row in rows if not (retry and row[:2] in lost)]
        write_atomically(self._file, (_line(COLUMNS) + "".join(map(_said, kept))).encode())

    def append(self, part: str, case: str, found: Iterable[Measured], took: float) -> None:
        """Append all rows of a case at once, the one that ends it last."""
        end = Measured(END, "s", took)
        text = "".join(_said(Row(part, case, one)) for one in (*found, end))
        with self._file.open("ab") as stream:
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())

    @contextlib.contextmanager
    def running(self, part: str, case: str) -> Iterator[None]:
        """Keep on disk which case is being done: the process may not live to say it."""
        write_atomically(self._running, json.dumps([part, case]).encode())
        yield
        self._running.unlink()

    def take_running(self) -> tuple[str, str] | None:
        """Return, and forget, the case in which a process ended."""
        if not self._running.exists():
            return None
        part, case = json.loads(self._running.read_text())
        self._running.unlink()
        return part, case

    def plan(self, facts: Mapping[str, str], planned: Mapping[str, Sequence[str]]) -> None:
        """Write the facts of the machine, and under each part's title the keys of its cases.

        Args:
            facts: words by name.
            planned: by the part's name, its title and then the keys.

        Raises:
            SystemExit: if the folder has results of another machine, which would share a table.
        """
        before = self._known().get("facts", facts)
        for name in SAME:
            if self.done() and before.get(name) != facts.get(name):
                where, said = self._file.parent, f"{before.get(name)}, not {facts.get(name)}"
                raise SystemExit(f"{where} has results of {name} {said}: choose another --out")
        text = json.dumps({"facts": facts, "planned": planned}, indent=1)
        write_atomically(self._facts, text.encode() + b"\n")

    def table(self) -> str:
        """Write, and return, facts and results as Markdown."""
        known = self._known()
        text = "\n".join(_page(known.get("facts", {}), known.get("planned", {}), self.rows()))
        write_atomically(self._table, text.encode() + b"\n")
        return text

    def _known(self) -> dict[str, Any]:
        """Return the facts and the plan that were written last."""
        found = json.loads(read_regular(self._facts)) if self._facts.exists() else {}
        return dict(found)


def _parsed(line: list[str]) -> Row | None:
    """Return a row, or None for a line that this command has not written."""
    if len(line) != len(COLUMNS):
        return None
    part, case, measure, unit, *numbers, times, note = line
    try:
        median, low, high = (float(x) if x else None for x in numbers)
        return Row(part, case, Measured(measure, unit, median, low, high, int(times), note))
    except ValueError:
        return None


def _line(cells: Iterable[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _said(row: Row) -> str:
    """Return a row as a line of the file; a text of several lines becomes one."""
    one = row.measured
    numbers = ["" if x is None else f"{x:.6g}" for x in (one.median, one.low, one.high)]
    note = " ".join(one.note.split())[:300]
    return _line([row.part, row.case, one.measure, one.unit, *numbers, one.times, note])


def _page(
    facts: Mapping[str, str],
    planned: Mapping[str, Sequence[str]],
    rows: Sequence[Row],
) -> Iterator[str]:
    yield "# One GPU"
    yield ""
    yield from (f"- {name}: {said}" for name, said in facts.items())
    for part, (title, *keys) in planned.items():
        of_part = [row for row in rows if row.part == part]
        done = {row.case for row in of_part}
        lost = {row.case for row in of_part if row.measured.measure in (FAILED, ABSENT)}
        less = f", {len(lost)} of which failed or lacked something" if lost else ""
        more = " The same command goes on." if set(keys) - done else ""
        yield from ("", f"## {title}", "", f"{len(done)} of {len(keys)} cases{less}.{more}")
        yield from ["", *_columns(of_part)] if of_part else []


def _columns(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a table with a line for each case, and a column for each measure that has a number."""
    cases: dict[str, dict[str, Measured]] = {}
    for row in rows:
        cases.setdefault(row.case, {})[row.measured.measure] = row.measured
    numbered = [row.measured for row in rows if row.measured.median is not None]
    heads = dict.fromkeys((m.measure, m.unit) for m in numbered if m.measure != END)
    named = [f"{measure} [{unit}]" if unit else measure for measure, unit in heads]
    yield "| " + " | ".join(["case", *named, "said"]) + " |"
    yield "|---" * (2 + len(named)) + "|"
    for case, found in cases.items():
        cells = [_cell(found.get(measure)) for measure, _ in heads]
        noted = (f"{m.measure}: {m.note}" if m.median is None else m.note for m in found.values())
        said = "; ".join(dict.fromkeys(note.replace("|", "\\|") for note in noted if note))
        yield "| " + " | ".join([case.replace("|", "\\|"), *cells, said]) + " |"


def _cell(one: Measured | None) -> str:
    if one is None or one.median is None:
        return ""
    spread = "" if one.low is None or one.high is None else f" ({one.low:.3g}-{one.high:.3g})"
    return f"{one.median:.4g}{spread}"
