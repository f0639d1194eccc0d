"""Kernels on eight devices."""

import pytest

from tests.engine.sharding.devices import pytest_with


@pytest.mark.heavy
def test_on_eight_devices() -> None:
    assert " passed" in pytest_with(8, "tests/engine/kernels/on_eight_devices.py")
