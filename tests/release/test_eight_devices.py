"""Eight host devices, in a process of their own: released steps of parameters that are spread."""

import pytest

from tests.engine.sharding.devices import pytest_with


@pytest.mark.heavy
def test_fsdp_parameters_take_the_ordinary_step_where_they_are() -> None:
    pytest_with(8, "tests/release/on_eight_devices.py")
