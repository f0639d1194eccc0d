"""Keep results in a folder: a CSV file to which each case is appended, facts, a page."""

import contextlib
import csv
import fcntl
import io
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

from adam_optax._core.files import read_regular, write_atomically
from benchmarks.gpu.case import Measured
from benchmarks.gpu.page import ABSENT, END, FAILED, TITLE, Planned, Row, page

COMMAND = "python -m benchmarks.gpu"
COLUMNS = ("part", "case", *Measured._fields)
LISTED = ("command", "date", "commit", "host", "device's memory", "environment")
"""The facts that may change from a run to that which goes on with it: the page lists each."""
NOT_INSTALLED = "not installed"
"""The fact of a package that may be installed before a run goes on."""


class Known(NamedTuple):
    """Hold what was written last about a run."""

    facts: Mapping[str, str]
    planned: Mapping[str, Planned]


class Results:
    """Read and append the results in a folder.

    Args:
        folder: where they are; made if it is not there.

    Raises:
        SystemExit: if the folder cannot be one, or has files of something else.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._file, self._facts = folder / "results.csv", folder / "facts.json"
        self._table, self._lock = folder / "results.md", folder / "lock"
        self._running = folder / "running"
        readers = {
            self._facts: self._known,
            self._file: self._lines,
            self._running: self._case,
            self._table: self._titled,
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock.open("a").close()  # tells whether anything can be written there
            for path, read in readers.items():
                if path.exists():
                    try:
                        read()
                    except ValueError as error:
                        self._refuse(f"{path} is not of this command ({error})")
            if self.rows() and not self._facts.exists():  # of which machine, nobody knows
                self._refuse(f"{self._file} has results, and no facts.json is beside it")
        except OSError as error:
            self._refuse(str(error))

    @staticmethod
    def _refuse(why: str) -> NoReturn:
        raise SystemExit(f"{why}: choose another --out") from None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder: of two runs that append to it, both could do one case.

        Raises:
            SystemExit: if another run holds it.
        """
        with self._lock.open("a") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise SystemExit(f"another run writes to {self._folder}: wait for it") from None
            yield

    def rows(self) -> list[Row]:
        """Return the rows of finished cases; a case that was cut short has none."""
        read = self._lines()
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
        if self._file.exists():
            rows = self.rows()
            lost = {row[:2] for row in rows if row.measured.measure in (FAILED, ABSENT)}
            kept = [row for row in rows if not (retry and row[:2] in lost)]
            write_atomically(self._file, (_line(COLUMNS) + "".join(map(_said, kept))).encode())

    def append(self, part: str, case: str, found: Iterable[Measured], took: float) -> None:
        """Append all rows of a case at once, the one that ends it last."""
        if not self._file.exists():
            write_atomically(self._file, _line(COLUMNS).encode())
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
        found = self._case()
        self._running.unlink()
        return found

    def plan(self, facts: Mapping[str, str], planned: Mapping[str, Planned]) -> None:
        """Write the facts of the machine and of the run, and what is planned for each part.

        Args:
            facts: words by name.
            planned: by the part's name.

        Raises:
            SystemExit: if the folder has results of another machine, of other versions or of
                another text, which would share a table.
        """
        before = self._known().facts if self.done() else {}
        facts = {name: _joined(name, before.get(name), said) for name, said in facts.items()}
        for name in {**before, **facts}:
            was, now = before.get(name), facts.get(name)
            if before and name not in LISTED and was not in (now, NOT_INSTALLED):
                self._refuse(f"{self._folder} has results of {name} {was}, not {now}")
        said = {name: part._asdict() for name, part in planned.items()}
        text = json.dumps({"of": COMMAND, "facts": facts, "planned": said}, indent=1)
        write_atomically(self._facts, text.encode() + b"\n")

    def table(self) -> str:
        """Write, and return, facts and results as Markdown; nothing, where no run has begun."""
        if not self._facts.exists():
            return ""
        text = "\n".join(page(*self._known(), self.rows()))
        write_atomically(self._table, text.encode() + b"\n")
        return text

    def _known(self) -> Known:
        """Return the facts and the plan that were written last.

        Raises:
            ValueError: if the file is not of this command.
        """
        if not self._facts.exists():
            return Known({}, {})
        found = json.loads(read_regular(self._facts))
        try:
            if found.pop("of") == COMMAND:
                planned = {name: Planned(**part) for name, part in found["planned"].items()}
                return Known({str(name): str(x) for name, x in found["facts"].items()}, planned)
        except (AttributeError, KeyError, TypeError):
            pass
        raise ValueError("it has other entries")

    def _lines(self) -> list[Row]:
        """Return all rows of the file; half a line at its end, which a kill left, is none.

        Raises:
            ValueError: if the file is not of this command.
        """
        if not self._file.exists():
            return []
        whole, _, _ = read_regular(self._file).decode(errors="replace").rpartition("\n")
        try:
            head, *lines = csv.reader(io.StringIO(whole)) if whole else [[]]
        except csv.Error as error:
            raise ValueError(str(error)) from None
        if head != list(COLUMNS):
            raise ValueError("it has other columns")
        return [_parsed(line, number) for number, line in enumerate(lines, 2)]

    def _case(self) -> tuple[str, str]:
        """Return the part and key of the case that was running.

        Raises:
            ValueError: if the file is not of this command.
        """
        match json.loads(read_regular(self._running)):
            case [str(part), str(case)]:
                return part, case
        raise ValueError("it names no case")

    def _titled(self) -> None:
        """Check that the page is one of this command.

        Raises:
            ValueError: if it is not.
        """
        if not read_regular(self._table).startswith(TITLE.encode()):
            raise ValueError("it has another title")


def _joined(name: str, before: str | None, now: str) -> str:
    """Return a fact, and those before it if it may change."""
    said = before.split("; ") if before and name in LISTED else []
    return "; ".join(dict.fromkeys([*said, now]))


def _parsed(line: list[str], number: int) -> Row:
    """Return a row of a line of the file.

    Raises:
        ValueError: if it is none of this command.
    """
    try:
        part, case, measure, unit, *numbers, times, note = line
        median, low, high = (float(x) if x else None for x in numbers)
        return Row(part, case, Measured(measure, unit, median, low, high, int(times), note))
    except ValueError:
        raise ValueError(f"line {number} is another") from None


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
