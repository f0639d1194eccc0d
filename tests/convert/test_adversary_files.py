"""Attack the readers of files with mutants: a few of each kind here, 2,500 in the heavy run.

10,000 of each passed, too; they take six minutes, in which they found nothing more.
"""

from pathlib import Path

import pytest

from tests.adversary import files, memory
from tests.support.valid_files import Kind, same, valid_files

KINDS = [
    "state.safetensors",
    "coded.safetensors",
    "run.pt",
    "model.keras",
    "packed.keras",
    "like.keras",
    "model.weights.h5",
    "names.json",
]


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kind]:
    return {kind.name: kind for kind in valid_files(tmp_path_factory.mktemp("valid"))}


@pytest.mark.quick
def test_a_few_mutants_of_every_kind(kinds: dict[str, Kind], tmp_path: Path) -> None:
    assert list(kinds) == KINDS
    for kind in kinds.values():
        found = files.attack(kind, seed=0, folder=tmp_path, mutants_=15)
        assert found["refused"] > 3


@pytest.mark.heavy
@pytest.mark.parametrize("name", KINDS)
def test_thousands_of_mutants(kinds: dict[str, Kind], name: str, tmp_path: Path) -> None:
    found = files.attack(kinds[name], seed=1, folder=tmp_path, mutants_=2_500)
    assert sum(found.values()) == 2_500


def test_the_adversary_sees_what_it_looks_for(kinds: dict[str, Kind], tmp_path: Path) -> None:
    """A reader that believes everything, one that fails, and one that leaves a file are caught."""
    kind = kinds["names.json"]
    readers = {
        "other values were read": lambda path: {"count": path.read_bytes()},
        "ZeroDivisionError": lambda path: 1 / 0 if path.read_bytes() != kind.content else {},
    }
    for text, read in readers.items():
        with pytest.raises(memory.Broken, match=text):
            files.attack(Kind(kind.name, kind.content, read), 0, tmp_path, 50)
    again = [list(zip(range(9), files.mutants(kind, 3), strict=False)) for _ in range(2)]
    assert same(*again)


@pytest.mark.quick
def test_a_few_conversions_in_memory() -> None:
    found = memory.attack(seed=0, conversions=200)
    assert min(found["refused"], found["taken"]) > 5


@pytest.mark.heavy
def test_ten_thousand_conversions_in_memory() -> None:
    assert sum(memory.attack(seed=1, conversions=10_000).values()) == 10_000
