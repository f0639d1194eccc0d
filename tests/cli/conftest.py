"""Let the tests of the command line run where SIGINT is ignored."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def sigint_is_answered() -> Iterator[None]:
    """Answer SIGINT as a terminal's process does, and let all that the test starts do so.

    A shell's background job ignores the signal, and so would the processes that it starts.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
