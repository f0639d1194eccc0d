"""Eight host devices, in a process of their own: a state where its parameters are, and no talk."""

import pytest

from tests.engine.sharding.devices import pytest_with

FILE = "tests/engine/sharding/on_eight_devices.py"


@pytest.mark.quick
def test_a_state_is_where_its_parameters_are() -> None:
    pytest_with(8, FILE, "-m", "quick", "-k", "auto-float32 or types or fingerprint")


@pytest.mark.heavy
def test_every_format_and_layout() -> None:
    pytest_with(8, FILE)
