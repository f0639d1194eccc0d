"""Check that released gradients need no memory on accelerators."""

import jax
import pytest

from adam_optax.aot import targets
from benchmarks import release


@pytest.mark.heavy
@pytest.mark.parametrize("target", ["v5e", "h100"])
def test_a_step_needs_room_for_one_layers_gradients(target: str) -> None:
    if absent := targets.missing(target):
        pytest.skip(f"{targets.INSTALL} ({', '.join(absent)})")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        ordinary, released = release.scratch(target, "float32")
    assert ordinary - released > 3  # of the four bytes of a gradient, 23 of 24 layers' are gone
