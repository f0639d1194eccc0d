"""Skip a test for what this machine lacks, or fail it where everything must be there."""

import os
from typing import NoReturn

import pytest

REQUIRED = "ADAM_OPTAX_DOCS"
"""The environment variable that makes a lack an error, if it is `require`, as in CI."""


def lack(what: str) -> NoReturn:
    """End a test that cannot run.

    Args:
        what: what is missing, and how to get it.
    """
    if os.environ.get(REQUIRED) == "require":
        pytest.fail(f"{what} ({REQUIRED}=require)", pytrace=False)
    pytest.skip(what)
