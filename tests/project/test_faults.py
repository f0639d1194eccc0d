"""The suite is strong enough to catch each planted fault, by the quick tests alone."""

import pathlib

import pytest

from tests.faults import FAULTS, NONE, ROOT, Fault, caught


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.mark.heavy
def test_the_copy_itself_passes(cache: pathlib.Path) -> None:
    assert not caught(NONE, cache)


@pytest.mark.heavy
@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_fault_is_caught(fault: Fault, cache: pathlib.Path) -> None:
    assert caught(fault, cache)


@pytest.mark.parametrize("fault", [NONE, *FAULTS], ids=[f.name for f in [NONE, *FAULTS]])
def test_fault_can_still_be_planted(fault: Fault) -> None:
    text = (ROOT / "adam_optax" / fault.file).read_text()
    assert text.count(fault.right) == 1
