"""Kernels on eight devices."""

import pytest

from tests.engine.sharding.devices import pytest_with


@pytest.mark.heavy
def test_on_eight_devices() -> None:
    assert " passed" in pytest_with(8, "tests/engine/kernels/on_eight_devices.py")


@pytest.mark.heavy
def test_parts_that_a_user_tells_of_have_the_codes_of_the_whole() -> None:
    case = "parts and pair-shape3 and told and tpu"
    assert "1 passed" in pytest_with(8, "tests/engine/kernels/on_eight_devices.py", "-k", case)
