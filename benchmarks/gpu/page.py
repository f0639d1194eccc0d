"""Write the page of a run in Markdown: facts, then each part with what its numbers bear."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from benchmarks.gpu.case import Measured

TITLE = "# One GPU"
END = "took"
"""The measure with which a case ends: without its line a case was not finished."""
FAILED, ABSENT = "failed", "absent"
"""The measures whose note says why a case measured nothing."""


class Row(NamedTuple):
    """Hold a line of the results."""

    part: str
    case: str
    measured: Measured


class Planned(NamedTuple):
    """Hold what the page says of a part.

    Attributes:
        title: of its table.
        notes: what its numbers say, and what they do not.
        cases: the keys of all its cases, done or not.
    """

    title: str
    notes: Sequence[str] = ()
    cases: Sequence[str] = ()


def page(
    facts: Mapping[str, str], planned: Mapping[str, Planned], rows: Sequence[Row]
) -> Iterator[str]:
    """Yield the lines of the page."""
    yield from (TITLE, "")
    yield from (f"- {name}: {said}" for name, said in facts.items())
    for part, (title, notes, keys) in planned.items():
        of_part = [row for row in rows if row.part == part]
        done = {row.case for row in of_part}
        lost = {row.case for row in of_part if row.measured.measure in (FAILED, ABSENT)}
        took = sum(row.measured.median or 0.0 for row in of_part if row.measured.measure == END)
        less = f", {len(lost)} of which failed or lacked something" if lost else ""
        more = " The same command goes on." if set(keys) - done else ""
        counted = f"{len(done)} of {len(keys)} cases in {took:.0f} s{less}.{more}"
        yield from ("", f"## {title}", "", counted)
        for table in _grouped(of_part):
            yield from ("", *_table(table))
        yield from ["", " ".join(notes)] if of_part and notes else []


def _grouped(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows of each table: cases of one kind, with those that share a column with them.

    The kind of a case is its key up to the colon.
    """
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        kinds.setdefault(row.case.partition(":")[0], []).append(row)
    tables: list[list[Row]] = []
    for kind in kinds.values():
        heads = _heads(kind)
        near = [table for table in tables if not heads or heads.keys() & _heads(table).keys()]
        if near:
            near[-1].extend(kind)
        else:
            tables.append(kind)
    return tables


def _heads(rows: Sequence[Row]) -> dict[tuple[str, str], None]:
    """Return the columns: measures that have a number, with their units."""
    numbered = [row.measured for row in rows if row.measured.median is not None]
    return dict.fromkeys((one.measure, one.unit) for one in numbered if one.measure != END)


def _table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a table with a line for each case, and a column for each measure that has a number."""
    cases: dict[str, dict[str, Measured]] = {}
    for row in rows:
        cases.setdefault(row.case, {})[row.measured.measure] = row.measured
    heads = _heads(rows)
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
