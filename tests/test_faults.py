"""The suite is strong enough to catch each planted fault, by the quick tests alone."""

import pytest

from tests.faults import FAULTS, NONE, ROOT, Fault, caught


@pytest.mark.heavy
def test_the_copy_itself_passes() -> None:
    assert not caught(NONE)


@pytest.mark.heavy
@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_fault_is_caught(fault: Fault) -> None:
    assert caught(fault)


@pytest.mark.parametrize("fault", [NONE, *FAULTS], ids=[f.name for f in [NONE, *FAULTS]])
def test_fault_can_still_be_planted(fault: Fault) -> None:
    text = (ROOT / "adam_optax" / fault.file).read_text()
    assert text.count(fault.right) == 1
