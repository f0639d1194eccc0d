"""Every test runs under strict promotion of dtypes and ranks; warnings are errors (pyproject)."""

import os
from collections.abc import Iterator

import hypothesis
import jax
import pytest

# Before jax looks for devices: the tests are of this machine's CPU, and an accelerator's plugin
# without one, as of the extra `aot`, is then not asked to run.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
jax.config.update("jax_platforms", os.environ["JAX_PLATFORMS"])
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# The first example compiles: no timing decides a test. The same examples in every run.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")


@pytest.fixture
def x64() -> Iterator[None]:
    """Switch float64 on for one test."""
    with jax.enable_x64(True):
        yield
