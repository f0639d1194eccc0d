"""Hold docstrings to begin with a verb, and files to a length that one can read."""

import ast
import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[2]
NOT_VERBS = frozenset(
    """
    a all an and any as at both by each every for from how if in its no none not of on one other
    some such that the their there these they this those to two what when where whether which who
    whose why with without
    """.split()  # noqa: SIM905
)
"""Words with which a noun phrase or a riddle begins, and no sentence about what code does."""


def openings(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the first line of every docstring of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), text.splitlines()[0]


def is_sentence(opening: str) -> bool:
    """Tell whether a first line can be a sentence with a verb at its head."""
    first = opening.split()[0].strip(",.:;()").lower()
    third_person = first.endswith("s") and not first.endswith("ss")
    return (
        first.isalpha() and first not in NOT_VERBS and not (third_person or first.endswith("ing"))
    )


@pytest.mark.quick
def test_docstrings_of_the_package_begin_with_a_verb() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {opening}"
        for path in sorted((ROOT / "adam_optax").rglob("*.py"))
        for line, opening in openings(path)
        if not is_sentence(opening)
    ]
    assert not found, "\n".join(found)


def test_what_is_no_sentence_is_seen(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "new.py"
    file.write_text('"""What is kept."""\n\n\ndef f():\n    """Return it."""\n')
    assert [is_sentence(opening) for _, opening in openings(file)] == [False, True]
    assert not is_sentence("`b m + (1-b) x`.")
    assert not is_sentence("The state before the first step.")
    assert not is_sentence("Reading moments out of a state.")
    assert not is_sentence("Writes the file.")


def test_files_are_short_enough_to_be_read() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in ("adam_optax", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 500
    }
    assert not long
