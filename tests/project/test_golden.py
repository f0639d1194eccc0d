"""Every optimiser computes, to the bit, what it computed before the package was rebuilt."""

import json
import re
from typing import Any

import pytest

from tests.support.golden import FILE, in_a_process


def recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def compare(only: str) -> None:
    """Hold the cases in whose names a regular expression is found to the file.

    Bits are those of a jaxlib and a kind of machine: elsewhere only structures are compared.
    """
    file, run = recorded(), in_a_process(only)
    expected = {name: case for name, case in file["cases"].items() if re.search(only, name)}
    found = run["cases"]
    write = "write the file anew (python -m tests.support.golden --write) in a commit that says why"
    assert not expected.keys() - found.keys(), "cases are gone: old results cannot be held any more"
    assert not found.keys() - expected.keys(), f"a new optimiser or format has new cases; {write}"
    if run["about"] != file["about"]:
        expected, found = (
            {name: {n: v for n, v in case.items() if n != "bits"} for name, case in cases.items()}
            for cases in (expected, found)
        )
    changed = [name for name, case in found.items() if case != expected[name]]
    assert not changed, (
        f"{len(changed)} of {len(found)} results changed, such as {changed[:5]}; if meant, {write}"
    )


@pytest.mark.heavy
def test_steps_are_what_they_were() -> None:
    compare("^step/")


GROUPS = [
    "^optimizer/",
    "^chain/",
    "^(precision|rows)/",
    r"^storage/(adam|amsgrad|lion)/",
    r"^storage/(?!adam/|amsgrad/|lion/).*/(pair\(\)|int8\(\)|by moment)$",
]
"""All optimisers, three of them in every storage; `python -m tests.support.golden` runs all."""


@pytest.mark.heavy
@pytest.mark.parametrize("group", GROUPS)
def test_results_are_what_they_were(group: str) -> None:
    compare(group)


def test_the_file_is_of_all_cases() -> None:
    cases = recorded()["cases"]
    assert len(cases) > 500
    assert {name.split("/")[0] for name in cases} == {
        "optimizer",
        "storage",
        "chain",
        "precision",
        "rows",
        "step",
    }
    assert sum("refused" in case for case in cases.values()) < len(cases) / 4
